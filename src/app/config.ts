import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { pathOf } from '../dicom/query-parameters.ts';
import { DagpacsError } from '../kernel/errors.ts';

const port = z.coerce.number().int().min(0).max(65535);
const count = (least: number) => z.coerce.number().int().min(least);
const loopback = z
  .string()
  .refine(
    isLoopback,
    'must be a loopback address: beyond loopback the bridge needs authentication, which it has not yet',
  );

/** Every setting: its check, its default and what it is for. README.md has the same table, which a test compares. */
export const settings = {
  DAGPACS_DATA_DIR: setting(z.string().min(1), './data', 'data directory: blocks, index, vault, chain, swarm'),
  DAGPACS_HTTP_HOST: setting(loopback, '127.0.0.1', 'address of the HTTP listener; loopback only'),
  DAGPACS_HTTP_PORT: setting(
    port,
    '8080',
    'port of the HTTP listener; DICOMweb is under `/dicom-web`; 0 takes a free one',
  ),
  DAGPACS_DIMSE_HOST: setting(
    z.string().min(1),
    '127.0.0.1',
    'address of the DIMSE listener; beyond loopback only with `DAGPACS_AE_PEERS`, or with client certificates, with which alone the port without TLS stays on loopback',
  ),
  DAGPACS_DIMSE_PORT: setting(port, '11112', 'port of the DIMSE listener; 0 takes a free one'),
  DAGPACS_AE_TITLE: setting(
    z.string().regex(/^[\x20-\x5b\x5d-\x7e]{1,16}$/, 'must be 1 to 16 characters of ASCII without a backslash'),
    'DAGPACS',
    'our application entity title',
  ),
  DAGPACS_AE_PEERS: setting(
    z.string(),
    '',
    'the application entities that may call, and what C-MOVE and commitment send to: JSON `[{"aeTitle", "host", "port", "tls", "services"}]` or the path of a file with it; `tls` true: over TLS only, both ways; `services` of `echo`, `store`, `find`, `move`, `get`, `commit`, all where it is left out; unset: anyone may call',
  ),
  DAGPACS_DIMSE_CHECK_CALLED_AE: setting(
    z.enum(['on', 'off']),
    'off',
    '`on`: refuse associations that call another AE title than ours',
  ),
  DAGPACS_DIMSE_SOP_CLASSES: setting(
    z
      .string()
      .regex(/^$|^(standard|[0-9.]+)( *, *(standard|[0-9.]+))*$/, 'must be `standard` or UIDs, separated by commas'),
    '',
    'storage SOP classes that are taken: UIDs and `standard` (all of DICOM), separated by commas; unset: private ones too',
  ),
  DAGPACS_DIMSE_MAX_ASSOCIATIONS: setting(count(1), '64', 'associations at one time'),
  DAGPACS_DIMSE_MAX_PER_PEER: setting(count(1), '64', 'associations at one time of one AE title at one address'),
  DAGPACS_DIMSE_MAX_PENDING: setting(
    count(1),
    '64',
    'connections that have not asked for an association yet; one more drops the one that has waited longest',
  ),
  DAGPACS_DIMSE_MAX_CONTEXTS: setting(
    count(1).max(128),
    '128',
    'presentation contexts of one association; those beyond it are refused',
  ),
  DAGPACS_DIMSE_MAX_PDU: setting(count(4096).max(1 << 24), '131072', 'longest P-DATA-TF that peers may send, in bytes'),
  DAGPACS_DIMSE_ARTIM_MS: setting(
    count(1),
    '30000',
    'milliseconds in which a connection must ask for its association, and a destination must answer ours',
  ),
  DAGPACS_DIMSE_IDLE_MS: setting(count(1), '60000', 'milliseconds of silence after which an association is aborted'),
  DAGPACS_DIMSE_TIMEOUT_MS: setting(count(1), '60000', 'milliseconds that a peer may take to answer a request of ours'),
  DAGPACS_DIMSE_SEND_ASSOCIATIONS: setting(count(1), '2', 'associations at one time to one destination'),
  DAGPACS_DIMSE_SEND_RETRIES: setting(
    count(0),
    '2',
    'how often an instance is sent again after its association was lost, or its receiver has no room',
  ),
  DAGPACS_DIMSE_SEND_BACKOFF_MS: setting(count(1), '500', 'milliseconds before the first of these; doubled for each'),
  DAGPACS_DIMSE_TLS_CERT: setting(
    z.string(),
    '',
    'PEM file of our certificate with its chain; set: listen for TLS too',
  ),
  DAGPACS_DIMSE_TLS_KEY: setting(z.string(), '', 'PEM file of its key'),
  DAGPACS_DIMSE_TLS_CA: setting(
    z.string(),
    '',
    'PEM file of the authorities that callers and destinations are checked by; unset: the well-known ones',
  ),
  DAGPACS_DIMSE_TLS_CLIENT_AUTH: setting(
    z.enum(['on', 'off']),
    'off',
    '`on`: callers over TLS must show a certificate',
  ),
  DAGPACS_DIMSE_TLS_PORT: setting(port, '2762', 'port for DIMSE over TLS; 0 takes a free one'),
  DAGPACS_COMMIT_AFTER: setting(
    z.enum(['stored', 'replicated', 'anchored', 'both']),
    'stored',
    'what Storage Commitment waits for beside durable storage: `replicated`, `anchored` or `both`',
  ),
  DAGPACS_PUBLIC_URL: setting(
    z.union([z.literal(''), z.url({ protocol: /^https?$/ })]),
    '',
    'base of every URL in answers, such as `https://pacs.example/bridge`; unset: taken from the request. A name with a dot that is not in it is refused as Host (421), unless a proxy is trusted',
  ),
  DAGPACS_TRUST_PROXY: setting(
    z.enum(['on', 'off']),
    'off',
    '`on`: take host, protocol and path prefix from `Forwarded` and `X-Forwarded-*`',
  ),
  DAGPACS_CORS_ORIGINS: setting(
    z.string(),
    '',
    'origins that may call from a browser, separated by commas; `*` for any',
  ),
  DAGPACS_GATEWAY: setting(
    z.enum(['loopback', 'on', 'off']),
    'loopback',
    'who is given sealed blocks under `/ipfs`: `loopback`: programs on this machine, `on`: all who reach the listener or a proxy before it, `off`: nobody',
  ),
  DAGPACS_QIDO_MAX: setting(count(1), '10000', 'results that one query answer may have'),
  DAGPACS_QIDO_INDEX: setting(
    z.string().transform((list, context) => {
      const names = list.split(',').map((name) => name.trim());
      const paths = names.map((name) => pathOf(name));
      if (!paths.includes(undefined)) return paths as string[];
      context.addIssue('must be keywords or tags of PS3.6, or paths of them through sequences, separated by commas');
      return z.NEVER;
    }),
    'RequestAttributesSequence.ScheduledProcedureStepID,RequestAttributesSequence.RequestedProcedureID,InstitutionName',
    'attributes that are indexed beside those of [docs/conformance.md](docs/conformance.md): keywords, tags or paths through sequences, separated by commas; a change reads all stored headers once',
  ),
  DAGPACS_MAX_INSTANCE_BYTES: setting(count(1), String(16 * 1024 ** 3), 'bytes an instance may have'),
  DAGPACS_STOW_MAX_BYTES: setting(
    count(1),
    String(64 * 1024 ** 3),
    'bytes that the body of one STOW request may have, after decompression; more is refused with 413',
  ),
  DAGPACS_DELETE: setting(
    z.enum(['on', 'off']),
    'on',
    'DELETE of studies, series and instances, which are then hidden and stay provable; `off`: 405',
  ),
  DAGPACS_CONFLICT_POLICY: setting(
    z.enum(['new-version', 'conflict', 'first-wins']),
    'new-version',
    'other bytes under a SOP Instance UID that is held: `new-version`, `conflict` (refuse) or `first-wins` (keep the first)',
  ),
  DAGPACS_OUTBOX_MAX: setting(
    count(1),
    '1000000',
    'versions that may wait for their anchor or replica before new instances are refused with 503 or A700',
  ),
  DAGPACS_DISK_HEADROOM: setting(
    count(0),
    String(1024 ** 3),
    'bytes that are left free on the disk: with less, new instances are refused with 503 or A700',
  ),
  DAGPACS_ANCHOR_MAX_BATCH: setting(count(1).max(4096), '256', 'versions that close a batch'),
  DAGPACS_ANCHOR_MAX_AGE_MS: setting(count(1), '2000', 'milliseconds after which the oldest version closes a batch'),
  DAGPACS_CHAIN_RPC: setting(
    z.union([z.literal(''), z.url({ protocol: /^https?$/ })]),
    '',
    "an EVM node's JSON-RPC; unset: anvil as a child on a free port",
  ),
  DAGPACS_CHAIN_PROFILE: setting(
    z.enum(['anvil', 'clique', 'qbft', 'ethereum']),
    'ethereum',
    'how the chain of `DAGPACS_CHAIN_RPC` makes blocks final: `anvil` and `qbft` at once, `clique` after 12 blocks, `ethereum` by its `finalized` tag, or after 64',
  ),
  DAGPACS_CHAIN_KEY: setting(
    z.union([z.literal(''), z.string().regex(/^0x[0-9a-fA-F]{64}$/, 'must be 0x and 64 hexadecimal digits')]),
    '',
    'private key that signs anchors; unset: that of `DAGPACS_CHAIN_KEY_FILE`, or one made at first start, kept in the data directory',
  ),
  DAGPACS_CHAIN_KEY_FILE: setting(
    z.string(),
    '',
    'file with the private key, or an encrypted Ethereum keystore (JSON)',
  ),
  DAGPACS_CHAIN_PASSPHRASE_FILE: setting(z.string(), '', 'file with the passphrase of that keystore'),
  DAGPACS_CHAIN_CONTRACT: setting(
    z.union([z.literal(''), z.string().regex(/^0x[0-9a-fA-F]{40}$/, 'must be 0x and 40 hexadecimal digits')]),
    '',
    "the AnchorLog's address; unset: deployed at first start",
  ),
  DAGPACS_KUBO_API: setting(
    z.string(),
    '',
    'RPC APIs of Kubo nodes, URLs or multiaddresses, separated by commas; unset: a child where a binary is found',
  ),
  DAGPACS_KUBO_AUTH: setting(
    z.string().regex(/^[\x20-\x7e]*$/, 'must be printable ASCII'),
    '',
    'value of the Authorization header for these APIs, such as `Bearer TOKEN`, where their URL has no user',
  ),
  DAGPACS_KUBO_COPIES: setting(
    count(0),
    '0',
    'Kubo nodes that must hold an instance pinned for it to be `replicated`; 0: all of them',
  ),
  DAGPACS_BLOCK_CACHE_MAX: setting(
    count(0),
    '0',
    'bytes of local blocks above which the oldest that are replicated are dropped, to be fetched from IPFS when they are read; 0: all stay',
  ),
  DAGPACS_KUBO_BIN: setting(z.string(), '', 'the `ipfs` binary for the child; `none`: never start one'),
  DAGPACS_SCRUB_RATE: setting(
    count(0),
    '8388608',
    'bytes a second at which everything that is held is verified in the background; 0: only by `dagpacs scrub`',
  ),
  DAGPACS_SCRUB_PAUSE_MS: setting(count(0), '86400000', 'milliseconds between two such passes'),
  DAGPACS_DRAIN_MS: setting(count(0), '10000', 'milliseconds that a stop waits for what is in flight'),
  DAGPACS_LOG_LEVEL: setting(z.enum(['info', 'warn', 'error', 'silent']), 'warn', 'what is logged to standard error'),
} as const;

export type Config = { readonly [Name in keyof typeof settings]: z.output<(typeof settings)[Name]['check']> };

interface Setting<Check extends z.ZodType> {
  check: Check;
  /** As it would stand in the environment. */
  fallback: string;
  description: string;
}

function setting<Check extends z.ZodType>(check: Check, fallback: string, description: string): Setting<Check> {
  return { check, fallback, description };
}

/**
 * Reads the settings from `.env` in the working directory, where there is one, and the environment, which wins.
 * @throws DagpacsError `bad-setting` naming the first wrong one and its rule
 */
export function readConfig(environment: NodeJS.ProcessEnv = environmentWithFile()): Config {
  const config: Record<string, unknown> = {};
  for (const [name, { check, fallback }] of Object.entries(settings)) {
    const given = environment[name];
    const result = check.safeParse(given === undefined || given === '' ? fallback : given);
    if (!result.success) {
      const rule = result.error.issues.map((issue) => issue.message).join('; ');
      throw new DagpacsError('bad-setting', `${name}: ${rule}`, { attribute: name, rule });
    }
    config[name] = result.data;
  }
  for (const name of Object.keys(environment)) {
    if (!name.startsWith('DAGPACS_') || name.startsWith('DAGPACS_TEST_') || name in settings) continue;
    const rule = 'is not a setting of DagPACS; README.md has the list';
    throw new DagpacsError('bad-setting', `${name}: ${rule}`, { attribute: name, rule });
  }
  checkDimse(config as Config);
  checkCopies(config as Config);
  config.DAGPACS_DATA_DIR = resolve(config.DAGPACS_DATA_DIR as string);
  return config as Config;
}

/** Beyond loopback nobody is served who is not known, by the AE policy or by a certificate. */
function checkDimse(config: Config): void {
  const certificates = config.DAGPACS_DIMSE_TLS_CLIENT_AUTH === 'on';
  const wrong = (attribute: keyof Config, rule: string): DagpacsError =>
    new DagpacsError('bad-setting', `${attribute}: ${rule}`, { attribute, rule });
  if (certificates && (config.DAGPACS_DIMSE_TLS_CERT === '' || config.DAGPACS_DIMSE_TLS_CA === '')) {
    // By the well-known authorities anybody has a certificate.
    throw wrong('DAGPACS_DIMSE_TLS_CLIENT_AUTH', 'needs DAGPACS_DIMSE_TLS_CERT, and DAGPACS_DIMSE_TLS_CA for callers');
  }
  if (isLoopback(config.DAGPACS_DIMSE_HOST) || config.DAGPACS_AE_PEERS !== '' || certificates) return;
  const rule = 'must be a loopback address unless DAGPACS_AE_PEERS or DAGPACS_DIMSE_TLS_CLIENT_AUTH says who may call';
  throw wrong('DAGPACS_DIMSE_HOST', rule);
}

/** The Kubo APIs of the setting. */
export function kuboApis(config: Pick<Config, 'DAGPACS_KUBO_API'>): string[] {
  return config.DAGPACS_KUBO_API.split(/[\s,]+/).filter((api) => api !== '');
}

/** How many nodes must hold a batch. */
export function copiesOf(config: Config): number {
  return config.DAGPACS_KUBO_COPIES || Math.max(1, kuboApis(config).length);
}

function checkCopies(config: Config): void {
  const nodes = Math.max(1, kuboApis(config).length);
  if (config.DAGPACS_KUBO_COPIES <= nodes) return;
  const rule = `must not be more than the nodes of DAGPACS_KUBO_API (${nodes})`;
  throw new DagpacsError('bad-setting', `DAGPACS_KUBO_COPIES: ${rule}`, { attribute: 'DAGPACS_KUBO_COPIES', rule });
}

function environmentWithFile(): NodeJS.ProcessEnv {
  if (existsSync('.env')) process.loadEnvFile('.env');
  return process.env;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

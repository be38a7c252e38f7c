import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { z } from 'zod';
import { isStandardStorage } from '../edges/dimse/negotiation.ts';
import { type DimseOptions, dimseDefaults } from '../edges/dimse/options.ts';
import type { Peer } from '../edges/dimse/peers.ts';
import type { TlsOptions } from '../edges/dimse/tls.ts';
import { DagpacsError } from '../kernel/errors.ts';
import { type Config, isLoopback } from './config.ts';

const SERVICES = ['echo', 'store', 'find', 'move', 'get', 'commit'] as const;

const peerList = z.array(
  z.strictObject({
    aeTitle: z.string().regex(/^[\x20-\x5b\x5d-\x7e]{1,16}$/),
    host: z.string().min(1),
    port: z.int().min(1).max(65535),
    tls: z.boolean().exactOptional(),
    services: z.array(z.enum(SERVICES)).default([...SERVICES]),
  }),
);

/**
 * The peers of `DAGPACS_AE_PEERS`: JSON, or the path of a file that holds it; undefined where it is empty.
 * @throws DagpacsError `bad-setting`
 */
export function readPeers(value: string): Peer[] | undefined {
  if (value === '') return undefined;
  let text = value;
  if (!/^\s*\[/.test(value)) {
    try {
      text = readFileSync(value, 'utf8');
    } catch (error) {
      throw wrong(`must be JSON, or the path of a file that can be read (${(error as NodeJS.ErrnoException).code})`);
    }
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw wrong('must be JSON: an array of {"aeTitle", "host", "port", "services"}');
  }
  const result = peerList.safeParse(parsed);
  if (result.success) return result.data;
  throw wrong(result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
}

function wrong(rule: string): DagpacsError {
  return new DagpacsError('bad-setting', `DAGPACS_AE_PEERS: ${rule}`, { attribute: 'DAGPACS_AE_PEERS', rule });
}

/** @throws DagpacsError `bad-setting` where a file is missing or cannot be read */
function tlsOptions(config: Config): TlsOptions | undefined {
  if (config.DAGPACS_DIMSE_TLS_CERT === '') return undefined;
  const read = (attribute: 'DAGPACS_DIMSE_TLS_CERT' | 'DAGPACS_DIMSE_TLS_KEY' | 'DAGPACS_DIMSE_TLS_CA'): string => {
    try {
      return readFileSync(config[attribute], 'utf8');
    } catch (error) {
      const rule = `must be a PEM file that can be read (${(error as NodeJS.ErrnoException).code})`;
      throw new DagpacsError('bad-setting', `${attribute}: ${rule}`, { attribute, rule }, { cause: error });
    }
  };
  const tls = {
    port: config.DAGPACS_DIMSE_TLS_PORT,
    cert: read('DAGPACS_DIMSE_TLS_CERT'),
    key: read('DAGPACS_DIMSE_TLS_KEY'),
    ...(config.DAGPACS_DIMSE_TLS_CA !== '' && { ca: read('DAGPACS_DIMSE_TLS_CA') }),
    clientAuth: config.DAGPACS_DIMSE_TLS_CLIENT_AUTH === 'on',
  };
  try {
    createSecureContext(tls);
  } catch (error) {
    const subject = {
      attribute: 'DAGPACS_DIMSE_TLS_CERT',
      rule: 'certificate and key must be PEM, and belong together',
    };
    throw new DagpacsError('bad-setting', `DAGPACS_DIMSE_TLS_CERT: ${subject.rule}`, subject, { cause: error });
  }
  return tls;
}

/** Which storage classes `DAGPACS_DIMSE_SOP_CLASSES` takes; undefined: all. */
function storesOf(setting: string): DimseOptions['stores'] {
  if (setting === '') return undefined;
  const named = new Set(setting.split(',').map((each) => each.trim()));
  return (uid) => named.has(uid) || (named.has('standard') && isStandardStorage(uid));
}

/** What the DIMSE listener is started with. @throws DagpacsError `bad-setting` */
export function dimseOptions(config: Config): DimseOptions {
  const peers = readPeers(config.DAGPACS_AE_PEERS);
  const tls = tlsOptions(config);
  const stores = storesOf(config.DAGPACS_DIMSE_SOP_CLASSES);
  const host = config.DAGPACS_DIMSE_HOST;
  // Without a policy a certificate is all that tells who calls, and the port without TLS asks for none.
  const plainHost = peers || isLoopback(host) ? host : '127.0.0.1';
  return {
    ...dimseDefaults,
    host: plainHost,
    port: config.DAGPACS_DIMSE_PORT,
    aeTitle: config.DAGPACS_AE_TITLE,
    checkCalledAE: config.DAGPACS_DIMSE_CHECK_CALLED_AE === 'on',
    ...(peers && { peers }),
    ...(tls && { tls: { ...tls, host } }),
    ...(stores && { stores }),
    maxPending: config.DAGPACS_DIMSE_MAX_PENDING,
    maxContexts: config.DAGPACS_DIMSE_MAX_CONTEXTS,
    maxPduLength: config.DAGPACS_DIMSE_MAX_PDU,
    maxAssociations: config.DAGPACS_DIMSE_MAX_ASSOCIATIONS,
    maxPerPeer: config.DAGPACS_DIMSE_MAX_PER_PEER,
    artimMs: config.DAGPACS_DIMSE_ARTIM_MS,
    idleTimeoutMs: config.DAGPACS_DIMSE_IDLE_MS,
    dimseTimeoutMs: config.DAGPACS_DIMSE_TIMEOUT_MS,
    commitAfter: config.DAGPACS_COMMIT_AFTER,
    sendRetries: config.DAGPACS_DIMSE_SEND_RETRIES,
    sendBackoffMs: config.DAGPACS_DIMSE_SEND_BACKOFF_MS,
    sendAssociations: config.DAGPACS_DIMSE_SEND_ASSOCIATIONS,
  };
}

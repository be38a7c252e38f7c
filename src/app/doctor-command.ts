import { existsSync, readFileSync } from 'node:fs';
import { access, constants, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { inspectChain } from '../adapters/ledger/inspect.ts';
import { findBinary } from '../adapters/swarm/find-binary.ts';
import { openKuboArchive } from '../adapters/swarm/kubo-archive.ts';
import { isDagpacsError } from '../kernel/errors.ts';
import { ledgerOptions } from './compose.ts';
import { type Config, kuboApis, readConfig } from './config.ts';
import { NO, saying, UsageError } from './outcome.ts';

const USAGE = `Usage: dagpacs doctor

Looks at the settings and at all that the bridge needs, and says what to do about what is not as it should be. Nothing is
changed. Exit: 0 all is well, 1 something is to be done
`;

/** One finding: `advice` where something is to be done, and then `must` where the bridge does not work without it. */
interface Finding {
  about: string;
  found: string;
  advice?: string;
  must?: boolean;
}

const LEAST_NODE = 24;
const LEAST_FREE_BYTES = 10 * 1024 ** 3;
const CLOCK_SECONDS = 30;
const STALE_HEAD_SECONDS = 600;
const FEW_ANCHORS = 10_000;
const KEY_ADVICE = 'see DAGPACS_CHAIN_KEY, or DAGPACS_CHAIN_KEY_FILE and DAGPACS_CHAIN_PASSPHRASE_FILE';

/** `dagpacs doctor`. @returns the exit code */
export function doctorCommand(args: string[]): Promise<number> {
  return saying('dagpacs doctor', USAGE, async () => {
    if (args.length > 0) throw new UsageError('doctor takes no argument');
    const config = readConfig();
    const groups = await Promise.all([versions(), disk(config), ports(config), chain(config), swarm(config)]);
    const findings = groups.flat();
    for (const { about, found, advice, must } of findings) {
      const mark = advice === undefined ? 'ok  ' : must ? 'FAIL' : 'warn';
      process.stdout.write(`  ${mark}  ${about}: ${found}${advice === undefined ? '' : `\n        ${advice}`}\n`);
    }
    const bad = findings.filter(({ must }) => must).length;
    process.stdout.write(bad === 0 ? 'the bridge can work\n' : `${bad} to be mended\n`);
    return bad === 0 ? 0 : NO;
  });
}

async function versions(): Promise<Finding[]> {
  const found = process.versions.node;
  if (Number.parseInt(found, 10) >= LEAST_NODE) return [{ about: 'Node.js', found }];
  return [
    { about: 'Node.js', found, advice: 'run npm ci, and start with npm start: it brings Node.js 24', must: true },
  ];
}

async function disk({ DAGPACS_DATA_DIR: directory }: Config): Promise<Finding[]> {
  const about = 'data directory';
  // What is not there yet is made at the first start, under the nearest folder that is.
  let nearest = directory;
  while (!existsSync(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest);
  try {
    await access(nearest, constants.R_OK | constants.W_OK);
  } catch (error) {
    const found = `${directory}: ${(error as NodeJS.ErrnoException).code}`;
    return [{ about, found, advice: 'give the bridge’s user this directory, or set DAGPACS_DATA_DIR', must: true }];
  }
  const { bavail, bsize } = await statfs(nearest);
  const free = bavail * bsize;
  const found = `${directory}, ${(free / 1024 ** 3).toFixed(1)} GiB free`;
  const tight = free < LEAST_FREE_BYTES;
  return [
    { about, found, ...(tight && { advice: 'make room: the bridge stops taking instances when the disk is full' }) },
  ];
}

async function ports(config: Config): Promise<Finding[]> {
  const pid = runningBridge(config.DAGPACS_DATA_DIR);
  if (pid !== undefined) return [{ about: 'ports', found: `the bridge of this data directory runs (process ${pid})` }];
  const wanted: [setting: string, host: string, port: number][] = [
    ['DAGPACS_HTTP_PORT', config.DAGPACS_HTTP_HOST, config.DAGPACS_HTTP_PORT],
    ['DAGPACS_DIMSE_PORT', config.DAGPACS_DIMSE_HOST, config.DAGPACS_DIMSE_PORT],
  ];
  return Promise.all(
    wanted.map(async ([setting, host, port]): Promise<Finding> => {
      const code = await failureToListen(host, port);
      const about = `${setting} ${host}:${port}`;
      if (code === undefined) return { about, found: 'free' };
      return { about, found: code, advice: `end what listens there, or set ${setting}`, must: true };
    }),
  );
}

function runningBridge(dataDir: string): number | undefined {
  const path = join(dataDir, 'bridge.json');
  if (!existsSync(path)) return undefined;
  try {
    const { pid } = JSON.parse(readFileSync(path, 'utf8')) as { pid: number };
    process.kill(pid, 0);
    return pid;
  } catch {
    return undefined; // Left over from a bridge that was killed.
  }
}

function failureToListen(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(port, host, () => server.close(() => resolve(undefined)));
  });
}

async function chain(config: Config): Promise<Finding[]> {
  if (config.DAGPACS_CHAIN_RPC === '') {
    const found = 'an anvil of the bridge’s own';
    return [
      { about: 'chain', found, advice: 'set DAGPACS_CHAIN_RPC: nobody else can check what a chain of one’s own says' },
    ];
  }
  let report: Awaited<ReturnType<typeof inspectChain>>;
  try {
    report = await inspectChain(config.DAGPACS_CHAIN_RPC, ledgerOptions(config));
  } catch (error) {
    if (!isDagpacsError(error)) throw error;
    const advice = 'look at the node and at DAGPACS_CHAIN_RPC';
    const { message: found } = error;
    if (error.code !== 'bad-setting') return [{ about: 'chain', found, advice, must: true }];
    return [{ about: 'key', found, advice: KEY_ADVICE, must: true }];
  }
  const { chainId, head, account, contract, deployed, member, anchorsLeft } = report;
  const findings: Finding[] = [{ about: 'chain', found: `${chainId}, at block ${head.number}` }];
  const age = (Date.now() - head.time.getTime()) / 1000;
  const found = `the newest block is ${Math.round(age)} s old by our clock`;
  if (age < -CLOCK_SECONDS)
    findings.push({ about: 'clock', found, advice: 'set the clock (NTP): ours is behind the chain’s', must: true });
  else if (age > STALE_HEAD_SECONDS)
    findings.push({
      about: 'clock',
      found,
      advice: 'see whether the node is in step, the signers run, and our clock is right',
    });
  else findings.push({ about: 'clock', found });
  if (account === undefined)
    findings.push({
      about: 'key',
      found: 'none yet',
      advice: 'run dagpacs consortium application, and have a member propose what it prints',
    });
  else findings.push({ about: 'key', found: `account ${account}` });
  if (contract === undefined)
    findings.push({
      about: 'contract',
      found: 'none yet',
      advice: 'run dagpacs chain init, or set DAGPACS_CHAIN_CONTRACT',
    });
  else if (!deployed)
    findings.push({
      about: 'contract',
      found: `${contract} is no AnchorLog`,
      advice: 'see whether DAGPACS_CHAIN_RPC and DAGPACS_CHAIN_CONTRACT go together',
      must: true,
    });
  else if (!member)
    findings.push({
      about: 'contract',
      found: `${contract} does not know our account`,
      advice: 'run dagpacs consortium application, and have a member propose what it prints',
      must: true,
    });
  else findings.push({ about: 'contract', found: `AnchorLog at ${contract}, our account is a member` });
  if (account !== undefined && anchorsLeft !== undefined) {
    const found = `enough for ${anchorsLeft} anchors at the price of now`;
    const few = anchorsLeft < FEW_ANCHORS;
    findings.push({
      about: 'balance',
      found,
      ...(few && { advice: `send ether to ${account}`, must: anchorsLeft === 0 }),
    });
  }
  return findings;
}

async function swarm(config: Config): Promise<Finding[]> {
  const about = 'Kubo';
  if (config.DAGPACS_KUBO_API === '') {
    const binary =
      config.DAGPACS_KUBO_BIN === 'none'
        ? { reason: 'none is configured' }
        : await findBinary(config.DAGPACS_KUBO_BIN || undefined);
    const advice = 'set DAGPACS_KUBO_API: until then nobody else holds the blocks';
    return [{ about, found: 'reason' in binary ? binary.reason : 'a child of the bridge’s own', advice }];
  }
  return Promise.all(kuboApis(config).map((api) => kubo(api, config.DAGPACS_KUBO_AUTH || undefined)));
}

async function kubo(api: string, authorization: string | undefined): Promise<Finding> {
  const about = 'Kubo';
  try {
    const archive = await openKuboArchive([api], authorization);
    await archive.close();
    return { about, found: 'answers' };
  } catch (error) {
    if (!isDagpacsError(error)) throw error;
    return { about, found: error.message, advice: 'look at the node and at DAGPACS_KUBO_API', must: true };
  }
}

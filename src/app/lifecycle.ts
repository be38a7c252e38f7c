import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DagpacsError } from '../kernel/errors.ts';
import { createLog, type Log } from '../kernel/log.ts';
import { replaceFile } from '../kernel/replace-file.ts';
import { type Bridge, compose } from './compose.ts';
import type { Config } from './config.ts';

export interface Running {
  /** What to tell the person who started it. */
  banner: string;
  /** Lets what is in flight end, closes the last batch, and leaves nothing behind. Further calls join the first. */
  stop(): Promise<void>;
}

/** How long the start-up lines wait for chain and swarm to say what they are; the bridge serves meanwhile. */
const INTRODUCTION_MS = 3000;

/**
 * Starts a bridge; resolves when it is ready and its chain and swarm were given a moment to come up.
 * @throws DagpacsError `bad-setting`, `storage-failed`
 */
export async function startBridge(config: Config): Promise<Running> {
  const log = createLog(config.DAGPACS_LOG_LEVEL, (line) => process.stderr.write(line));
  let ready = false;
  const bridge = await compose(config, log, () => ready);
  ready = true;
  const announcement = join(config.DAGPACS_DATA_DIR, 'bridge.json');
  try {
    await announce(announcement, config, bridge);
  } catch (cause) {
    await stopBridge(bridge, config, log);
    bridge.release();
    const { code } = cause as NodeJS.ErrnoException;
    throw new DagpacsError('storage-failed', `${announcement} cannot be written: ${code}`, {}, { cause });
  }

  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= stopBridge(bridge, config, log).finally(() => {
      rmSync(announcement, { force: true });
      bridge.release();
    });
    return stopping;
  };
  return { banner: await introduce(config, bridge), stop };
}

/** Drains from the outside in: first no new work, then what was taken is made durable, then the parts. */
async function stopBridge(bridge: Bridge, config: Config, log: Log): Promise<void> {
  // Whoever watches a scrub is not waited for: it goes on after the next start.
  const scrubbing = bridge.scrub.stop();
  const draining = [bridge.http.drain(config.DAGPACS_DRAIN_MS), bridge.dimse.drain(config.DAGPACS_DRAIN_MS)];
  await Promise.allSettled(draining);
  const steps: [part: string, step: () => Promise<unknown>][] = [
    ['listeners', () => Promise.all(draining)],
    ['commits', () => bridge.commits.idle()],
    ['outbox', () => stopOutbox(bridge, config.DAGPACS_DRAIN_MS)],
    ['eviction', () => bridge.eviction.stop()],
    ['scrub', () => scrubbing],
    ['codecs', () => bridge.codecs.close()],
    ['chain', () => bridge.ledger.close()],
    ['swarm', () => bridge.swarm.close()],
    ['index', () => bridge.index.close()],
    ['blocks', () => bridge.blocks.close()],
  ];
  for (const [part, step] of steps) {
    try {
      await step();
    } catch (error) {
      // The other parts are still closed: none of them depends on this one.
      log.error('part-not-stopped', { part, reason: (error as Error).message });
    }
  }
}

/** A node that hangs must not hold up the end: what it was being sent goes on after the next start. */
async function stopOutbox({ outbox, ledger, swarm }: Bridge, withinMs: number): Promise<void> {
  const stopped = outbox.stop();
  const patience = new AbortController();
  await Promise.race([stopped, sleep(withinMs, undefined, { signal: patience.signal }).catch(() => undefined)]);
  patience.abort();
  await Promise.all([swarm.close(), ledger.close()]);
  await stopped;
}

/** For scripts: where this bridge listens, while it does. */
async function announce(path: string, config: Config, { http, dimse }: Bridge): Promise<void> {
  const announcement = {
    pid: process.pid,
    http: urlOf(http.address),
    dimse: {
      ...dimse.address,
      aeTitle: config.DAGPACS_AE_TITLE,
      ...(dimse.tlsAddress && { tlsHost: dimse.tlsAddress.host, tlsPort: dimse.tlsAddress.port }),
    },
  };
  await replaceFile(path, `${JSON.stringify(announcement, null, 2)}\n`);
}

function urlOf({ host, port }: { host: string; port: number }): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

async function introduce(config: Config, { http, dimse, ledger, swarm }: Bridge): Promise<string> {
  const until = Date.now() + INTRODUCTION_MS;
  let chain = await ledger.status();
  let ipfs = await swarm.status();
  while (Date.now() < until && (chain.state === 'starting' || ipfs.state === 'starting')) {
    await sleep(50);
    [chain, ipfs] = await Promise.all([ledger.status(), swarm.status()]);
  }
  const own =
    config.DAGPACS_CHAIN_RPC === ''
      ? `anvil, run by this bridge: for trying out${chain.url ? `, ${chain.url}` : ''}`
      : 'by DAGPACS_CHAIN_RPC';
  const where = chain.state === 'connected' ? `chain ${chain.chainId}, contract ${chain.contract} (${own})` : '';
  const lines = [
    'DagPACS is ready.',
    `  push to    ${config.DAGPACS_AE_TITLE}@${dimse.address.host}:${dimse.address.port} (C-STORE), ${urlOf(http.address)}/dicom-web/studies (STOW-RS)`,
    `  read from  ${urlOf(http.address)}/dicom-web (QIDO-RS, WADO-RS)`,
    `  custody    ${urlOf(http.address)}/custody/status`,
    `  chain      ${where || `${chain.state}${chain.reason ? `: ${chain.reason}` : ''}; anchors wait (${own})`}`,
    `  swarm      ${describeSwarm(ipfs)}`,
    `  data       ${config.DAGPACS_DATA_DIR}`,
    `  not configured: ${missing(config, ipfs.state === 'off').join(', ')}`,
  ];
  return `${lines.join('\n')}\n`;
}

function describeSwarm({ state, node, peers, reason, nodes }: Awaited<ReturnType<Bridge['swarm']['status']>>): string {
  const others = nodes.length > 1 ? ` of ${nodes.length} nodes` : '';
  if (state === 'connected') return `Kubo ${node}${others}, ${peers} peers`;
  const words = reason ? `${state}: ${reason}` : state;
  return state === 'off' ? `${words}; blocks stay on this machine` : `${words}; blocks wait`;
}

function missing(config: Config, noSwarm: boolean): string[] {
  const parts = ['authentication and TLS (loopback only)'];
  if (config.DAGPACS_CHAIN_RPC === '') parts.push('a shared chain (DAGPACS_CHAIN_RPC)');
  if (noSwarm) parts.push('IPFS (DAGPACS_KUBO_API or an ipfs binary)');
  else if (config.DAGPACS_KUBO_API === '') parts.push('a shared swarm (DAGPACS_KUBO_API)');
  return parts;
}

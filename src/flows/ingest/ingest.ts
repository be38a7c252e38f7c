import { zstdCompressSync } from 'node:zlib';
import { wrapKey } from '../../crypto/key-wrap.ts';
import { stringifyHeader } from '../../dicom/json.ts';
import type { Scan } from '../../dicom/model.ts';
import { RETENTION_EXPIRED } from '../../dicom/rejection-note.ts';
import { Scanner } from '../../dicom/scan.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Custody, Index } from '../../ports/index.ts';
import type { Vault } from '../../ports/vault.ts';
import { secretsOf } from '../objects/secrets.ts';
import type { Pushback } from './backlog.ts';
import type { CommitQueue } from './commit-queue.ts';
import { createNode } from './instance-node.ts';
import { Placement } from './placement.ts';
import type { Accepted, Ingest, Received, Refused } from './received.ts';
import { sameDataset } from './same-dataset.ts';
import { isStillWhole } from './still-whole.ts';
import { Turns } from './turns.ts';

/** What to do with other bytes under a SOP Instance UID that is held. */
export type ConflictPolicy = 'new-version' | 'conflict' | 'first-wins';

export interface IngestOptions {
  conflictPolicy: ConflictPolicy;
  /** Bytes an instance may have. */
  maxInstanceBytes: number;
}

export interface IngestModules {
  blocks: BlockStore;
  vault: Vault;
  index: Index;
  commits: CommitQueue;
  pushback: Pushback;
  /** Told after each new version. */
  onStored: () => void;
}

interface Arrived {
  scan: Scan;
  sha256: Buffer;
  placement: Placement;
  receivedAt: string;
  receivedFrom: string;
}

/**
 * The way in, for both edges: scan, digest and seal in one pass over the bytes; validate; then commit. Success means that
 * the instance survives a power cut.
 */
export function createIngest(options: IngestOptions, modules: IngestModules): Ingest {
  const { blocks, vault, index, commits, pushback, onStored } = modules;
  const turns = new Turns();

  return async function ingest(received: Received): Promise<Accepted | Refused> {
    // Old archives hold data sets without preamble and meta group: one that can be identified is kept as it is.
    const scanner = new Scanner({ acceptWithoutPreamble: true });
    try {
      const busy = pushback.begin();
      if (busy) throw busy;
      const arrived = await arrive(received, scanner);
      expectAnnounced(received, arrived.scan);
      // Two senders of one SOP Instance UID take turns, so that the second sees what the first stored.
      return await turns.take(arrived.scan.sopInstanceUID, () => decide(arrived));
    } catch (error) {
      if (!isDagpacsError(error)) throw error;
      return refuse(error, scanner);
    }
  };

  async function arrive({ bytes, from }: Received, scanner: Scanner): Promise<Arrived> {
    const placement = new Placement(blocks);
    let size = 0;
    for await (const chunk of bytes) {
      size += chunk.byteLength;
      if (size > options.maxInstanceBytes) throw tooLarge(options.maxInstanceBytes);
      const full = pushback.take(chunk.byteLength);
      if (full) throw full;
      const scanned = scanner.write(chunk);
      if (scanned) await scanned;
      const placed = placement.push(chunk);
      if (placed) await placed;
    }
    const ended = scanner.end();
    const scan = ended instanceof Promise ? await ended : ended;
    const receivedAt = new Date().toISOString();
    return { scan, sha256: placement.finish(), placement, receivedAt, receivedFrom: from };
  }

  async function decide(arrived: Arrived): Promise<Accepted> {
    const { scan, sha256 } = arrived;
    const held = index.versions(scan.sopInstanceUID);
    if (held.length === 0) return store(arrived, 'stored');
    if (held.some(({ version }) => version.studyInstanceUID !== scan.studyInstanceUID)) throw inOtherStudy();
    const hidden = held.at(-1)?.rejection !== undefined;
    const again = ({ rejection }: Custody): Promise<Accepted> | Accepted => {
      if (!rejection) return accepted(scan, 'duplicate');
      if (hidden && rejection.reason === RETENTION_EXPIRED) return store(arrived, 'new-version');
      throw wasRejected();
    };
    const same = held.filter(({ version }) => sha256.equals(version.sha256));
    const [rejected] = same;
    const valid = same.filter(({ rejection }) => !rejection);
    if (rejected && valid.length === 0) return again(rejected);
    for (const { version } of valid)
      if (await isStillWhole(version, { blocks, vault })) return accepted(scan, 'duplicate');
    // It is held by name only: what was lost or damaged is stored again, whatever the policy for other bytes.
    if (valid.length > 0) return store(arrived, 'new-version');
    if (options.conflictPolicy === 'first-wins') {
      return hidden ? again(held[0] as Custody) : accepted(scan, 'duplicate');
    }

    const placed = arrived.placement.place();
    await placed.written;
    const fresh = { object: placed.root, key: arrived.placement.key, ...scan };
    const validFirst = held.toSorted((a, b) => Number(a.rejection !== undefined) - Number(b.rejection !== undefined));
    for (const custody of validFirst) {
      if (await sameDataset(custody.version, fresh, { blocks, vault })) return again(custody);
    }
    if (options.conflictPolicy === 'conflict' && !hidden) throw conflict();
    return store(arrived, 'new-version');
  }

  async function store(arrived: Arrived, outcome: 'stored' | 'new-version'): Promise<Accepted> {
    const { scan, sha256, placement, receivedAt, receivedFrom } = arrived;
    const study = secretsOf(await vault.ensure(scan.studyInstanceUID));
    const { header: dataset, frames, bulk, warnings, ...identity } = scan;
    const header = zstdCompressSync(stringifyHeader(dataset));
    // No await from here to the queue: blocks and node go to the disk in one write, and one sync covers them.
    const placed = placement.place();
    const object = placed.root;
    const wrappedKey = wrapKey(study.wrappingKey, placement.key);
    const facts = { ...identity, header, frames, bulk, sha256, receivedAt, receivedFrom };
    const node = createNode({ study, object, wrappedKey, facts }, blocks);
    const written = Promise.all([placed.written, node.written]).then(() => undefined);
    await commits.version(node, written, { ...facts, dataset, node: node.cid, object, wrappedKey });
    onStored();
    return { ...accepted(scan, outcome), warnings };
  }
}

function accepted(scan: Scan, outcome: Accepted['outcome']): Accepted {
  const { sopClassUID, sopInstanceUID, studyInstanceUID, seriesInstanceUID, warnings } = scan;
  return { outcome, sopClassUID, sopInstanceUID, studyInstanceUID, seriesInstanceUID, warnings };
}

function refuse(error: DagpacsError, { identity }: Scanner): Refused {
  const refused: Refused = { outcome: 'refused', error };
  if (identity.sopClassUID) refused.sopClassUID = identity.sopClassUID;
  if (identity.sopInstanceUID) refused.sopInstanceUID = identity.sopInstanceUID;
  return refused;
}

/** @throws DagpacsError `study-mismatch`, `sop-mismatch` */
function expectAnnounced({ expect = {} }: Received, scan: Scan): void {
  if (expect.studyInstanceUID && expect.studyInstanceUID !== scan.studyInstanceUID) {
    throw new DagpacsError('study-mismatch', 'the instance belongs to another study than the request names', {
      attribute: 'StudyInstanceUID',
      tag: '0020000D',
      rule: 'must be the study of the request path (PS3.18 §10.5.1)',
    });
  }
  for (const [name, attribute, tag] of [
    ['sopClassUID', 'SOPClassUID', '00080016'],
    ['sopInstanceUID', 'SOPInstanceUID', '00080018'],
  ] as const) {
    if (expect[name] === undefined || expect[name] === scan[name]) continue;
    const rule = `must be the Affected ${attribute} of the C-STORE request (PS3.4 B.2.3)`;
    throw new DagpacsError('sop-mismatch', 'the data set is not the one that was announced', { attribute, tag, rule });
  }
}

function tooLarge(limit: number): DagpacsError {
  const rule = `at most ${limit} bytes an instance`;
  return new DagpacsError('too-large', 'the instance is larger than allowed', { attribute: 'DataSet', rule });
}

function inOtherStudy(): DagpacsError {
  const rule = 'a SOP Instance UID belongs to one study';
  const subject = { attribute: 'SOPInstanceUID', tag: '00080018', rule };
  return new DagpacsError('instance-in-other-study', 'the SOP Instance UID is already held in another study', subject);
}

function wasRejected(): DagpacsError {
  const rule = 'an instance that was rejected is not taken again, unless its retention had expired';
  const subject = { attribute: 'SOPInstanceUID', tag: '00080018', rule };
  return new DagpacsError('instance-rejected', 'the instance was rejected before', subject);
}

function conflict(): DagpacsError {
  const rule = 'other bytes under a held SOP Instance UID are refused by the policy "conflict"';
  const subject = { attribute: 'SOPInstanceUID', tag: '00080018', rule };
  return new DagpacsError('instance-conflict', 'other bytes are held under the same SOP Instance UID', subject);
}

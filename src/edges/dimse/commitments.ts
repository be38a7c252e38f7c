import { encodeDataset } from '../../dicom/encode.ts';
import type { DicomJson } from '../../dicom/model.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, transferSyntax } from '../../dicom/transfer-syntax.ts';
import { type CommitAfter, judge, type Reference } from '../../flows/commitment/judge.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { type Loop, startLoop } from '../../kernel/loop.ts';
import type { Index } from '../../ports/index.ts';
import { type Command, N_EVENT_REPORT_RQ } from './command.ts';
import { CLASS_INSTANCE_CONFLICT, NO_SUCH_INSTANCE, PROCESSING_FAILURE } from './errors.ts';
import type { Invocation } from './invoker.ts';
import { STORAGE_COMMITMENT } from './negotiation.ts';
import type { Peer } from './peers.ts';
import { openAssociation, type Requestor, type RequestorOptions } from './requestor.ts';

/** The well-known instance of the Storage Commitment Push Model (PS3.4 J.3). */
export const COMMITMENT_INSTANCE = '1.2.840.10008.1.20.1.1';
const NATIVE = [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN];
/** Event Type IDs (PS3.4 J.3.3). */
const ALL_COMMITTED = 1;
const SOME_FAILED = 2;

/** A request that was taken and not answered yet. */
export interface Commitment {
  transactionUID: string;
  /** AE title of who asked. */
  peer: string;
  references: Reference[];
  /** Milliseconds since 1970: when it was asked, and when to try again on an association of our own. */
  askedAt: number;
  dueAt: number;
  tries: number;
}

export interface CommitmentOptions extends RequestorOptions {
  peers?: readonly Peer[];
  /** What "committed" means. */
  commitAfter: CommitAfter;
  /** Milliseconds after which what is still not true is reported as failed. */
  commitWaitMs: number;
  /** Milliseconds after which a report that nobody takes is given up. */
  commitGiveUpMs: number;
}

export type CommitmentIndex = Pick<Index, 'versions' | 'getValue' | 'setValue'>;

/** Requests at one time, and instances that they name: all are held in memory, and written with each change. */
export const MAX_COMMITMENTS = 1000;
export const MAX_REFERENCES = 100_000;
const NAME = 'dimse.commitments';
const IDLE_MS = 5000;
const FIRST_RETRY_MS = 10_000;
const MAX_RETRY_MS = 3_600_000;

/** The reports that are owed, kept over restarts, and the loop that delivers them on associations of our own. */
export class Commitments {
  readonly #options: CommitmentOptions;
  readonly #index: CommitmentIndex;
  readonly #log: Log;
  readonly #loop: Loop;
  #list: Commitment[];
  /** Transactions whose report is on its way. */
  readonly #inHand = new Set<Commitment>();
  /** The first instance that a request was found to wait for: those before it need not be judged again until it is so. */
  readonly #waitsFor = new WeakMap<Commitment, Reference>();
  #association: Requestor | undefined;
  #stopping = false;

  constructor(options: CommitmentOptions, index: CommitmentIndex, log: Log) {
    this.#options = options;
    this.#index = index;
    this.#log = log;
    this.#list = JSON.parse(index.getValue(NAME) ?? '[]') as Commitment[];
    this.#loop = startLoop({
      round: () => this.#round(),
      idleMs: IDLE_MS,
      onFailure: (error) => log.error('commitment-failed', { error: error instanceof Error ? error.name : '' }),
    });
  }

  /**
   * Whether a request of so many instances can be kept. Where there is no room, the oldest of peers that we could not
   * report to are given up: they would keep others out for days.
   */
  makeRoomFor(references: number): boolean {
    if (references > MAX_REFERENCES) return false;
    let held = this.#list.reduce((sum, each) => sum + each.references.length, 0);
    while (this.#list.length >= MAX_COMMITMENTS || held + references > MAX_REFERENCES) {
      const lost = this.#list.find((each) => !this.#peerOf(each) && !this.#inHand.has(each));
      if (!lost) return false;
      held -= lost.references.length;
      this.#giveUp(lost);
    }
    return true;
  }

  has(peer: string, transactionUID: string): boolean {
    return this.#list.some((each) => each.peer === peer && each.transactionUID === transactionUID);
  }

  /** Keeps a request; its report is owed from now on. */
  add(commitment: Commitment): void {
    this.#list.push(commitment);
    this.#save();
  }

  /**
   * Reports by `invoke` on an association that is there, where there is something to say by now.
   * @returns false where the report is still owed
   */
  async report(
    commitment: Commitment,
    context: { id: number; transferSyntax: string },
    invoke: (invocation: Invocation) => Promise<Command>,
  ): Promise<boolean> {
    if (this.#inHand.has(commitment) || !this.#list.includes(commitment)) return true;
    const report = this.#reportOf(commitment);
    if (!report) return false;
    this.#inHand.add(commitment);
    try {
      const { implicit = false, bigEndian = false } = transferSyntax(context.transferSyntax) ?? {};
      const bytes = encodeDataset(report.dataset, { implicit, bigEndian });
      const { status } = await invoke({
        contextId: context.id,
        request: {
          field: N_EVENT_REPORT_RQ,
          sopClassUID: STORAGE_COMMITMENT,
          sopInstanceUID: COMMITMENT_INSTANCE,
          typeId: report.type,
        },
        dataset: { size: bytes.length, bytes: once(bytes) },
      });
      if (status !== 0) return false;
      this.#list = this.#list.filter((each) => each !== commitment);
      this.#save();
      return true;
    } catch (error) {
      if (!isDagpacsError(error)) throw error;
      return false;
    } finally {
      this.#inHand.delete(commitment);
    }
  }

  /** The association that it was asked on is of no more use: the report goes on one of our own. */
  hurry(commitment: Commitment): void {
    commitment.dueAt = Date.now();
    this.#loop.wake();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#association?.giveUp();
    await this.#loop.stop();
  }

  async #round(): Promise<boolean> {
    const now = Date.now();
    let changed = false;
    for (const commitment of [...this.#list]) {
      if (this.#stopping) break;
      if (commitment.dueAt > now || this.#inHand.has(commitment)) continue;
      if (now - commitment.askedAt > this.#options.commitGiveUpMs) {
        this.#giveUp(commitment);
        changed = true;
        // What waits is looked at again after a restart too, whenever it is said to be due.
      } else if (!this.#reportOf(commitment)) commitment.dueAt = now + IDLE_MS;
      else if (!(await this.#deliver(commitment))) {
        commitment.tries++;
        commitment.dueAt = now + Math.min(FIRST_RETRY_MS * 2 ** (commitment.tries - 1), MAX_RETRY_MS);
        changed = true;
      }
    }
    if (changed) this.#save();
    return false;
  }

  #peerOf(commitment: Commitment): Peer | undefined {
    return this.#options.peers?.find(({ aeTitle }) => aeTitle === commitment.peer);
  }

  #giveUp(commitment: Commitment): void {
    this.#log.error('commitment-given-up', { peer: commitment.peer, tries: commitment.tries });
    this.#list = this.#list.filter((each) => each !== commitment);
  }

  async #deliver(commitment: Commitment): Promise<boolean> {
    const peer = this.#peerOf(commitment);
    if (!peer) return false;
    // The roles are turned round: we ask, and are the SCP (PS3.4 J.3.3, PS3.7 D.3.3.4).
    const roles = { scu: false, scp: true };
    const proposal = { abstractSyntax: STORAGE_COMMITMENT, transferSyntaxes: NATIVE, roles };
    try {
      this.#association = await openAssociation(peer, [proposal], this.#options, this.#log);
    } catch (error) {
      if (!isDagpacsError(error)) throw error;
      this.#log.warn('commitment-not-delivered', { peer: peer.aeTitle, code: error.code, tries: commitment.tries });
      return false;
    }
    const association = this.#association;
    try {
      const [context] = association.contexts.values();
      return !!context && (await this.report(commitment, context, (invocation) => association.invoke(invocation)));
    } finally {
      await association.release();
      this.#association = undefined;
    }
  }

  /** The report, or undefined while there is something to wait for. */
  #reportOf(commitment: Commitment): { type: number; dataset: DicomJson } | undefined {
    const { transactionUID, references, askedAt } = commitment;
    const { commitAfter, commitWaitMs, aeTitle } = this.#options;
    const overdue = Date.now() - askedAt > commitWaitMs;
    const waitedFor = this.#waitsFor.get(commitment);
    if (waitedFor && !overdue && judge(waitedFor, commitAfter, this.#index) === 'waiting') return undefined;
    const committed: DicomJson[] = [];
    const failed: DicomJson[] = [];
    for (const reference of references) {
      const verdict = judge(reference, commitAfter, this.#index);
      if (verdict === 'waiting' && !overdue) {
        this.#waitsFor.set(commitment, reference);
        return undefined;
      }
      const item: DicomJson = {
        '00081150': { vr: 'UI', Value: [reference.sopClassUID] },
        '00081155': { vr: 'UI', Value: [reference.sopInstanceUID] },
      };
      if (verdict === 'committed') committed.push(item);
      else failed.push({ '00081197': { vr: 'US', Value: [REASONS[verdict]] }, ...item });
    }
    const dataset: DicomJson = {
      '00080054': { vr: 'AE', Value: [aeTitle] },
      '00081195': { vr: 'UI', Value: [transactionUID] },
    };
    if (committed.length > 0) dataset['00081199'] = { vr: 'SQ', Value: committed };
    if (failed.length > 0) dataset['00081198'] = { vr: 'SQ', Value: failed };
    return { type: failed.length > 0 ? SOME_FAILED : ALL_COMMITTED, dataset };
  }

  #save(): void {
    this.#index.setValue(NAME, JSON.stringify(this.#list));
  }
}

/** Failure Reason (0008,1197) (PS3.3 C.14.1.1). */
const REASONS = {
  'no-such-instance': NO_SUCH_INSTANCE,
  'class-conflict': CLASS_INSTANCE_CONFLICT,
  waiting: PROCESSING_FAILURE,
} as const;

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

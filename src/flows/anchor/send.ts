import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { sleep } from '../../kernel/loop.ts';
import type { Batch, Index } from '../../ports/index.ts';
import type { Anchor, Hex, Ledger, LedgerStatus, SignedTransaction } from '../../ports/ledger.ts';
import { rememberChain } from '../objects/chain-identity.ts';
import { compareAnchors, followChain } from './follow.ts';

export interface SendOptions {
  /** Milliseconds after which a transaction that blocks pass by is sent again with a higher fee, and one without its event is told. */
  stuckAfterMs: number;
}

export interface SendModules {
  index: Index;
  ledger: Ledger;
  log: Log;
}

/** Batches whose transactions may be on their way at once. */
const WINDOW = 16;
/** A development chain mines within milliseconds; a chain with a block time is looked at again in the next round. */
const SETTLE_AFTER_MS = [5, 25, 100];
/** Blocks that must have passed by a transaction before its fee is to blame. */
const STUCK_BLOCKS = 3;
/** A node that says to have a transaction is given it again after this, since it may have lost it. */
const REPEAT_MS = 15_000;
const NO_ROOT: Hex = `0x${'0'.repeat(64)}`;

/** What we know of a transaction that was handed to the node. */
interface Sent {
  firstAt: number;
  lastAt: number;
  /** The head then. */
  head: number;
}

/**
 * The outbox's only writer of transactions. A round brings the chain to the index's last batch. What the contract says is
 * the truth: a batch that it has is never sent again, one that it lost (a reorganisation, a development chain that came back
 * older) is sent again, as the same signed transaction while its nonce is free.
 */
export class Sender {
  readonly #options: SendOptions;
  readonly #modules: SendModules;
  readonly #sent = new Map<Hex, Sent>();
  /** The oldest batch that the contract has and the node does not show, and since when. */
  #unshown: { id: Hex; since: number } | undefined;

  constructor(options: SendOptions, modules: SendModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /**
   * @param known what the ledger has just said of itself, where it was asked
   * @returns how many batches are newly anchored
   * @throws DagpacsError `chain-unavailable`, `chain-mismatch`
   */
  async round(known?: LedgerStatus): Promise<number> {
    const { index, ledger } = this.#modules;
    const status = known ?? (await ledger.status());
    await followChain(this.#modules, status.head);
    const next = await ledger.next();
    rememberChain(index, status);
    refuseForeignAnchors(next, index);
    // A chain may go back to the very head that was seen before our last anchors, as the child anvil does after a crash.
    if (next.sequence < firstUnanchored(index)) await compareAnchors(this.#modules, next.sequence);
    const batches = index.unfinished('anchor', WINDOW);
    const [oldest] = batches;
    // Else the chain moved on or back since it was asked: the next round knows.
    if (oldest && oldest.sequence <= next.sequence) {
      const nonces = await ledger.nextNonce();
      for (const batch of batches) {
        if (batch.sequence < next.sequence) continue;
        if (!(await this.#send(batch, nonces, status.head?.number ?? 0))) break;
      }
    }
    let open = batches;
    for (const pause of SETTLE_AFTER_MS) {
      if (open.length === 0) break;
      await sleep(pause);
      open = await this.#settle(open);
    }
    this.#refuseWithoutEvents(open.find(({ sequence }) => sequence < next.sequence));
    return batches.length - open.length;
  }

  /**
   * Sends a transaction that was kept, or signs, keeps and sends one.
   * @returns whether the batch is on its way, so that those after it may follow
   */
  async #send(batch: Batch, nonces: { confirmed: number; pending: number }, head: number): Promise<boolean> {
    const { index, ledger, log } = this.#modules;
    const kept = batch.transactions.at(-1);
    if (kept && kept.nonce < nonces.confirmed) {
      if (await ledger.find(batch.id)) return true;
      // A block that is not shown yet, or a contract that refuses us, which the ledger finds out: gas is not spent on guesses.
      const sent = this.#sent.get(kept.hash);
      if (sent && Date.now() - sent.firstAt < REPEAT_MS) return false;
      log.warn('transaction-without-effect', { sequence: batch.sequence, nonce: kept.nonce });
    } else if (kept && this.#isStuck(kept, head)) {
      await this.#replace(batch, kept, head);
      return true;
    } else if (kept && kept.nonce <= nonces.pending) {
      const sent = this.#sent.get(kept.hash);
      if (sent && kept.nonce < nonces.pending && Date.now() - sent.lastAt < REPEAT_MS) return true;
      if (kept.nonce === nonces.pending) nonces.pending += 1;
      try {
        await this.#broadcast(kept, head);
      } catch (error) {
        // What was good when it was signed may be too cheap now.
        if (!isDagpacsError(error, 'transaction-refused')) throw error;
        await this.#replace(batch, kept, head);
      }
      return true;
    }
    const transaction = await ledger.sign(anchorOf(batch));
    index.addTransaction(batch.id, transaction);
    await this.#broadcast(transaction, head);
    nonces.pending = Math.max(nonces.pending, transaction.nonce + 1);
    return true;
  }

  /** Sends a transaction with a higher fee at the nonce of one that was kept: of both, only one can be mined. */
  async #replace(batch: Batch, kept: SignedTransaction, head: number): Promise<void> {
    const { index, ledger, log } = this.#modules;
    const transaction = await ledger.sign(anchorOf(batch), kept);
    index.addTransaction(batch.id, transaction);
    log.warn('transaction-replaced', { sequence: batch.sequence, nonce: kept.nonce });
    await this.#broadcast(transaction, head);
  }

  async #broadcast(transaction: SignedTransaction, head: number): Promise<void> {
    const now = Date.now();
    const { firstAt = now, head: first = head } = this.#sent.get(transaction.hash) ?? {};
    this.#sent.set(transaction.hash, { firstAt, lastAt: now, head: first });
    await this.#modules.ledger.broadcast(transaction);
  }

  #isStuck({ hash }: SignedTransaction, head: number): boolean {
    const sent = this.#sent.get(hash);
    return (
      sent !== undefined && Date.now() - sent.firstAt >= this.#options.stuckAfterMs && head >= sent.head + STUCK_BLOCKS
    );
  }

  /** Else an operator would see batches wait and not why. */
  #refuseWithoutEvents(unshown: Batch | undefined): void {
    const now = Date.now();
    if (unshown?.id !== this.#unshown?.id) this.#unshown = unshown && { id: unshown.id, since: now };
    if (!unshown || !this.#unshown || now - this.#unshown.since < this.#options.stuckAfterMs) return;
    const message = `the node does not have the event of anchor ${unshown.sequence}: it must keep the events of all blocks`;
    throw new DagpacsError('chain-unavailable', message);
  }

  /** @returns the batches that the chain does not show yet */
  async #settle(batches: Batch[]): Promise<Batch[]> {
    const { index, ledger } = this.#modules;
    const open: Batch[] = [];
    for (const batch of batches) {
      const anchored = await ledger.find(batch.id);
      if (!anchored) {
        open.push(batch);
        continue;
      }
      index.setAnchored(batch.id, anchored);
      for (const { hash } of batch.transactions) this.#sent.delete(hash);
    }
    return open;
  }
}

/** The sequence number that the contract must want next if it has all that the index calls anchored. */
function firstUnanchored(index: Index): number {
  const [oldest] = index.unfinished('anchor', 1);
  return oldest?.sequence ?? (index.lastBatch()?.sequence ?? -1) + 1;
}

/**
 * The contract's last root must be one of ours. Where it is not, another bridge anchors with our key, or our data directory
 * is an old copy: to send would fail for ever.
 */
function refuseForeignAnchors(next: { sequence: number; previousRoot: Hex }, index: Index): void {
  if (next.sequence === 0 && next.previousRoot === NO_ROOT) return;
  const [last] = index.batches(1, next.sequence);
  if (last?.sequence === next.sequence - 1 && last.merkleRoot === next.previousRoot) return;
  const rule = 'one key anchors for one data directory';
  const message = 'the chain has anchors of our account that this data directory does not know';
  throw new DagpacsError('chain-mismatch', message, { rule });
}

function anchorOf({ id, sequence, previousRoot, merkleRoot, count, studies }: Batch): Anchor {
  return { batch: id, sequence, previousRoot, merkleRoot, count, studies };
}

/** Marks what the chain's profile calls final, and takes back an anchor whose block was replaced. */
export async function settleFinality({ index, ledger, log }: SendModules): Promise<void> {
  const batches = index.unfinished('final', 256);
  if (batches.length === 0) return;
  const finalized = await ledger.finalized();
  for (const { id, anchored } of batches) {
    if (!anchored || anchored.blockNumber > finalized) continue;
    if ((await ledger.hashAt(anchored.blockNumber)) === anchored.blockHash) {
      index.setFinal(id, new Date().toISOString());
    } else {
      log.warn('anchor-block-replaced', { block: anchored.blockNumber });
      index.setAnchored(id, await ledger.find(id));
    }
  }
}

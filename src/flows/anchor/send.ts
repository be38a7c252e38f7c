import type { Log } from '../../kernel/log.ts';
import { sleep } from '../../kernel/loop.ts';
import type { Batch, Index } from '../../ports/index.ts';
import type { Anchor, Ledger, SignedTransaction } from '../../ports/ledger.ts';
import { rememberChain } from '../objects/chain-identity.ts';

export interface SendModules {
  index: Index;
  ledger: Ledger;
  log: Log;
}

/** Batches whose transactions may be on their way at once. */
const WINDOW = 16;
/** A development chain mines within milliseconds; a chain with a block time is looked at again in the next round. */
const SETTLE_AFTER_MS = [5, 25, 100];

/**
 * One round of the outbox, the only writer of transactions: brings the chain to the index's last batch. What the contract
 * says is the truth: a batch that it has is never sent again, one that it lost (a reorganisation, a development chain that
 * came back older) is sent again.
 * @returns how many batches are newly anchored
 * @throws DagpacsError `chain-unavailable`, `chain-mismatch`
 */
export async function sendBatches({ index, ledger, log }: SendModules): Promise<number> {
  const next = await ledger.next();
  rememberChain(index, await ledger.status());
  const last = index.lastBatch();
  if (!last) return 0;
  takeBackLost(next.sequence, { index, log });
  const batches = index.unfinished('anchor', WINDOW);
  for (const batch of batches) {
    if (batch.sequence >= next.sequence) await send(batch, { index, ledger });
  }
  let open = batches;
  for (const pause of SETTLE_AFTER_MS) {
    if (open.length === 0) break;
    await sleep(pause);
    open = await settle(open, { index, ledger });
  }
  return batches.length - open.length;
}

/** Batches that the index calls anchored, but the contract does not know (any more), wait again. */
function takeBackLost(expected: number, { index, log }: { index: Index; log: Log }): void {
  let lost = 0;
  for (let before: number | undefined; ; ) {
    const page = index.batches(100, before);
    for (const batch of page) {
      if (batch.sequence < expected) {
        if (lost > 0) log.warn('anchors-lost-by-the-chain', { batches: lost });
        return;
      }
      if (!batch.anchored) continue;
      index.setAnchored(batch.id, undefined);
      lost += 1;
    }
    before = page.at(-1)?.sequence;
    if (before === undefined || before === 0) break;
  }
  if (lost > 0) log.warn('anchors-lost-by-the-chain', { batches: lost });
}

/** Sends a transaction that was kept, or signs, keeps and sends one. */
async function send(batch: Batch, { index, ledger }: { index: Index; ledger: Ledger }): Promise<void> {
  const kept = batch.transactions.at(-1);
  if (kept && (await tryAgain(kept, ledger))) return;
  const transaction = await ledger.sign(anchorOf(batch));
  index.addTransaction(batch.id, transaction);
  await ledger.broadcast(transaction);
}

/** A kept transaction may still be good; where its nonce was used by another, it is not. */
async function tryAgain(kept: SignedTransaction, ledger: Ledger): Promise<boolean> {
  const nonce = await ledger.nextNonce();
  if (kept.nonce < nonce.confirmed) return false;
  if (kept.nonce > nonce.pending) return false;
  await ledger.broadcast(kept);
  return true;
}

function anchorOf({ id, sequence, previousRoot, merkleRoot, count, studies }: Batch): Anchor {
  return { batch: id, sequence, previousRoot, merkleRoot, count, studies };
}

/** @returns the batches that the chain does not show yet */
async function settle(batches: Batch[], { index, ledger }: { index: Index; ledger: Ledger }): Promise<Batch[]> {
  const open: Batch[] = [];
  for (const batch of batches) {
    const anchored = await ledger.find(batch.id);
    if (anchored) index.setAnchored(batch.id, anchored);
    else open.push(batch);
  }
  return open;
}

/** Marks what the chain's profile calls final, and takes back an anchor whose block was replaced. */
export async function settleFinality({ index, ledger, log }: SendModules): Promise<void> {
  const batches = index.unfinished('final', 256);
  if (batches.length === 0) return;
  const finalized = await ledger.finalized();
  for (const { id, anchored } of batches) {
    if (!anchored || anchored.blockNumber > finalized.number) continue;
    if ((await finalized.hashOf(anchored.blockNumber)) === anchored.blockHash) {
      index.setFinal(id, new Date().toISOString());
    } else {
      log.warn('anchor-block-replaced', { block: anchored.blockNumber });
      index.setAnchored(id, await ledger.find(id));
    }
  }
}

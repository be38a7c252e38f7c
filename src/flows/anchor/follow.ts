import type { Log } from '../../kernel/log.ts';
import type { Index } from '../../ports/index.ts';
import type { Anchored, Hex, Ledger, LedgerStatus } from '../../ports/ledger.ts';

export interface FollowModules {
  index: Index;
  ledger: Ledger;
  log: Log;
}

const NAME = 'head';
const PAGE = 100;

/**
 * Looks whether the chain, whose head is now `head`, still has the one that was seen last. Where it has not (a
 * reorganisation, a chain that came back shorter), the anchors are compared. Until then the head stays as it was, so that a
 * crash repeats the round.
 * @throws DagpacsError `chain-unavailable`, `chain-mismatch`
 */
export async function followChain(modules: FollowModules, head: LedgerStatus['head']): Promise<void> {
  const { index, ledger } = modules;
  if (!head) return;
  const seen = recall(index);
  if (seen?.hash === head.hash) return;
  if (!seen || (await ledger.hashAt(seen.number)) !== seen.hash) await compareAnchors(modules);
  index.setValue(NAME, JSON.stringify({ number: head.number, hash: head.hash }));
}

/**
 * Asks for the anchors again, newest first down to the first whose block is still there, and changes all that changed in one
 * transaction. From the sequence `lacking` on the contract has none, whatever blocks there are: it is a new one.
 * @throws DagpacsError `chain-unavailable`, `chain-mismatch`
 */
export async function compareAnchors(
  { index, ledger, log }: FollowModules,
  lacking = Number.POSITIVE_INFINITY,
): Promise<void> {
  const { changes, final } = await compare({ index, ledger }, lacking);
  if (changes.length > 0) {
    index.setAllAnchored(changes);
    const lost = changes.filter(({ anchored }) => !anchored).length;
    log.warn('chain-reorganised', { moved: changes.length - lost, lost });
  }
  if (final > 0) log.error('final-anchors-changed', { batches: final });
}

/** The batches that are not where the index has them, and how many of those were called final. */
async function compare({ index, ledger }: Pick<FollowModules, 'index' | 'ledger'>, lacking: number) {
  const changes: { id: Hex; anchored: Anchored | undefined }[] = [];
  let final = 0;
  for (let before: number | undefined; ; ) {
    const page = index.batches(PAGE, before);
    for (const { id, sequence, anchored, finalAt } of page) {
      if (!anchored) continue;
      if (sequence < lacking && (await ledger.hashAt(anchored.blockNumber)) === anchored.blockHash)
        return { changes, final };
      changes.push({ id, anchored: await ledger.find(id) });
      if (finalAt !== undefined) final += 1;
    }
    before = page.at(-1)?.sequence;
    if (before === undefined || before === 0) return { changes, final };
  }
}

function recall(index: Index): { number: number; hash: Hex } | undefined {
  const value = index.getValue(NAME);
  return value === undefined ? undefined : (JSON.parse(value) as { number: number; hash: Hex });
}

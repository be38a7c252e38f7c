import { blockAt, studyEvents } from './anchor-log.ts';
import { checkAnchor, type Step, withoutEvents } from './check-anchor.ts';
import { checkLeaf } from './check-leaf.ts';
import { NotAReceipt, parseStudyReceipt, type StudyReceipt } from './receipt.ts';
import type { Verification, VerifyOptions } from './verify.ts';

export interface StudyVerification extends Verification {
  /** Anchors of the study after the receipt's last: what it does not speak of. */
  later: number;
}

/**
 * Checks that the leaves of a study receipt are all versions of the study that the institution anchored up to the receipt's
 * last batch: each is in its tree, no two are one, they are as many as the study's counter says, and no anchor of the study is left out.
 * @throws DagpacsError `chain-unavailable`, RpcRefusal: nothing could be said
 */
export async function verifyStudy(
  receipt: unknown,
  { rpc, ...expected }: Omit<VerifyOptions, 'file'>,
): Promise<StudyVerification> {
  let parsed: StudyReceipt;
  try {
    parsed = parseStudyReceipt(receipt);
  } catch (error) {
    if (!(error instanceof NotAReceipt)) throw error;
    return { verified: false, steps: [{ step: 'receipt', ok: false, detail: error.message }], later: 0 };
  }
  const { reference, batches, leaves, total } = parsed;
  const steps: Step[] = [{ step: 'receipt', ok: true, detail: 'a study receipt of version 1' }];
  const end = (later = 0) => ({ verified: steps.every(({ ok }) => ok), steps, later });
  const check = (step: Step['step'], ok: boolean, good: string, bad: string) => {
    steps.push({ step, ok, detail: ok ? good : bad });
    return ok;
  };

  const last = batches.at(-1);
  if (!last) {
    check('complete', false, '', 'there is no anchor in the receipt');
    return end();
  }
  const one = batches.every(
    ({ batch, anchor }, i) =>
      anchor.contract === last.anchor.contract &&
      anchor.institution === last.anchor.institution &&
      anchor.chainId === last.anchor.chainId &&
      (i === 0 || batch.sequence > (batches[i - 1]?.batch.sequence ?? 0)),
  );
  if (!check('receipt', one, 'batches of one institution, in order', 'batches of several, or out of order'))
    return end();

  let before = 0;
  for (const [of, { batch, anchor }] of batches.entries()) {
    const inBatch = leaves.filter((leaf) => leaf.of === of);
    for (const leaf of inBatch) {
      const step = await checkLeaf(leaf, reference, batch);
      if (!step.ok) {
        steps.push(step);
        return end();
      }
    }
    const places = new Set(inBatch.map(({ leafIndex }) => leafIndex)).size;
    const { steps: more, totals } = await checkAnchor(batch, anchor, rpc, expected);
    const failure = more.find(({ ok }) => !ok);
    if (failure) {
      steps.push(failure);
      return end();
    }
    const counted = totals.get(reference);
    const whole = counted === before + inBatch.length && places === inBatch.length;
    const good = `batch ${batch.sequence}: ${inBatch.length} leaves of the study, ${counted} in all`;
    const bad = `batch ${batch.sequence}: the chain counts ${counted ?? 'none'} of the study, the receipt has ${before + inBatch.length}`;
    if (!check('study', whole, good, bad)) return end();
    before = counted ?? 0;
  }
  const distinct = new Set(leaves.map(({ node }) => node)).size;
  const all = before === total && leaves.length === total && distinct === total;
  if (
    !check(
      'complete',
      all,
      `all ${total} versions of the study up to batch ${last.batch.sequence}`,
      `the receipt says ${total}, has ${leaves.length} leaves, ${distinct} of them different`,
    )
  )
    return end();
  const head = await blockAt(rpc, 'latest');
  const { contract, institution, blockNumber } = last.anchor;
  const events = await studyEvents(rpc, { contract, institution, reference }, 0, head?.number ?? blockNumber);
  // The contract keeps no counters: an institution may begin its own again, and then its earlier events convict it.
  const named = events.filter(({ sequence }) => sequence <= last.batch.sequence);
  const known = new Set(batches.map(({ batch }) => batch.sequence));
  const missing = batches.find(({ batch }) => !named.some(({ sequence }) => sequence === batch.sequence));
  // Each was found in its block just now.
  if (missing) throw withoutEvents(missing.anchor.blockNumber);
  const whole = named.length === batches.length && named.every(({ sequence }) => known.has(sequence));
  const left = `the chain has ${named.length} anchors of the study by then, the receipt ${batches.length}`;
  if (!whole) check('complete', false, '', left);
  return end(events.length - named.length);
}

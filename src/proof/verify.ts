import { type Hex, sha256, toHex } from './bytes.ts';
import { checkAnchor, type Expectations, type Step } from './check-anchor.ts';
import { checkLeaf } from './check-leaf.ts';
import { NotAReceipt, parseReceipt, type Receipt } from './receipt.ts';
import type { Rpc } from './rpc.ts';

export { httpRpc, type Rpc, RpcRefusal } from './rpc.ts';
export { verifyStudy } from './study.ts';
export type { Expectations, Receipt, Step };

export interface Verification {
  verified: boolean;
  /** What was checked, in order; the last one failed where `verified` is false. */
  steps: Step[];
}

export interface VerifyOptions extends Expectations {
  /** Any node of the chain. */
  rpc: Rpc;
  /** The DICOM file's bytes, or their SHA-256 where they are too many to be held. Without it only the receipt is checked. */
  file?: Uint8Array | { sha256: Hex };
}

/**
 * Checks a receipt, and a file against it, with nothing but a node of the chain: file → leaf → root → contract → block.
 * Needs WebCrypto and, for `httpRpc`, fetch: it runs in browsers and in Node.js.
 * @param receipt the receipt as parsed JSON
 * @throws DagpacsError `chain-unavailable`, RpcRefusal: nothing could be said
 * @example
 * const { verified, steps } = await verifyReceipt(receipt, { file, rpc: httpRpc('https://node.example') });
 */
export async function verifyReceipt(receipt: unknown, options: VerifyOptions): Promise<Verification> {
  let parsed: Receipt;
  try {
    parsed = parseReceipt(receipt);
  } catch (error) {
    if (!(error instanceof NotAReceipt)) throw error;
    return outcome([{ step: 'receipt', ok: false, detail: error.message }]);
  }
  const steps: Step[] = [{ step: 'receipt', ok: true, detail: 'a receipt of version 1' }];
  if (options.file) {
    const digest = options.file instanceof Uint8Array ? toHex(await sha256(options.file)) : options.file.sha256;
    const ok = digest === parsed.digest;
    const detail = ok ? `the file's SHA-256 is ${digest}` : `the file's SHA-256 is ${digest}, not ${parsed.digest}`;
    steps.push({ step: 'file', ok, detail });
    if (!ok) return outcome(steps);
  }
  steps.push(await checkLeaf(parsed, parsed.reference, parsed.batch));
  if (!steps.at(-1)?.ok) return outcome(steps);
  const { steps: more, totals } = await checkAnchor(parsed.batch, parsed.anchor, options.rpc, options);
  steps.push(...more);
  if (!steps.at(-1)?.ok) return outcome(steps);
  const total = totals.get(parsed.reference);
  const ok = total !== undefined;
  const detail = ok
    ? `leaf of study ${parsed.reference}, which has ${total} by then`
    : 'the anchor does not name the study';
  steps.push({ step: 'study', ok, detail });
  return outcome(steps);
}

function outcome(steps: Step[]): Verification {
  return { verified: steps.every(({ ok }) => ok), steps };
}

import { encodeFunctionData, keccak256, type PrivateKeyAccount, parseTransaction } from 'viem';
import { getTransactionCount } from 'viem/actions';
import type { Anchor, SignedTransaction } from '../../ports/ledger.ts';
import { abi } from './anchor-log.ts';
import { type Fees, feesOf, raisedFees } from './fees.ts';
import { askNumber, type Node } from './node.ts';

/**
 * Gas that an anchor may use. A formula, since asking the node would fail while the anchor before is not in a block yet.
 * Measured: 104,618 for a first batch of one study, 70,814 for a later one, 3,214 for each further study.
 */
export function gasLimit(studies: number): bigint {
  return 130_000n + 3_600n * BigInt(studies);
}

/** What a signed transaction pays. */
function feesIn(raw: SignedTransaction['raw']): Fees {
  const { gasPrice, maxFeePerGas, maxPriorityFeePerGas } = parseTransaction(raw);
  if (maxFeePerGas === undefined) return { type: 'legacy', gasPrice: gasPrice ?? 0n };
  return { type: 'eip1559', maxFeePerGas, maxPriorityFeePerGas: maxPriorityFeePerGas ?? 0n };
}

/** What a signed transaction may take from its account: a node refuses it where the account holds less. */
export function highestCost(raw: SignedTransaction['raw']): bigint {
  const { gas = 0n, gasPrice, maxFeePerGas } = parseTransaction(raw);
  return gas * (maxFeePerGas ?? gasPrice ?? 0n);
}

/** Signs anchors for one account, and gives each a nonce of its own until the node knows it. */
export class AnchorSigner {
  readonly #node: Node;
  readonly #account: PrivateKeyAccount;
  readonly #chainId: number;
  readonly #contract: `0x${string}`;
  /** Nonces of transactions that were signed and not handed to the node, by batch. */
  readonly #unsent = new Map<string, { nonce: number; hash: string }>();

  constructor(node: Node, account: PrivateKeyAccount, chainId: number, contract: `0x${string}`) {
    this.#node = node;
    this.#account = account;
    this.#chainId = chainId;
    this.#contract = contract;
  }

  /**
   * Signs a transaction for `anchor`. A batch that is signed again before it was sent keeps its nonce, so that of the two
   * transactions only one can be mined; `replaces` gives its nonce to the new one, which pays more.
   * @throws DagpacsError `chain-unavailable`
   */
  async sign(anchor: Anchor, replaces?: SignedTransaction): Promise<SignedTransaction> {
    const [pending, asked] = await Promise.all([
      askNumber('our nonce', getTransactionCount(this.#node, { address: this.#account.address, blockTag: 'pending' })),
      feesOf(this.#node),
    ]);
    const nonce = replaces?.nonce ?? this.#reserve(anchor.batch, pending);
    const fees = replaces ? raisedFees(feesIn(replaces.raw), asked) : asked;
    const data = encodeFunctionData({
      abi,
      functionName: 'anchor',
      args: [
        anchor.batch,
        BigInt(anchor.sequence),
        anchor.previousRoot,
        anchor.merkleRoot,
        anchor.count,
        anchor.studies.map(({ reference, total }) => ({ studyReference: reference, total: BigInt(total) })),
      ],
    });
    const raw = await this.#account.signTransaction({
      ...fees,
      chainId: this.#chainId,
      to: this.#contract,
      nonce,
      gas: gasLimit(anchor.studies.length),
      data,
    });
    const hash = keccak256(raw);
    if (!replaces) this.#unsent.set(anchor.batch, { nonce, hash });
    return { nonce, hash, raw };
  }

  /** The node has the transaction, and counts it as pending. */
  sent(hash: string): void {
    for (const [batch, unsent] of this.#unsent) if (unsent.hash === hash) this.#unsent.delete(batch);
  }

  /** Synchronous, so that of two calls at once each gets a nonce. */
  #reserve(batch: string, pending: number): number {
    for (const [other, { nonce }] of this.#unsent) if (nonce < pending) this.#unsent.delete(other);
    const again = this.#unsent.get(batch);
    if (again) return again.nonce;
    const taken = new Set(Array.from(this.#unsent.values(), ({ nonce }) => nonce));
    let nonce = pending;
    while (taken.has(nonce)) nonce++;
    this.#unsent.set(batch, { nonce, hash: '' });
    return nonce;
  }
}

import {
  BaseError,
  type ContractFunctionArgs,
  ContractFunctionRevertedError,
  encodeFunctionData,
  getContract,
  type PrivateKeyAccount,
} from 'viem';
import { estimateContractGas, getChainId, getTransactionCount } from 'viem/actions';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Hex } from '../../ports/ledger.ts';
import { abi } from './consortium.ts';
import { knownContract } from './deploy.ts';
import { feesOf } from './fees.ts';
import { accountOf } from './key.ts';
import { ask, askNumber, type Node, nodeAt } from './node.ts';
import type { LedgerOptions } from './options.ts';
import { type Profile, toProfile, toProfileArgument } from './profile.ts';
import { consortiumOf, isAnchorLog } from './recognise.ts';
import { mined, submit } from './transact.ts';

/** An institution of the consortium. */
export interface Member extends Profile {
  account: Hex;
  since: Date;
}

/** Something that members vote on. */
export interface Proposal {
  id: number;
  account: Hex;
  /** Whether to admit; else to remove. */
  admission: boolean;
  approvals: number;
  needed: number;
  /** Whether we have approved it. */
  ours: boolean;
  /** Of an admission. */
  profile: Profile;
}

type Call = 'proposeAdmission' | 'proposeRemoval' | 'approve' | 'revoke' | 'changeProfile' | 'resign';

/** A transaction is looked for in blocks so many times as long as a call may take. */
const PATIENCE = 12;

/**
 * The consortium behind our AnchorLog, as our account takes part in it. A bridge with the same account may run meanwhile: where
 * both take one nonce, one of them is told so and can try again.
 */
export class Governance {
  readonly consortium: Hex;
  readonly account: Hex;
  readonly #node: Node;
  readonly #signer: PrivateKeyAccount;
  readonly #chainId: number;
  readonly #callTimeoutMs: number;

  private constructor(node: Node, signer: PrivateKeyAccount, chainId: number, consortium: Hex, callTimeoutMs: number) {
    this.#node = node;
    this.#signer = signer;
    this.#chainId = chainId;
    this.consortium = consortium;
    this.account = signer.address.toLowerCase() as Hex;
    this.#callTimeoutMs = callTimeoutMs;
  }

  /** @throws DagpacsError `chain-mismatch`, `chain-unavailable`, `bad-setting` */
  static async open(rpc: string, options: LedgerOptions): Promise<Governance> {
    const node = nodeAt(rpc, options.callTimeoutMs, new AbortController().signal);
    const contract = options.contract ?? (await knownContract(options.directory));
    if (!contract) throw new DagpacsError('bad-setting', 'no contract is known: set it, or run dagpacs chain init');
    if (!(await isAnchorLog(node, contract)))
      throw new DagpacsError('chain-mismatch', 'there is no AnchorLog at the contract’s address');
    const consortium = await consortiumOf(node, contract);
    if (!consortium) throw new DagpacsError('chain-mismatch', 'the members of this AnchorLog are fixed');
    const [signer, chainId] = [await accountOf(options), await askNumber('the chain id', getChainId(node))];
    return new Governance(node, signer, chainId, consortium, options.callTimeoutMs);
  }

  /** The members that are present, by their time. @throws DagpacsError `chain-unavailable` */
  async members(): Promise<Member[]> {
    const accounts = await this.#read(({ members }) => members());
    const members = await Promise.all(accounts.map(async (account) => this.#member(account)));
    return members.sort((a, b) => a.since.getTime() - b.since.getTime());
  }

  /** Our profile; undefined where we are no member. @throws DagpacsError `chain-unavailable` */
  async ownProfile(): Promise<Profile | undefined> {
    if (!(await this.#read(({ isMember }) => isMember([this.account])))) return undefined;
    const { curve, key, endpoint } = await this.#member(this.account);
    return { curve, key, endpoint };
  }

  /** The proposals that can still be carried out, oldest first. @throws DagpacsError `chain-unavailable` */
  async proposals(): Promise<Proposal[]> {
    const count = Number(await this.#read(({ proposals }) => proposals()));
    const needed = Number(await this.#read(({ threshold }) => threshold()));
    const found: Proposal[] = [];
    for (let id = 0; id < count; id++) {
      const asked = BigInt(id);
      const [account, admission, open, approvals, profile] = await this.#read(({ proposal }) => proposal([asked]));
      if (!open) continue;
      found.push({
        id,
        account: account.toLowerCase() as Hex,
        admission,
        approvals: Number(approvals),
        needed,
        ours: await this.#read(({ hasApproved }) => hasApproved([asked, this.account])),
        profile: toProfile(profile),
      });
    }
    return found;
  }

  /** @returns the proposal's number, and whether it was carried out at once. @throws as {@link approve} */
  async proposeAdmission(account: Hex, profile: Profile): Promise<{ id: number; done: boolean }> {
    await this.#transact('proposeAdmission', [account, toProfileArgument(profile)]);
    return this.#newest(account, true);
  }

  /** @returns the proposal's number, and whether it was carried out at once. @throws as {@link approve} */
  async proposeRemoval(account: Hex): Promise<{ id: number; done: boolean }> {
    await this.#transact('proposeRemoval', [account]);
    return this.#newest(account, false);
  }

  /**
   * @returns whether the proposal was carried out by it
   * @throws DagpacsError `transaction-refused` with the contract's reason, `chain-unavailable`
   */
  async approve(id: number): Promise<boolean> {
    await this.#transact('approve', [BigInt(id)]);
    return !(await this.#read(({ proposal }) => proposal([BigInt(id)])))[2];
  }

  /** Takes our approval back. @throws as {@link approve} */
  async revoke(id: number): Promise<void> {
    await this.#transact('revoke', [BigInt(id)]);
  }

  /** @throws as {@link approve} */
  async changeProfile(profile: Profile): Promise<void> {
    await this.#transact('changeProfile', [toProfileArgument(profile)]);
  }

  /** Ends our membership. @throws as {@link approve} */
  async resign(): Promise<void> {
    await this.#transact('resign', []);
  }

  async #member(account: Hex): Promise<Member> {
    const [since, , profile] = await this.#read(({ member }) => member([account]));
    return { account: account.toLowerCase() as Hex, since: new Date(1000 * Number(since)), ...toProfile(profile) };
  }

  /** The last proposal about an account: the one that was just made, unless another made one like it a moment later. */
  async #newest(account: Hex, admission: boolean): Promise<{ id: number; done: boolean }> {
    for (let id = Number(await this.#read(({ proposals }) => proposals())) - 1; id >= 0; id--) {
      const [about, admits, open] = await this.#read(({ proposal }) => proposal([BigInt(id)]));
      if (about.toLowerCase() === account.toLowerCase() && admits === admission) return { id, done: !open };
    }
    throw new DagpacsError('chain-unavailable', 'the proposal is not there (any more)');
  }

  /** @throws DagpacsError `chain-unavailable` */
  #read<T>(view: (views: ReturnType<typeof contractAt>['read']) => Promise<T>): Promise<T> {
    return ask('the consortium', view(contractAt(this.#node, this.consortium).read));
  }

  /** Asks the node what the call would do, which gives the contract's reason where it refuses, then sends it and waits. */
  async #transact<Name extends Call>(functionName: Name, args: ContractFunctionArgs<typeof abi, 'nonpayable', Name>) {
    const request = { abi, address: this.consortium, functionName, args, account: this.#signer.address };
    let gas: bigint;
    try {
      gas = await estimateContractGas(this.#node, request as Parameters<typeof estimateContractGas>[1]);
    } catch (error) {
      throw refusal(error) ?? (await ask('the consortium', Promise.reject(error)));
    }
    const { address } = this.#signer;
    const nonce = await askNumber('our nonce', getTransactionCount(this.#node, { address, blockTag: 'pending' }));
    const data = encodeFunctionData({ abi, functionName, args } as Parameters<typeof encodeFunctionData>[0]);
    const hash = await submit(
      { node: this.#node, account: this.#signer, chainId: this.#chainId },
      // What others do meanwhile may make it cost more.
      { to: this.consortium, data, gas: (gas * 3n) / 2n, nonce, fees: await feesOf(this.#node) },
    );
    const until = Date.now() + PATIENCE * this.#callTimeoutMs;
    await mined(this.#node, hash, until, new AbortController().signal);
  }
}

function contractAt(client: Node, address: Hex) {
  return getContract({ abi, address, client });
}

/** The contract's reason, where it was that which refused. */
function refusal(error: unknown): DagpacsError | undefined {
  const reverted =
    error instanceof BaseError ? error.walk((cause) => cause instanceof ContractFunctionRevertedError) : undefined;
  if (!(reverted instanceof ContractFunctionRevertedError)) return undefined;
  const { errorName = 'no reason', args = [] } = reverted.data ?? {};
  return new DagpacsError('transaction-refused', `the consortium refuses: ${errorName}(${args.join(', ')})`);
}

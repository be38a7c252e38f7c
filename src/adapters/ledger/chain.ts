import { BaseError, ContractFunctionZeroDataError, encodeEventTopics, numberToHex, type PrivateKeyAccount } from 'viem';
import { getBalance, getBlock, getChainId, getTransactionCount, readContract, sendRawTransaction } from 'viem/actions';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Anchored, Hex, LedgerStatus, SignedTransaction } from '../../ports/ledger.ts';
import { anchorsOf, isoTime } from './anchor-events.ts';
import { abi } from './anchor-log.ts';
import { AnchorSigner, highestCost } from './anchor-transaction.ts';
import type { Anvil } from './anvil.ts';
import { contractOn } from './deploy.ts';
import { accountOf } from './key.ts';
import { ask, askNumber, type Node, nodeAt, reasonOf, refusalOf } from './node.ts';
import type { LedgerOptions } from './options.ts';
import { isAnchorLog } from './recognise.ts';

/** Ether that our account gets on the child anvil, and below which it gets it again. */
const ALLOWANCE = 10n ** 24n;

/** Blocks after which a block is final where the node has no notion of it. */
const FALLBACK_DEPTH = 64;

/** A chain that is up, with the contract on it. */
export class Chain {
  readonly chainId: number;
  readonly contract: Hex;
  readonly #node: Node;
  readonly #account: PrivateKeyAccount;
  readonly #anvil: Anvil | undefined;
  readonly #genesis: Hex;
  readonly #options: LedgerOptions;
  readonly #signer: AnchorSigner;

  private constructor(
    node: Node,
    account: PrivateKeyAccount,
    chainId: number,
    genesis: Hex,
    contract: Hex,
    anvil: Anvil | undefined,
    options: LedgerOptions,
  ) {
    this.#node = node;
    this.#genesis = genesis;
    this.#account = account;
    this.chainId = chainId;
    this.contract = contract;
    this.#anvil = anvil;
    this.#options = options;
    this.#signer = new AnchorSigner(node, account, chainId, contract);
  }

  /**
   * Connects, and deploys the contract where that is to be done. `signal` ends every call, then and later.
   * @throws DagpacsError `chain-unavailable`, `chain-mismatch`, `bad-setting`, `storage-failed`
   */
  static async connect(
    url: string,
    anvil: Anvil | undefined,
    options: LedgerOptions,
    log: Log,
    signal: AbortSignal,
  ): Promise<Chain> {
    const node = nodeAt(url, options.callTimeoutMs, signal);
    const account = await accountOf(options);
    const [chainId, genesis] = await Promise.all([
      askNumber('the chain id', getChainId(node)),
      ask('the first block', getBlock(node, { blockNumber: 0n })),
    ]);
    if (anvil) await fund(node, account.address);
    const place = { node, chainId, genesis: genesis.hash, account, own: anvil !== undefined, signal };
    const contract = await contractOn(place, options, log);
    if (anvil) {
      anvil.touch();
      await anvil.save();
    }
    const chain = new Chain(node, account, chainId, genesis.hash, contract, anvil, options);
    await chain.#mustBeMember();
    return chain;
  }

  /** As in the port; `unreachable` while the node does not answer. */
  async status(): Promise<LedgerStatus> {
    const own = this.#anvil ? { url: this.#anvil.url } : {};
    const known = { chainId: this.chainId, contract: this.contract, sender: this.#sender, ...own };
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Late()), this.#options.statusTimeoutMs);
    try {
      const { number, hash, timestamp } = await Promise.race([getBlock(this.#node), late.promise]);
      if (!hash || typeof number !== 'bigint' || typeof timestamp !== 'bigint') {
        return { state: 'unreachable', ...known, reason: 'the node answers nonsense' };
      }
      return { state: 'connected', ...known, head: { number: Number(number), hash, time: isoTime(timestamp) } };
    } catch (error) {
      const reason = error instanceof Late ? 'the node does not answer in time' : reasonOf(error);
      return { state: 'unreachable', ...known, reason };
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Looks again whether the node is on the chain that we connected to, with the contract on it, and whether we may anchor: a
   * node may be created anew, or its address given to another, and the consortium may remove us, while we are connected.
   * @throws DagpacsError `chain-mismatch`, `chain-unavailable`
   */
  async identify(): Promise<void> {
    const [chainId, genesis, code] = await Promise.all([
      askNumber('the chain id', getChainId(this.#node)),
      this.hashAt(0),
      isAnchorLog(this.#node, this.contract),
    ]);
    if (chainId !== this.chainId || genesis !== this.#genesis)
      throw new DagpacsError('chain-mismatch', 'the node is on another chain than before');
    if (!code) throw new DagpacsError('chain-mismatch', 'the contract is gone from the chain');
    await this.#mustBeMember();
  }

  async next(): Promise<{ sequence: number; previousRoot: Hex }> {
    const [root, sequence] = await this.#view(
      readContract(this.#node, { abi, address: this.contract, functionName: 'head', args: [this.#sender] }),
    );
    return { sequence: Number(sequence), previousRoot: root };
  }

  async find(batch: Hex): Promise<Anchored | undefined> {
    const [blockNumber] = await this.#view(
      readContract(this.#node, { abi, address: this.contract, functionName: 'anchorOf', args: [this.#sender, batch] }),
    );
    if (blockNumber === 0n) return undefined;
    const block = await this.#blockAt(blockNumber);
    // Anvil shows what a block did to the state a moment before it shows the block.
    if (!block?.hash) return undefined;
    const topics = encodeEventTopics({ abi, eventName: 'Anchored', args: { institution: this.#sender, batch } });
    const filter = { address: this.contract, blockHash: block.hash, topics };
    const [log] = await ask('the anchor', this.#node.request({ method: 'eth_getLogs', params: [filter] }));
    // A reorganisation between the calls: who asks again will know.
    if (!log?.transactionHash) return undefined;
    return {
      transactionHash: log.transactionHash,
      blockNumber: Number(blockNumber),
      blockHash: block.hash,
      blockTime: isoTime(BigInt(block.timestamp)),
    };
  }

  anchors(): ReturnType<typeof anchorsOf> {
    return anchorsOf(this.#node, this.contract, this.#sender);
  }

  async nextNonce(): Promise<{ confirmed: number; pending: number }> {
    const count = (blockTag: 'latest' | 'pending') =>
      askNumber('our nonce', getTransactionCount(this.#node, { address: this.#sender, blockTag }));
    const [confirmed, pending] = await Promise.all([count('latest'), count('pending')]);
    return { confirmed, pending };
  }

  sign = (...args: Parameters<AnchorSigner['sign']>): Promise<SignedTransaction> => this.#signer.sign(...args);

  async broadcast({ raw, hash }: SignedTransaction): Promise<void> {
    try {
      await sendRawTransaction(this.#node, { serializedTransaction: raw });
    } catch (error) {
      // Nodes have many words for "I have that already"; whether it has it is the question.
      const refusal = refusalOf(error);
      if (!refusal) await ask('sending a transaction', Promise.reject(error));
      if (!(await this.#knows(hash))) {
        await this.#mustAfford(raw);
        throw new DagpacsError('transaction-refused', `the node refuses a transaction: ${reasonOf(error)}`);
      }
    }
    this.#signer.sent(hash);
    this.#anvil?.touch();
  }

  /** On the child anvil nothing is reorganised, and what is on disk is final. */
  async finalized(): Promise<number> {
    if (this.#anvil) return this.#anvil.durable();
    const depth = this.#options.finalityDepth;
    if (depth === undefined) {
      try {
        const { number } = await getBlock(this.#node, { blockTag: 'finalized' });
        return Number(number);
      } catch (error) {
        // Without an answer there is nothing to conclude; a refusal or an empty answer says that there is no such block.
        if (!refusalOf(error) && (error as Error).name !== 'BlockNotFoundError')
          await ask('finality', Promise.reject(error));
      }
    }
    const head = await ask('the head', getBlock(this.#node, { blockTag: 'latest' }));
    return Math.max(0, Number(head.number) - (depth ?? FALLBACK_DEPTH));
  }

  async hashAt(height: number): Promise<Hex | undefined> {
    return (await this.#blockAt(BigInt(height)))?.hash ?? undefined;
  }

  get #sender(): Hex {
    return this.#account.address.toLowerCase() as Hex;
  }

  async #mustBeMember(): Promise<void> {
    const asked = readContract(this.#node, {
      abi,
      address: this.contract,
      functionName: 'isMember',
      args: [this.#sender],
    });
    if (!(await this.#view(asked)))
      throw new DagpacsError('chain-mismatch', 'our account is not a member of the consortium');
  }

  /** Said apart from other refusals: a higher fee is no remedy. @throws DagpacsError `account-empty` */
  async #mustAfford(raw: Hex): Promise<void> {
    const held = await ask('our balance', getBalance(this.#node, { address: this.#sender }));
    if (held >= highestCost(raw)) return;
    throw new DagpacsError('account-empty', `our account cannot pay for an anchor: send ether to ${this.#sender}`);
  }

  /** The block's header, or null where the chain is not that long. */
  #blockAt(number: bigint) {
    const params: [Hex, false] = [numberToHex(number), false];
    return ask('a block', this.#node.request({ method: 'eth_getBlockByNumber', params }));
  }

  async #knows(hash: Hex): Promise<boolean> {
    const found = await ask(
      'a transaction',
      this.#node.request({ method: 'eth_getTransactionByHash', params: [hash] }),
    );
    return found !== null;
  }

  /** Waits for a view of the contract. A contract that is not there answers with nothing. */
  async #view<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      if (error instanceof BaseError && error.walk((cause) => cause instanceof ContractFunctionZeroDataError))
        throw new DagpacsError('chain-mismatch', 'the contract is gone from the chain');
      return ask('the contract', Promise.reject(error));
    }
  }
}

class Late extends Error {}

async function fund(node: Node, address: Hex): Promise<void> {
  if ((await ask('our balance', getBalance(node, { address }))) >= ALLOWANCE / 2n) return;
  const call = node.request as unknown as (call: { method: string; params: unknown[] }) => Promise<unknown>;
  await ask('funding our account', call({ method: 'anvil_setBalance', params: [address, numberToHex(ALLOWANCE)] }));
}

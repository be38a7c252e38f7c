import { getBalance, getBlock, getChainId, getGasPrice, readContract } from 'viem/actions';
import type { Hex } from '../../ports/ledger.ts';
import { abi } from './anchor-log.ts';
import { gasLimit } from './anchor-transaction.ts';
import { knownContract } from './deploy.ts';
import { heldAccount } from './key.ts';
import { ask, askNumber, nodeAt } from './node.ts';
import type { LedgerOptions } from './options.ts';
import { isAnchorLog } from './recognise.ts';

/** What a look at the chain finds; nothing is made or sent. */
export interface ChainReport {
  chainId: number;
  head: { number: number; time: Date };
  /** Undefined where none has been made. */
  account?: Hex;
  contract?: Hex;
  /** Whether an AnchorLog is at the contract's address. */
  deployed: boolean;
  member: boolean;
  /** Anchors of ten studies that the account can pay at the price of now; undefined where gas costs nothing. */
  anchorsLeft?: number;
}

/** Looks at an outside chain as a bridge would use it. @throws DagpacsError `chain-unavailable`, `chain-mismatch`, `bad-setting` */
export async function inspectChain(rpc: string, options: LedgerOptions): Promise<ChainReport> {
  const node = nodeAt(rpc, options.callTimeoutMs, AbortSignal.timeout(6 * options.callTimeoutMs));
  const account = await heldAccount(options);
  const contract = options.contract ?? (await knownContract(options.directory));
  const [chainId, head, price] = await Promise.all([
    askNumber('the chain id', getChainId(node)),
    ask('the head', getBlock(node)),
    ask('the gas price', getGasPrice(node)),
  ]);
  const deployed = contract !== undefined && (await isAnchorLog(node, contract));
  const report: ChainReport = {
    chainId,
    head: { number: Number(head.number), time: new Date(1000 * Number(head.timestamp)) },
    deployed,
    member: false,
  };
  if (contract !== undefined) report.contract = contract;
  if (!account) return report;
  report.account = account.address.toLowerCase() as Hex;
  const { address } = account;
  if (contract !== undefined && deployed) {
    const member = readContract(node, { abi, address: contract, functionName: 'isMember', args: [address] });
    report.member = await ask('the contract', member);
  }
  if (price > 0n) {
    const balance = await ask('our balance', getBalance(node, { address }));
    report.anchorsLeft = Number(balance / (price * gasLimit(10)));
  }
  return report;
}

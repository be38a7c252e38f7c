import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { concatHex, encodeAbiParameters, type Hash, keccak256, type PrivateKeyAccount } from 'viem';
import { getCode, getTransactionCount, getTransactionReceipt, sendRawTransaction } from 'viem/actions';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Hex } from '../../ports/ledger.ts';
import { bytecode, codeHash } from './anchor-log.ts';
import { readIfThere, writeDurably } from './durable-file.ts';
import { feesOf } from './fees.ts';
import { ask, askNumber, type Node, refusalOf } from './node.ts';
import type { LedgerOptions } from './options.ts';

/** What is remembered of the chain that this data directory is anchored on: `deployment.json`. */
interface Deployment {
  chainId: number;
  /** Hash of block 0: it tells chains apart that share an id. */
  genesis: Hex;
  contract: Hex;
}

/** A connected node, and whose account uses it. */
export interface Place {
  node: Node;
  chainId: number;
  genesis: Hex;
  account: PrivateKeyAccount;
  /** The chain is our child's: we may begin it anew. */
  own: boolean;
  /** Ends all waiting. */
  signal: AbortSignal;
}

const GAS_LIMIT = 1_500_000n;

/**
 * The address of AnchorLog: the one deployed before, the one that is set, or, on the first start, a new one's. The child
 * anvil may have lost it in a crash and gets a new one; on an outside chain that is not done, because it would hide that
 * all anchors are gone.
 * @throws DagpacsError `chain-mismatch`, `chain-unavailable`, `storage-failed`
 */
export async function contractOn(
  place: Place,
  options: Pick<LedgerOptions, 'directory' | 'contract' | 'members' | 'callTimeoutMs'>,
  log: Log,
): Promise<Hex> {
  const { node, chainId, genesis, own } = place;
  const path = deploymentPath(options.directory);
  const known = parse(await readIfThere(path), path);
  if (known && !own) {
    if (known.chainId !== chainId || known.genesis !== genesis)
      throw mismatch('this is not the chain that the data directory was anchored on');
    if (options.contract && options.contract.toLowerCase() !== known.contract)
      throw mismatch('this is not the contract that the data directory was anchored on');
  }
  const contract = known?.contract ?? options.contract;
  if (contract) {
    if (await isAnchorLog(node, contract)) {
      if (!known) await remember(path, { chainId, genesis, contract });
      return contract;
    }
    if (!own) throw mismatch('there is no AnchorLog at the contract’s address');
    log.warn('contract-lost', { contract });
  }
  const deployed = await deploy(place, options);
  await remember(path, { chainId, genesis, contract: deployed });
  log.info('contract-deployed', { contract: deployed, chainId });
  return deployed;
}

/** The contract that a data directory was anchored on before, where it was. @throws DagpacsError `chain-mismatch`, `storage-failed` */
export async function knownContract(directory: string): Promise<Hex | undefined> {
  const path = deploymentPath(directory);
  return parse(await readIfThere(path), path)?.contract;
}

function deploymentPath(directory: string): string {
  return join(directory, 'deployment.json');
}

/** Whether the code at an address is AnchorLog's. @throws DagpacsError `chain-unavailable` */
export async function isAnchorLog(node: Node, address: Hex): Promise<boolean> {
  const code = await ask('the contract’s code', getCode(node, { address }));
  return code !== undefined && keccak256(code) === codeHash;
}

async function deploy(place: Place, options: Pick<LedgerOptions, 'members' | 'callTimeoutMs'>): Promise<Hex> {
  const { node, account, chainId, signal } = place;
  const own = account.address.toLowerCase() as Hex;
  const members = [...new Set([own, ...(options.members ?? [])])];
  const data = concatHex([bytecode, encodeAbiParameters([{ type: 'address[]' }], [members])]);
  const nonce = await askNumber(
    'our nonce',
    getTransactionCount(node, { address: account.address, blockTag: 'pending' }),
  );
  const fees = await feesOf(node);
  const raw = await account.signTransaction({ ...fees, chainId, nonce, gas: GAS_LIMIT, data });
  const hash = await ask('deploying the contract', sendRawTransaction(node, { serializedTransaction: raw }));
  const contract = await mined(node, hash, Date.now() + 6 * options.callTimeoutMs, signal);
  if (await isAnchorLog(node, contract)) return contract;
  throw new DagpacsError('chain-unavailable', 'the contract was deployed, but its code is not what was sent');
}

/** Waits until the deployment is in a block, and gives the contract's address. */
async function mined(node: Node, hash: Hash, until: number, signal: AbortSignal): Promise<Hex> {
  for (let pause = 25; Date.now() < until; pause = Math.min(2 * pause, 1000)) {
    try {
      const receipt = await getTransactionReceipt(node, { hash });
      if (receipt.status === 'success' && receipt.contractAddress) return receipt.contractAddress.toLowerCase() as Hex;
      throw new DagpacsError('chain-unavailable', 'the chain reverted the deployment of the contract');
    } catch (error) {
      // No receipt is how the node says "not yet"; a call that failed is asked again too, until the time is up.
      if (error instanceof DagpacsError || refusalOf(error)) throw error;
    }
    await delay(pause, undefined, { signal });
  }
  throw new DagpacsError('chain-unavailable', 'the deployment of the contract is in no block yet');
}

function remember(path: string, deployment: Deployment): Promise<void> {
  return writeDurably(path, `${JSON.stringify(deployment, undefined, 2)}\n`);
}

function parse(file: Buffer | undefined, path: string): Deployment | undefined {
  if (!file) return undefined;
  try {
    const { chainId, genesis, contract } = JSON.parse(file.toString()) as Deployment;
    if (Number.isInteger(chainId) && genesis.startsWith('0x') && contract.startsWith('0x'))
      return { chainId, genesis, contract };
  } catch {
    // Falls through to the one message for all that it may be.
  }
  throw new DagpacsError('chain-mismatch', `${path} cannot be read as a deployment`);
}

function mismatch(message: string): DagpacsError {
  return new DagpacsError('chain-mismatch', message);
}

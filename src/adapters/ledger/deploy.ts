import { join } from 'node:path';
import { concatHex, encodeAbiParameters, encodeDeployData, getContractAddress, type PrivateKeyAccount } from 'viem';
import { getTransactionCount } from 'viem/actions';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Hex } from '../../ports/ledger.ts';
import { bytecode } from './anchor-log.ts';
import * as consortium from './consortium.ts';
import { readIfThere, writeDurably } from './durable-file.ts';
import { feesOf } from './fees.ts';
import { askNumber, type Node } from './node.ts';
import type { LedgerOptions } from './options.ts';
import { toProfileArgument } from './profile.ts';
import { consortiumOf, isAnchorLog } from './recognise.ts';
import { mined, submit } from './transact.ts';

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

type DeployOptions = Pick<LedgerOptions, 'directory' | 'contract' | 'profile' | 'callTimeoutMs'>;

/** Measured: 3,2 million with an endpoint of 512 bytes, and 0.7 million. */
const CONSORTIUM_GAS = 4_500_000n;
const ANCHOR_LOG_GAS = 1_500_000n;

/**
 * The address of AnchorLog: the one deployed before, the one that is set, or, on the first start, a new one's, with a
 * Consortium of which we are the first member. The child anvil may have lost it in a crash and gets a new one; on an outside
 * chain that is not done, because it would hide that all anchors are gone.
 * @throws DagpacsError `chain-mismatch`, `chain-unavailable`, `transaction-refused`, `bad-setting`, `storage-failed`
 */
export async function contractOn(place: Place, options: DeployOptions, log: Log): Promise<Hex> {
  const { node, chainId, genesis, own } = place;
  const path = deploymentPath(options.directory);
  const known = parse(await readIfThere(path), path);
  if (known && !own) {
    if (known.chainId !== chainId || known.genesis !== genesis)
      throw mismatch('this is not the chain that the data directory was anchored on');
    if (options.contract && options.contract.toLowerCase() !== known.contract)
      throw mismatch('this is not the contract that the data directory was anchored on');
  }
  const contract = known?.contract ?? (options.contract?.toLowerCase() as Hex | undefined);
  if (contract) {
    if (await isAnchorLog(node, contract)) {
      await consortiumOf(node, contract);
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

/** Both contracts are sent at once: the second knows the first by the address that our nonce gives it. */
async function deploy(place: Place, { profile, callTimeoutMs }: DeployOptions): Promise<Hex> {
  const { node, account, signal } = place;
  if (!profile)
    throw new DagpacsError('bad-setting', 'there is no contract, and no profile to found a consortium with');
  const founder = toProfileArgument(await profile());
  const { address } = account;
  const nonce = await askNumber('our nonce', getTransactionCount(node, { address, blockTag: 'pending' }));
  const fees = await feesOf(node);
  const members = getContractAddress({ from: address, nonce: BigInt(nonce) });
  const data = {
    consortium: encodeDeployData({ abi: consortium.abi, bytecode: consortium.bytecode, args: [founder] }),
    anchorLog: concatHex([bytecode, encodeAbiParameters([{ type: 'address' }], [members])]),
  };
  const hashes = [
    await submit(place, { fees, nonce, gas: CONSORTIUM_GAS, data: data.consortium }),
    await submit(place, { fees, nonce: nonce + 1, gas: ANCHOR_LOG_GAS, data: data.anchorLog }),
  ];
  const until = Date.now() + 6 * callTimeoutMs;
  for (const hash of hashes) await mined(node, hash, until, signal);
  const contract = getContractAddress({ from: address, nonce: BigInt(nonce + 1) }).toLowerCase() as Hex;
  if ((await isAnchorLog(node, contract)) && (await consortiumOf(node, contract))) return contract;
  throw new DagpacsError('chain-unavailable', 'the contract was deployed, but its code is not what was sent');
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

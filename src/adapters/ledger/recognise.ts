import { keccak256 } from 'viem';
import { getCode, readContract } from 'viem/actions';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Hex } from '../../ports/ledger.ts';
import { abi, codeHash } from './anchor-log.ts';
import { codeHash as consortiumCodeHash } from './consortium.ts';
import { ask, type Node } from './node.ts';

/** An AnchorLog whose members were fixed when it was deployed: what was anchored there goes on there. */
const FIXED_MEMBERS = '0x485d2df4da419239179a58c09a9b3720c508acab1dbe26107591abb48d3491a9';

/** Whether the code at an address is an AnchorLog's. @throws DagpacsError `chain-unavailable` */
export async function isAnchorLog(node: Node, address: Hex): Promise<boolean> {
  const hash = await codeHashAt(node, address);
  return hash === codeHash || hash === FIXED_MEMBERS;
}

/**
 * The consortium of an AnchorLog; undefined where its members are fixed.
 * @throws DagpacsError `chain-mismatch` where what stands behind it is no Consortium, `chain-unavailable`
 */
export async function consortiumOf(node: Node, log: Hex): Promise<Hex | undefined> {
  if ((await codeHashAt(node, log)) === FIXED_MEMBERS) return undefined;
  const asked = readContract(node, { abi, address: log, functionName: 'consortium' });
  const consortium = (await ask('the consortium', asked)).toLowerCase() as Hex;
  if ((await codeHashAt(node, consortium)) === consortiumCodeHash) return consortium;
  throw new DagpacsError('chain-mismatch', 'what the AnchorLog takes for its consortium is none');
}

async function codeHashAt(node: Node, address: Hex): Promise<Hex | undefined> {
  const code = await ask('the contract’s code', getCode(node, { address }));
  return code && keccak256(code);
}

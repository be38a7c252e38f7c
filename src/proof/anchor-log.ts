import { fromHex, type Hex, sha256, toHex } from './bytes.ts';
import { nonsense, type Rpc, RpcRefusal } from './rpc.ts';

/** AnchorLog as a verifier reads it (contracts/interfaces/IAnchorLog.sol). */

/** SHA-256 of the code of every AnchorLog that keeps the rules a receipt relies on. */
const CODE = new Set<string>([
  // Members fixed at its deployment.
  '0xd07ec9248892061681de7d7555388c2f457e9929f54539d575d2b94af9805c04',
  // For the members of a Consortium.
  '0xb21e69072680b806bfdc1333194ced3ff19bbd3ca4f0db2facc0c2956f65686e',
]);
/** `anchorOf(address,bytes32)` */
const ANCHOR_OF = '0xecbe7ca5';
/** `Anchored(address,bytes32,uint64,bytes32,bytes32,uint32)` */
const ANCHORED = '0xbeaa0b8aa6e9b8ac9970b5efae09ce8a505df2a3489e608a04038d55e64a846e';
/** `StudyAnchored(bytes32,address,uint64,uint64)` */
const STUDY_ANCHORED = '0x106ea857eec87a58800bd49ad5cd2224cc850fbf36d89dc53866ae9768d5e378';

export interface Block {
  number: number;
  hash: Hex;
  /** ISO 8601. */
  time: string;
}

/** An event as the node gives it. */
interface Log {
  topics: Hex[];
  /** The words of its data. */
  words: Hex[];
  transactionHash: Hex;
  blockNumber: number;
}

export interface AnchoredEvent {
  transactionHash: Hex;
  sequence: number;
  previousRoot: Hex;
  merkleRoot: Hex;
  count: number;
}

export interface StudyEvent {
  transactionHash: Hex;
  blockNumber: number;
  sequence: number;
  total: number;
}

export async function chainIdOf(rpc: Rpc): Promise<number> {
  return numberOf('eth_chainId', await rpc('eth_chainId', []));
}

/** Whether the code at the address is an AnchorLog's. */
export async function isAnchorLog(rpc: Rpc, contract: Hex): Promise<boolean> {
  const code = await rpc('eth_getCode', [contract, 'latest']);
  const bytes = typeof code === 'string' ? fromHex(code) : undefined;
  if (!bytes) throw nonsense('eth_getCode');
  return CODE.has(toHex(await sha256(bytes)));
}

/** Where the contract's state says that a batch is; block 0: nowhere. */
export async function anchorOf(
  rpc: Rpc,
  contract: Hex,
  institution: Hex,
  batch: Hex,
): Promise<{ blockNumber: number; sequence: number }> {
  const data = `${ANCHOR_OF}${addressWord(institution).slice(2)}${batch.slice(2)}`;
  const words = wordsOf('eth_call', await rpc('eth_call', [{ to: contract, data }, 'latest']));
  const [blockNumber, sequence] = words;
  if (words.length !== 2 || !blockNumber || !sequence) throw nonsense('eth_call');
  return { blockNumber: numberOf('eth_call', blockNumber), sequence: numberOf('eth_call', sequence) };
}

/** A block of the chain as it is now; undefined where it is not that long. */
export async function blockAt(rpc: Rpc, number: number | 'latest'): Promise<Block | undefined> {
  const method = 'eth_getBlockByNumber';
  const block = await rpc(method, [typeof number === 'number' ? toQuantity(number) : number, false]);
  if (block === null) return undefined;
  const { hash, number: height, timestamp } = objectOf(method, block);
  const seconds = numberOf(method, timestamp);
  const time = new Date(1000 * seconds);
  if (Number.isNaN(time.getTime())) throw nonsense(method);
  return { number: numberOf(method, height), hash: hexOf(method, hash), time: time.toISOString() };
}

/** The events of a batch in its block: its anchor, and the total of each of its studies by reference. */
export async function eventsOf(
  rpc: Rpc,
  contract: Hex,
  institution: Hex,
  batch: Hex,
  blockHash: Hex,
): Promise<{ anchored: AnchoredEvent; totals: Map<Hex, number> } | undefined> {
  const logs = await logsOf(rpc, { address: contract, blockHash, topics: [[ANCHORED, STUDY_ANCHORED]] });
  const by = addressWord(institution);
  const anchor = logs.find(({ topics: [event, from, id] }) => event === ANCHORED && from === by && id === batch);
  if (!anchor) return undefined;
  const [sequence, previousRoot, merkleRoot, count] = [anchor.topics[3], ...anchor.words];
  if (!sequence || !previousRoot || !merkleRoot || !count || anchor.words.length !== 3) throw nonsense('eth_getLogs');
  const anchored = {
    transactionHash: anchor.transactionHash,
    sequence: numberOf('eth_getLogs', sequence),
    previousRoot,
    merkleRoot,
    count: numberOf('eth_getLogs', count),
  };
  const totals = new Map<Hex, number>();
  for (const log of logs) {
    const [event, reference, from] = log.topics;
    if (event !== STUDY_ANCHORED || from !== by || reference === undefined) continue;
    const study = studyEventOf(log);
    if (study.transactionHash === anchored.transactionHash && study.sequence === anchored.sequence) {
      totals.set(reference, study.total);
    }
  }
  return { anchored, totals };
}

/** Every event of a study in the blocks `from` to `to`, in ranges as large as the node allows. */
export async function studyEvents(
  rpc: Rpc,
  { contract, institution, reference }: { contract: Hex; institution: Hex; reference: Hex },
  from: number,
  to: number,
): Promise<StudyEvent[]> {
  if (from > to) return [];
  const filter = {
    address: contract,
    fromBlock: toQuantity(from),
    toBlock: toQuantity(to),
    topics: [STUDY_ANCHORED, reference, addressWord(institution)],
  };
  try {
    return (await logsOf(rpc, filter)).map(studyEventOf);
  } catch (error) {
    if (!(error instanceof RpcRefusal) || from === to) throw error;
  }
  const middle = Math.floor((from + to) / 2);
  const place = { contract, institution, reference };
  return [...(await studyEvents(rpc, place, from, middle)), ...(await studyEvents(rpc, place, middle + 1, to))];
}

function studyEventOf({ words, transactionHash, blockNumber }: Log): StudyEvent {
  const [sequence, total] = words;
  if (!sequence || !total || words.length !== 2) throw nonsense('eth_getLogs');
  return {
    transactionHash,
    blockNumber,
    sequence: numberOf('eth_getLogs', sequence),
    total: numberOf('eth_getLogs', total),
  };
}

async function logsOf(rpc: Rpc, filter: object): Promise<Log[]> {
  const method = 'eth_getLogs';
  const logs = await rpc(method, [filter]);
  if (!Array.isArray(logs)) throw nonsense(method);
  return logs.map((each) => {
    const { topics, data, transactionHash, blockNumber } = objectOf(method, each);
    if (!Array.isArray(topics)) throw nonsense(method);
    return {
      topics: topics.map((topic) => hexOf(method, topic)),
      words: wordsOf(method, data),
      transactionHash: hexOf(method, transactionHash),
      blockNumber: numberOf(method, blockNumber),
    };
  });
}

function objectOf(method: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw nonsense(method);
  return value as Record<string, unknown>;
}

function hexOf(method: string, value: unknown): Hex {
  if (typeof value !== 'string' || !fromHex(value)) throw nonsense(method);
  return value as Hex;
}

/** A quantity or a word; all that are read here are far below 2^53. */
function numberOf(method: string, value: unknown): number {
  const number = typeof value === 'string' && /^0x[0-9a-f]+$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw nonsense(method);
  return number;
}

function wordsOf(method: string, data: unknown): Hex[] {
  const digits = hexOf(method, data).slice(2);
  if (digits.length % 64 !== 0) throw nonsense(method);
  return (digits.match(/.{64}/g) ?? []).map((word): Hex => `0x${word}`);
}

function addressWord(address: Hex): Hex {
  return `0x${address.slice(2).padStart(64, '0')}`;
}

function toQuantity(number: number): Hex {
  return `0x${number.toString(16)}`;
}

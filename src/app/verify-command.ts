import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import type { Hex } from '../proof/bytes.ts';
import { STUDY_RECEIPT_TYPE } from '../proof/receipt.ts';
import { verifyStudy } from '../proof/study.ts';
import { type Expectations, httpRpc, type Verification, verifyReceipt } from '../proof/verify.ts';
import { NO, saying, UsageError } from './outcome.ts';

const USAGE = `Usage: dagpacs verify --receipt FILE --rpc URL [--instance FILE] [--contract ADDRESS] [--institution ADDRESS]

  --receipt      a receipt, or a study's receipt (docs/receipt.md)
  --rpc          any node of the chain: JSON-RPC over HTTP
  --instance     the DICOM file that the receipt is of
  --contract, --institution
                 whom you trust; without them the answer says whose word the receipt is

Exit: 0 verified, 1 not verified, 2 could not be checked
`;

/** `dagpacs verify`: needs no data directory, no settings and no bridge. @returns the exit code */
export function verifyCommand(args: string[]): Promise<number> {
  return saying('dagpacs verify', USAGE, async () => {
    const values = parse(args);
    const { receipt, rpc, instance, help } = values;
    if (help) {
      process.stdout.write(USAGE);
      return 0;
    }
    if (receipt === undefined || rpc === undefined || !URL.canParse(rpc))
      throw new UsageError('--receipt and --rpc are needed');
    for (const name of ['contract', 'institution'] as const) {
      const address = values[name];
      if (address !== undefined && !/^0x[0-9a-f]{40}$/i.test(address))
        throw new UsageError(`--${name} must be an address: 0x and 40 hexadecimal digits`);
    }
    return check(receipt, rpc, instance, expectations(values));
  });
}

async function check(path: string, url: string, instance: string | undefined, expected: Expectations): Promise<number> {
  const receipt = parseJson(await readFile(path, 'utf8'));
  const rpc = httpRpc(url);
  const isStudy = (receipt as { type?: unknown } | undefined)?.type === STUDY_RECEIPT_TYPE;
  if (isStudy && instance !== undefined) throw new UsageError('--instance goes with the receipt of an instance');
  if (isStudy) {
    const answer = await verifyStudy(receipt, { rpc, ...expected });
    if (answer.later > 0) process.stdout.write(`  note  the study has ${answer.later} later anchors on the chain\n`);
    return tell(answer);
  }
  const file = instance === undefined ? {} : { file: { sha256: await sha256Of(instance) } };
  if (instance === undefined) process.stdout.write('  note  no file was given: only the receipt is checked\n');
  return tell(await verifyReceipt(receipt, { rpc, ...file, ...expected }));
}

function parse(args: string[]) {
  return parseArgs({
    args,
    options: {
      receipt: { type: 'string' },
      rpc: { type: 'string' },
      instance: { type: 'string' },
      contract: { type: 'string' },
      institution: { type: 'string' },
      help: { type: 'boolean' },
    },
  }).values;
}

function expectations({ contract, institution }: { contract?: string; institution?: string }): Expectations {
  return {
    ...(contract === undefined ? {} : { contract: contract.toLowerCase() as Hex }),
    ...(institution === undefined ? {} : { institution: institution.toLowerCase() as Hex }),
  };
}

/** What is not JSON is not a receipt, which is for the verifier to say. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function sha256Of(path: string): Promise<Hex> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return `0x${hash.digest('hex')}`;
}

function tell({ verified, steps }: Verification): number {
  for (const { step, ok, detail } of steps) process.stdout.write(`  ${ok ? 'ok  ' : 'FAIL'}  ${step}: ${detail}\n`);
  process.stdout.write(verified ? 'VERIFIED\n' : 'NOT VERIFIED\n');
  return verified ? 0 : NO;
}

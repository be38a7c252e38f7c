/** `npm run contracts`: compiles contracts/ and writes what the bridge needs of AnchorLog into its source. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keccak256 } from 'viem/utils';
import { forge, root } from './forge.ts';

/** Where the result is committed. */
export const target = join(root, 'src/adapters/ledger/anchor-log.ts');

interface Artifact {
  abi: Record<string, unknown>[];
  bytecode: { object: `0x${string}` };
  deployedBytecode: { object: `0x${string}` };
}

/** Compiles with the settings of foundry.toml, in a directory of its own, and gives the text of {@link target}. */
export async function build(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'dagpacs-contracts-'));
  try {
    const code = await forge(['build', 'contracts', '--out', directory, '--cache-path', directory], true);
    if (code !== 0) throw new Error(`forge build ended with ${code}`);
    const artifact = JSON.parse(await readFile(join(directory, 'AnchorLog.sol/AnchorLog.json'), 'utf8')) as Artifact;
    return source(artifact);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function source({ abi, bytecode, deployedBytecode }: Artifact): string {
  return [
    '// biome-ignore-all format: written by `npm run contracts` from contracts/AnchorLog.sol.',
    '',
    '/** The interface of AnchorLog; its meaning is in contracts/interfaces/IAnchorLog.sol. */',
    'export const abi = [',
    ...abi.map((entry) => `  ${JSON.stringify(entry)},`),
    '] as const;',
    '',
    '/** Creation code; the constructor’s arguments follow it. */',
    `export const bytecode = '${bytecode.object}';`,
    '',
    '/** Keccak-256 of the code at the contract’s address, by which it is recognised. */',
    `export const codeHash = '${keccak256(deployedBytecode.object)}';`,
    '',
  ].join('\n');
}

if (import.meta.main) await writeFile(target, await build());

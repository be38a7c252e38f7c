/** `npm run contracts`: compiles contracts/ and writes what the bridge needs of them into its source. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keccak256 } from 'viem/utils';
import { forge, root } from './forge.ts';

/** The contracts, and the files in which the result is committed. */
const TARGETS = {
  AnchorLog: 'src/adapters/ledger/anchor-log.ts',
  Consortium: 'src/adapters/ledger/consortium.ts',
} as const;

interface Artifact {
  abi: Record<string, unknown>[];
  bytecode: { object: `0x${string}` };
  deployedBytecode: { object: `0x${string}` };
}

/** Compiles with the settings of foundry.toml, in a directory of its own, and gives the text of each target by its path. */
export async function build(): Promise<Map<string, string>> {
  const directory = await mkdtemp(join(tmpdir(), 'dagpacs-contracts-'));
  try {
    const code = await forge(['build', 'contracts', '--out', directory, '--cache-path', directory], true);
    if (code !== 0) throw new Error(`forge build ended with ${code}`);
    const texts = new Map<string, string>();
    for (const [name, target] of Object.entries(TARGETS)) {
      const artifact = JSON.parse(await readFile(join(directory, `${name}.sol/${name}.json`), 'utf8')) as Artifact;
      texts.set(join(root, target), source(name, artifact));
    }
    return texts;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function source(name: string, { abi, bytecode, deployedBytecode }: Artifact): string {
  return [
    `// biome-ignore-all format: written by \`npm run contracts\` from contracts/${name}.sol.`,
    '',
    `/** The interface of ${name}; its meaning is in contracts/interfaces/I${name}.sol. */`,
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

if (import.meta.main) for (const [target, text] of await build()) await writeFile(target, text);

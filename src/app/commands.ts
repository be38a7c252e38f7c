const USAGE = `Usage: dagpacs COMMAND

  serve      run the bridge until it is told to stop
  send AE STUDY [SERIES [INSTANCE]]
             have the bridge that runs send by C-STORE to a peer of DAGPACS_AE_PEERS; UIDs
  echo AE    have the bridge that runs verify a peer of DAGPACS_AE_PEERS by C-ECHO
  verify     check a receipt, and a file against it, with nothing but a node of the chain
  doctor     look at all that the bridge needs, and say what to do
  chain      print our account, or deploy the contracts on a chain
  consortium who belongs to it; propose and approve who joins and who goes; change our key
  vault      back up the keys, or restore them
  rebuild    make a lost data directory anew from chain, blocks and keys
  car        a study's sealed blocks as one file: out, or in again
  erase      destroy the keys of studies, and what is held of them
  import     store files, folders, zip archives and DICOMDIRs, here or in another DICOMweb server
  export     fetch a study into a folder or a zip archive, from here or another DICOMweb server
  scrub      verify every block that is held, and put right what can be
  openapi    print the OpenAPI document
  conformance  print the DICOM conformance statement
  help       print this
`;

type Command = (args: string[]) => Promise<number>;

/** Each command loads what it needs, so that a small one is quick. */
const COMMANDS: Record<string, () => Promise<Command>> = {
  serve: async () => withoutArguments('serve', (await import('./serve-command.ts')).serveCommand),
  send: async () => {
    const { sendCommand } = await import('./send-command.ts');
    return async (args) =>
      args.length < 2 || args.length > 4 ? usage('send takes an AE title and one to three UIDs') : sendCommand(args);
  },
  echo: async () => {
    const { echoCommand } = await import('./echo-command.ts');
    return async (args) => (args.length === 1 ? echoCommand(args) : usage('echo takes one AE title'));
  },
  verify: async () => (await import('./verify-command.ts')).verifyCommand,
  doctor: async () => (await import('./doctor-command.ts')).doctorCommand,
  consortium: async () => (await import('./consortium-command.ts')).consortiumCommand,
  chain: async () => (await import('./chain-command.ts')).chainCommand,
  vault: async () => (await import('./vault-command.ts')).vaultCommand,
  rebuild: async () => (await import('./rebuild-command.ts')).rebuildCommand,
  car: async () => (await import('./car-command.ts')).carCommand,
  erase: async () => (await import('./erase-command.ts')).eraseCommand,
  import: async () => (await import('./import-command.ts')).importCommand,
  export: async () => (await import('./export-command.ts')).exportCommand,
  scrub: async () => (await import('./scrub-command.ts')).scrubCommand,
  openapi: async () => {
    const { openApiDocument } = await import('../edges/http/openapi.ts');
    return withoutArguments('openapi', () => print(`${JSON.stringify(openApiDocument(), null, 2)}\n`));
  },
  conformance: async () => {
    const { conformanceStatement } = await import('./conformance.ts');
    return withoutArguments('conformance', () => print(conformanceStatement()));
  },
  help: async () => () => print(USAGE),
  '--help': async () => () => print(USAGE),
};

/** Runs one command. @returns the exit code: 0 done, 1 the answer is no, 2 could not be done */
export async function runCommand([name, ...args]: string[]): Promise<number> {
  const load = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!load) return usage(name === undefined ? 'a command is missing' : 'there is no such command');
  return (await load())(args);
}

function withoutArguments(name: string, command: () => Promise<number>): Command {
  return async (args) => (args.length > 0 ? usage(`${name} takes no further argument`) : command());
}

async function print(text: string): Promise<number> {
  process.stdout.write(text);
  return 0;
}

function usage(reason: string): number {
  process.stderr.write(`dagpacs: ${reason}\n\n${USAGE}`);
  return 2;
}

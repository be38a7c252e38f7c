const USAGE = `Usage: dagpacs COMMAND

  serve      run the bridge until it is told to stop
  verify     check a receipt, and a file against it, with nothing but a node of the chain
  chain      print our account, or deploy the contract on a chain
  vault      back up the keys, or restore them
  rebuild    make a lost data directory anew from chain, blocks and keys
  openapi    print the OpenAPI document
  help       print this
`;

/** Runs one command. @returns the exit code: 0 done, 1 the answer is no, 2 could not be done */
export async function runCommand([command, ...rest]: string[]): Promise<number> {
  // Each command loads what it needs, so that a small one is quick.
  if (command === 'verify') return (await import('./verify-command.ts')).verifyCommand(rest);
  if (command === 'chain') return (await import('./chain-command.ts')).chainCommand(rest);
  if (command === 'vault') return (await import('./vault-command.ts')).vaultCommand(rest);
  if (command === 'rebuild') return (await import('./rebuild-command.ts')).rebuildCommand(rest);
  if (rest.length > 0) return usage(`${command} takes no further argument`);
  switch (command) {
    case 'serve':
      return (await import('./serve-command.ts')).serveCommand();
    case 'openapi': {
      const { openApiDocument } = await import('../edges/http/openapi.ts');
      process.stdout.write(`${JSON.stringify(openApiDocument(), null, 2)}\n`);
      return 0;
    }
    case 'help':
    case '--help':
      process.stdout.write(USAGE);
      return 0;
    default:
      return usage(command === undefined ? 'a command is missing' : 'there is no such command');
  }
}

function usage(reason: string): number {
  process.stderr.write(`dagpacs: ${reason}\n\n${USAGE}`);
  return 2;
}

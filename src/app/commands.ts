import { openApiDocument } from '../edges/http/openapi.ts';
import { sendCommand } from './send-command.ts';
import { serveCommand } from './serve-command.ts';

const USAGE = `Usage: dagpacs COMMAND

  serve      run the bridge until it is told to stop
  send AE STUDY [SERIES [INSTANCE]]
             have the bridge that runs send by C-STORE to a peer of DAGPACS_AE_PEERS; UIDs
  openapi    print the OpenAPI document
  help       print this
`;

/** Runs one command. @returns the exit code: 0 done, 1 the answer is no, 2 could not be done */
export async function runCommand([command, ...rest]: string[]): Promise<number> {
  if (command === 'send') {
    if (rest.length < 2 || rest.length > 4) return usage('send takes an AE title and one to three UIDs');
    return sendCommand(rest);
  }
  if (rest.length > 0) return usage(`${command} takes no further argument`);
  switch (command) {
    case 'serve':
      return serveCommand();
    case 'openapi':
      process.stdout.write(`${JSON.stringify(openApiDocument(), null, 2)}\n`);
      return 0;
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

import { serveCommand } from './app/serve-command.ts';

process.exitCode = await serveCommand();

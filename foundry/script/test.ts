/**
 * `npm run test:contracts -- ARGS`: `forge test ARGS`, with forge's output and exit code. Gas that differs from the
 * committed snapshot fails; to take a change over: `FORGE_SNAPSHOT_CHECK=false npm run test:contracts`.
 */
import { forge } from './forge.ts';

process.exitCode = await forge(['test', ...process.argv.slice(2)]);

#!/usr/bin/env node
/** Answers forge as the native Solidity compiler would, from npm's `solc`: `--version`, and `--standard-json` on stdin. */
import { readFileSync } from 'node:fs';
import solc from 'solc';

if (process.argv.includes('--standard-json')) {
  process.stdout.write(solc.compile(readFileSync(0, 'utf8')));
} else {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`);
}

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { lockDirectory } from '../adapters/blocks/lock.ts';
import { accountOf } from '../adapters/ledger/key.ts';
import { openLedger } from '../adapters/ledger/ledger.ts';
import { openFileVault } from '../adapters/vault/file-vault.ts';
import { DagpacsError } from '../kernel/errors.ts';
import { createLog } from '../kernel/log.ts';
import type { Ledger, LedgerStatus } from '../ports/ledger.ts';
import { ledgerOptions } from './compose.ts';
import { readConfig } from './config.ts';
import { saying, UsageError } from './outcome.ts';
import { ownProfile } from './profile.ts';

const USAGE = `Usage: dagpacs chain address
       dagpacs chain init

  address    print the account that this data directory anchors with (it is made where there is none)
  init       deploy AnchorLog on DAGPACS_CHAIN_RPC, with a Consortium of which this account is the first member, known by a key
             of the vault and by DAGPACS_PUBLIC_URL, and remember it in the data directory; where that is done already, or
             DAGPACS_CHAIN_CONTRACT is set, check both contracts by their code and change nothing
`;

/** Milliseconds for the chain to answer and to mine a deployment. */
const PATIENCE_MS = 120_000;

/** `dagpacs chain`. @returns the exit code */
export function chainCommand(args: string[]): Promise<number> {
  return saying('dagpacs chain', USAGE, async () => {
    const [verb, ...rest] = parseArgs({ args, allowPositionals: true }).positionals;
    if ((verb !== 'address' && verb !== 'init') || rest.length > 0) throw new UsageError('address or init?');
    const config = readConfig();
    const options = ledgerOptions(config);
    if (verb === 'address') {
      const { address } = await accountOf(options);
      process.stdout.write(`${address.toLowerCase()}\n`);
      return 0;
    }
    if (options.rpc === undefined)
      throw new UsageError('DAGPACS_CHAIN_RPC is needed: a bridge’s own anvil needs no init');
    const release = lockDirectory(config.DAGPACS_DATA_DIR);
    const log = createLog('error', (line) => process.stderr.write(line));
    const profile = async () =>
      ownProfile(await openFileVault({ directory: join(config.DAGPACS_DATA_DIR, 'vault') }), config);
    const ledger = openLedger({ ...options, profile }, log);
    try {
      const { chainId, contract, sender } = await untilConnected(ledger, PATIENCE_MS);
      process.stdout.write(`chain ${chainId}\ncontract ${contract}\naccount ${sender}\n`);
      return 0;
    } finally {
      await ledger.close();
      release();
    }
  });
}

/** Waits for the chain. @throws DagpacsError `chain-mismatch` at once, `chain-unavailable` after `patienceMs` */
export async function untilConnected(ledger: Ledger, patienceMs: number): Promise<LedgerStatus> {
  const until = Date.now() + patienceMs;
  for (;;) {
    const status = await ledger.status();
    if (status.state === 'connected') return status;
    if (status.state === 'mismatch') throw new DagpacsError('chain-mismatch', status.reason ?? status.state);
    if (Date.now() > until) throw new DagpacsError('chain-unavailable', status.reason ?? status.state);
    await sleep(50);
  }
}

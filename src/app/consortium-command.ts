import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Governance, type Proposal } from '../adapters/ledger/governance.ts';
import { accountOf } from '../adapters/ledger/key.ts';
import { formatKey, type Profile, parseKey } from '../adapters/ledger/profile.ts';
import { openFileVault } from '../adapters/vault/file-vault.ts';
import { DagpacsError } from '../kernel/errors.ts';
import type { Hex } from '../ports/ledger.ts';
import type { Vault } from '../ports/vault.ts';
import { ledgerOptions } from './compose.ts';
import { type Config, readConfig } from './config.ts';
import { saying, UsageError } from './outcome.ts';
import { nextKey, ownProfile } from './profile.ts';

const USAGE = `Usage: dagpacs consortium application
       dagpacs consortium members | proposals
       dagpacs consortium propose-join --account ADDRESS --key KEY [--endpoint URL]
       dagpacs consortium propose-removal --account ADDRESS
       dagpacs consortium approve | revoke --proposal NUMBER
       dagpacs consortium update [--new-key | --key KEY] [--endpoint URL]
       dagpacs consortium resign

  application      print our account, key and endpoint (DAGPACS_PUBLIC_URL), as propose-join takes them: for a member
  propose-join, propose-removal
                   as a member: ask the others, and approve; more than half of the members decide
  approve, revoke  approve a proposal, or take that back
  update           change what others know of us: --new-key makes a key in the vault
  resign           end our membership

A KEY is x25519: with 64, or p256: with 66 hexadecimal digits. All but application need DAGPACS_CHAIN_RPC, and the contract
that the data directory or DAGPACS_CHAIN_CONTRACT names. The bridge may run.

Exit: 0 done, 1 the consortium refuses, 2 could not be done
`;

const OPTIONS = {
  account: { type: 'string' },
  key: { type: 'string' },
  endpoint: { type: 'string' },
  proposal: { type: 'string' },
  'new-key': { type: 'boolean' },
} as const;

type Values = Partial<Record<'account' | 'key' | 'endpoint' | 'proposal', string>> & { 'new-key'?: boolean };

/** What each verb may be told. */
const VERBS: Record<string, readonly (keyof Values)[]> = {
  application: [],
  members: [],
  proposals: [],
  'propose-join': ['account', 'key', 'endpoint'],
  'propose-removal': ['account'],
  approve: ['proposal'],
  revoke: ['proposal'],
  update: ['new-key', 'key', 'endpoint'],
  resign: [],
};

/** `dagpacs consortium`. @returns the exit code */
export function consortiumCommand(args: string[]): Promise<number> {
  return saying('dagpacs consortium', USAGE, async () => {
    const { positionals, values } = parseArgs({ args, allowPositionals: true, options: OPTIONS });
    const [verb = '', ...rest] = positionals;
    const takes = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (!takes || rest.length > 0) throw new UsageError('what is to be done?');
    const foreign = Object.keys(values).find((name) => !takes.includes(name as keyof Values));
    if (foreign !== undefined) throw new UsageError(`${verb} does not take --${foreign}`);
    const config = readConfig();
    const vault = () => openFileVault({ directory: join(config.DAGPACS_DATA_DIR, 'vault') });
    if (verb === 'application') return say(await application(config, await vault()));
    if (config.DAGPACS_CHAIN_RPC === '') throw new UsageError('DAGPACS_CHAIN_RPC is needed');
    const governance = await Governance.open(config.DAGPACS_CHAIN_RPC, ledgerOptions(config));
    return say(await act(governance, verb, values, vault));
  });
}

async function act(governance: Governance, verb: string, values: Values, vault: () => Promise<Vault>): Promise<string> {
  switch (verb) {
    case 'members':
      return (await governance.members())
        .map(({ account, since, ...profile }) => `${account} since ${since.toISOString()} ${describe(profile)}\n`)
        .join('');
    case 'proposals':
      return (await governance.proposals()).map(describeProposal).join('') || 'none is open\n';
    case 'propose-join': {
      const [account, key, endpoint] = [addressOf(values), keyOf(values.key), endpointOf(values.endpoint ?? '')];
      return outcome(await governance.proposeAdmission(account, { ...key, endpoint }));
    }
    case 'propose-removal':
      return outcome(await governance.proposeRemoval(addressOf(values)));
    case 'approve': {
      const id = numberOf(values);
      return outcome({ id, done: await governance.approve(id) });
    }
    case 'revoke':
      await governance.revoke(numberOf(values));
      return 'our approval is taken back\n';
    case 'update':
      return `${describe(await update(governance, values, vault))}\n`;
    default:
      await governance.resign();
      return `${governance.account} is no member any more\n`;
  }
}

async function application(config: Config, vault: Vault): Promise<string> {
  const { address } = await accountOf(ledgerOptions(config));
  return `--account ${address.toLowerCase()} ${describe(await ownProfile(vault, config))}\n`;
}

async function update(governance: Governance, values: Values, vault: () => Promise<Vault>): Promise<Profile> {
  if (values['new-key'] && values.key !== undefined) throw new UsageError('--new-key or --key?');
  const now = await governance.ownProfile();
  if (!now) throw new DagpacsError('transaction-refused', `${governance.account} is not a member`);
  const key = values['new-key'] ? await nextKey(await vault(), now) : values.key === undefined ? {} : keyOf(values.key);
  const next = { ...now, ...key, endpoint: endpointOf(values.endpoint ?? now.endpoint) };
  await governance.changeProfile(next);
  return next;
}

function describe({ endpoint, ...key }: Profile): string {
  return `--key ${formatKey(key)}${endpoint === '' ? '' : ` --endpoint ${endpoint}`}`;
}

function describeProposal({ id, account, admission, approvals, needed, ours, profile }: Proposal): string {
  const what = admission ? `admit ${account} ${describe(profile)}` : `remove ${account}`;
  return `${id}: ${what}: ${approvals} of ${needed} approvals${ours ? ', ours among them' : ''}\n`;
}

function outcome({ id, done }: { id: number; done: boolean }): string {
  return `proposal ${id} ${done ? 'is carried out' : 'waits for more approvals'}\n`;
}

function addressOf({ account = '' }: Values): Hex {
  if (!/^0x[0-9a-fA-F]{40}$/.test(account)) throw new UsageError('--account must be an address');
  return account.toLowerCase() as Hex;
}

function keyOf(text = ''): Pick<Profile, 'curve' | 'key'> {
  const key = parseKey(text);
  if (!key) throw new UsageError('--key must be x25519: with 64, or p256: with 66 hexadecimal digits');
  return key;
}

function endpointOf(text: string): string {
  if (text !== '' && !/^https?:$/.test(URL.parse(text)?.protocol ?? ''))
    throw new UsageError('--endpoint must be an http or https URL');
  return text;
}

function numberOf({ proposal = '' }: Values): number {
  if (!/^\d{1,15}$/.test(proposal)) throw new UsageError('--proposal must be a number');
  return Number(proposal);
}

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

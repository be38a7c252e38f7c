import type { Profile } from '../adapters/ledger/profile.ts';
import { exchangePublicKey } from '../crypto/exchange-key.ts';
import type { Vault } from '../ports/vault.ts';
import type { Config } from './config.ts';

/** The vault's name for the private key that others encrypt for us with, at first. */
const FIRST_KEY = 'exchange';

/** What others are told of us: the key of this installation, and DAGPACS_PUBLIC_URL. @throws DagpacsError `storage-failed` */
export async function ownProfile(vault: Vault, config: Config): Promise<Profile> {
  return { ...(await publicKeyOf(vault, FIRST_KEY)), endpoint: config.DAGPACS_PUBLIC_URL.replace(/\/+$/, '') };
}

/**
 * The key that takes the place of `before`. Its private key is durable in the vault, under a name that follows from `before`:
 * a change that was interrupted goes on with the same key, and the private key of each public key can be found again.
 * @throws DagpacsError `storage-failed`
 */
export function nextKey(vault: Vault, before: Pick<Profile, 'key'>): Promise<Pick<Profile, 'curve' | 'key'>> {
  return publicKeyOf(vault, `${FIRST_KEY}-after-${before.key.slice(2, 34)}`);
}

async function publicKeyOf(vault: Vault, name: string): Promise<Pick<Profile, 'curve' | 'key'>> {
  const key = exchangePublicKey(await vault.installationKey(name));
  return { curve: 'x25519', key: `0x${key.toString('hex')}` };
}

import type { Hex } from '../../ports/ledger.ts';

/** How others reach a member, and what they encrypt for it with (contracts/interfaces/IConsortium.sol). */
export interface Profile {
  curve: 'x25519' | 'p256';
  /** X25519: 32 bytes; P-256: a compressed point of 33 bytes. */
  key: Hex;
  /** URL; empty where the member is not to be reached. */
  endpoint: string;
}

/** As Solidity's enumeration counts them. */
const CURVES = ['x25519', 'p256'] as const;
const KEY_DIGITS = { x25519: 64, p256: 66 } as const;

/** A profile as the contract takes it. */
export function toProfileArgument({ curve, key, endpoint }: Profile) {
  return { curve: CURVES.indexOf(curve), encryptionKey: key, endpoint };
}

/** A profile as the contract gives it. */
export function toProfile(given: { curve: number; encryptionKey: Hex; endpoint: string }): Profile {
  return { curve: CURVES[given.curve] ?? 'x25519', key: given.encryptionKey, endpoint: given.endpoint };
}

/** `x25519:` or `p256:` and the key's hexadecimal digits. */
export function formatKey({ curve, key }: Pick<Profile, 'curve' | 'key'>): string {
  return `${curve}:${key.slice(2)}`;
}

/** Reads what {@link formatKey} writes; undefined for anything else. */
export function parseKey(text: string): Pick<Profile, 'curve' | 'key'> | undefined {
  const [name, digits = ''] = text.toLowerCase().split(':');
  const curve = CURVES.find((each) => each === name);
  if (!curve || digits.length !== KEY_DIGITS[curve] || !/^[0-9a-f]+$/.test(digits)) return undefined;
  return { curve, key: `0x${digits}` };
}

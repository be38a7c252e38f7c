import type { ServiceName } from './negotiation.ts';

/** Another application entity that is known. */
export interface Peer {
  aeTitle: string;
  /** Where it listens: for what we send, and for no check of where it calls from. */
  host: string;
  port: number;
  /** Over TLS only, both ways. */
  tls?: boolean;
  /** What it may ask of us. */
  services: readonly ServiceName[];
}

/**
 * What a caller may do: everything where no peers are named, else what its entry says. One whose entry asks for TLS is not
 * known without it: its name alone is no proof.
 */
export function policyFor(
  callingAE: string,
  secure: boolean,
  peers: readonly Peer[] | undefined,
): { known: boolean; services?: ReadonlySet<ServiceName> } {
  if (!peers) return { known: true };
  const own = peers.filter(({ aeTitle, tls }) => aeTitle === callingAE && (secure || !tls));
  if (own.length === 0) return { known: false };
  return { known: true, services: new Set(own.flatMap(({ services }) => services)) };
}

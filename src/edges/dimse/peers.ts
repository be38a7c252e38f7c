import type { ServiceName } from './negotiation.ts';

/** Another application entity that is known. */
export interface Peer {
  aeTitle: string;
  /** Where it listens: for what we send, and for no check of where it calls from. */
  host: string;
  port: number;
  /** It is sent to over TLS. */
  tls?: boolean;
  /** What it may ask of us. */
  services: readonly ServiceName[];
}

/** What a caller may do: everything where no peers are named, else what its entry says. */
export function policyFor(
  callingAE: string,
  peers: readonly Peer[] | undefined,
): { known: boolean; services?: ReadonlySet<ServiceName> } {
  if (!peers) return { known: true };
  const own = peers.filter(({ aeTitle }) => aeTitle === callingAE);
  if (own.length === 0) return { known: false };
  return { known: true, services: new Set(own.flatMap(({ services }) => services)) };
}

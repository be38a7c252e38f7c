/** A JSON object as Kubo keeps its configuration. */
export type Config = { [name: string]: unknown };

/**
 * What makes a node private and careful: loopback on ports that the system picks, no bootstrap, no routing, nothing
 * announced, discovered, mapped, looked up or reported; blocks synced to disk, and hashed when they are read, since Kubo
 * would otherwise serve damaged ones.
 */
const PRIVATE: Config = {
  Addresses: {
    API: '/ip4/127.0.0.1/tcp/0',
    Gateway: [],
    Swarm: ['/ip4/127.0.0.1/tcp/0'],
    Announce: [],
    AppendAnnounce: [],
  },
  AutoConf: { Enabled: false },
  AutoNAT: { ServiceMode: 'disabled' },
  AutoTLS: { Enabled: false },
  Bootstrap: [],
  Datastore: { HashOnRead: true },
  Discovery: { MDNS: { Enabled: false } },
  DNS: { Resolvers: {} },
  HTTPRetrieval: { Enabled: false },
  Ipns: { DelegatedPublishers: [] },
  Plugins: { Plugins: { telemetry: { Config: { Mode: 'off' } } } },
  Provide: { Enabled: false },
  Routing: { Type: 'none', DelegatedRouters: [] },
  Swarm: {
    DisableBandwidthMetrics: true,
    DisableNatPortMap: true,
    EnableHolePunching: false,
    RelayClient: { Enabled: false },
    RelayService: { Enabled: false },
    // A swarm key needs TCP: the other transports cannot carry it.
    Transports: { Network: { QUIC: false, Relay: false, WebRTCDirect: false, WebTransport: false, Websocket: false } },
  },
  Version: { SwarmCheckEnabled: false },
};

/** `config` with everything that {@link PRIVATE} settles, and the rest as it was. */
export function makePrivate(config: Config): Config {
  const merged = merge(config, PRIVATE);
  const datastore = merged.Datastore as { Spec?: { mounts?: Config[] } };
  for (const mount of datastore.Spec?.mounts ?? []) {
    if (mount.type === 'flatfs') mount.sync = true;
  }
  return merged;
}

/** Objects are joined name by name, except that an empty one empties; anything else replaces. Neither is changed. */
function merge(base: Config, over: Config): Config {
  const result = structuredClone(base);
  for (const [name, value] of Object.entries(over)) {
    const mine = result[name];
    const both = isObject(mine) && isObject(value) && Object.keys(value).length > 0;
    result[name] = both ? merge(mine, value) : structuredClone(value);
  }
  return result;
}

function isObject(value: unknown): value is Config {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

import { setTimeout as sleep } from 'node:timers/promises';
import { startBridge } from '../fixtures/bridge.ts';
import { custodyStatus } from '../fixtures/custody.ts';
import { skipOrthanc, startOrthanc } from '../fixtures/orthanc.ts';
import { skipWithout } from '../fixtures/tools.ts';
import type { BenchOptions } from './arguments.ts';
import { startStorescp } from './dimse.ts';
import type { Peer } from './rows.ts';

/** Starts the bridge as `npm start` would, on free ports and a new data directory. */
export async function startBridgePeer(options: Pick<BenchOptions, 'kubo'>): Promise<Peer> {
  const bridge = await startBridge({ kubo: options.kubo });
  return {
    name: 'DagPACS',
    dicomWeb: bridge.dicomWeb,
    dimse: bridge.dimse,
    pid: bridge.pid,
    stop: () => bridge.stop(),
    async settle() {
      for (;;) {
        const { stages } = (await custodyStatus(bridge.url)) as { stages: Record<string, number> };
        if (stages.stored === 0 && (!options.kubo || stages.anchored === 0)) return;
        await sleep(100);
      }
    },
  };
}

async function startOrthancPeer(tuned: boolean): Promise<Peer> {
  const orthanc = await startOrthanc({ tuned });
  return {
    name: tuned ? 'Orthanc, tuned' : 'Orthanc',
    dicomWeb: orthanc.dicomWeb,
    dimse: { host: '127.0.0.1', port: orthanc.dicomPort, aeTitle: orthanc.aeTitle },
    pid: orthanc.pid,
    stop: () => orthanc.stop(),
    settle: () => sleep(500),
  };
}

/** The bridge first, then what it is compared with. */
export async function startPeers(options: BenchOptions): Promise<Peer[]> {
  const peers: Peer[] = [];
  try {
    peers.push(await startBridgePeer(options));
    if (!options.orthanc) return peers;
    if (skipOrthanc !== false) console.log(`without Orthanc: ${skipOrthanc}`);
    else peers.push(await startOrthancPeer(false), await startOrthancPeer(true));
    const without = skipWithout('storescp');
    if (without !== false) console.log(`without storescp: ${without}`);
    else peers.push(await startStorescp());
    return peers;
  } catch (error) {
    await Promise.all(peers.map((peer) => peer.stop()));
    throw error;
  }
}

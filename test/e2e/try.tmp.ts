import { setTimeout as sleep } from 'node:timers/promises';
import { closeConnections } from '../bench/client.ts';
import { makeBenchSeries } from '../bench/data.ts';
import { peakMemory } from '../bench/memory.ts';
import { rows } from '../bench/rows.ts';
import { median } from '../bench/table.ts';
import { startBridge } from '../fixtures/bridge.ts';

const flags = (process.env.NF ?? '').split(' ').filter(Boolean);
const b = await startBridge({ command: [process.execPath, ...flags, 'src/main.ts'] });
const peer = {
  name: '',
  dicomWeb: b.dicomWeb,
  dimse: b.dimse,
  pid: b.pid,
  settle: async () => {},
  stop: async () => {},
};
const out: Record<string, string> = {};
let s;
for (const w of [0, 1]) {
  const ts = [];
  for (let i = 0; i < 4; i++) {
    s = await makeBenchSeries('/tmp/benchx', `x${w}${i}`, 200);
    const t0 = performance.now();
    await rows[w]!.run(peer, s);
    ts.push(performance.now() - t0);
    await sleep(2500);
  }
  out[rows[w]!.name] = median(ts).toFixed(0);
}
for (const r of [4, 5, 6]) {
  const ts = [];
  for (let i = 0; i < 7; i++) {
    const t = performance.now();
    await rows[r]!.run(peer, s!);
    ts.push(performance.now() - t);
  }
  out[rows[r]!.name] = median(ts).toFixed(0);
}
console.log(flags.join(' '), JSON.stringify(out), peakMemory(b.pid));
closeConnections();
await b.stop();

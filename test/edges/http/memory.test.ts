import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'tap';
import type { ServedInstance } from '../../../src/flows/serve/served.ts';
import { startMemoryBridge } from './memory-bridge.ts';

const PARTS = 1500;
const SIZE = 512 * 1024;
/** Far less than what passes through, far more than what collecting garbage late takes. */
const MAX_GROWTH = 250 * 1024 * 1024;

/** The highest resident memory while `work` runs, beyond what it was before. */
async function growthDuring(work: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage.rss();
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 10);
  await work();
  clearInterval(timer);
  return Math.max(most, process.memoryUsage.rss()) - before;
}

test('memory stays flat while 750 MB are stored in one request', async (t) => {
  let bytesIn = 0;
  const uids = { sopClassUID: '1', sopInstanceUID: '1', studyInstanceUID: '1', seriesInstanceUID: '1' };
  const bridge = await startMemoryBridge({
    modules: {
      async ingest({ bytes }) {
        for await (const chunk of bytes) bytesIn += chunk.length;
        return { outcome: 'stored', ...uids, warnings: [] };
      },
    },
  });
  t.teardown(() => bridge.close());
  const head = Buffer.from('--b\r\nContent-Type: application/dicom\r\n\r\n');
  const part = Buffer.concat([head, Buffer.alloc(SIZE, 7), Buffer.from('\r\n')]);
  const socket = connect(bridge.address.port, '127.0.0.1');
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    if (answer.length < 1000) answer += text;
  });
  const growth = await growthDuring(async () => {
    const header = 'POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nConnection: close\r\n';
    const type = 'Content-Type: multipart/related; type="application/dicom"; boundary=b\r\n';
    socket.write(`${header}${type}Content-Length: ${PARTS * part.length + 5}\r\n\r\n`);
    for (let i = 0; i < PARTS; i++) if (!socket.write(part)) await once(socket, 'drain');
    socket.write('--b--');
    await once(socket, 'close');
  });
  t.match(answer, /^HTTP\/1\.1 200 /);
  t.equal(bytesIn, PARTS * SIZE);
  t.ok(growth < MAX_GROWTH, `${Math.round(growth / 1e6)} MB`);
});

test('memory stays flat while a slow reader takes 750 MB', async (t) => {
  const chunk = Buffer.alloc(SIZE, 7);
  const served = (i: number): ServedInstance => ({
    studyInstanceUID: '1.2',
    seriesInstanceUID: '1.2.3',
    sopInstanceUID: `1.2.3.${i}`,
    sopClassUID: '1',
    transferSyntaxUID: '1.2.840.10008.1.2.1',
    size: SIZE,
    datasetOffset: 0,
    sha256: chunk.subarray(0, 32),
    receivedAt: '2026-01-01T00:00:00.000Z',
    async *bytes() {
      yield Buffer.from(chunk);
    },
  });
  const serve = { instances: () => Array.from({ length: PARTS }, (_, i) => served(i)) };
  const bridge = await startMemoryBridge({ modules: { serve: serve as never } });
  t.teardown(() => bridge.close());
  let bytesOut = 0;
  const growth = await growthDuring(async () => {
    const response = await fetch(`${bridge.dicomWeb}/studies/1.2`);
    let pause = 0;
    for await (const part of response.body ?? []) {
      bytesOut += part.length;
      if (++pause % 1000 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  t.ok(bytesOut > PARTS * SIZE);
  t.ok(growth < MAX_GROWTH, `${Math.round(growth / 1e6)} MB`);
});

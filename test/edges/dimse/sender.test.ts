import { test } from 'tap';
import { type SendOptions, sendInstances, type Transfer } from '../../../src/edges/dimse/sender.ts';
import type { ServedInstance } from '../../../src/flows/serve/served.ts';
import { DagpacsError } from '../../../src/kernel/errors.ts';
import { EXPLICIT_LE, RLE } from '../../fixtures/dicom.ts';
import { noTranscoder } from './collector.ts';
import { startAcceptor } from './raw-acceptor.ts';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const options: SendOptions = {
  aeTitle: 'DAGPACS',
  maxPduLength: 131072,
  artimMs: 5000,
  dimseTimeoutMs: 5000,
  sendAssociations: 1,
  sendRetries: 2,
  sendBackoffMs: 1,
};

/** Instances of 40,001 bytes after 10 of meta information, which come in chunks of odd lengths. */
function instances(count: number, changes: Partial<ServedInstance> = {}): ServedInstance[] {
  return Array.from({ length: count }, (_, i) => ({
    studyInstanceUID: '1.2',
    seriesInstanceUID: '1.2.3',
    sopInstanceUID: `1.2.3.${i + 1}`,
    sopClassUID: '1.2.840.10008.5.1.4.1.1.2',
    transferSyntaxUID: EXPLICIT_LE,
    size: 40_012,
    datasetOffset: 10,
    sha256: Buffer.alloc(32),
    receivedAt: '',
    async *bytes(start = 0, end = 40_012) {
      const all = Buffer.alloc(40_012, i);
      for (let at = start; at < end; at += 9999) yield all.subarray(at, Math.min(end, at + 9999));
    },
    ...changes,
  }));
}

function transfer(port: number, list: ServedInstance[], changes: Partial<Transfer> = {}): Transfer {
  const to = { aeTitle: 'THERE', host: '127.0.0.1', port, services: [] };
  return { to, instances: list, signal: new AbortController().signal, ...changes };
}

test('data sets are cut to what the peer takes, and come over whole', async (t) => {
  const { port, requests, associations } = await startAcceptor(t, () => 0, { maximum: 4096 });
  const originator = { aeTitle: 'WORKSTATION', messageId: 7 };
  const progress = await sendInstances(transfer(port, instances(3), { originator }), options, {
    transcoder: noTranscoder,
    log,
  });
  t.match(progress, { remaining: 0, completed: 3, failed: 0, warning: 0 });
  t.equal(associations(), 1);
  for (const [i, { command, dataset }] of requests.entries()) {
    t.match(command, { field: 1, sopInstanceUID: `1.2.3.${i + 1}` });
    t.ok(dataset.equals(Buffer.alloc(40_002, i)));
  }
});

test('several associations, where there is enough to send', async (t) => {
  const { port, requests, associations } = await startAcceptor(t, () => 0);
  const progress = await sendInstances(
    transfer(port, instances(40)),
    { ...options, sendAssociations: 3 },
    { transcoder: noTranscoder, log },
  );
  t.match(progress, { completed: 40, failed: 0 });
  t.equal(associations(), 3);
  t.equal(new Set(requests.map(({ command }) => command.sopInstanceUID)).size, 40);
});

test('what may yet succeed is tried again, what cannot is not', async (t) => {
  // The first is told that there is no room, the third loses its association, the fifth is refused for good.
  const tries = new Map<string, number>();
  const { port, associations } = await startAcceptor(t, ({ sopInstanceUID }) => {
    const count = (tries.get(sopInstanceUID) ?? 0) + 1;
    tries.set(sopInstanceUID, count);
    if (sopInstanceUID.endsWith('.1') && count < 3) return 0xa700;
    if (sopInstanceUID.endsWith('.3') && count === 1) return 'abort';
    if (sopInstanceUID.endsWith('.4')) return 0xb007;
    return sopInstanceUID.endsWith('.5') ? 0xc001 : 0;
  });
  const progress = await sendInstances(transfer(port, instances(6)), options, { transcoder: noTranscoder, log });
  t.match(progress, { remaining: 0, completed: 4, failed: 1, warning: 1, failedUIDs: ['1.2.3.5'] });
  t.strictSame([...tries.values()], [3, 1, 2, 1, 1, 1]);
  t.equal(associations(), 2);
});

test('a peer that never has room', async (t) => {
  const { port, requests } = await startAcceptor(t, () => 0xa700);
  t.match(await sendInstances(transfer(port, instances(1)), options, { transcoder: noTranscoder, log }), {
    failed: 1,
    failedUIDs: ['1.2.3.1'],
  });
  t.equal(requests.length, 3);
});

test('a peer that does not answer', async (t) => {
  const { port, requests } = await startAcceptor(t, () => 'silence');
  const quick = { ...options, dimseTimeoutMs: 50, sendRetries: 0 };
  t.match(await sendInstances(transfer(port, instances(200)), quick, { transcoder: noTranscoder, log }), {
    failed: 200,
    completed: 0,
  });
  t.equal(requests.length, 3, 'it is not waited for 200 times');
});

test('instances that kill the peer', async (t) => {
  const { port } = await startAcceptor(t, ({ sopInstanceUID }) => (/[1256]$/.test(sopInstanceUID) ? 'close' : 0));
  t.match(await sendInstances(transfer(port, instances(7)), options, { transcoder: noTranscoder, log }), {
    failed: 4,
    completed: 3,
  });
});

test('a transfer syntax that the peer does not take costs only what has it', async (t) => {
  const { port } = await startAcceptor(t, () => 0, { accepts: (syntax) => syntax === EXPLICIT_LE });
  const [plain, other] = [instances(2), instances(1, { transferSyntaxUID: RLE, sopInstanceUID: '1.9' })];
  const progress = await sendInstances(transfer(port, [...other, ...plain]), options, {
    transcoder: noTranscoder,
    log,
  });
  t.match(progress, { completed: 2, failed: 1, failedUIDs: ['1.9'] });
});

test('what cannot be read', async (t) => {
  const { port, requests } = await startAcceptor(t, () => 0);
  const unreadable = (after: number): ServedInstance['bytes'] =>
    async function* () {
      if (after > 0) yield Buffer.alloc(after);
      throw new DagpacsError('block-damaged', 'no');
    };
  const [missing] = instances(1, { sopInstanceUID: '1.8', bytes: unreadable(0) });
  const [damaged] = instances(1, { sopInstanceUID: '1.9', bytes: unreadable(10_000) });
  const [good] = instances(1);
  const list = [missing, damaged, good].filter((each) => each !== undefined);
  const progress = await sendInstances(transfer(port, list), options, { transcoder: noTranscoder, log });
  t.match(progress, { completed: 1, failed: 2, failedUIDs: ['1.8', '1.9'] });
  const whole = requests.filter(({ dataset }) => dataset.length === 40_002);
  t.equal(whole.length, 1, 'nothing is passed off as whole');
  t.equal(requests.filter(({ command }) => command.sopInstanceUID === '1.8').length, 0, 'nor announced');
});

test('a transfer that is cancelled, and one whose asker is gone', async (t) => {
  const cancel = new AbortController();
  const { port } = await startAcceptor(t, (_, count) => {
    if (count === 2) cancel.abort('cancel');
    return 0;
  });
  const progress = await sendInstances(transfer(port, instances(5), { signal: cancel.signal }), options, {
    transcoder: noTranscoder,
    log,
  });
  t.match(progress, { remaining: 3, completed: 2 }, 'what was begun is ended');
  const gone = new AbortController();
  const silent = await startAcceptor(t, () => {
    setTimeout(() => gone.abort('ended'), 10);
    return 'silence';
  });
  const left = await sendInstances(transfer(silent.port, instances(5), { signal: gone.signal }), options, {
    transcoder: noTranscoder,
    log,
  });
  t.match(left, { remaining: 5, completed: 0 });
});

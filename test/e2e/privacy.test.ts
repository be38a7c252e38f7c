import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { startBridge } from '../fixtures/bridge.ts';
import { untilStage } from '../fixtures/custody.ts';
import { EXPLICIT_LE, makeSlice, uid } from '../fixtures/dicom.ts';
import { skipKubo } from '../fixtures/kubo.ts';
import { datasetOf } from '../fixtures/part10.ts';
import { connectScu } from '../fixtures/raw-scu.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const patientName = 'Quibblethorpe^Zenobia';
const patientID = 'MRN-7731-9942-X';
const description = 'Whole body of evidence';

/** The ways in which a text could lie in a file: as bytes of common encodings, hexadecimal, base64 at any alignment. */
function disguises(text: string): Buffer[] {
  const utf8 = Buffer.from(text);
  const utf16 = Buffer.from(text, 'utf16le');
  const base64 = [0, 1, 2].map((shift) => {
    // Characters that depend on the neighbours are left out at both ends.
    const encoded = Buffer.concat([Buffer.alloc(shift), utf8])
      .toString('base64')
      .replace(/=+$/, '');
    return encoded.slice(shift === 0 ? 0 : shift + 1, -2);
  });
  const hexadecimal = utf8.toString('hex');
  return [
    utf8,
    utf16,
    Buffer.from(utf16).swap16(),
    ...[...base64, hexadecimal, hexadecimal.toUpperCase()].map((each) => Buffer.from(each)),
  ];
}

test('patient data are in the index database only', async (t) => {
  const dataDir = await tempFolder(t);
  const scratch = await tempFolder(t);
  const bridge = await startBridge({
    dataDir,
    kubo: !skipKubo,
    env: { DAGPACS_ANCHOR_MAX_AGE_MS: '100', DAGPACS_LOG_LEVEL: 'info', TMPDIR: scratch },
  });
  t.teardown(() => bridge.stop());
  const overrides = { '00081030': ['LO', description] as const };
  const slice = (instance: number) =>
    makeSlice({ study: 'privacy', instance, patientName, patientID, overrides, rows: 64, columns: 64 });
  const sopOf = (instance: number) => uid('instance', 'privacy', 'CT', 1, instance);

  t.equal((await stow(bridge.dicomWeb, [slice(1), slice(2)])).status, 200);
  const wire = {
    sopClassUID: CT,
    sopInstanceUID: sopOf(3),
    transferSyntaxUID: EXPLICIT_LE,
    dataset: datasetOf(slice(3)),
  };
  const scu = await connectScu(bridge.dimse, [wire]);
  t.equal((await scu.store(wire)).status, 0);
  // A failure of each kind, whose message and log line must not tell either.
  t.not((await scu.store({ ...wire, sopInstanceUID: sopOf(4) })).status, 0);
  await scu.release();
  t.equal(
    (
      await stow(bridge.dicomWeb, [
        makeSlice({ study: 'privacy', patientName, patientID, overrides: { '0020000D': undefined } }),
      ])
    ).failed.length,
    1,
  );
  const study = uid('study', 'privacy');
  for (const path of [
    `/studies?PatientName=${patientName}&PatientID=${patientID}`,
    `/studies/${study}/metadata`,
    `/studies/${study}/series/1.2.3`,
  ]) {
    await (await fetch(bridge.dicomWeb + path)).arrayBuffer();
  }
  await untilStage(bridge.url, [1, 2, 3].map(sopOf), 'anchored');
  if (!skipKubo) await untilStage(bridge.url, [1, 2, 3].map(sopOf), 'replicated');
  await bridge.stop();

  const secrets = {
    'patient name': [patientName, 'Quibblethorpe'],
    'patient ID': [patientID],
    'study description': [description],
    'study UID': [study, study.slice('2.25.'.length)],
    'series UID': [uid('series', 'privacy', 'CT', 1)],
    'instance UID': [1, 2, 3].map(sopOf),
    pixels: [slice(1).subarray(-2048, -1024).toString('latin1')],
  };
  const needles = Object.entries(secrets).flatMap(([name, texts]) =>
    texts.flatMap((text) =>
      (name === 'pixels' ? [Buffer.from(text, 'latin1')] : disguises(text)).map((bytes) => ({ name, bytes })),
    ),
  );
  const { stdout, stderr } = bridge.output();
  const places: [string, Buffer][] = [['what it printed', Buffer.from(stdout + stderr)]];
  for (const folder of [dataDir, scratch]) {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      places.push([`the name of ${path}`, Buffer.from(path)]);
      if (entry.isFile() && !/^index\.sqlite/.test(entry.name)) places.push([path, await readFile(path)]);
    }
  }
  const found = places.flatMap(([place, content]) =>
    needles.filter(({ bytes }) => content.includes(bytes)).map(({ name }) => `${name} in ${place}`),
  );
  t.ok(places.length > 5, `${places.length} places`);
  t.strictSame(found, []);

  const index = await Promise.all(
    (await readdir(dataDir, { recursive: true }))
      .filter((name) => /index\.sqlite/.test(name))
      .map((name) => readFile(join(dataDir, name))),
  );
  t.ok(
    index.some((content) => content.includes(Buffer.from('Quibblethorpe'))),
    'where it may be, it is found',
  );
});

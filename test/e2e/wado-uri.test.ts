import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Test, test } from 'tap';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { EXPLICIT_LE, makeSlice, RLE, uid } from '../fixtures/dicom.ts';
import { metaOf } from '../fixtures/part10.ts';
import { get } from '../fixtures/pixel-client.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

const run = promisify(execFile);
const FRAMES = 3;
const PDF = Buffer.from('%PDF-1.4 a small one');

/** A still image, one with several frames, a document and a report, in one series. */
function files() {
  const slice = (instance: number, overrides = {}) =>
    makeSlice({ study: 'wado', instance, rows: 48, columns: 64, overrides });
  const pixels = Buffer.concat([1, 2, 3].map((n) => Buffer.alloc(48 * 64 * 2, n * 20)));
  const without = (uidOfClass: string, more: object) => ({
    '00080016': ['UI', uidOfClass] as const,
    '00280002': undefined,
    '00280010': undefined,
    '00280011': undefined,
    '7FE00010': undefined,
    ...more,
  });
  const pdf = { '00420011': ['OB', PDF], '00420012': ['LO', 'application/pdf'] };
  return [
    slice(1),
    slice(2, { '00280008': ['IS', String(FRAMES)], '7FE00010': ['OW', pixels] }),
    slice(3, without('1.2.840.10008.5.1.4.1.1.104.1', pdf)),
    slice(4, without('1.2.840.10008.5.1.4.1.1.88.11', {})),
  ];
}

const STUDY = uid('study', 'wado');
const SERIES = uid('series', 'wado', 'CT', 1);
const objectUID = (n: number) => uid('instance', 'wado', 'CT', 1, n);
const STILL = 1;
const MOVING = 2;
const DOCUMENT = 3;
const REPORT = 4;

/** A WADO-URI request's parameters; undefined leaves one out. */
function query(instance: number, parameters: Record<string, string | undefined> = {}): string {
  const all = {
    requestType: 'WADO',
    studyUID: STUDY,
    seriesUID: SERIES,
    objectUID: objectUID(instance),
    ...parameters,
  };
  const given = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return new URLSearchParams(given).toString();
}

async function startWith(t: Test): Promise<{ bridge: Bridge; stored: Buffer[] }> {
  const bridge = await startBridge();
  t.teardown(() => bridge.stop());
  const stored = files();
  const { status, text } = await stow(bridge.dicomWeb, stored);
  if (status !== 200) throw new Error(text);
  return { bridge, stored };
}

test('WADO-URI', { skip: skipWithout('dcmdump') }, async (t) => {
  const { bridge, stored } = await startWith(t);
  const wado = (instance: number, parameters = {}, accept?: string) =>
    get(`${bridge.url}/wado?${query(instance, parameters)}`, accept);
  const rendered = (instance: number, rest: string, type = 'image/png') =>
    get(`${bridge.dicomWeb}/studies/${STUDY}/series/${SERIES}/instances/${objectUID(instance)}/${rest}`, type).then(
      ({ body }) => body,
    );

  t.test('instances', async (t) => {
    for (const parameters of [
      { contentType: 'application/dicom' },
      { contentType: 'application/dicom', transferSyntax: '*', anonymize: 'no' },
      { contentType: 'application/dicom', transferSyntax: EXPLICIT_LE },
      { contentType: `application/dicom;transfer-syntax=${EXPLICIT_LE}` },
    ]) {
      const answer = await wado(STILL, parameters);
      t.equal(answer.status, 200);
      t.equal(answer.type, `application/dicom; transfer-syntax=${EXPLICIT_LE}`);
      t.ok(answer.body.equals(stored[0] as Buffer), 'as it was received');
    }
    const rle = await wado(STILL, { contentType: 'application/dicom', transferSyntax: RLE });
    t.equal(metaOf(rle.body)['00020010'], RLE);
    const file = join(await tempFolder(t), 'rle.dcm');
    await writeFile(file, rle.body);
    t.match((await run('dcmdump', ['+P', '0008,0018', file])).stdout, objectUID(STILL));
    const part = await fetch(`${bridge.url}/wado?${query(STILL, { contentType: 'application/dicom' })}`, {
      headers: { range: 'bytes=128-131' },
    });
    t.strictSame([part.status, await part.text()], [206, 'DICM']);
  });

  t.test('what is given where nothing is asked for', async (t) => {
    const types = [STILL, MOVING, DOCUMENT, REPORT].map(async (n) => (await wado(n)).type);
    const dicom = `application/dicom; transfer-syntax=${EXPLICIT_LE}`;
    t.strictSame(await Promise.all(types), ['image/jpeg', dicom, 'application/pdf', dicom]);
    t.equal((await wado(MOVING, { frameNumber: '2' })).type, 'image/jpeg');
    t.equal((await wado(STILL, {}, 'image/png')).type, 'image/png', 'the Accept header counts');
    t.equal((await wado(STILL, { contentType: 'image/gif' }, 'image/png')).type, 'image/gif');
    const { body } = await wado(DOCUMENT);
    t.ok(body.equals(PDF));
  });

  t.test('images are those of WADO-RS', async (t) => {
    const png = { contentType: 'image/png' };
    const cases: [instance: number, parameters: object, rest: string, type?: string][] = [
      [1, png, 'rendered'],
      [1, { ...png, windowCenter: '-50', windowWidth: '350.5' }, 'rendered?window=-50,350.5,linear'],
      [1, { ...png, rows: '24', columns: '999' }, 'rendered?viewport=999,24'],
      [1, { ...png, columns: '128' }, 'rendered?viewport=128,9999'],
      [1, { ...png, region: '0.25,0,0.75,0.5' }, 'rendered?viewport=32,24,16,0,32,24'],
      [1, { ...png, region: '0.25,0,0.75,0.5', rows: '48' }, 'rendered?viewport=9999,48,16,0,32,24'],
      [1, { contentType: 'image/jpeg', imageQuality: '10' }, 'rendered?quality=10', 'image/jpeg'],
      [2, { ...png, frameNumber: '3' }, 'frames/3/rendered'],
      [2, png, 'rendered'],
      [2, { contentType: 'image/gif' }, 'rendered', 'image/gif'],
    ];
    for (const [instance, parameters, rest, type] of cases) {
      const answer = await wado(instance, parameters);
      t.equal(answer.status, 200, rest);
      t.ok(answer.body.equals(await rendered(instance, rest, type)), rest);
    }
  });

  t.test('what breaks a rule is refused by name', async (t) => {
    const dicom = { contentType: 'application/dicom' };
    const cases: [parameters: Record<string, string | undefined>, attribute: string, status?: number][] = [
      [{ requestType: undefined }, 'requestType'],
      [{ requestType: 'wado' }, 'requestType'],
      [{ studyUID: undefined }, 'studyUID'],
      [{ seriesUID: '1.2.x' }, 'seriesUID'],
      [{ objectUID: '1'.repeat(65) }, 'objectUID'],
      [{ contentType: 'image' }, 'contentType'],
      [{ contentType: 'image/tiff' }, 'contentType', 406],
      [{ contentType: 'text/html' }, 'contentType', 406],
      [{ ...dicom, transferSyntax: 'deflated' }, 'transferSyntax'],
      [{ ...dicom, transferSyntax: '1.2.840.10008.1.2.4.100' }, 'transferSyntax', 406],
      [{ contentType: 'image/png', transferSyntax: EXPLICIT_LE }, 'transferSyntax'],
      [{ anonymize: 'yes' }, 'anonymize'],
      [{ annotation: 'patient' }, 'annotation'],
      [{ presentationUID: '1.2' }, 'presentationUID'],
      [{ presentationSeriesUID: '1.2' }, 'presentationSeriesUID'],
      [{ frameNumber: '0' }, 'frameNumber'],
      [{ frameNumber: '2' }, 'frameNumber'],
      [{ frameNumber: '1,2' }, 'frameNumber'],
      [{ ...dicom, frameNumber: '1' }, 'frameNumber'],
      [{ rows: '-1' }, 'rows'],
      [{ rows: '999999' }, 'rows'],
      [{ columns: '1e3' }, 'columns'],
      [{ columns: '999999' }, 'columns'],
      [{ region: '0,0,1' }, 'region'],
      [{ region: '0,0,1,1.01' }, 'region'],
      [{ region: '0.5,0,0.5,1' }, 'region'],
      [{ region: '0,0,1,1,1' }, 'region'],
      [{ windowCenter: '40' }, 'windowWidth'],
      [{ windowWidth: '40' }, 'windowCenter'],
      [{ windowCenter: 'x', windowWidth: '40' }, 'windowCenter'],
      [{ windowCenter: '1', windowWidth: '0' }, 'windowWidth'],
      [{ imageQuality: '0' }, 'imageQuality'],
      [{ imageQuality: 'high' }, 'imageQuality'],
    ];
    for (const [parameters, attribute, status = 400] of cases) {
      const answer = await wado(STILL, parameters);
      const what = JSON.stringify(parameters);
      t.equal(answer.status, status, what);
      t.match(JSON.parse(answer.body.toString()), { attribute, rule: /\w/, detail: /\w/ }, what);
    }
    const twice = await get(`${bridge.url}/wado?${query(STILL)}&objectUID=1.2`);
    t.match([twice.status, JSON.parse(twice.body.toString())], [400, { attribute: 'objectUID' }]);
    t.equal((await wado(STILL, { studyUID: '1.2' })).status, 404, 'an instance of another study');
    t.equal((await wado(9)).status, 404);
    t.equal((await fetch(`${bridge.url}/wado?${query(STILL)}`, { method: 'POST' })).status, 405);
    const head = await fetch(`${bridge.url}/wado?${query(STILL)}`, { method: 'HEAD' });
    t.strictSame([head.status, head.headers.get('content-type')], [200, 'image/jpeg']);
  });
});

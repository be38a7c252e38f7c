import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import type { DicomJson } from '../../src/dicom/model.ts';
import { nativeModelOf } from '../../src/dicom/native-model.ts';
import { startBridge } from '../fixtures/bridge.ts';
import { readCorpusFile, skipCorpus } from '../fixtures/corpus.ts';
import { runTool } from '../fixtures/dcmtk.ts';
import { datasetOf } from '../fixtures/part10.ts';
import { scanBytes } from '../fixtures/scanning.ts';
import { type Multipart, parseMultipart, post, retrieve, stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

interface Piece {
  type: string;
  location?: string;
  /** Leaves the length out. */
  open?: boolean;
  body: Buffer | string;
}

function related(type: string, pieces: readonly Piece[]): Multipart {
  const boundary = randomUUID();
  const parts = pieces.flatMap((piece) => {
    const body = Buffer.from(piece.body as string);
    const location = piece.location === undefined ? '' : `Content-Location: ${piece.location}\r\n`;
    const length = piece.open === true ? '' : `Content-Length: ${body.length}\r\n`;
    return [
      Buffer.from(`--${boundary}\r\nContent-Type: ${piece.type}\r\n${location}${length}\r\n`),
      body,
      Buffer.from('\r\n'),
    ];
  });
  return {
    contentType: `multipart/related; type="${type}"; boundary=${boundary}`,
    body: Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]),
  };
}

const JSON_TYPE = 'application/dicom+json';
const XML_TYPE = 'application/dicom+xml';
const OCTETS = 'application/octet-stream';

/** DCMTK's dump of a file, by explicit VR little-endian: no lengths, no offsets, no character set. */
async function dump(folder: string, bytes: Uint8Array): Promise<string[]> {
  const path = join(folder, `${randomUUID()}.dcm`);
  await writeFile(path, bytes);
  const { output } = await runTool('dcmdump', ['-q', '+L', '+fo', '+U8', path]);
  if (!output.includes('(0008,0018)')) throw new Error(`dcmdump: ${output.slice(0, 500)}`);
  return (
    output
      .split('\n')
      .filter((line) => /^ *\([0-9a-f]{4},/.test(line) && !/^ *\((0002,|0008,0005|fffe,e0[0d]d)/.test(line))
      .map((line) =>
        line
          .slice(0, Math.max(0, line.lastIndexOf('#')))
          .replaceAll('\0', '')
          .trimEnd(),
      )
      .map((line) => line.replace(/\((Sequence|Item) with .*$/, '$1'))
      // 5.000 and 5 are the same decimal.
      .map((line) => (line.includes(' DS [') ? line.replace(/-?\d+\.\d+/g, (text) => String(Number(text))) : line))
  );
}

test('metadata and bulk data become instances', { skip: skipCorpus || skipWithout('dcmdump') }, async (t) => {
  const folder = await tempFolder(t);
  const source = await startBridge();
  const target = await startBridge();
  t.teardown(() => Promise.all([source.stop(), target.stop()]));

  async function bulk(uri: string): Promise<Piece> {
    const response = await fetch(uri, { headers: { accept: OCTETS } });
    return { type: OCTETS, location: uri, body: Buffer.from(await response.arrayBuffer()) };
  }

  await t.test('what one bridge gives away in JSON and XML, another takes in', async (t) => {
    for (const path of [
      'ct-series/ct_01.dcm',
      'transfer-syntax/SC_rgb_rle_16bit_2frame.dcm',
      'charset/chrGreek.dcm',
      'objects/sr/reportsi.dcm',
    ]) {
      const file = await readOptional(path);
      if (!file) continue;
      const { studyInstanceUID, seriesInstanceUID, sopInstanceUID, transferSyntaxUID, frames } = await scanBytes(file);
      t.equal((await stow(source.dicomWeb, [file])).stored.length, 1, path);
      const at = `/studies/${studyInstanceUID}/series/${seriesInstanceUID}/instances/${sopInstanceUID}`;
      const accept = (type: string) => fetch(`${source.dicomWeb}${at}/metadata`, { headers: { accept: type } });
      const [metadata] = (await (await accept(JSON_TYPE)).json()) as [DicomJson];
      if (frames.kind === 'encapsulated') metadata['00083002'] = { vr: 'UI', Value: [transferSyntaxUID] };
      const uris = [...new Set(JSON.stringify(metadata).match(/(?<="BulkDataURI":")[^"]+/g) ?? [])];
      const values = await Promise.all(uris.map(bulk));

      const json = related(JSON_TYPE, [{ type: JSON_TYPE, body: JSON.stringify([metadata]) }, ...values]);
      const result = await post(target.dicomWeb, json);
      t.match(result, { status: result.stored[0]?.reason === undefined ? 200 : 202, failed: [] }, result.text);
      const [made] = await retrieve(target.dicomWeb, at);
      t.strictSame(await dump(folder, made?.body as Buffer), await dump(folder, file), path);

      const answer = await accept(`multipart/related; type="${XML_TYPE}"`);
      const [model] = parseMultipart(answer.headers.get('content-type') ?? '', Buffer.from(await answer.arrayBuffer()));
      t.match(model?.headers['content-type'], XML_TYPE);
      if (frames.kind === 'encapsulated') continue;
      // Bulk data in another order than they are needed, and without a length.
      const pieces = values.reverse().map((piece) => ({ ...piece, open: true }));
      const xml = await post(
        target.dicomWeb,
        related(XML_TYPE, [{ type: XML_TYPE, body: model?.body as Buffer }, ...pieces]),
      );
      t.equal(xml.stored[0]?.sopInstanceUID, sopInstanceUID, xml.text);
      const custody = await fetch(`${target.url}/custody/instances/${sopInstanceUID}`);
      t.equal(
        ((await custody.json()) as { versions: unknown[] }).versions.length,
        1,
        'XML and JSON make the same data set',
      );
    }
  });

  const metadata = (n: number, more: DicomJson = {}): DicomJson => ({
    '00080005': { vr: 'CS', Value: ['ISO_IR 100'] },
    '00080016': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.7'] },
    '00080018': { vr: 'UI', Value: [`1.2.826.0.1.9.${n}`] },
    '0020000D': { vr: 'UI', Value: ['1.2.826.0.1.7'] },
    '0020000E': { vr: 'UI', Value: ['1.2.826.0.1.8'] },
    '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Łódź^Ñandú', Ideographic: '山田^太郎' }] },
    '00280010': { vr: 'US', Value: [2] },
    '00280011': { vr: 'US', Value: [3] },
    '00280100': { vr: 'US', Value: [8] },
    ...more,
  });
  const pixels = (uri: string): DicomJson => ({ '7FE00010': { vr: 'OB', BulkDataURI: uri } });

  await t.test('several instances, their bulk data mixed up, frames of JPEG and a value in an item', async (t) => {
    const item: DicomJson = { '00091010': { vr: 'OB', BulkDataURI: 'nested' }, '00090010': { vr: 'LO', Value: ['X'] } };
    const all = [
      metadata(1, pixels('a')),
      metadata(2, { ...pixels('b'), '00400275': { vr: 'SQ', Value: [item] }, '00280008': { vr: 'IS', Value: [2] } }),
      metadata(3, pixels('missing')),
      metadata(4, pixels('c')),
      { ...metadata(5), '00080018': { vr: 'UI', Value: ['1.x'] } },
      metadata(6, { '0020000D': { vr: 'UI', Value: ['1.2.826.0.1.77'] } }),
    ];
    const body = related(JSON_TYPE, [
      { type: JSON_TYPE, body: JSON.stringify(all) },
      { type: OCTETS, location: 'c', body: Buffer.from('cccccc') },
      {
        type: 'image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50',
        location: 'b',
        body: Buffer.from('\xff\xd8frame 1', 'latin1'),
      },
      {
        type: 'image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50',
        location: 'b',
        body: Buffer.from('\xff\xd8frame two', 'latin1'),
      },
      { type: OCTETS, location: 'nobody asked', body: 'x' },
      { type: OCTETS, location: 'nested', body: 'odd' },
      { type: OCTETS, location: 'a', open: true, body: 'aaaaaa' },
    ]);
    const result = await post(target.dicomWeb, body, '1.2.826.0.1.7');
    t.equal(result.status, 202, result.text);
    t.strictSame(result.stored.map(({ sopInstanceUID }) => sopInstanceUID?.at(-1)).sort(), ['1', '2', '4']);
    t.strictSame(
      result.failed.map(({ sopInstanceUID, reason }) => [sopInstanceUID, reason]),
      [
        ['1.2.826.0.1.9.3', 0xc000],
        ['1.x', 0xa900],
        ['1.2.826.0.1.9.6', 0xa900],
      ],
    );
    t.match(result.failed[0]?.text, /BulkDataURI missing.*Content-Location/);
    const at = (n: number) => `/studies/1.2.826.0.1.7/series/1.2.826.0.1.8/instances/1.2.826.0.1.9.${n}`;
    const dumps = async (n: number) =>
      (await dump(folder, (await retrieve(target.dicomWeb, at(n)))[0]?.body as Buffer)).join('\n');
    t.match(await dumps(1), /7fe0,0010\) OB 61\\61\\61\\61\\61\\61/);
    t.match(await dumps(4), /7fe0,0010\) OB 63\\63/);
    t.match(await dumps(2), /\(0009,1010\) OB 6f\\64\\64\\00/);
    const frames = await fetch(`${target.dicomWeb}${at(2)}/frames/1,2`);
    const parts = parseMultipart(frames.headers.get('content-type') ?? '', Buffer.from(await frames.arrayBuffer()));
    t.match(
      parts.map(({ body: frame }) => frame.toString('latin1')),
      ['\xff\xd8frame 1', '\xff\xd8frame two'],
    );
    const [{ '00100010': name }] = (await (
      await fetch(`${target.dicomWeb}/instances?SOPInstanceUID=1.2.826.0.1.9.1&includefield=PatientName`)
    ).json()) as [DicomJson];
    t.match(name, { Value: [{ Alphabetic: 'Łódź^Ñandú', Ideographic: '山田^太郎' }] });
    const xml = await fetch(`${target.dicomWeb}/studies/1.2.826.0.1.7/instances`, {
      headers: { accept: `multipart/related; type="${XML_TYPE}"` },
    });
    const models = parseMultipart(xml.headers.get('content-type') ?? '', Buffer.from(await xml.arrayBuffer()));
    t.equal(models.length, 3);
    t.match(models[0]?.body.toString(), /keyword="RetrieveURL"><Value number="1">http:\/\/127/);
    const nothing = await fetch(`${target.dicomWeb}/studies?PatientID=none`, {
      headers: { accept: `multipart/related; type="${XML_TYPE}"` },
    });
    t.equal(nothing.status, 204);
    const again = await post(target.dicomWeb, body, '1.2.826.0.1.7');
    t.equal(again.stored.length, 3, 'a repeated request is idempotent');
    t.ok(datasetOf((await retrieve(target.dicomWeb, at(1)))[0]?.body as Buffer).includes('ISO_IR 192'));
  });

  await t.test('metadata that break a rule are refused with attribute and rule', async (t) => {
    const deep = `${'{"00400275":{"vr":"SQ","Value":['.repeat(20_000)}${']}}'.repeat(20_000)}`;
    const odd = (more: object) => JSON.stringify([{ ...metadata(9), ...more }]);
    const cases: [string, string, string, RegExp][] = [
      ['no JSON', JSON_TYPE, '{', /JSON text/],
      ['no data set', JSON_TYPE, '[1]', /object of attributes/],
      ['no tag', JSON_TYPE, odd({ PatientID: {} }), /eight hexadecimal digits/],
      ['no VR', JSON_TYPE, odd({ '00100020': { vr: 'ZZ' } }), /PatientID.*value representation/],
      ['two values', JSON_TYPE, odd({ '00282000': { vr: 'OB', InlineBinary: '', BulkDataURI: 'a' } }), /one of Value/],
      ['no list', JSON_TYPE, odd({ '00100020': { vr: 'LO', Value: 'A' } }), /Value is an array/],
      ['a number too large', JSON_TYPE, odd({ '00280010': { vr: 'US', Value: [65536] } }), /Rows.*from 0 to 65535/],
      ['no string', JSON_TYPE, odd({ '00100020': { vr: 'LO', Value: [1] } }), /values are strings/],
      ['no name', JSON_TYPE, odd({ '00100010': { vr: 'PN', Value: ['A'] } }), /component groups/],
      ['too deep', JSON_TYPE, deep, /depth|nested at most/],
      ['no SOP class', JSON_TYPE, odd({ '00080016': { vr: 'UI' } }), /SOPClassUID/],
      [
        'a syntax that is none',
        JSON_TYPE,
        odd({ '00083002': { vr: 'UI', Value: ['1.2.3'] } }),
        /TransferSyntaxUID.*PS3.6/,
      ],
      ['no XML', XML_TYPE, '{}', /XML document|root element/],
      ['a document type', XML_TYPE, '<!DOCTYPE a><a/>', /no document type/],
      ['too few pixels', XML_TYPE, nativeModelOf(metadata(9, pixels('short'))), /PixelData.*6 bytes/],
    ];
    for (const [name, type, body, rule] of cases) {
      const pieces = [
        { type, body },
        { type: OCTETS, location: 'short', open: true, body: '12345' },
      ];
      const result = await post(target.dicomWeb, related(type, pieces));
      t.ok(result.status === 409 || result.status === 400, `${name}: ${result.status}`);
      t.match(result.text, rule, name);
    }
    const single = await post(target.dicomWeb, {
      contentType: JSON_TYPE,
      body: Buffer.from(JSON.stringify(metadata(8))),
    });
    t.equal(single.status, 202, 'pixels are missing');
    t.match(single, { stored: [{ reason: 0xb007 }], failed: [] }, 'a single part of JSON');
  });
});

async function readOptional(path: string): Promise<Buffer | undefined> {
  try {
    return readCorpusFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}

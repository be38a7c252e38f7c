import { hash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { sendInstances } from '../../../src/edges/dimse/sender.ts';
import { runTool, startRecorder } from '../../fixtures/dcmtk.ts';
import {
  DEFLATED,
  EXPLICIT_BE,
  EXPLICIT_LE,
  IMPLICIT_LE,
  makeSlice,
  RLE,
  type SliceOptions,
  uid,
} from '../../fixtures/dicom.ts';
import { metaOf } from '../../fixtures/part10.ts';
import { tempFolder } from '../../fixtures/temp.ts';
import { skipWithout } from '../../fixtures/tools.ts';
import { startArchive } from './archive.ts';
import { startAcceptor } from './raw-acceptor.ts';

const JPEG_LOSSLESS = '1.2.840.10008.1.2.4.70';
const JPEG_LS = '1.2.840.10008.1.2.4.80';
const NATIVE = [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE];
const GE_PRIVATE = '1.2.840.113619.5.2';
const skip = skipWithout('movescu', 'getscu', 'storescp', 'dcmcjpeg', 'dcmcjpls', 'dcmcrle', 'dcmconv', 'dcmdump');

const slice = (options: SliceOptions) => makeSlice({ rows: 64, columns: 64, ...options });

/** Instances 1 to 7, each in another transfer syntax. */
async function slices(folder: string): Promise<Buffer[]> {
  const made = [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED].map((transferSyntaxUID, i) =>
    slice({ instance: i + 1, transferSyntaxUID }),
  );
  const coders = ['dcmcjpeg', 'dcmcjpls', 'dcmcrle'];
  for (const [i, coder] of coders.entries()) {
    const [from, to] = [join(folder, `${coder}.in`), join(folder, `${coder}.out`)];
    await writeFile(from, slice({ instance: 5 + i }));
    const { code, output } = await runTool(coder, [from, to]);
    if (code !== 0) throw new Error(output);
    made.push(await readFile(to));
  }
  return made;
}

/** Digest of a native file's Pixel Data and of what describes it, as DCMTK reads them. */
async function dump(path: string): Promise<string> {
  const tags = ['0028,0004', '0028,0010', '0028,0100', '7fe0,0010'].flatMap((tag) => ['+P', tag]);
  const { code, output } = await runTool('dcmdump', ['-q', '+L', ...tags, path]);
  if (code !== 0) throw new Error(output);
  return hash('sha256', output.replaceAll(/ #.*| O[BW] /g, '').replaceAll(/ +/g, ' '));
}

const order = [1, 2, 3, 4, 5, 6, 7, 9].map((instance) => uid('instance', 1, 'CT', 1, instance));

async function received(t: Test, files: readonly Buffer[]): Promise<{ syntaxes: unknown[]; pixels: string[] }> {
  const folder = await tempFolder(t);
  const numberOf = (file: Buffer) => order.indexOf(metaOf(file)['00020003'] as string);
  const byInstance = files.toSorted((a, b) => numberOf(a) - numberOf(b));
  const pixels: string[] = [];
  for (const [i, file] of byInstance.entries()) {
    await writeFile(join(folder, String(i)), file);
    pixels.push(await dump(join(folder, String(i))));
  }
  return { syntaxes: byInstance.map((file) => metaOf(file)['00020010']), pixels };
}

test('what the receiver refuses as it is stored is transcoded, what it takes is not', { skip }, async (t) => {
  const files = await slices(await tempFolder(t));
  const { pixels: expected } = await received(
    t,
    [1, 2, 3, 4, 5, 6, 7].map((instance) => slice({ instance })),
  );
  for (const [option, syntaxes] of [
    ['+xi', Array(7).fill(IMPLICIT_LE)],
    ['+x=', [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, EXPLICIT_LE, EXPLICIT_LE, EXPLICIT_LE, EXPLICIT_LE]],
    ['+xs', [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, EXPLICIT_LE, JPEG_LOSSLESS, EXPLICIT_LE, EXPLICIT_LE]],
  ] as const) {
    const folder = join(await tempFolder(t), 'received');
    await mkdir(folder);
    const scp = await startRecorder(folder, option);
    t.teardown(() => scp.stop());
    const { aeTitle, host, port } = scp;
    const caller = { aeTitle: 'MOVESCU', host, port, services: ['move'] as const };
    const archive = await startArchive(t, { peers: [{ aeTitle, host, port, services: [] }, caller] });
    for (const file of files) await archive.keep(file);
    const { output } = await runTool('movescu', [
      ...['-d', '-S', '-aem', aeTitle, '-aec', 'DAGPACS', '127.0.0.1', String(archive.to.port)],
      ...['-k', 'QueryRetrieveLevel=STUDY', '-k', `StudyInstanceUID=${uid('study', 1)}`],
    ]);
    t.match(output, /Completed Suboperations\s*: 7\b/, option);
    const got = await received(t, await scp.files());
    t.strictSame(got.syntaxes, syntaxes, option);
    for (const [i, syntax] of syntaxes.entries())
      if (NATIVE.includes(syntax)) t.equal(got.pixels[i], expected[i], `${option} ${i + 1}`);
  }
});

test('C-GET transcodes to the contexts that there are', { skip }, async (t) => {
  const archive = await startArchive(t);
  const files = await slices(await tempFolder(t));
  for (const file of files) await archive.keep(file);
  await archive.keep(slice({ instance: 9, transferSyntaxUID: GE_PRIVATE, implicit: true }));
  const folder = await tempFolder(t);
  const { output } = await runTool('getscu', [
    ...['-d', '+B', '-S', '-od', folder, '-aec', 'DAGPACS', '127.0.0.1', String(archive.to.port)],
    ...['-k', 'QueryRetrieveLevel=STUDY', '-k', `StudyInstanceUID=${uid('study', 1)}`],
  ]);
  t.match(output, /Completed Suboperations\s*: 8\b/);
  const names = await readdir(folder);
  const got = await received(t, await Promise.all(names.map((name) => readFile(join(folder, name)))));
  t.strictSame(got.syntaxes, Array(8).fill(EXPLICIT_LE));
  const expected = await received(
    t,
    [1, 2, 3, 4, 5, 6, 7].map((instance) => slice({ instance })),
  );
  t.strictSame(got.pixels.slice(0, 7), expected.pixels);
});

test('a receiver that takes nothing but one compressed transfer syntax', { skip }, async (t) => {
  const archive = await startArchive(t);
  for (const file of await slices(await tempFolder(t))) await archive.keep(file);
  for (const only of [RLE, JPEG_LS]) {
    const { port, requests } = await startAcceptor(t, () => 0, { accepts: (syntax) => syntax === only });
    const progress = await sendInstances(
      {
        to: { aeTitle: 'THERE', host: '127.0.0.1', port, services: [] },
        instances: archive.serve.instances({ studyInstanceUID: uid('study', 1) }),
        signal: new AbortController().signal,
      },
      archive.options,
      archive,
    );
    t.match(progress, { completed: 7, failed: 0 });
    t.equal(requests.length, 7);
  }
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'tap';
import { type ZipFile, zipOf } from '../../src/edges/http/zip.ts';
import { type Bridge, projectRoot, startBridge } from '../fixtures/bridge.ts';
import { corpusPath, skipCorpus } from '../fixtures/corpus.ts';
import { allVersions } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { skipOrthanc, startOrthanc } from '../fixtures/orthanc.ts';
import { datasetOf } from '../fixtures/part10.ts';
import { stow } from '../fixtures/stow.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';

const STUDY = uid('study', 'import');
const sopOf = (instance: number) => uid('instance', 'import', 'CT', 1, instance);
const slice = (instance: number) => makeSlice({ study: 'import', instance, rows: 32, columns: 32 });

let bridge: Bridge;
let folder: string;

async function dagpacs(...args: string[]) {
  const child = spawn(process.execPath, [join(projectRoot, 'src/cli.ts'), ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, DAGPACS_DATA_DIR: bridge.dataDir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code, stdout, stderr };
}

async function writeZip(path: string, files: Record<string, Buffer>): Promise<void> {
  const entries = Object.entries(files).map(
    ([name, bytes]): ZipFile => ({
      name,
      size: bytes.length,
      modified: new Date(0),
      async *bytes() {
        yield bytes;
      },
    }),
  );
  await writeFile(path, zipOf(entries));
}

test('start', async () => {
  [bridge, folder] = await Promise.all([startBridge(), makeTempFolder()]);
});

test('files, folders and archives: what is refused and what is no DICOM is said, and a journal resumes', async (t) => {
  const source = join(folder, 'in');
  await mkdir(join(source, 'deep', 'er'), { recursive: true });
  await writeFile(join(source, 'one.dcm'), slice(1));
  await writeFile(join(source, 'deep', 'er', 'IM0002'), slice(2));
  await writeFile(join(source, 'notes.txt'), 'nothing to see');
  await writeZip(join(source, 'deep', 'more.zip'), {
    'a/3': slice(3),
    'a/readme': Buffer.from('text'),
    'b/4': slice(4),
  });
  const broken = Buffer.from(slice(5));
  broken.fill(0x41, 340, 420);
  await writeFile(join(source, 'broken.dcm'), broken.subarray(0, 500));
  const journal = join(folder, 'journal');
  const first = await dagpacs('import', '--journal', journal, source);
  t.equal(first.code, 1, first.stdout + first.stderr);
  t.match(first.stdout, /refused .*broken\.dcm: .+/);
  t.match(first.stdout, /skipped .*notes\.txt: not a DICOM file/);
  t.match(first.stdout, /skipped .*more\.zip: a\/readme: not a DICOM file/);
  t.match(first.stdout, /4 stored .* 0 noted as stored before, 2 skipped, 1 refused/);
  for (const instance of [1, 2, 3, 4])
    t.ok((await allVersions(bridge.url, sopOf(instance)))[0]?.equals(slice(instance)), `${instance} is what was sent`);
  await writeFile(join(source, 'six.dcm'), slice(6));
  const again = await dagpacs('import', '--journal', journal, '--parallel', '2', source);
  t.match(again.stdout, /1 stored .* 4 noted as stored before, 2 skipped, 1 refused/);
  const whole = await dagpacs('import', join(source, 'one.dcm'));
  t.match([whole.code, whole.stdout], [0, /1 stored/], 'twice is no fault');
  t.equal((await allVersions(bridge.url, sopOf(1))).length, 1);
});

test('a study into a folder, again, and into an archive that can be imported', async (t) => {
  const out = join(folder, 'out');
  const exported = await dagpacs('export', STUDY, '--to', out);
  t.match([exported.code, exported.stdout], [0, /5 instances/], exported.stderr);
  const series = join(out, STUDY, uid('series', 'import', 'CT', 1));
  t.strictSame((await readdir(series)).sort(), [1, 2, 3, 4, 6].map((each) => `${sopOf(each)}.dcm`).sort());
  t.ok((await readFile(join(series, `${sopOf(2)}.dcm`))).equals(slice(2)), 'byte for byte');
  await writeFile(join(series, `${sopOf(2)}.dcm`), 'kept');
  t.equal((await dagpacs('export', STUDY, '--to', out)).code, 0);
  t.equal(await readFile(join(series, `${sopOf(2)}.dcm`), 'utf8'), 'kept', 'what is there is not fetched again');
  const zip = join(folder, 'study.zip');
  t.equal((await dagpacs('export', '--zip', zip, STUDY)).code, 0);
  t.match((await dagpacs('import', zip)).stdout, /5 stored .* 0 skipped, 0 refused/);
  t.strictSame(
    (await readdir(folder)).filter((name) => /part/.test(name)),
    [],
    'nothing is left over',
  );
});

test('a DICOMDIR, whatever the case of its files', { skip: skipCorpus }, async (t) => {
  const copy = join(folder, 'fileset');
  await cp(corpusPath('dicomdir'), copy, { recursive: true });
  const { code, stdout, stderr } = await dagpacs('import', join(copy, 'DICOMDIR'));
  t.equal(code, 0, stdout + stderr);
  const [, stored] = /(\d+) stored/.exec(stdout) ?? [];
  t.ok(Number(stored) > 10, stdout);
});

test('what cannot be read is told, and all the rest is stored; links are followed, in no circle', async (t) => {
  const source = join(folder, 'odd');
  await mkdir(join(source, 'b', 'DICOMDIR'), { recursive: true });
  await writeFile(join(folder, 'elsewhere.dcm'), slice(11));
  await symlink(join(folder, 'elsewhere.dcm'), join(source, 'a-link'));
  await symlink('..', join(source, 'b', 'circle'));
  await symlink('nowhere', join(source, 'b', 'dangling'));
  await writeFile(join(source, 'b', 'DICOMDIR', 'in-a-folder'), slice(12));
  await writeFile(join(source, 'b', 'DICOMDIR-1'), slice(13));
  await writeFile(join(source, 'broken.zip'), Buffer.concat([Buffer.from('PK\x03\x04'), slice(5)]));
  await writeZip(join(source, 'changed.zip'), { good: slice(14), bad: slice(15) });
  const zip = await readFile(join(source, 'changed.zip'));
  const last = zip.lastIndexOf(slice(15).subarray(-64));
  zip[last] = (zip[last] as number) ^ 1;
  await writeFile(join(source, 'changed.zip'), zip);
  await writeFile(join(source, 'z.dcm'), slice(16));
  const { code, stdout, stderr } = await dagpacs('import', '--parallel', '3', source);
  t.equal(code, 1, stderr);
  t.match(stdout, /refused .*broken\.zip: cannot be read: not a zip archive/);
  t.match(stdout, /refused .*changed\.zip: bad: cannot be read: .*CRC-32/);
  t.match(stdout, /refused .*dangling: cannot be read: ENOENT/);
  t.match(stdout, /skipped .*circle: looked at already/);
  t.match(stdout, /5 stored .* 1 skipped, 3 refused/);
  for (const instance of [11, 12, 13, 14, 16]) t.ok((await allVersions(bridge.url, sopOf(instance)))[0], `${instance}`);
  const { status } = await fetch(`${bridge.url}/custody/instances/${sopOf(15)}`);
  t.equal(status, 404, 'what is damaged in its archive is not stored');
});

test('a journal knows where to; a server that gives few at a time, and one that breaks off, are read to the end', async (t) => {
  let broken = 0;
  const sops = Array.from({ length: 5 }, (_, i) => sopOf(i + 1));
  const item = (sop: string) => ({
    '0020000E': { vr: 'UI', Value: [uid('series', 'import', 'CT', 1)] },
    '00080018': { vr: 'UI', Value: [sop] },
  });
  const other = createServer(async (request, response) => {
    for await (const _ of request);
    const url = new URL(request.url as string, 'http://x');
    const offset = Number(url.searchParams.get('offset'));
    if (request.method === 'POST') return response.end('{}');
    if (url.pathname.endsWith('/instances'))
      return response.end(JSON.stringify([...sops.slice(offset, offset + 2).map(item), item('..')]));
    const at = sops.findIndex((sop) => url.pathname.endsWith(sop));
    if (at === 4) return response.writeHead(500).end('{"detail":"damaged"}');
    const bytes = slice(at + 1);
    response.writeHead(200, { 'content-type': 'application/dicom', 'content-length': bytes.length });
    if (at !== 1 || broken++ > 0) return response.end(bytes);
    return response.write(bytes.subarray(0, 200), () => response.destroy());
  });
  other.listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const base = `http://127.0.0.1:${(other.address() as AddressInfo).port}/x`;
  const fetched = await dagpacs('export', '--from', base, STUDY, '--to', join(folder, 'few'));
  t.equal(fetched.code, 1, fetched.stderr);
  t.match(fetched.stdout, new RegExp(`not fetched .*${sops[4]}.dcm: the server answers 500: damaged`));
  const series = join(folder, 'few', STUDY, uid('series', 'import', 'CT', 1));
  t.strictSame(
    (await readdir(series)).sort(),
    sops
      .slice(0, 4)
      .map((sop) => `${sop}.dcm`)
      .sort(),
  );
  t.ok((await readFile(join(series, `${sops[1]}.dcm`))).equals(slice(2)), 'and again, where it broke off');
  const args = ['import', '--journal', join(folder, 'journal'), join(folder, 'in', 'one.dcm')];
  t.match((await dagpacs(...args)).stdout, /0 stored .* 1 noted/);
  t.match((await dagpacs(...args, '--to', base)).stdout, /1 stored .* 0 noted/, 'it is not stored there yet');
});

test('another DICOMweb server, both ways', { skip: skipOrthanc }, async (t) => {
  const orthanc = await startOrthanc();
  t.teardown(() => orthanc.stop());
  const out = join(folder, 'for-orthanc');
  t.equal((await dagpacs('export', STUDY, '--to', out)).code, 0);
  const sent = await dagpacs(
    'import',
    '--to',
    orthanc.dicomWeb,
    '--header',
    'X-Test: 1',
    out,
    join(folder, 'in', 'broken.dcm'),
  );
  t.match([sent.code, sent.stdout], [1, /10 stored .* 1 refused/], sent.stderr);
  const back = join(folder, 'from-orthanc');
  const fetched = await dagpacs('export', '--from', orthanc.dicomWeb, STUDY, '--to', back);
  t.match([fetched.code, fetched.stdout], [0, /10 instances/], fetched.stderr);
  const name = join(STUDY, uid('series', 'import', 'CT', 1), `${sopOf(3)}.dcm`);
  t.ok(datasetOf(await readFile(join(back, name))).equals(datasetOf(slice(3))));
});

test('Orthanc as a client: it sends to us, asks, and retrieves', { skip: skipOrthanc }, async (t) => {
  const Servers = {
    chunked: { Url: bridge.dicomWeb, ChunkedTransfers: true },
    whole: { Url: bridge.dicomWeb, ChunkedTransfers: false, HasDelete: true },
  };
  const orthanc = await startOrthanc({ config: { DicomWeb: { Servers } } });
  t.teardown(() => orthanc.stop());
  const call = async (path: string, body: object) => {
    const answer = await fetch(`${orthanc.dicomWeb}/servers/${path}`, { method: 'POST', body: JSON.stringify(body) });
    return [answer.status, (await answer.json()) as object];
  };
  const rest = orthanc.dicomWeb.replace('/dicom-web', '');
  for (const server of Object.keys(Servers)) {
    const [study, other] = [`from-orthanc-${server}`, `to-orthanc-${server}`];
    const made = (name: string) =>
      [1, 2].map((instance) => makeSlice({ study: name, instance, rows: 16, columns: 16 }));
    await stow(orthanc.dicomWeb, made(study));
    await stow(bridge.dicomWeb, made(other));
    const found = await fetch(`${rest}/tools/lookup`, { method: 'POST', body: uid('study', study) });
    const [{ ID = '' } = {}] = (await found.json()) as { ID: string }[];
    t.match(await call(`${server}/stow`, { Resources: [ID], Synchronous: true }), [200, {}]);
    for (const instance of [1, 2]) t.ok((await allVersions(bridge.url, uid('instance', study, 'CT', 1, instance)))[0]);
    const asked = { Uri: '/studies', Arguments: { StudyInstanceUID: uid('study', study) } };
    t.match(await call(`${server}/qido`, asked), [200, [{ '0020000D': { Value: uid('study', study) } }]]);
    const wanted = { Resources: [{ Study: uid('study', other) }], Synchronous: true };
    t.match(await call(`${server}/retrieve`, wanted), [200, { ReceivedInstancesCount: '2' }]);
  }
  const gone = { Level: 'Study', StudyInstanceUID: uid('study', 'from-orthanc-whole') };
  t.match(await call('whole/delete', gone), [200, {}]);
  t.equal((await fetch(`${bridge.dicomWeb}/studies/${gone.StudyInstanceUID}/metadata`)).status, 404);
});

test('what cannot be done is said', async (t) => {
  const cases: [args: string[], words: RegExp][] = [
    [['import'], /a path is missing[\s\S]*Usage/],
    [['import', '--parallel', '0', '.'], /--parallel is a whole number/],
    [['import', '--header', 'nonsense', '.'], /--header is/],
    [['import', '--to', 'nonsense', '.'], /--to is an http or https URL/],
    [['import', '--journal', join(folder, 'no', 'journal'), '.'], /ENOENT/],
    [['import', join(folder, 'not-there')], /ENOENT/],
    [['import', '--to', 'http://127.0.0.1:9/dicom-web', join(folder, 'in', 'one.dcm')], /cannot be reached/],
    [['export', 'x', '--to', 'y'], /STUDY is one/],
    [['export', STUDY], /--to FOLDER or --zip FILE/],
    [['export', '1.2.3', '--to', folder], /no such study/],
  ];
  for (const [args, words] of cases) {
    const { code, stderr } = await dagpacs(...args);
    t.equal(code, 2, args.join(' '));
    t.match(stderr, words);
  }
});

test('stop', async () => {
  await bridge.stop();
  await removeFolder(folder);
});

import { hash } from 'node:crypto';
import { test } from 'tap';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { type CorpusFile, corpusFiles, corpusPath, readCorpusFile, skipCorpus } from '../fixtures/corpus.ts';
import { allVersions } from '../fixtures/custody.ts';
import { dcmsend, type Identity, identify, startRecorder } from '../fixtures/dcmtk.ts';
import { madeFiles } from '../fixtures/made-files.ts';
import { datasetOf, metaOf } from '../fixtures/part10.ts';
import { connectScu, type WireInstance } from '../fixtures/raw-scu.ts';
import { retrieve, stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

/** A file with what identifies it. */
interface Sample extends Required<Identity> {
  name: string;
  bytes(): Buffer;
}

const sha256 = (bytes: Uint8Array) => hash('sha256', bytes);
const isIdentified = (identity: Identity | undefined): identity is Required<Identity> =>
  !!(identity?.sopClassUID && identity.sopInstanceUID && identity.studyInstanceUID && identity.seriesInstanceUID);

/** Every file of the corpus that has identifying UIDs, those in bad/ too. */
async function corpusSamples(): Promise<(Sample & { file: CorpusFile })[]> {
  const files = corpusFiles();
  const identities = await identify(files.map(corpusPath));
  return files.flatMap((file) => {
    const identity = identities.get(corpusPath(file));
    return isIdentified(identity) ? [{ ...identity, name: file.path, file, bytes: () => readCorpusFile(file) }] : [];
  });
}

/**
 * Stores every sample by STOW and asks for it at once. Returns what was refused, and what came back with other bytes.
 * A data set that was stored before is not stored again, so then the first file's bytes are the right answer.
 */
async function stowAndRetrieve(bridge: Bridge, samples: readonly Sample[]) {
  const refused: string[] = [];
  const changed: string[] = [];
  const first = new Map<string, string>();
  const current = new Map<string, string>();
  for (const sample of samples) {
    const bytes = sample.bytes();
    const { status, stored } = await stow(bridge.dicomWeb, [bytes]);
    if (stored.length === 0) {
      refused.push(`${sample.name}: ${status}`);
      continue;
    }
    const key = `${sample.sopInstanceUID} ${metaOf(bytes)['00020010']} ${sha256(datasetOf(bytes))}`;
    if (!first.has(key)) {
      first.set(key, sha256(bytes));
      current.set(sample.sopInstanceUID, sha256(bytes));
    }
    const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = sample;
    const path = `/studies/${studyInstanceUID}/series/${seriesInstanceUID}/instances/${sopInstanceUID}`;
    const [part] = await retrieve(bridge.dicomWeb, path);
    if (part === undefined || sha256(part.body) !== current.get(sopInstanceUID)) changed.push(sample.name);
  }
  return { refused, changed, stored: samples.length - refused.length };
}

/** Sends every sample's data set bytes by C-STORE; returns what was refused, and what the bridge has no such bytes of. */
async function storeAndRetrieve(bridge: Bridge, samples: readonly Sample[]) {
  const refused: string[] = [];
  const changed: string[] = [];
  const sent: { name: string; instance: WireInstance }[] = [];
  for (let at = 0; at < samples.length; at += 60) {
    const group = samples.slice(at, at + 60).map((sample) => {
      const bytes = sample.bytes();
      const transferSyntaxUID = metaOf(bytes)['00020010'] ?? '';
      return { name: sample.name, instance: { ...sample, transferSyntaxUID, dataset: datasetOf(bytes) } };
    });
    const instances = group.map(({ instance }) => instance);
    const scu = await connectScu(bridge.dimse, instances);
    for (const each of group) {
      const { status, comment } = await scu.store(each.instance);
      // 0xB000 to 0xBFFF are warnings: it is stored (PS3.4 B.2.3).
      if (status === 0 || status >> 12 === 0xb) sent.push(each);
      else refused.push(`${each.name}: ${status.toString(16)} ${comment}`);
    }
    await scu.release();
  }
  for (const { name, instance } of sent) {
    const versions = await allVersions(bridge.url, instance.sopInstanceUID);
    const same = versions.filter((bytes) => datasetOf(bytes).equals(Buffer.from(instance.dataset)));
    const fits = same.some((bytes) => {
      const meta = metaOf(bytes);
      return (
        meta['00020010'] === instance.transferSyntaxUID &&
        meta['00020002'] === instance.sopClassUID &&
        meta['00020003'] === instance.sopInstanceUID
      );
    });
    if (!fits) changed.push(name);
  }
  return { refused, changed, stored: sent.length };
}

test('files made by code come back as they went in', async (t) => {
  const bridge = await startBridge();
  t.teardown(() => bridge.stop());
  const samples = madeFiles();
  t.strictSame(await stowAndRetrieve(bridge, samples), { refused: [], changed: [], stored: samples.length }, 'STOW');

  const other = await startBridge();
  t.teardown(() => other.stop());
  t.strictSame(await storeAndRetrieve(other, samples), { refused: [], changed: [], stored: samples.length }, 'C-STORE');
});

test('the corpus comes back as it went in, by STOW', { skip: skipCorpus || skipWithout('dcmdump') }, async (t) => {
  const bridge = await startBridge();
  t.teardown(() => bridge.stop());
  const samples = (await corpusSamples()).filter(({ bytes }) => bytes().toString('latin1', 128, 132) === 'DICM');
  const { refused, changed, stored } = await stowAndRetrieve(bridge, samples);
  t.comment(`${stored} stored; of bad/ refused: ${refused.join(', ')}`);
  t.strictSame(changed, []);
  t.strictSame(
    refused.filter((name) => !name.startsWith('bad/')),
    [],
  );
});

test('the corpus comes back as it went in, by C-STORE', { skip: skipCorpus || skipWithout('dcmdump') }, async (t) => {
  const bridge = await startBridge();
  t.teardown(() => bridge.stop());
  const samples = (await corpusSamples()).filter(
    ({ bytes, file }) => bytes().toString('latin1', 128, 132) === 'DICM' && file.transferSyntaxUID !== undefined,
  );
  const { refused, changed, stored } = await storeAndRetrieve(bridge, samples);
  t.comment(`${stored} stored; of bad/ refused: ${refused.join(', ')}`);
  t.strictSame(changed, []);
  t.strictSame(
    refused.filter((name) => !name.startsWith('bad/')),
    [],
  );
});

test('DCMTK as the sender', { skip: skipCorpus || skipWithout('dcmdump', 'dcmsend', 'storescp') }, async (t) => {
  const bridge = await startBridge();
  t.teardown(() => bridge.stop());
  const recorder = await startRecorder(await tempFolder(t));
  t.teardown(() => recorder.stop());
  const samples = (await corpusSamples()).filter(({ name }) => !name.startsWith('bad/'));
  const paths = samples.map(({ file }) => corpusPath(file));

  // DCMTK encodes data sets anew, so what a bit-preserving storescp got is what counts, not the files.
  await dcmsend(recorder, paths);
  await dcmsend(bridge.dimse, paths);
  // For UIDs that a file gives as UN it announces others than the data set has, which a bridge has to refuse.
  const announced = new Set(samples.map(({ sopClassUID, sopInstanceUID }) => `${sopClassUID} ${sopInstanceUID}`));
  const honest = (await recorder.files()).filter((bytes) => {
    const meta = metaOf(bytes);
    return announced.has(`${meta['00020002']} ${meta['00020003']}`);
  });
  const wanted = new Set(honest.map((bytes) => sha256(datasetOf(bytes))));
  const got = new Set<string>();
  for (const sop of new Set(samples.map(({ sopInstanceUID }) => sopInstanceUID))) {
    const versions = await allVersions(bridge.url, sop).catch(() => []);
    for (const bytes of versions) got.add(sha256(datasetOf(bytes)));
  }
  t.ok(wanted.size > 200, `${wanted.size} data sets`);
  t.strictSame([...wanted].filter((digest) => !got.has(digest)).length, 0, 'the bridge has every one of them');
});

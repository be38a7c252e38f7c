import { test } from 'tap';
import { corpusFiles, readCorpusFile, skipCorpus } from '../../fixtures/corpus.ts';
import { EXPLICIT_LE } from '../../fixtures/dicom.ts';
import { datasetOf, metaOf } from '../../fixtures/part10.ts';
import { startArchive } from './archive.ts';
import { querying } from './querying.ts';

const STUDY_ROOT = '1.2.840.10008.5.1.4.1.2.2.1';

/** The value of an element at the top of a data set in explicit VR little-endian, of a VR with a short length. */
function explicitValue(dataset: Buffer, tag: string, vr: string): Buffer {
  const at = dataset.indexOf(Buffer.concat([Buffer.from(tag, 'hex'), Buffer.from(vr)]));
  return at < 0 ? Buffer.alloc(0) : dataset.subarray(at + 8, at + 8 + dataset.readUInt16LE(at + 6));
}

function implicitElement(tag: string, value: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  return Buffer.concat([Buffer.from(tag, 'hex'), length, value]);
}

function implicitValue(dataset: Buffer, tag: string): Buffer {
  const at = dataset.indexOf(Buffer.from(tag, 'hex'));
  return at < 0 ? Buffer.alloc(0) : dataset.subarray(at + 8, at + 8 + dataset.readUInt32LE(at + 4));
}

/** Without padding, empty groups at the end, and a designation of ASCII there, which some write where nothing needs it. */
function bare(value: Buffer): string {
  const text = value.toString('latin1').trim().replace(/=+$/, '');
  return text.endsWith('\x1b(B') ? text.slice(0, -3) : text;
}

test('names in the corpus are asked for, and answered, in the very bytes that the files have', {
  skip: skipCorpus,
}, async (t) => {
  const archive = await startArchive(t);
  const { peer, all } = await querying(archive.to.port, STUDY_ROOT);
  t.teardown(() => peer.socket.destroy());
  let asked = 0;
  for (const file of corpusFiles('charset/')) {
    const bytes = readCorpusFile(file);
    // These two are of no study.
    if (file.path.includes('chrSQEncoding')) continue;
    if (metaOf(bytes)['00020010'] !== EXPLICIT_LE) continue;
    await archive.keep(bytes);
    const dataset = datasetOf(bytes);
    const [charset, name] = [explicitValue(dataset, '08000500', 'CS'), explicitValue(dataset, '10001000', 'PN')];
    const study = explicitValue(dataset, '20000d00', 'UI');
    const answers = await all(
      Buffer.concat([
        implicitElement('08000500', charset),
        implicitElement('08005200', Buffer.from('STUDY ')),
        implicitElement('10001000', name),
        implicitElement('20000d00', study),
      ]),
    );
    asked++;
    t.equal(answers.length, 2, `${file.path}: found`);
    const answer = answers[0]?.bytes ?? Buffer.alloc(0);
    t.equal(bare(implicitValue(answer, '08000500')), bare(charset), file.path);
    t.equal(bare(implicitValue(answer, '10001000')), bare(name), file.path);
  }
  t.ok(asked > 20, `${asked} files`);
});

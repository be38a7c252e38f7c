import { makeSlice } from '../fixtures/dicom.ts';
import { multipartOf } from '../fixtures/stow.ts';
import { get, send } from './client.ts';
import { find } from './dimse.ts';
import type { Peer, Row } from './rows.ts';

/** Instances a STOW request has, and requests at one time. */
const BATCH = 100;
const PARALLEL = 4;
/** Questions of one kind that are asked in a row, where each asks for something else. */
const QUESTIONS = 20;
const SURNAMES = ['JONES', 'Müller', 'GARCIA', 'Nguyen', 'KOWALSKI', 'Rossi', 'IVANOV', 'SILVA', 'Hansen'];
const JSON_TYPE = 'application/dicom+json';

const patientID = (n: number) => `PAT${String(n % 7000).padStart(6, '0')}`;
const accession = (n: number) => `ACC${String(n).padStart(8, '0')}`;
const date = (n: number) => `20${String(10 + (n % 15))}${String(1 + (n % 12)).padStart(2, '0')}${10 + (n % 18)}`;
/** One in a hundred is a Smith. */
const surname = (n: number) => (n % 100 === 7 ? 'SMITH' : (SURNAMES[n % SURNAMES.length] as string));

/** A study of one small image. */
function makeStudy(n: number): Buffer {
  return makeSlice({
    study: `library ${n}`,
    rows: 4,
    columns: 4,
    patientName: `${surname(n)}^P${n % 7000}`,
    patientID: patientID(n),
    overrides: {
      '00080020': ['DA', date(n)],
      '00080030': ['TM', `${10 + (n % 12)}${10 + (n % 50)}00`],
      '00080050': ['SH', accession(n)],
      '00080060': ['CS', n % 3 === 0 ? 'MR' : 'CT'],
    },
  });
}

/** Gives every peer the same `count` studies. */
export async function loadLibrary(peers: readonly Peer[], count: number): Promise<void> {
  const batches: (() => Promise<void>)[] = [];
  for (let at = 0; at < count; at += BATCH) {
    batches.push(async () => {
      const studies = Array.from({ length: Math.min(BATCH, count - at) }, (_, i) => makeStudy(at + i));
      const { contentType, body } = multipartOf(studies);
      await Promise.all(
        peers.map(({ dicomWeb }) =>
          send(
            `${dicomWeb}/studies`,
            contentType,
            (async function* () {
              yield body;
            })(),
            body.length,
          ),
        ),
      );
    });
  }
  const worker = async () => {
    for (let batch = batches.pop(); batch !== undefined; batch = batches.pop()) await batch();
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  await Promise.all(peers.map((peer) => peer.settle()));
}

function search(name: string, parameters: (question: number) => string, questions = 1): Row {
  return {
    name,
    writes: false,
    async run({ dicomWeb }) {
      for (let question = 0; question < questions; question++) {
        const bytes = await get(`${dicomWeb}/studies?${parameters(question)}`, JSON_TYPE);
        if (bytes < 100) throw new Error(`${name}: nothing was found`);
      }
    },
  };
}

/** Searches of a library of `count` studies. */
export function libraryRows(count: number): Row[] {
  const spread = (question: number) => Math.floor((question * count) / QUESTIONS);
  const offset = Math.floor(count * 0.75);
  return [
    search(`QIDO, ${QUESTIONS} patient IDs`, (q) => `PatientID=${patientID(spread(q))}`, QUESTIONS),
    search(`QIDO, ${QUESTIONS} accession numbers`, (q) => `AccessionNumber=${accession(spread(q))}`, QUESTIONS),
    find(`C-FIND, ${QUESTIONS} patient IDs`, (q) => ({ '00100020': patientID(spread(q)) }), { questions: QUESTIONS }),
    find('C-FIND, PatientName=SMITH*', () => ({ '00100010': 'SMITH*' }), { least: Math.floor(count / 100) }),
    find('C-FIND, all studies', () => ({}), { least: count }),
    search('QIDO, PatientName=SMITH*', () => 'PatientName=SMITH*&limit=100'),
    search(
      "QIDO, OHIF's list of studies",
      () => 'limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060',
    ),
    search(`QIDO, studies from ${offset} on`, () => `limit=101&offset=${offset}`),
  ];
}

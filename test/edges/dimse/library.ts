import type { Test } from 'tap';
import { openIndex } from '../../../src/adapters/index/sqlite.ts';
import type { DicomValue } from '../../../src/dicom/model.ts';
import type { DimseOptions } from '../../../src/edges/dimse/options.ts';
import type { Addition, Index } from '../../../src/ports/index.ts';
import { made } from '../../fixtures/additions.ts';
import { tempFolder } from '../../fixtures/temp.ts';
import { type Collector, startCollector } from './collector.ts';

type Attributes = Record<string, [vr: string, ...values: DicomValue[]]>;

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** A listener before a real index that holds `additions`. */
export async function startLibrary(
  t: Test,
  additions: Addition[],
  options: Partial<DimseOptions> = {},
): Promise<Collector & { index: Index }> {
  const index = openIndex({ dataDir: await tempFolder(t), log });
  t.teardown(() => index.close());
  await index.add(additions);
  const collector = await startCollector(options, undefined, { index });
  t.teardown(() => collector.listener.close());
  return { ...collector, index };
}

function patient(id: string, name: object, date: string, time: string): Attributes {
  return {
    '00080020': ['DA', date],
    '00080030': ['TM', time],
    '00100010': ['PN', { ...name }],
    '00100020': ['LO', id],
  };
}

const yamada = { Alphabetic: 'Yamada^Tarou', Ideographic: '山田^太郎', Phonetic: 'やまだ^たろう' };

/** Four studies of three patients: 1.1 and 1.2 (CT, with an SR) of P1, 1.3 (MR) of P2, 1.4 (CT) of P3. */
export function library(): Addition[] {
  const ct: Attributes = { '00080060': ['CS', 'CT'], '00200011': ['IS', 1], '00081010': ['SH', 'CT01'] };
  const request: Attributes = {
    '00400275': ['SQ', { '00400009': { vr: 'SH', Value: ['SPS9'] }, '00400007': { vr: 'LO', Value: ['Thorax'] } }],
  };
  const mueller = { Alphabetic: 'Müller^Jürgen' };
  const one = patient('P1', mueller, '20240301', '083000');
  const two = patient('P1', mueller, '20240302', '070000');
  return [
    made({ study: '1.1', series: '1.1.1', sop: '1.1.1.2', attributes: { ...one, ...ct, '00200013': ['IS', 2] } }),
    made({ study: '1.1', series: '1.1.1', sop: '1.1.1.1', attributes: { ...one, ...ct, '00200013': ['IS', 1] } }),
    made({ study: '1.2', series: '1.2.1', sop: '1.2.1.1', attributes: { ...two, ...ct, ...request } }),
    made({ study: '1.2', series: '1.2.9', sop: '1.2.9.1', attributes: { ...two, '00080060': ['CS', 'SR'] } }),
    made({
      study: '1.3',
      series: '1.3.1',
      sop: '1.3.1.1',
      attributes: { ...patient('P2', yamada, '20230101', '120000'), '00080060': ['CS', 'MR'] },
    }),
    made({
      study: '1.4',
      series: '1.4.1',
      sop: '1.4.1.1',
      attributes: { ...patient('P3', { Alphabetic: 'Люкceмбypг' }, '20220101', '120000'), ...ct },
    }),
  ];
}

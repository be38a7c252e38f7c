import { z } from 'zod';
import type { CarImport } from '../../../flows/upkeep/car-import.ts';
import { uid } from './dicom-web.ts';
import { defineOperation, none } from './operation.ts';

export const CAR = 'application/vnd.ipld.car';

const count = z.int().min(0);
const progress = z.object({
  versions: count,
  ofVersions: count,
  added: count.describe('versions that were not held before'),
  held: count.describe('blocks that were held as they should be'),
  repaired: count.describe('blocks that were damaged here and are put right'),
  stored: count.describe('blocks that were not held before'),
  failed: count.describe('blocks and versions that could not be had or taken'),
  faults: z.array(z.object({ cid: z.string(), reason: z.string() })).describe('the first 1,000 of them'),
}) satisfies z.ZodType<CarImport>;

export const exportCar = defineOperation({
  id: 'exportCar',
  tag: 'IPFS',
  method: 'GET',
  path: '/custody/studies/{studyInstanceUID}/car',
  summary: 'All sealed blocks of a study as one CARv1 file',
  description: 'Its one root links every version; `ipfs dag import` takes it. The keys are not in it.',
  params: z.object({ studyInstanceUID: uid.describe('Study Instance UID') }),
  query: none,
  answers: { 200: { description: 'The file, in chunks; cut where a block cannot be had', content: { [CAR]: null } } },
});
export const importCar = defineOperation({
  id: 'importCar',
  tag: 'IPFS',
  method: 'POST',
  path: '/custody/car',
  summary: "Take a study's CAR file: what is missing or damaged here is put right",
  params: none,
  query: none,
  body: [CAR],
  answers: {
    200: {
      description: 'Lines of JSON: how it stands while it goes on, and at last how it ended',
      content: { 'application/x-ndjson': progress },
    },
  },
});

import { z } from 'zod';
import { isUsableUID } from '../../../dicom/uid.ts';
import { type Answer, defineOperation, none } from './operation.ts';

const UID_RULE = 'a UID of digits and dots, at most 64 characters (PS3.5 §9.1)';
export const uid = z
  .string(UID_RULE)
  .regex(/^[\d.]{1,64}$/, UID_RULE)
  .refine(isUsableUID, UID_RULE)
  .meta({ examples: ['1.2.826.0.1.3680043.8.498.1'] });

export const study = z.object({ studyInstanceUID: uid.describe('Study Instance UID') });
export const series = study.extend({ seriesInstanceUID: uid.describe('Series Instance UID') });
export const instance = series.extend({ sopInstanceUID: uid.describe('SOP Instance UID') });

export const STUDY = '/dicom-web/studies/{studyInstanceUID}';
export const SERIES = `${STUDY}/series/{seriesInstanceUID}`;
export const INSTANCE = `${SERIES}/instances/{sopInstanceUID}`;

/** Content negotiation by the query (PS3.18 §8.3.3). */
export const negotiation = z.object({
  accept: z
    .union([z.string(), z.array(z.string())])
    .transform((ranges) => [ranges].flat().join(','))
    .optional()
    .describe('media ranges that count instead of the Accept header (PS3.18 §8.3.3.1)')
    .meta({ examples: ['*/*'] }),
  charset: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe('taken and passed over: text is UTF-8 (PS3.18 §8.3.3.2)')
    .meta({ examples: ['utf-8'] }),
});
const one = z.union([z.string(), z.array(z.string())]);
const flag = (description: string) =>
  z
    .enum(['true', 'false'], 'true or false')
    .optional()
    .describe(description)
    .meta({ examples: ['true'] });

/** Parameters of every search; the ones beside these are attributes to match (PS3.18 §8.3.4). */
export const searchQuery = z.looseObject({
  limit: z.coerce
    .number('a whole number from 1')
    .int('a whole number from 1')
    .min(1, 'a whole number from 1')
    .optional()
    .describe('results at most')
    .meta({ examples: [100] }),
  offset: z.coerce
    .number('a whole number from 0')
    .int('a whole number from 0')
    .min(0, 'a whole number from 0')
    .default(0)
    .describe('results to pass over'),
  fuzzymatching: z
    .enum(['true', 'false'], 'true or false')
    .default('false')
    .describe(
      'match person names too where each word that is asked for begins a word of the name, in any order, in any component ' +
        'and group, regardless of case and accents',
    ),
  emptyvaluematching: flag('attributes without a value are matched by `""`; this is always so'),
  multiplevaluematching: flag('several values of an attribute match any of them; this is always so'),
  includefield: one
    .optional()
    .describe(
      'attributes to give back beside the usual ones: keywords or tags, separated by commas or repeated, or `all`',
    )
    .meta({ examples: ['StudyDescription,00081030'] }),
  orderby: one
    .optional()
    .describe(
      'indexed attributes that results are ordered by, separated by commas or repeated; a hyphen before one: descending',
    )
    .meta({ examples: ['-StudyDate,PatientName'] }),
  ...negotiation.shape,
});

const dicomJson = z
  .array(z.record(z.string(), z.unknown()))
  .describe('DICOM JSON Model objects (PS3.18 Annex F)')
  .meta({
    examples: [
      [
        {
          '00080020': { vr: 'DA', Value: ['20240131'] },
          '00100010': { vr: 'PN', Value: [{ Alphabetic: 'SMITH^JANE' }] },
          '0020000D': { vr: 'UI', Value: ['1.2.826.0.1.3680043.8.498.1'] },
        },
      ],
    ],
  });
/** Native DICOM Models (PS3.19 A.1), a part each. */
const XML_PARTS = 'multipart/related; type="application/dicom+xml"';
const found: Answer = {
  description: 'The matches; an empty array where there are none',
  content: { 'application/dicom+json': dicomJson, 'application/json': dicomJson, [XML_PARTS]: null },
  headers: { Warning: '299 where results were cut' },
};
const instances: Answer = {
  description:
    'The instances: as they were received where that is acceptable, else transcoded; in an archive as they were received, ' +
    'with a DICOMDIR (PS3.10 §8)',
  content: { 'multipart/related; type="application/dicom"': null, 'application/zip': null },
};
const metadata: Answer = {
  description: 'The header of every instance, with a BulkDataURI in place of each large value',
  content: { 'application/dicom+json': dicomJson, 'application/json': dicomJson, [XML_PARTS]: null },
};
const storeResult = z
  .record(z.string(), z.unknown())
  .describe('Store Instances Response Module (PS3.18 Annex I)')
  .meta({
    examples: [
      {
        '00081190': { vr: 'UR', Value: ['https://pacs.example/dicom-web/studies/1.2.826.0.1.3680043.8.498.1'] },
        '00081199': {
          vr: 'SQ',
          Value: [
            {
              '00081150': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.2'] },
              '00081155': { vr: 'UI', Value: ['1.2.826.0.1.3680043.8.498.1.2.3'] },
            },
          ],
        },
      },
    ],
  });
const stored = (description: string): Answer => ({
  description,
  content: { 'application/dicom+json': storeResult, 'application/json': storeResult, 'application/dicom+xml': null },
});
const storeAnswers = {
  200: stored('Every instance is stored, or was already'),
  202: stored('Some instances are not stored, or have warnings'),
  400: stored('The body cannot be read, and nothing was stored'),
  409: stored('No instance is stored'),
  413: stored('No instance is stored: too large'),
  415: stored('No part is an instance'),
  503: { ...stored('Overload: nothing is stored, try again later'), headers: { 'Retry-After': 'seconds' } },
};
const storeBody = [
  ...['application/dicom', 'application/dicom+json', 'application/dicom+xml'].flatMap((type) => [
    `multipart/related; type="${type}"`,
    type,
  ]),
  'multipart/form-data',
];
const STORE_TEXT =
  'Every part becomes an instance and is durable when it is answered for; of metadata (JSON, XML) and bulk data the bridge ' +
  'makes the instances. The body may have a content coding (gzip, deflate, br, zstd). A part that cannot be stored is listed in ' +
  'Failed SOP Sequence (0008,1198) with Failure Reason (0008,1197) and Error Comment (0000,0902); the others are stored.';

const tag = 'DICOMweb' as const;
export const range = { Range: 'one range of bytes, where the answer is a single part (RFC 9110 §14)' };

export const unchanged: Answer = { description: 'As the client has it already (If-None-Match, If-Modified-Since)' };

function search<Params extends z.ZodObject>(id: string, path: string, summary: string, params: Params) {
  const answers = { 200: found, 204: { description: 'No match, where XML is asked for' } };
  return defineOperation({
    id,
    tag,
    method: 'GET',
    path,
    summary,
    params,
    query: searchQuery,
    attributes: true,
    answers,
  });
}

export function read<Params extends z.ZodObject>(
  id: string,
  path: string,
  summary: string,
  params: Params,
  answer: Answer,
) {
  return defineOperation({
    id,
    tag,
    method: 'GET',
    path,
    summary,
    params,
    query: negotiation,
    answers: { 200: answer, 304: unchanged },
  });
}

export const searchPatients = search('searchPatients', '/dicom-web/patients', 'Search patients', none);
export const searchStudies = search('searchStudies', '/dicom-web/studies', 'Search studies', none);
export const searchSeries = search('searchSeries', '/dicom-web/series', 'Search series', none);
export const searchInstances = search('searchInstances', '/dicom-web/instances', 'Search instances', none);
export const searchStudySeries = search('searchStudySeries', `${STUDY}/series`, 'Search series of a study', study);
export const searchStudyInstances = search(
  'searchStudyInstances',
  `${STUDY}/instances`,
  'Search instances of a study',
  study,
);
export const searchSeriesInstances = search(
  'searchSeriesInstances',
  `${SERIES}/instances`,
  'Search instances of a series',
  series,
);

export const storeInstances = defineOperation({
  id: 'storeInstances',
  tag,
  method: 'POST',
  path: '/dicom-web/studies',
  summary: 'Store instances',
  description: STORE_TEXT,
  params: none,
  query: negotiation,
  body: storeBody,
  answers: storeAnswers,
});
export const storeStudyInstances = defineOperation({
  id: 'storeStudyInstances',
  tag,
  method: 'POST',
  path: STUDY,
  summary: 'Store instances of one study',
  description: `${STORE_TEXT} Instances of other studies are refused.`,
  params: study,
  query: negotiation,
  body: storeBody,
  answers: storeAnswers,
});

export const retrieveStudy = read('retrieveStudy', STUDY, 'Retrieve the instances of a study', study, instances);
export const retrieveSeries = read('retrieveSeries', SERIES, 'Retrieve the instances of a series', series, instances);
export const retrieveInstance = defineOperation({
  ...read('retrieveInstance', INSTANCE, 'Retrieve an instance', instance, {
    description: 'The instance: as it was received where that is acceptable, else transcoded',
    content: { ...instances.content, 'application/dicom': null },
  }),
  headers: range,
});
export const retrieveStudyMetadata = read(
  'retrieveStudyMetadata',
  `${STUDY}/metadata`,
  'Retrieve the metadata of a study',
  study,
  metadata,
);
export const retrieveSeriesMetadata = read(
  'retrieveSeriesMetadata',
  `${SERIES}/metadata`,
  'Retrieve the metadata of a series',
  series,
  metadata,
);
export const retrieveInstanceMetadata = read(
  'retrieveInstanceMetadata',
  `${INSTANCE}/metadata`,
  'Retrieve the metadata of an instance',
  instance,
  metadata,
);

const FRAMES_RULE = 'frame numbers from 1, separated by commas (PS3.18 §10.4.1)';
const MAX_FRAMES = 10_000;
export const framesOfInstance = instance.extend({
  frames: z
    .string()
    .regex(/^[1-9]\d{0,8}(,[1-9]\d{0,8})*$/, FRAMES_RULE)
    .refine((list) => list.split(',').length <= MAX_FRAMES, `at most ${MAX_FRAMES} frames at a time`)
    .describe('frame numbers from 1, separated by commas')
    .meta({ examples: ['1,2'] }),
});
export const retrieveFrames = defineOperation({
  ...read('retrieveFrames', `${INSTANCE}/frames/{frames}`, 'Retrieve frames', framesOfInstance, {
    description: 'The frames in the order asked: as stored where that is acceptable, else transcoded',
    content: {
      'multipart/related; type="application/octet-stream"': null,
      'multipart/related; type="image/*"': null,
      'application/octet-stream': null,
      'image/*': null,
    },
  }),
  headers: range,
});

export const retrieveBulkData = defineOperation({
  ...read(
    'retrieveBulkData',
    `${INSTANCE}/bulkdata/{path...}`,
    'Retrieve a value by the BulkDataURI that metadata gives',
    instance.extend({
      path: z
        .string()
        .max(1024, 'at most 1024 characters')
        .regex(/^[0-9A-F]{8}(\/[1-9]\d{0,8}\/[0-9A-F]{8})*$/, 'tags with item numbers in between, as metadata gives it')
        .describe('tag, or tags with item numbers from 1 in between')
        .meta({ examples: ['7FE00010'] }),
    }),
    {
      description: 'The value, little-endian',
      content: { 'multipart/related; type="application/octet-stream"': null, 'application/octet-stream': null },
    },
  ),
  headers: range,
});

import { z } from 'zod';
import { negotiation, uid, unchanged } from './dicom-web.ts';
import { defineOperation, none } from './operation.ts';

const UID_EXAMPLE = '1.2.826.0.1.3680043.8.498.1';
const required = (description: string) => uid.describe(description).meta({ examples: [UID_EXAMPLE] });
const text = (description: string, example: string) =>
  z
    .string('is given once')
    .optional()
    .describe(description)
    .meta({ examples: [example] });
const whole = (description: string, rule: string, pattern: RegExp) =>
  z
    .string('is given once')
    .regex(pattern, rule)
    .transform(Number)
    .optional()
    .describe(description)
    .meta({ examples: ['1'] });
const unused = (description: string, rule: string) =>
  z.string('is given once').max(0, rule).optional().describe(description);

const PIXELS = 'a whole number from 1 to 999999 (PS3.18 §9.1.2.3)';

export const wadoUri = defineOperation({
  id: 'wadoUri',
  tag: 'DICOMweb',
  method: 'GET',
  path: '/wado',
  summary: 'Retrieve an instance, or an image of it, by WADO-URI',
  description:
    'An instance without `contentType`: a JPEG of an image with one frame or of the frame that is named, a document or video ' +
    'as it is stored, else `application/dicom`, as it was received where `transferSyntax` does not say otherwise.',
  params: none,
  query: z.object({
    requestType: z
      .literal('WADO', 'WADO (PS3.18 §9.1.2.1)')
      .describe('always `WADO`')
      .meta({ examples: ['WADO'] }),
    studyUID: required('Study Instance UID'),
    seriesUID: required('Series Instance UID'),
    objectUID: required('SOP Instance UID'),
    contentType: text('media types that are acceptable, in place of the Accept header', 'image/jpeg'),
    charset: negotiation.shape.charset,
    transferSyntax: z
      .union([z.literal('*'), uid], 'a transfer syntax UID, or *')
      .optional()
      .describe('of `application/dicom`; `*`: as it is stored')
      .meta({ examples: ['1.2.840.10008.1.2.1'] }),
    anonymize: z
      .literal('no', 'nothing is anonymized here: leave it out (PS3.18 §9.1.2.2)')
      .optional()
      .describe('`yes` is refused')
      .meta({ examples: ['no'] }),
    annotation: unused('refused', 'nothing is written into images: leave it out (PS3.18 §9.1.2.3)'),
    presentationUID: unused('refused', 'presentation states are not applied: leave it out (PS3.18 §9.1.2.3)'),
    presentationSeriesUID: unused('refused', 'presentation states are not applied: leave it out (PS3.18 §9.1.2.3)'),
    frameNumber: whole('frame, from 1', 'a frame number from 1 (PS3.18 §9.1.2.3)', /^[1-9]\d{0,8}$/),
    rows: whole('rows that the image is fitted into', PIXELS, /^[1-9]\d{0,5}$/),
    columns: whole('columns that the image is fitted into', PIXELS, /^[1-9]\d{0,5}$/),
    region: text('xmin,ymin,xmax,ymax: the part that is shown, from 0.0 to 1.0', '0.25,0.25,0.75,0.75'),
    windowCenter: text('of the VOI window, with windowWidth', '40'),
    windowWidth: text('of the VOI window, with windowCenter', '400'),
    imageQuality: text('1 to 100, for `image/jpeg`', '90'),
  }),
  headers: { Range: 'one range of bytes (RFC 9110 §14)' },
  answers: {
    200: {
      description: 'The instance or the image',
      content: {
        'application/dicom': null,
        'image/jpeg': null,
        'image/png': null,
        'image/gif': null,
        'video/mp4': null,
        'video/mpeg2': null,
        'application/pdf': null,
      },
    },
    304: unchanged,
  },
});

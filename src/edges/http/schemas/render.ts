import { z } from 'zod';
import {
  framesOfInstance,
  INSTANCE,
  instance,
  negotiation,
  range,
  SERIES,
  STUDY,
  series,
  study,
  unchanged,
} from './dicom-web.ts';
import { type Answer, defineOperation } from './operation.ts';

const query = negotiation.extend({
  viewport: z
    .string()
    .optional()
    .describe('`vw,vh` that the image is fitted into, or `vw,vh,sx,sy,sw,sh` with the part of it that is shown')
    .meta({ examples: ['256,256'] }),
  window: z
    .string()
    .optional()
    .describe('`center,width,function`, the function one of `linear`, `linear-exact` and `sigmoid`')
    .meta({ examples: ['40,400,linear'] }),
  quality: z
    .string()
    .optional()
    .describe('1 to 100, for `image/jpeg`')
    .meta({ examples: ['90'] }),
  iccprofile: z
    .string()
    .optional()
    .describe(
      'ICC profile in `image/jpeg` and `image/png`: `no` (default); `yes`: that of the instance, else sRGB; `srgb` or ' +
        '`displayp3`: colours are converted to it',
    )
    .meta({ examples: ['yes'] }),
});
const images = (description: string, ...more: string[]): Answer => {
  const types = ['image/jpeg', 'image/png', 'image/gif', ...more];
  return { description, content: Object.fromEntries(types.map((type) => [type, null])) };
};
const PARTS = ['image/jpeg', 'image/png', 'image/gif'].map((type) => `multipart/related; type="${type}"`);
const parts = (description: string): Answer => {
  return { description, content: Object.fromEntries(PARTS.map((type) => [type, null])) };
};

function operation<Params extends z.ZodObject>(
  id: string,
  path: string,
  summary: string,
  params: Params,
  answer: Answer,
) {
  return defineOperation({
    id,
    tag: 'DICOMweb',
    method: 'GET',
    path,
    summary,
    params,
    query,
    headers: range,
    answers: { 200: answer, 304: unchanged },
  });
}

const FRAMES = `${INSTANCE}/frames/{frames}`;

export const renderStudy = operation(
  'renderStudy',
  `${STUDY}/rendered`,
  'Render a study',
  study,
  parts('Each image of the study: the frame that stands for it, or in `image/gif` all of its frames'),
);
export const renderSeries = operation(
  'renderSeries',
  `${SERIES}/rendered`,
  'Render a series',
  series,
  parts('Each image of the series: the frame that stands for it, or in `image/gif` all of its frames'),
);
export const renderInstance = operation(
  'renderInstance',
  `${INSTANCE}/rendered`,
  'Render an instance',
  instance,
  images(
    'The frame that stands for the image, in `image/gif` or several parts all of its frames; a video or an encapsulated ' +
      'document as it is stored',
    ...PARTS,
    'video/mp4',
    'video/mpeg2',
    'application/pdf',
  ),
);
export const renderFrames = operation(
  'renderFrames',
  `${FRAMES}/rendered`,
  'Render frames',
  framesOfInstance,
  images('A frame, several in parts, or in one `image/gif`', ...PARTS),
);

const THUMBNAIL = 'A small image of the frame that stands for it';
const thumbnail: Answer = { description: THUMBNAIL, content: { 'image/jpeg': null, 'image/png': null } };
export const studyThumbnail = operation(
  'studyThumbnail',
  `${STUDY}/thumbnail`,
  'Thumbnail of a study',
  study,
  thumbnail,
);
export const seriesThumbnail = operation(
  'seriesThumbnail',
  `${SERIES}/thumbnail`,
  'Thumbnail of a series',
  series,
  thumbnail,
);
export const instanceThumbnail = operation(
  'instanceThumbnail',
  `${INSTANCE}/thumbnail`,
  'Thumbnail of an instance',
  instance,
  thumbnail,
);
export const frameThumbnail = operation(
  'frameThumbnail',
  `${FRAMES}/thumbnail`,
  'Thumbnail of a frame; of several of the first',
  framesOfInstance,
  thumbnail,
);

import type { z } from 'zod';
import { INSTANCE, instance, read, SERIES, STUDY, series, study } from './dicom-web.ts';

const OCTETS = 'multipart/related; type="application/octet-stream"';

function pixels<Params extends z.ZodObject>(id: string, path: string, of: string, params: Params) {
  return read(id, `${path}/pixeldata`, `Retrieve the pixel data of ${of}`, params, {
    description:
      'A part for each frame where they are compressed, else one for the pixels of each instance: as stored where that is ' +
      'acceptable, else transcoded',
    content: { [OCTETS]: null, 'multipart/related; type="image/*"': null },
  });
}

function values<Params extends z.ZodObject>(id: string, path: string, of: string, params: Params) {
  return read(id, `${path}/bulkdata`, `Retrieve the bulk data of ${of}`, params, {
    description:
      'A part for each value that metadata give a BulkDataURI for, little-endian, and for the frames of compressed pixels',
    content: { [OCTETS]: null },
  });
}

export const studyPixelData = pixels('retrieveStudyPixelData', STUDY, 'a study', study);
export const seriesPixelData = pixels('retrieveSeriesPixelData', SERIES, 'a series', series);
export const instancePixelData = pixels('retrieveInstancePixelData', INSTANCE, 'an instance', instance);
export const studyBulkData = values('retrieveStudyBulkData', STUDY, 'a study', study);
export const seriesBulkData = values('retrieveSeriesBulkData', SERIES, 'a series', series);
export const instanceBulkData = values('retrieveInstanceBulkData', INSTANCE, 'an instance', instance);

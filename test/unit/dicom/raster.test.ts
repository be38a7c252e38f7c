import { test } from 'tap';
import { resample } from '../../../src/dicom/raster.ts';
import { fit, parseViewport } from '../../../src/dicom/render-parameters.ts';
import type { Raster } from '../../../src/dicom/rendering.ts';

const grey = (width: number, height: number, data: readonly number[]): Raster => {
  return { width, height, channels: 1, data: Uint8Array.from(data) };
};

test('a pixel that is made of many is their mean, wherever they lie in it', async (t) => {
  for (let bright = 0; bright < 20; bright++) {
    const row = Array.from({ length: 20 }, (_, x) => (x === bright ? 200 : 0));
    const expected = bright < 10 ? [20, 0] : [0, 20];
    t.same([...resample(grey(20, 1, row), undefined, 2, 1).data], expected, `across: ${bright}`);
    t.same([...resample(grey(1, 20, row), undefined, 1, 2).data], expected, `down: ${bright}`);
  }
  const image: Raster = {
    width: 2,
    height: 2,
    channels: 3,
    data: Uint8Array.from([0, 10, 20, 2, 12, 22, 4, 14, 24, 6, 16, 26]),
  };
  t.same([...resample(image, undefined, 1, 1).data], [3, 13, 23], 'in colour');
});

test('between two pixels, and mirrored', async (t) => {
  t.same([...resample(grey(2, 1, [0, 100]), undefined, 4, 1).data], [0, 25, 75, 100]);
  t.same([...resample(grey(2, 1, [0, 100]), { x: 0, y: 0, width: -2, height: 1 }, 4, 1).data], [100, 75, 25, 0]);
  t.same([...resample(grey(1, 2, [0, 100]), { x: 0, y: 0, width: 1, height: -2 }, 1, 4).data], [100, 75, 25, 0]);
});

test('what is held is bounded, whatever is asked for', async (t) => {
  const tall = grey(1, 65535, new Array(65535).fill(7));
  const wide = resample(tall, { x: 0, y: 0, width: 1, height: 1 }, 65500, 1);
  t.ok(
    wide.data.every((value) => value === 7),
    'a line of a tall image, widened',
  );
  const far = resample(grey(2, 2, [5, 5, 5, 5]), { x: 0, y: 0, width: 1e300, height: 1e300 }, 3, 3);
  t.same([...far.data], new Array(9).fill(5), 'a part that is much larger than the image');
  const sized = (text: string, columns = 512, rows = 512) => fit(parseViewport(text), columns, rows);
  t.match(sized('5000,5000'), { width: 5000, height: 5000 });
  t.match(sized('7000,7000', 7000, 7000), { width: 7000, height: 7000 });
  for (const text of ['8000,8000', '65501,1000,0,0,512,2']) {
    t.throws(() => sized(text), { code: 'invalid-parameter', subject: { attribute: 'viewport' } }, text);
  }
});

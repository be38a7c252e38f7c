import { DagpacsError } from '../kernel/errors.ts';
import type { ImageFormat, ProfileName, Region, VoiTransform } from './rendering.ts';

/** Pixels that an image may have; more is asked for by mistake or to do harm. */
const MAX_PIXELS = 64 * 1024 * 1024;
/** Those of one that is larger than its frame: as many as a display of 8K has. */
const MAX_ENLARGED = 32 * 1024 * 1024;
/** What fits into a JPEG and a GIF. */
const MAX_SIDE = 65_500;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** The viewport that an image is fitted into, and the part of the frame that is shown in it. */
export interface Viewport {
  width: number;
  height: number;
  /** Parts that are left out are undefined: from the frame's corner, to its end. */
  source: { x?: number; y?: number; width?: number; height?: number };
  /** The part of the frame in fractions of it, from 0 to 1, in place of `source`. */
  region?: { left: number; top: number; right: number; bottom: number };
  /** The parameter that says so, for errors; default: `viewport`. */
  parameter?: string;
}

function broken(attribute: string, rule: string): DagpacsError {
  return new DagpacsError('invalid-parameter', `The parameter ${attribute} breaks a rule: ${rule}`, {
    attribute,
    rule,
  });
}

function numberOf(text: string): number | undefined {
  return NUMBER.test(text) && Number.isFinite(Number(text)) ? Number(text) : undefined;
}

/** Reads `viewport` (PS3.18 §8.3.5.1.3): `vw,vh` or `vw,vh,sx,sy,sw,sh`. @throws DagpacsError `invalid-parameter` */
export function parseViewport(text: string): Viewport {
  const rule = 'vw,vh or vw,vh,sx,sy,sw,sh, of which the first two are positive whole numbers (PS3.18 §8.3.5.1.3)';
  const parts = text.split(',').map((part) => part.trim());
  if (parts.length !== 2 && parts.length !== 6) throw broken('viewport', rule);
  const [vw = '', vh = '', ...rest] = parts;
  if (!/^[1-9]\d{0,5}$/.test(vw) || !/^[1-9]\d{0,5}$/.test(vh)) throw broken('viewport', rule);
  const [width, height] = [Number(vw), Number(vh)];
  if (width * height > MAX_PIXELS) throw broken('viewport', `at most ${MAX_PIXELS} pixels`);
  const source: Viewport['source'] = {};
  (['x', 'y', 'width', 'height'] as const).forEach((name, i) => {
    const part = rest[i] ?? '';
    if (part === '') return;
    const value = numberOf(part);
    const zero = i >= 2 && value === 0;
    if (value === undefined || zero || (i < 2 && value < 0)) throw broken('viewport', rule);
    source[name] = value;
  });
  return { width, height, source };
}

/** Reads `window` (PS3.18 §8.3.5.1.4): `center,width,function`. @throws DagpacsError `invalid-parameter` */
export function parseWindow(text: string): VoiTransform {
  const [center = '', width = '', shape = 'linear', ...more] = text.split(',').map((part) => part.trim().toLowerCase());
  const values = [numberOf(center), numberOf(width)] as const;
  const known = shape === 'linear' || shape === 'linear-exact' || shape === 'sigmoid';
  if (values[0] === undefined || values[1] === undefined || values[1] <= 0 || !known || more.length > 0) {
    throw broken('window', 'center,width,function: numbers and linear, linear-exact or sigmoid (PS3.18 §8.3.5.1.4)');
  }
  return { kind: 'window', shape, center: values[0], width: values[1] };
}

/** Reads `quality` (PS3.18 §8.3.5.1.2). @throws DagpacsError `invalid-parameter` */
export function parseQuality(text: string, parameter = 'quality'): number {
  const quality = Number(text);
  if (!/^\d{1,3}$/.test(text) || quality < 1 || quality > 100)
    throw broken(parameter, 'a whole number from 1 to 100 (PS3.18 §8.3.5.1.2)');
  return quality;
}

/**
 * Reads `iccprofile` (PS3.18 §8.3.5.1.5); undefined: the image has none, which is `no`. Of the profiles that the standard
 * names, Adobe RGB and ROMM RGB are not there.
 * @throws DagpacsError `invalid-parameter`
 */
export function parseProfile(text: string): ProfileName | undefined {
  if (text === 'no') return undefined;
  if (text === 'yes' || text === 'srgb' || text === 'displayp3') return text;
  throw broken('iccprofile', 'one of no, yes, srgb and displayp3 (PS3.18 §8.3.5.1.5)');
}

/** @throws DagpacsError `invalid-parameter` where images of the format carry no profile */
export function checkProfile(profile: ProfileName | undefined, format: ImageFormat): void {
  if (profile && format === 'image/gif') {
    throw broken('iccprofile', 'no, for image/gif, which carries no ICC profile (PS3.18 §8.3.5.1.5)');
  }
}

/** Reads `windowCenter` and `windowWidth` (PS3.18 §9.1.2.3), which are given together. @throws DagpacsError `invalid-parameter` */
export function parseWindowPair(center: string | undefined, width: string | undefined): VoiTransform | undefined {
  const values = [center, width].map((text) => (text === undefined ? undefined : numberOf(text.trim())));
  const [middle, extent] = values;
  if (center !== undefined && middle === undefined) throw broken('windowCenter', 'a number (PS3.18 §9.1.2.3)');
  if (width !== undefined && !(extent !== undefined && extent > 0)) {
    throw broken('windowWidth', 'a number above 0 (PS3.18 §9.1.2.3)');
  }
  if (middle === undefined && extent === undefined) return undefined;
  if (middle === undefined) throw broken('windowCenter', 'is given where windowWidth is (PS3.18 §9.1.2.3)');
  if (extent === undefined) throw broken('windowWidth', 'is given where windowCenter is (PS3.18 §9.1.2.3)');
  return { kind: 'window', shape: 'linear', center: middle, width: extent };
}

/** Reads `region` (PS3.18 §9.1.2.3): left, top, right and bottom in fractions of the frame. @throws DagpacsError `invalid-parameter` */
export function parseRegion(text: string): NonNullable<Viewport['region']> {
  const [left = -1, top = -1, right = -1, bottom = -1, ...more] = text
    .split(',')
    .map((part) => numberOf(part.trim()) ?? -1);
  const inside = [left, top, right, bottom].every((value) => value >= 0 && value <= 1);
  if (!inside || left >= right || top >= bottom || more.length > 0) {
    throw broken('region', 'xmin,ymin,xmax,ymax from 0.0 to 1.0, the smaller ones first (PS3.18 §9.1.2.3)');
  }
  return { left, top, right, bottom };
}

/**
 * What is shown of a frame, and how large: scaled to fit into the viewport with its own proportions.
 * @throws DagpacsError `invalid-parameter` where the part lies outside the frame
 */
export function fit(
  viewport: Viewport | undefined,
  columns: number,
  rows: number,
  enlarge = true,
): { width: number; height: number; region?: Region } {
  if (!viewport) return { width: columns, height: rows };
  const { parameter = 'viewport', region } = viewport;
  const source = region
    ? {
        x: region.left * columns,
        y: region.top * rows,
        width: (region.right - region.left) * columns,
        height: (region.bottom - region.top) * rows,
      }
    : viewport.source;
  const { x = 0, y = 0 } = source;
  const { width: across = columns - x, height: down = rows - y } = source;
  if (x >= columns || y >= rows) throw broken(parameter, 'a part that lies in the frame (PS3.18 §8.3.5.1.3)');
  const scale = Math.min(viewport.width / Math.abs(across), viewport.height / Math.abs(down), enlarge ? Infinity : 1);
  const size = (length: number) => Math.max(1, Math.round(Math.abs(length) * scale));
  const [width, height] = [size(across), size(down)];
  const most = Math.min(MAX_PIXELS, Math.max(MAX_ENLARGED, columns * rows));
  if (width * height > most) throw broken(parameter, `at most ${most} pixels`);
  if (Math.max(width, height) > MAX_SIDE) throw broken(parameter, `at most ${MAX_SIDE} pixels wide and high`);
  return { width, height, region: { x, y, width: across, height: down } };
}

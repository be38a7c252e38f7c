import { DagpacsError } from '../kernel/errors.ts';
import type { Region, VoiTransform } from './rendering.ts';

/** Pixels that an image may have; more is asked for by mistake or to do harm. */
const MAX_PIXELS = 64 * 1024 * 1024;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** The viewport that an image is fitted into, and the part of the frame that is shown in it. */
export interface Viewport {
  width: number;
  height: number;
  /** Parts that are left out are undefined: from the frame's corner, to its end. */
  source: { x?: number; y?: number; width?: number; height?: number };
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
export function parseQuality(text: string): number {
  const quality = Number(text);
  if (!/^\d{1,3}$/.test(text) || quality < 1 || quality > 100)
    throw broken('quality', 'a whole number from 1 to 100 (PS3.18 §8.3.5.1.2)');
  return quality;
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
  const { x = 0, y = 0 } = viewport.source;
  const { width: across = columns - x, height: down = rows - y } = viewport.source;
  if (x >= columns || y >= rows) throw broken('viewport', 'a part that lies in the frame (PS3.18 §8.3.5.1.3)');
  const scale = Math.min(viewport.width / Math.abs(across), viewport.height / Math.abs(down), enlarge ? Infinity : 1);
  const size = (length: number) => Math.max(1, Math.round(Math.abs(length) * scale));
  return { width: size(across), height: size(down), region: { x, y, width: across, height: down } };
}

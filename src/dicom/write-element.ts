import { UNDEFINED_LENGTH } from './element-header.ts';
import { UN, type ValueRepresentation, vrNamed } from './vr.ts';

function start(tag: number, size: number): Buffer {
  const out = Buffer.alloc(size);
  out.writeUInt16LE(Math.floor(tag / 0x10000), 0);
  out.writeUInt16LE(tag % 0x10000, 2);
  return out;
}

/** Tag, VR and length of an explicit VR little-endian element (PS3.5 §7.1.2); too long for its VR, it is UN (§6.2.2). */
export function elementStart(tag: number, vr: ValueRepresentation, length: number): Buffer {
  if (!vr.long && length > 0xffff) return elementStart(tag, UN, length);
  const out = start(tag, vr.long ? 12 : 8);
  out.write(vr.name, 4, 'latin1');
  if (vr.long) out.writeUInt32LE(length, 8);
  else out.writeUInt16LE(length, 6);
  return out;
}

/** An item or a delimiter (PS3.5 §7.5). */
export function itemStart(tag: number, length: number): Buffer {
  const out = start(tag, 8);
  out.writeUInt32LE(length, 4);
  return out;
}

export const ITEM = 0xfffee000;
export const ITEM_DELIMITER = 0xfffee00d;
export const SEQUENCE_DELIMITER = 0xfffee0dd;

export const OPEN_ITEM = itemStart(ITEM, UNDEFINED_LENGTH);
export const CLOSE_ITEM = itemStart(ITEM_DELIMITER, 0);
export const CLOSE_SEQUENCE = itemStart(SEQUENCE_DELIMITER, 0);

/** A whole element of text in the default repertoire. */
export function textElement(tag: number, vr: string, text: string): Buffer {
  const value = Buffer.from(text.length % 2 ? `${text} ` : text, 'latin1');
  return Buffer.concat([elementStart(tag, vrNamed(vr), value.length), value]);
}

/** A whole element of one 16-bit number. */
export function shortElement(tag: number, value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return Buffer.concat([elementStart(tag, vrNamed('US'), 2), bytes]);
}

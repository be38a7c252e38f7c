/** Names this implementation in group 0002 (PS3.7 D.3.3.2). */
export const IMPLEMENTATION_CLASS_UID = '2.25.183472651096338742957740121860385194267';
export const IMPLEMENTATION_VERSION_NAME = 'DAGPACS_01';

export interface FileMeta {
  sopClassUID: string;
  sopInstanceUID: string;
  transferSyntaxUID: string;
}

function element(number: number, vr: string, value: Buffer): Buffer {
  const header = Buffer.alloc(vr === 'OB' ? 12 : 8);
  header.writeUInt16LE(0x0002, 0);
  header.writeUInt16LE(number, 2);
  header.write(vr, 4, 'latin1');
  if (vr === 'OB') header.writeUInt32LE(value.length, 8);
  else header.writeUInt16LE(value.length, 6);
  return Buffer.concat([header, value]);
}

function padded(text: string, padding: string): Buffer {
  return Buffer.from(text.length % 2 ? text + padding : text, 'latin1');
}

/**
 * The preamble, prefix and File Meta Information (PS3.10 §7.1) that the bridge puts before a data set that came by C-STORE.
 * Equal arguments give equal bytes: nothing in it depends on the sender or the time.
 */
export function writeFileMeta({ sopClassUID, sopInstanceUID, transferSyntaxUID }: FileMeta): Buffer {
  const elements = Buffer.concat([
    element(0x0001, 'OB', Buffer.of(0, 1)),
    element(0x0002, 'UI', padded(sopClassUID, '\0')),
    element(0x0003, 'UI', padded(sopInstanceUID, '\0')),
    element(0x0010, 'UI', padded(transferSyntaxUID, '\0')),
    element(0x0012, 'UI', padded(IMPLEMENTATION_CLASS_UID, '\0')),
    element(0x0013, 'SH', padded(IMPLEMENTATION_VERSION_NAME, ' ')),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(elements.length);
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM', 'latin1'), element(0x0000, 'UL', length), elements]);
}

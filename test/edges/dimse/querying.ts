import { readDataset } from '../../../src/dicom/dataset.ts';
import { encodeDataset } from '../../../src/dicom/encode.ts';
import type { DicomJson } from '../../../src/dicom/model.ts';
import { IMPLICIT_LE } from '../../fixtures/dicom.ts';
import { associateRequest, command, data, type RawPeer, rawPeer, readCommandNumbers } from './raw-peer.ts';

/** A peer with a presentation context for queries, and what it asks and is answered. */
export async function querying(port: number, abstractSyntax: string, extended?: number[]) {
  const peer: RawPeer = await rawPeer(port);
  const proposal = { id: 1, abstractSyntax, transferSyntaxes: [IMPLICIT_LE] };
  peer.send(associateRequest([proposal], extended ? { extended: { [abstractSyntax]: extended } } : {}));
  const accept = (await peer.next())?.body ?? Buffer.alloc(0);
  const ask = (keys: DicomJson | Buffer, charset = '') => {
    const request = command({ 2: abstractSyntax, 256: 0x20, 272: 1, 1792: 0, 2048: 0 });
    const identifier = Buffer.isBuffer(keys)
      ? keys
      : encodeDataset(keys, { implicit: true, bigEndian: false }, charset);
    peer.send(Buffer.concat([data(1, 3, request), data(1, 2, identifier)]));
  };
  const next = async () => {
    const { 0x0900: status = -1, 0x0800: type } = readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0));
    if (type === 0x0101) return { status };
    const body = ((await peer.next())?.body ?? Buffer.alloc(0)).subarray(6);
    return { status, identifier: readDataset(body, IMPLICIT_LE), bytes: body };
  };
  const all = async (keys: DicomJson | Buffer, charset = '') => {
    ask(keys, charset);
    const answers: Awaited<ReturnType<typeof next>>[] = [];
    do answers.push(await next());
    while ((answers.at(-1)?.status ?? 0) >> 8 === 0xff);
    return answers;
  };
  return { peer, accept, ask, next, all };
}

/** SOP Class Extended Negotiation in an A-ASSOCIATE-AC (PS3.7 D.3.3.5), which the library does not write. */

const USER_INFORMATION = 0x50;
const EXTENDED_NEGOTIATION = 0x56;
/** Length of an A-ASSOCIATE-AC before its first item, with the PDU header. */
const FIXED = 74;

function subItem(sopClassUID: string, information: Uint8Array): Buffer {
  const uid = Buffer.from(sopClassUID, 'latin1');
  const head = Buffer.alloc(6);
  head[0] = EXTENDED_NEGOTIATION;
  head.writeUInt16BE(2 + uid.length + information.length, 2);
  head.writeUInt16BE(uid.length, 4);
  return Buffer.concat([head, uid, information]);
}

/** Adds the answers, by SOP class, to the user information of a whole A-ASSOCIATE-AC, of which it is the last item. */
export function withExtendedNegotiation(pdu: Buffer, answers: ReadonlyMap<string, Uint8Array>): Buffer {
  if (answers.size === 0) return pdu;
  let at = FIXED;
  while (pdu[at] !== USER_INFORMATION) at += 4 + pdu.readUInt16BE(at + 2);
  const added = Buffer.concat([...answers].map(([uid, information]) => subItem(uid, information)));
  const out = Buffer.concat([pdu, added]);
  out.writeUInt32BE(out.length - 6, 2);
  out.writeUInt16BE(out.length - at - 4, at + 2);
  return out;
}

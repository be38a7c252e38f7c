import { items, text } from './associate-rq.ts';
import { INVALID_PARAMETER, ProtocolError } from './pdu.ts';

/** What a peer said to our A-ASSOCIATE-RQ. */
export interface AssociateAnswer {
  /** Transfer syntax of each presentation context that was accepted, by its id. */
  accepted: Map<number, string>;
  /** The longest P-DATA-TF that the peer takes; 0: any. */
  maxPduLength: number;
}

/** What an A-ASSOCIATE-RJ says, by source and reason (PS3.8 §9.3.4). */
const REJECTIONS: Record<string, string> = {
  '1.1': 'no reason given',
  '1.2': 'application context not supported',
  '1.3': 'calling AE title not recognized',
  '1.7': 'called AE title not recognized',
  '2.1': 'no reason given',
  '2.2': 'protocol version not supported',
  '3.1': 'temporary congestion',
  '3.2': 'local limit exceeded',
};

/** Why an association was refused, from the A-ASSOCIATE-RJ without its PDU header. */
export function rejectionOf(body: Buffer): string {
  return REJECTIONS[`${body[2]}.${body[3]}`] ?? `source ${body[2]}, reason ${body[3]}`;
}

/** Reads an A-ASSOCIATE-AC (PS3.8 §9.3.3) without its PDU header. @throws ProtocolError */
export function readAssociateAnswer(body: Buffer): AssociateAnswer {
  if (body.length < 68) throw new ProtocolError(INVALID_PARAMETER, 'A-ASSOCIATE-AC too short');
  const answer: AssociateAnswer = { accepted: new Map(), maxPduLength: 0 };
  for (const item of items(body, 68, body.length)) {
    if (item.type === 0x21 && item.end - item.start >= 4 && body[item.start + 2] === 0) {
      for (const inner of items(body, item.start + 4, item.end)) {
        if (inner.type === 0x40) answer.accepted.set(body[item.start] as number, text(body, inner.start, inner.end));
      }
    }
    if (item.type !== 0x50) continue;
    for (const inner of items(body, item.start, item.end)) {
      if (inner.type === 0x51 && inner.end - inner.start === 4) answer.maxPduLength = body.readUInt32BE(inner.start);
    }
  }
  return answer;
}

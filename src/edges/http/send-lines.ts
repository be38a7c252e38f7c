import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';

/** Sends values as lines of JSON, as they come. What fails before the first gets its status; later it cuts the answer. */
export async function sendLines<T>(reply: FastifyReply, values: AsyncGenerator<T, void>): Promise<FastifyReply> {
  const first = await values.next();
  return reply.type('application/x-ndjson').send(Readable.from(lines(first, values)));
}

async function* lines<T>(first: IteratorResult<T, void>, rest: AsyncIterable<T>): AsyncGenerator<string> {
  if (first.done) return;
  yield `${JSON.stringify(first.value)}\n`;
  for await (const value of rest) yield `${JSON.stringify(value)}\n`;
}

import { Agent, type IncomingMessage, request } from 'node:http';
import { pipeline } from 'node:stream/promises';

/** Keeps connections, as viewers do. */
const agent = new Agent({ keepAlive: true, maxSockets: 16 });

/** Gets a resource and throws the body away; returns its length. @throws where the status is not 200 */
export function get(url: string, accept: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent, headers: { accept, 'accept-encoding': 'gzip' } }, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      response.once('error', reject);
      response.once('end', () => {
        if (response.statusCode === 200) resolve(bytes);
        else reject(new Error(`GET ${url}: ${response.statusCode}`));
      });
    });
    outgoing.once('error', reject);
    outgoing.end();
  });
}

/** Posts a body as it comes. @throws where the status is neither 200 nor 202 */
export async function send(
  url: string,
  contentType: string,
  body: AsyncIterable<Buffer>,
  length?: number,
): Promise<void> {
  const outgoing = request(url, {
    method: 'POST',
    agent,
    headers: {
      'content-type': contentType,
      accept: 'application/dicom+json',
      ...(length !== undefined && { 'content-length': length }),
    },
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.once('error', reject);
  });
  await Promise.all([pipeline(body, outgoing), answered]);
  const response = await answered;
  const text = (await response.toArray()).join('');
  if (response.statusCode !== 200 && response.statusCode !== 202) {
    throw new Error(`POST ${url}: ${response.statusCode} ${text.slice(0, 500)}`);
  }
}

export function closeConnections(): void {
  agent.destroy();
}

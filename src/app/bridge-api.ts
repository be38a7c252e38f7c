import { DagpacsError } from '../kernel/errors.ts';

const CODES = ['invalid-parameter', 'not-found', 'block-missing', 'block-damaged', 'pushback'] as const;

/** What a bridge says where it does not do what a command asks of it. */
export async function refusalOf(response: Response): Promise<DagpacsError> {
  const text = await response.text();
  try {
    const { title = '', detail, type = '' } = JSON.parse(text) as { title?: string; detail?: string; type?: string };
    const code = CODES.find((each) => type.endsWith(`:${each}`)) ?? 'storage-failed';
    return new DagpacsError(code, detail ?? title);
  } catch {
    return new DagpacsError('storage-failed', `the bridge answers HTTP status ${response.status}`);
  }
}

/** Lines of JSON as they come. */
export async function* linesOf<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T> {
  let rest = '';
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line) as T;
  }
}

import { ENCODINGS } from '../../dicom/compression.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN } from '../../dicom/transfer-syntax.ts';
import type { ServedInstance } from '../../flows/serve/served.ts';
import type { Transcode } from '../../flows/serve/transcoded.ts';
import { C_STORE_RQ, type Request } from './command.ts';
import type { Invocation } from './invoker.ts';
import type { AnsweredContext } from './negotiation.ts';
import { MAX_CONTEXTS, type Proposal } from './requestor.ts';

/** What instances that a peer does not take as they are stored are made anew by. */
export type Transcoder = Pick<Transcode, 'datasetSyntaxes' | 'dataset'>;

/** What is proposed for a class beside the stored transfer syntaxes, in one context each. */
export const FALLBACKS = [[EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN], ENCODINGS] as const;
/** Contexts that one instance may need: as stored, native, compressed. */
const EACH = 1 + FALLBACKS.length;

/**
 * The context on which the instance goes: as it is stored, wherever the peer takes that, else in the first transfer syntax
 * that it can be made in, native before compressed. Undefined where there is none.
 */
export function contextFor(
  instance: ServedInstance,
  contexts: Iterable<AnsweredContext>,
  transcoder: Transcoder,
): AnsweredContext | undefined {
  const others = new Map<string, AnsweredContext>();
  for (const context of contexts) {
    if (context.abstractSyntax !== instance.sopClassUID) continue;
    if (context.transferSyntax === instance.transferSyntaxUID) return context;
    others.set(context.transferSyntax, context);
  }
  if (others.size === 0) return undefined;
  const syntax = transcoder.datasetSyntaxes(instance).find((uid) => others.has(uid));
  return syntax === undefined ? undefined : others.get(syntax);
}

/** The C-STORE of an instance on a context that {@link contextFor} found for it. */
export function storeInvocation(
  instance: ServedInstance,
  context: AnsweredContext,
  transcoder: Transcoder,
  originator?: Request['originator'],
): Invocation {
  const { sopClassUID, sopInstanceUID, transferSyntaxUID, size, datasetOffset } = instance;
  const { transferSyntax } = context;
  return {
    contextId: context.id,
    request: { field: C_STORE_RQ, sopClassUID, sopInstanceUID, ...(originator && { originator }) },
    dataset:
      transferSyntax === transferSyntaxUID
        ? { size: size - datasetOffset, bytes: instance.bytes(datasetOffset) }
        : { bytes: made(instance, transferSyntax, transcoder) },
  };
}

/** The C-STORE of an instance whose data set is being read already. */
export interface Begun {
  instance: ServedInstance;
  /** Undefined where there is no context for it. */
  invocation: Invocation | undefined;
  /** Ends the reading of what is not sent after all. */
  discard(): Promise<void>;
}

const nothing = (): Promise<void> => Promise.resolve();

/** Begins to read an instance that goes as it is stored, so that its first bytes are there when its turn comes. */
export function begin(
  instance: ServedInstance,
  contexts: Iterable<AnsweredContext>,
  transcoder: Transcoder,
  originator?: Request['originator'],
): Begun {
  const context = contextFor(instance, contexts, transcoder);
  if (!context) return { instance, invocation: undefined, discard: nothing };
  const invocation = storeInvocation(instance, context, transcoder, originator);
  const { dataset } = invocation;
  // What is made anew takes a place that others wait for.
  if (!dataset || context.transferSyntax !== instance.transferSyntaxUID)
    return { instance, invocation, discard: nothing };
  const iterator = dataset.bytes[Symbol.asyncIterator]();
  let first: Promise<IteratorResult<Uint8Array>> | undefined = iterator.next();
  // It is told of when it is asked for.
  first.catch(() => undefined);
  const reading: AsyncIterator<Uint8Array> = {
    next() {
      const next = first ?? iterator.next();
      first = undefined;
      return next;
    },
    async return() {
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
  const bytes = { [Symbol.asyncIterator]: () => reading };
  const discard = async (): Promise<void> => void (await reading.return?.());
  return { instance, invocation: { ...invocation, dataset: { ...dataset, bytes } }, discard };
}

/** Instances in their order, each with its C-STORE: while one is sent, the next one's first bytes are read. */
export async function* readAhead(
  instances: readonly ServedInstance[],
  contexts: readonly AnsweredContext[],
  transcoder: Transcoder,
): AsyncGenerator<Begun> {
  const beginAt = (i: number): Begun | undefined => instances[i] && begin(instances[i], contexts, transcoder);
  let current: Begun | undefined;
  let next = beginAt(0);
  try {
    for (let i = 1; next; i++) {
      current = next;
      next = beginAt(i);
      yield current;
    }
  } finally {
    await Promise.all([current?.discard(), next?.discard()]);
  }
}

async function* made(
  instance: ServedInstance,
  transferSyntaxUID: string,
  transcoder: Transcoder,
): AsyncGenerator<Uint8Array> {
  yield* await transcoder.dataset(instance, transferSyntaxUID);
}

/** Class and transfer syntax of an instance: what a context is proposed for. */
export function keyOf({ sopClassUID, transferSyntaxUID }: ServedInstance): string {
  return `${sopClassUID} ${transferSyntaxUID}`;
}

/**
 * A context for each pair of class and stored transfer syntax, so that each is accepted or not by itself; and two more for
 * each class, should its own be refused: a native one, and a compressed one for who takes no others.
 */
export function proposalsFor(instances: readonly ServedInstance[]): Map<string, Proposal> {
  const proposals = new Map<string, Proposal>();
  for (const instance of instances) {
    const { sopClassUID: abstractSyntax, transferSyntaxUID } = instance;
    if (proposals.has(keyOf(instance))) continue;
    if (proposals.size + EACH > MAX_CONTEXTS) break;
    proposals.set(keyOf(instance), { abstractSyntax, transferSyntaxes: [transferSyntaxUID] });
    for (const transferSyntaxes of FALLBACKS)
      proposals.set(`${abstractSyntax} ${transferSyntaxes[0]}+`, { abstractSyntax, transferSyntaxes });
  }
  return proposals;
}

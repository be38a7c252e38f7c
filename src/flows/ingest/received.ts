import type { ScanWarning } from '../../dicom/model.ts';
import type { DagpacsError } from '../../kernel/errors.ts';

/** An instance that is arriving: Part 10 bytes and where they come from. Both edges make one of these. */
export interface Received {
  /** The Part 10 stream; it rejects when the sender goes away. Chunks may be reused by the producer after the next pull. */
  bytes: AsyncIterable<Uint8Array>;
  /** For custody: `dimse:<calling AE title>@<address>` or `http:<address>`. */
  from: string;
  /** What the sender said of it; a difference is refused. */
  expect?: { studyInstanceUID?: string; sopClassUID?: string; sopInstanceUID?: string };
}

/** The instance is durable (or was already). */
export interface Accepted {
  outcome: 'stored' | 'new-version' | 'duplicate';
  sopClassUID: string;
  sopInstanceUID: string;
  studyInstanceUID: string;
  seriesInstanceUID: string;
  warnings: ScanWarning[];
}

/** The instance was not stored; UIDs as far as they were read. */
export interface Refused {
  outcome: 'refused';
  error: DagpacsError;
  sopClassUID?: string;
  sopInstanceUID?: string;
}

/** Takes one instance in. Never throws for what a sender can cause. The stream is read to its end only when accepted. */
export type Ingest = (received: Received) => Promise<Accepted | Refused>;

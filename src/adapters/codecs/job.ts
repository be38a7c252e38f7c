import type { Rendering } from '../../dicom/rendering.ts';
import type { ErrorCode, ErrorSubject } from '../../kernel/errors.ts';
import type { CodedFrame } from '../../ports/codecs.ts';

/** Frames to be shown as one image; `icc`: the profile that is put into a PNG. */
export interface RenderJob {
  kind: 'render';
  frames: CodedFrame[];
  rendering: Rendering;
  icc?: Uint8Array | undefined;
  maxBytes: number;
}

/** What a thread is asked for, one at a time. */
export type Job =
  | { kind: 'decode'; frame: CodedFrame; maxBytes: number }
  | { kind: 'transcode'; frame: CodedFrame; transferSyntaxUID: string; maxBytes: number }
  | RenderJob;

/** Its answer. */
export type Outcome =
  | { ok: true; bytes: Uint8Array }
  | { ok: false; code: ErrorCode; message: string; subject: ErrorSubject };

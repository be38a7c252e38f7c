import { DagpacsError } from '../../kernel/errors.ts';

/** @throws DagpacsError `invalid-parameter` where the instance has no such frame; numbers start at 1 */
export function checkFrameNumber(number: number, count: number): void {
  if (number >= 1 && number <= count) return;
  const subject = { attribute: 'frames', rule: `each frame number must be from 1 to ${count}` };
  throw new DagpacsError('invalid-parameter', `frame ${number} is not in the instance`, subject);
}

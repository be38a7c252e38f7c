import { C_ECHO_RQ } from '../command.ts';
import { SUCCESS } from '../errors.ts';
import type { Service } from './service.ts';

/** Verification Service Class as SCP (PS3.4 Annex A). */
export const echoService: Service = {
  field: C_ECHO_RQ,
  perform: () => Promise.resolve({ status: SUCCESS }),
};

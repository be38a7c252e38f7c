import { parseArgs } from 'node:util';

export interface BenchOptions {
  /** CT slices of 0.5 MB in the series that everything is measured with. */
  slices: number;
  /** Repetitions of each write, each with new instances; the median counts. */
  repeat: number;
  /** Repetitions of each read. */
  reads: number;
  /** Rows that are measured: those whose names it matches. */
  rows: RegExp;
  /** Studies that are searched, of one small image each; 0: no such rows. */
  studies: number;
  /** Also measure the memory that big requests need, in and out. */
  big: boolean;
  /** Its size in GB (10^9 bytes). */
  bigSize: number;
  /** Instances in it. */
  bigParts: number;
  /** Also measure anchoring, proofs and a rebuild. */
  chain: boolean;
  /** Seconds of load for it. */
  chainSeconds: number;
  /** Instances of the backlog that is anchored. */
  backlog: number;
  /** Let the bridge run its own Kubo, as it does where it finds one. */
  kubo: boolean;
  /** Measure what IPFS costs and gives, and nothing else. */
  swarm: boolean;
  /** Measure what outages of IPFS cost, and nothing else. */
  outages: boolean;
  /** Measure against Orthanc as it comes and with the settings that its manual gives for speed. */
  orthanc: boolean;
}

export const USAGE = `npm run bench -- [--slices 1000] [--repeat 3] [--reads 7] [--studies 20000] [--kubo]
                 [--rows 'C-FIND|C-GET'] [--no-orthanc] [--big] [--big-size 4] [--big-parts 8]
                 [--swarm] [--outages] [--chain] [--chain-seconds 30] [--backlog 100000]`;

/** Reads the command line. @throws where it is not understood */
export function readArguments(): BenchOptions {
  const { values } = parseArgs({
    allowNegative: true,
    options: {
      slices: { type: 'string', default: '1000' },
      repeat: { type: 'string', default: '3' },
      reads: { type: 'string', default: '7' },
      rows: { type: 'string', default: '' },
      studies: { type: 'string', default: '20000' },
      big: { type: 'boolean', default: false },
      'big-size': { type: 'string', default: '4' },
      'big-parts': { type: 'string', default: '8' },
      chain: { type: 'boolean', default: false },
      'chain-seconds': { type: 'string', default: '30' },
      backlog: { type: 'string', default: '100000' },
      swarm: { type: 'boolean', default: false },
      outages: { type: 'boolean', default: false },
      kubo: { type: 'boolean', default: false },
      orthanc: { type: 'boolean', default: true },
    },
  });
  return {
    slices: positive('slices', values.slices),
    repeat: positive('repeat', values.repeat),
    reads: positive('reads', values.reads),
    rows: new RegExp(values.rows),
    studies: values.studies === '0' ? 0 : positive('studies', values.studies),
    big: values.big,
    bigSize: positive('big-size', values['big-size']),
    bigParts: positive('big-parts', values['big-parts']),
    chain: values.chain,
    chainSeconds: positive('chain-seconds', values['chain-seconds']),
    backlog: positive('backlog', values.backlog),
    kubo: values.kubo,
    swarm: values.swarm,
    outages: values.outages,
    orthanc: values.orthanc,
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} must be a number above 0\n${USAGE}`);
  return value;
}

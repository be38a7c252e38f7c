import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { specificCharacterSet } from '../dicom/charset.ts';
import { characterEncoder } from '../dicom/charset-encoder.ts';
import { compressionOf, ENCODINGS } from '../dicom/compression.ts';
import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME } from '../dicom/meta.ts';
import { STORAGE_CLASSES } from '../dicom/storage-classes.ts';
import { TRANSFER_SYNTAXES } from '../dicom/transfer-syntax.ts';
import { STATUS } from '../edges/dimse/errors.ts';
import {
  EXTENDED,
  isStorage,
  NATIVE,
  QUERY_RETRIEVE,
  STORAGE_COMMITMENT,
  VERIFICATION,
} from '../edges/dimse/negotiation.ts';
import { FALLBACKS } from '../edges/dimse/outgoing.ts';
import { MAX_SENT } from '../edges/dimse/socket-writes.ts';
import { DagpacsError, type ErrorCode } from '../kernel/errors.ts';
import { settings } from './config.ts';

const DOCUMENT = join(import.meta.dirname, '..', '..', 'docs', 'conformance.md');
const MODELS = { patient: 'Patient Root', study: 'Study Root', 'patient-study-only': 'Patient/Study Only (retired)' };
/** Defined terms of PS3.3 C.12.1.1.2. */
const CHARACTER_SETS = [
  ...[100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 13, 166, 87, 159, 149, 58].flatMap((number) => [
    ...(number === 87 || number === 159 || number === 149 || number === 58 ? [] : [`ISO_IR ${number}`]),
    `ISO 2022 IR ${number}`,
  ]),
  ...['ISO_IR 192', 'GB18030', 'GBK'],
];
/** Error codes that a sender of instances meets, and what they say. */
const STORE_ERRORS: Partial<Record<ErrorCode, string>> = {
  pushback: 'later: too much waits for the chain or the swarm, or the disk is nearly full',
  'sop-mismatch': 'the data set is not the instance that the command announces',
  'not-dicom': 'not DICOM',
  truncated: 'cut short',
  'malformed-dataset': 'cannot be parsed as its transfer syntax says',
  'missing-attribute': 'an identifying attribute is missing or empty',
  'invalid-attribute': 'an identifying attribute has a value that is none',
  'instance-in-other-study': 'held in another study',
  'instance-conflict': 'held with other content, where `DAGPACS_CONFLICT_POLICY` forbids that',
  'instance-rejected': 'rejected (deleted) before',
  'too-large': 'larger than `DAGPACS_MAX_INSTANCE_BYTES`',
  'storage-failed': 'processing failure',
};

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

const code = (text: string): string => `\`${text}\``;
const status = (value: number): string => value.toString(16).toUpperCase().padStart(4, '0');
const yes = (is: boolean): string => (is ? 'yes' : 'no');
const syntaxName = (uid: string): string => TRANSFER_SYNTAXES.get(uid)?.name ?? uid;
const named = (uids: Iterable<string>): string => [...uids].map((uid) => `${syntaxName(uid)} ${code(uid)}`).join(', ');

/** The tables of docs/conformance.md that follow from the code, by their names. */
export function conformanceTables(): Record<string, string> {
  const queries = Object.entries(QUERY_RETRIEVE).map(([uid, { service, model }]) => [
    `${MODELS[model]} Query/Retrieve Information Model - ${service.toUpperCase()}`,
    code(uid),
    'no',
    'yes',
  ]);
  const limits = Object.entries(settings).filter(
    ([name]) =>
      /^DAGPACS_(DIMSE_|AE_|COMMIT_)/.test(name) || /_(MAX_INSTANCE_BYTES|OUTBOX_MAX|DISK_HEADROOM)$/.test(name),
  );
  return {
    implementation: table(
      ['', ''],
      [
        ['Implementation Class UID', code(IMPLEMENTATION_CLASS_UID)],
        ['Implementation Version Name', code(IMPLEMENTATION_VERSION_NAME)],
        ['longest P-DATA-TF that is sent', `what the peer takes, at most ${MAX_SENT}`],
      ],
    ),
    'sop-classes': table(
      ['SOP class', 'UID', 'SCU', 'SCP'],
      [
        ['Verification', code(VERIFICATION), 'yes', 'yes'],
        ['Storage: the classes of §8.5', '', 'yes', 'yes'],
        ...queries,
        ['Storage Commitment Push Model', code(STORAGE_COMMITMENT), 'no', 'yes'],
      ],
    ),
    'native-transfer-syntaxes': named(NATIVE),
    'extended-negotiation': table(
      ['service', 'service-class-application-information accepted'],
      Object.entries(EXTENDED).map(([service, bytes]) => [
        `C-${service.toUpperCase()}`,
        bytes
          .map((_, i) => ['relational', 'combined date-time matching', 'fuzzy matching of person names'][i])
          .join(', '),
      ]),
    ),
    'proposed-contexts': table(
      ['context', 'transfer syntaxes'],
      [
        ['one for each pair of class and stored transfer syntax', 'the stored one'],
        ...FALLBACKS.map((uids) => ['one for each class, used where the stored one is refused', named(uids)]),
      ],
    ),
    'store-statuses': table(
      ['status', 'meaning'],
      [
        ['0000', 'stored, or held already'],
        ...Object.entries(STORE_ERRORS).map(([name, meaning]) => [status(STATUS[name as ErrorCode]), meaning]),
      ],
    ),
    'transfer-syntaxes': table(
      ['transfer syntax', 'UID', 'stored and sent', 'decoded', 'encoded'],
      [...TRANSFER_SYNTAXES.values()].map(({ uid, name, encapsulated }) => [
        name,
        code(uid),
        'yes',
        yes(compressionOf(uid) !== undefined),
        yes(
          ENCODINGS.includes(uid) ||
            (!encapsulated && compressionOf(uid) !== undefined && uid.startsWith('1.2.840.10008')),
        ),
      ]),
    ),
    'storage-classes': table(
      ['SOP class', 'UID'],
      [...STORAGE_CLASSES].filter(([uid]) => isStorage(uid)).map(([uid, name]) => [name, code(uid)]),
    ),
    'character-sets': table(
      ['Specific Character Set', 'in requests and stored instances', 'in answers'],
      CHARACTER_SETS.map((term) => [
        code(term),
        yes(!specificCharacterSet(term).unknown),
        yes(characterEncoder(term) !== undefined),
      ]),
    ),
    settings: table(
      ['setting', 'default', 'meaning'],
      limits.map(([name, { fallback, description }]) => [
        code(name),
        fallback === '' ? '' : code(fallback),
        description,
      ]),
    ),
  };
}

/**
 * The DICOM conformance statement, its generated tables made anew.
 * @throws DagpacsError `bad-setting` where the document and the tables do not belong together
 */
export function conformanceStatement(text = readFileSync(DOCUMENT, 'utf8')): string {
  const tables = conformanceTables();
  const unused = new Set(Object.keys(tables));
  const filled = text.replace(/(<!-- made: ([a-z-]+) -->\n)(?:[\s\S]*?\n)??(<!-- end -->)/g, (_, start, name, end) => {
    unused.delete(name);
    return `${start}${tables[name] ?? ''}\n${end}`;
  });
  if (unused.size === 0) return filled;
  const rule = `has no place for: ${[...unused].join(', ')}`;
  throw new DagpacsError('bad-setting', `docs/conformance.md ${rule}`, { attribute: 'docs/conformance.md', rule });
}

import { DagpacsError } from '../kernel/errors.ts';
import { lookup } from './dictionary.ts';
import type { DicomJson, Scan } from './model.ts';
import { isStrictUID, isUsableUID } from './uid.ts';
import type { Warnings } from './warnings.ts';

type Identity = Pick<Scan, 'sopClassUID' | 'sopInstanceUID' | 'studyInstanceUID' | 'seriesInstanceUID'>;

const TAGS: Record<keyof Identity, number> = {
  sopClassUID: 0x00080016,
  sopInstanceUID: 0x00080018,
  studyInstanceUID: 0x0020000d,
  seriesInstanceUID: 0x0020000e,
};

/** The text of a UID attribute, where it has one. */
export function uidAt(header: DicomJson, key: string): string | undefined {
  const value = header[key]?.Value?.[0];
  return typeof value === 'string' ? value : undefined;
}

/** True where all that identifies the instance has been read. */
export function isIdentified(header: DicomJson): boolean {
  return Object.values(TAGS).every((tag) => uidAt(header, lookup(tag).key) !== undefined);
}

/**
 * What identifies the instance. UIDs are paths, keys and file contents everywhere downstream: one that has other characters
 * than digits and dots, or more than 64, is refused; one that is merely against PS3.5 §9.1 is stored with a warning.
 * @throws DagpacsError `missing-attribute`, `invalid-attribute`
 */
export function identify(header: DicomJson, warnings: Warnings): Identity {
  const found: Partial<Identity> = {};
  for (const [name, tag] of Object.entries(TAGS) as [keyof Identity, number][]) {
    const { key, keyword } = lookup(tag);
    const uid = uidAt(header, key);
    const subject = { attribute: keyword, tag: key };
    if (uid === undefined) {
      const rule = 'Type 1: present, with a value (PS3.3 C.7.2.1, C.7.3.1, C.12.1)';
      throw new DagpacsError('missing-attribute', `${keyword} is missing or empty`, { ...subject, rule });
    }
    if ((header[key]?.Value?.length ?? 0) > 1 || !isUsableUID(uid)) {
      const rule = 'A UID has at most 64 characters, digits and dots only (PS3.5 §9.1)';
      throw new DagpacsError('invalid-attribute', `${keyword} is not a UID`, { ...subject, rule });
    }
    if (!isStrictUID(uid)) warnings.attribute(tag, 'Empty components or leading zeros (PS3.5 §9.1)');
    found[name] = uid;
  }
  return found as Identity;
}

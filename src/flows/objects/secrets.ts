import { deriveStudy, type StudySecrets } from '../../crypto/study-key.ts';
import type { StudyKey } from '../../ports/vault.ts';

const derived = new WeakMap<StudyKey, StudySecrets>();

/** {@link deriveStudy}, once for each key that the vault holds in memory: a study's instances come in a row. */
export function secretsOf(key: StudyKey): StudySecrets {
  let secrets = derived.get(key);
  if (!secrets) {
    secrets = deriveStudy(key);
    derived.set(key, secrets);
  }
  return secrets;
}

/** `PRAGMA application_id` of an index file: `DPix`. */
export const APPLICATION_ID = 0x44506978;

/** `PRAGMA user_version`: any change of the tables below or of what is written to them counts it up. */
export const SCHEMA_VERSION = 5;

/** Series and instance numbers that are absent sort last. */
export const NO_NUMBER = 0xffffffff;

/**
 * An instance that is rejected (deleted) has its series as a negative number: so nothing that goes from series to instances finds it.
 * A study or series without instances is not found either, and is there for old versions. `latest` is the version that stands for it.
 *
 * Rows that scans touch are narrow; texts and headers lie in tables of their own. A series whose last instance moved away
 * stays, with `instances` 0, because old versions name it.
 */
export const SCHEMA = `
CREATE TABLE studies (
  id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  revision INTEGER NOT NULL,
  latest INTEGER NOT NULL,
  series INTEGER NOT NULL,
  instances INTEGER NOT NULL,
  study_date TEXT NOT NULL,
  study_time TEXT NOT NULL,
  modalities TEXT NOT NULL,
  classes TEXT NOT NULL,
  patient_id TEXT NOT NULL,
  issuer TEXT NOT NULL,
  birth_date TEXT NOT NULL,
  sex TEXT NOT NULL,
  accession TEXT NOT NULL,
  study_id TEXT NOT NULL,
  description TEXT NOT NULL
);
CREATE INDEX studies_newest ON studies (study_date, study_time, id, modalities) WHERE instances > 0;
CREATE INDEX studies_patient ON studies (patient_id);
CREATE INDEX studies_accession ON studies (accession);
CREATE TABLE study_texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL);

CREATE TABLE names (
  kind INTEGER NOT NULL,
  text TEXT NOT NULL,
  study INTEGER NOT NULL,
  PRIMARY KEY (kind, text, study)
) WITHOUT ROWID;
CREATE INDEX names_study ON names (study);

CREATE TABLE key_names (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE key_values (
  attribute INTEGER NOT NULL,
  text TEXT NOT NULL,
  entity INTEGER NOT NULL,
  PRIMARY KEY (attribute, text, entity)
) WITHOUT ROWID;
CREATE INDEX key_values_entity ON key_values (entity, attribute);

CREATE TABLE series (
  id INTEGER PRIMARY KEY,
  study INTEGER NOT NULL,
  uid TEXT NOT NULL,
  revision INTEGER NOT NULL,
  latest INTEGER NOT NULL,
  instances INTEGER NOT NULL,
  number INTEGER NOT NULL,
  modality TEXT NOT NULL,
  description TEXT NOT NULL,
  body_part TEXT NOT NULL,
  pps_date TEXT NOT NULL,
  pps_time TEXT NOT NULL,
  UNIQUE (uid, study)
);
CREATE INDEX series_study ON series (study, number, uid);
CREATE INDEX series_modality ON series (modality, study);
CREATE TABLE series_texts (id INTEGER PRIMARY KEY, head TEXT NOT NULL, tail TEXT NOT NULL);

CREATE TABLE instances (
  id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  series INTEGER NOT NULL,
  number INTEGER NOT NULL,
  version INTEGER NOT NULL,
  extra TEXT NOT NULL
);
CREATE INDEX instances_series ON instances (series, number, uid);

CREATE TABLE versions (
  id INTEGER PRIMARY KEY,
  instance INTEGER NOT NULL,
  series INTEGER NOT NULL,
  version INTEGER NOT NULL,
  previous INTEGER,
  rejected INTEGER,
  class TEXT NOT NULL,
  syntax TEXT NOT NULL,
  sha256 BLOB NOT NULL,
  size INTEGER NOT NULL,
  dataset_offset INTEGER NOT NULL,
  received_at TEXT NOT NULL,
  received_from TEXT NOT NULL,
  node BLOB NOT NULL UNIQUE,
  object BLOB NOT NULL,
  wrapped_key BLOB NOT NULL,
  batch INTEGER,
  leaf INTEGER
);
CREATE INDEX versions_batch ON versions (batch, leaf);
CREATE TABLE details (id INTEGER PRIMARY KEY, header BLOB NOT NULL, layout BLOB NOT NULL);

CREATE TABLE rejections (id INTEGER PRIMARY KEY, reason TEXT NOT NULL);

CREATE TABLE batches (
  id INTEGER PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,
  sequence INTEGER NOT NULL,
  record BLOB NOT NULL,
  previous_root TEXT NOT NULL,
  merkle_root TEXT NOT NULL,
  closed_at TEXT NOT NULL,
  count INTEGER NOT NULL,
  linked INTEGER NOT NULL,
  replicated_at TEXT,
  transaction_hash TEXT,
  block_number INTEGER,
  block_hash TEXT,
  block_time TEXT,
  final_at TEXT
);
CREATE INDEX batches_sequence ON batches (sequence);
CREATE INDEX batches_unanchored ON batches (sequence) WHERE block_number IS NULL;
CREATE INDEX batches_unfinal ON batches (sequence) WHERE block_number IS NOT NULL AND final_at IS NULL;
CREATE INDEX batches_unreplicated ON batches (sequence) WHERE replicated_at IS NULL;
CREATE TABLE batch_studies (batch INTEGER NOT NULL, place INTEGER NOT NULL, reference TEXT NOT NULL, total INTEGER NOT NULL,
  PRIMARY KEY (batch, place)) WITHOUT ROWID;
CREATE TABLE study_batches (study INTEGER NOT NULL, sequence INTEGER NOT NULL, batch INTEGER NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (study, sequence, batch)) WITHOUT ROWID;
CREATE TABLE confirmations (batch INTEGER NOT NULL, node TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (batch, node)) WITHOUT ROWID;
CREATE INDEX confirmations_node ON confirmations (node);
CREATE TABLE transactions (id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, nonce INTEGER NOT NULL, hash TEXT NOT NULL,
  raw TEXT NOT NULL, UNIQUE (batch, hash));

CREATE TABLE state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  pack INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  studies INTEGER NOT NULL,
  series INTEGER NOT NULL,
  instances INTEGER NOT NULL,
  versions INTEGER NOT NULL,
  pending INTEGER NOT NULL,
  replicated INTEGER NOT NULL,
  anchored INTEGER NOT NULL,
  final INTEGER NOT NULL
);
INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
CREATE TABLE named_values (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`;

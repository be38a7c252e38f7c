import { zstdDecompressSync } from 'node:zlib';
import { cidFromBytes } from '../../ipld/cid.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Index, InstanceUIDs, Pending, Version, VersionDetails } from '../../ports/index.ts';
import type { Connection, Row } from './database.ts';

const COLUMNS = `s.uid AS study_uid, e.uid AS series_uid, i.uid AS instance_uid, v.version, v.class, v.syntax, v.sha256, v.size,
  v.dataset_offset, v.received_at, v.received_from, v.node, v.object, v.wrapped_key`;

/** Every version with the series it names itself (an old one may name another than the current one). */
export const VERSIONS = `SELECT ${COLUMNS}, v.id, v.previous, v.batch, v.leaf, v.rejected FROM versions v
  JOIN instances i ON i.id = v.instance JOIN series e ON e.id = v.series JOIN studies s ON s.id = e.study`;

/** Current versions of a study or series, in their order. */
const CURRENT = (columns: string, bySeries: boolean) => `SELECT ${columns} FROM studies s
  CROSS JOIN series e ON e.study = s.id CROSS JOIN instances i ON i.series = e.id CROSS JOIN versions v ON v.id = i.version
  WHERE s.uid = ?${bySeries ? ' AND e.uid = ?' : ''} ORDER BY e.number, e.uid, i.number, i.uid`;

const HEADERS = (bySeries: boolean) =>
  CURRENT('s.uid AS study_uid, e.uid AS series_uid, i.uid AS instance_uid, d.header', bySeries).replace(
    'WHERE',
    'CROSS JOIN details d ON d.id = v.id WHERE',
  );

export type VersionReads = Pick<
  Index,
  'version' | 'instances' | 'details' | 'headers' | 'revision' | 'pending' | 'pendingCount'
>;

/** What is read of versions. */
export function versionReads(reader: Connection): VersionReads {
  return {
    version(sopInstanceUID: string, n?: number): Version | undefined {
      const row =
        n === undefined
          ? reader.get(`${VERSIONS} WHERE i.uid = ? AND v.id = i.version AND i.series > 0`, sopInstanceUID)
          : historyRows(reader, sopInstanceUID).find((candidate) => candidate.version === n);
      return row && toVersion(row);
    },

    instances(studyInstanceUID: string, seriesInstanceUID?: string): Version[] {
      return scoped(reader, (bySeries) => CURRENT(COLUMNS, bySeries), studyInstanceUID, seriesInstanceUID).map(
        toVersion,
      );
    },

    details(version: Version): VersionDetails {
      const row = reader.get(
        'SELECT header, layout FROM details WHERE id = (SELECT id FROM versions WHERE node = ?)',
        version.node.bytes,
      );
      if (!row) throw new DagpacsError('not-found', 'The index does not hold this version');
      const layout =
        typeof row.layout === 'string' ? row.layout : zstdDecompressSync(row.layout as Uint8Array).toString();
      return { header: row.header as Uint8Array, ...(JSON.parse(layout) as Pick<VersionDetails, 'frames' | 'bulk'>) };
    },

    headers(studyInstanceUID: string, seriesInstanceUID?: string): (InstanceUIDs & { header: Uint8Array })[] {
      return scoped(reader, HEADERS, studyInstanceUID, seriesInstanceUID).map((row) => ({
        studyInstanceUID: row.study_uid as string,
        seriesInstanceUID: row.series_uid as string,
        sopInstanceUID: row.instance_uid as string,
        header: row.header as Uint8Array,
      }));
    },

    revision(studyInstanceUID: string, seriesInstanceUID?: string): number {
      const row =
        seriesInstanceUID === undefined
          ? reader.get('SELECT revision FROM studies WHERE uid = ? AND instances > 0', studyInstanceUID)
          : reader.get(
              `SELECT e.revision FROM series e JOIN studies s ON s.id = e.study
                WHERE e.uid = ? AND s.uid = ? AND e.instances > 0`,
              seriesInstanceUID,
              studyInstanceUID,
            );
      return Number(row?.revision ?? 0);
    },

    pending(max: number): Pending {
      const rows = reader.all(`${VERSIONS} WHERE v.batch IS NULL AND v.leaf IS NULL ORDER BY v.id LIMIT ?`, max);
      const versions = rows.map(toVersion);
      const oldest = versions.reduce<string | undefined>(
        (least, { receivedAt }) => (least !== undefined && least <= receivedAt ? least : receivedAt),
        undefined,
      );
      return oldest === undefined ? { versions } : { versions, oldest };
    },

    pendingCount(): number {
      return Number(reader.get('SELECT pending FROM state WHERE id = 1')?.pending);
    },
  };
}

/** All rows of an instance's versions, oldest first. */
export function historyRows(reader: Connection, sopInstanceUID: string): Row[] {
  return reader.all(
    `WITH RECURSIVE history (id, previous) AS (
        SELECT v.id, v.previous FROM instances i JOIN versions v ON v.id = i.version WHERE i.uid = ?
        UNION ALL SELECT v.id, v.previous FROM history h JOIN versions v ON v.id = h.previous)
      ${VERSIONS.replace('FROM', 'FROM history h CROSS JOIN').replace('versions v', 'versions v ON v.id = h.id')} ORDER BY v.version`,
    sopInstanceUID,
  );
}

function scoped(reader: Connection, sql: (bySeries: boolean) => string, study: string, series?: string): Row[] {
  return series === undefined ? reader.all(sql(false), study) : reader.all(sql(true), study, series);
}

export function toVersion(row: Row): Version {
  return {
    studyInstanceUID: row.study_uid as string,
    seriesInstanceUID: row.series_uid as string,
    sopInstanceUID: row.instance_uid as string,
    version: row.version as number,
    sopClassUID: row.class as string,
    transferSyntaxUID: row.syntax as string,
    sha256: row.sha256 as Uint8Array,
    size: row.size as number,
    datasetOffset: row.dataset_offset as number,
    receivedAt: row.received_at as string,
    receivedFrom: row.received_from as string,
    node: cidFromBytes(row.node as Uint8Array),
    object: cidFromBytes(row.object as Uint8Array),
    wrappedKey: row.wrapped_key as Uint8Array,
  };
}

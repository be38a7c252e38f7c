import type { CommitmentRequests } from '../../flows/commitment/requests.ts';
import type { Ingest } from '../../flows/ingest/received.ts';
import type { Scrub } from '../../flows/objects/scrub-report.ts';
import type { Reject } from '../../flows/reject/reject.ts';
import type { CustodyView } from '../../flows/serve/custody.ts';
import type { MakeFileSet } from '../../flows/serve/file-set.ts';
import type { Gateway } from '../../flows/serve/gateway.ts';
import type { Render } from '../../flows/serve/rendered.ts';
import type { Serve } from '../../flows/serve/served.ts';
import type { Transcode } from '../../flows/serve/transcoded.ts';
import type { Echo, Transfer } from '../../flows/serve/transfer.ts';
import type { StudyCar } from '../../flows/upkeep/car-export.ts';
import type { CarImport } from '../../flows/upkeep/car-import.ts';
import type { Log } from '../../kernel/log.ts';
import type { Index } from '../../ports/index.ts';
import type { HttpOptions } from './options.ts';
import type { BaseUrl } from './plugins/base-url.ts';

/** Studies as CAR files. */
export interface StudyArchive {
  /** @throws DagpacsError `not-found` */
  exportStudy(studyInstanceUID: string): Promise<StudyCar>;
  /** @throws DagpacsError `invalid-parameter` before the first report, for what is no CAR of a study */
  importCar(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<CarImport, void>;
}

/** What the HTTP API stands on. */
export interface HttpModules {
  ingest: Ingest;
  serve: Serve;
  transcode: Transcode;
  render: Render;
  fileSet: MakeFileSet;
  index: Pick<Index, 'query'>;
  reject: Reject;
  custody: CustodyView;
  commitments: CommitmentRequests;
  gateway: Gateway;
  archive: StudyArchive;
  scrub: Pick<Scrub, 'run'>;
  transfer: Transfer;
  echo: Echo;
  log: Log;
  /** True once all listeners are up, and until the bridge stops. */
  ready: () => boolean;
}

/** What every route is given. */
export interface RouteContext extends HttpModules {
  options: HttpOptions;
  base: BaseUrl;
}

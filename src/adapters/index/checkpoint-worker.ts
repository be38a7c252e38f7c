import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

// Every message asks for one checkpoint and is answered when it is done; the thread ends with its port.
const database = new DatabaseSync(workerData as string, { timeout: 5000 });
parentPort?.on('message', () => {
  database.exec('PRAGMA wal_checkpoint(PASSIVE)');
  parentPort?.postMessage('done');
});
parentPort?.on('close', () => database.close());

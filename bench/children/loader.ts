/** A worker thread that puts batches at a fixed rate until it is told to stop; says 'loading' when it has begun. */
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { type OpenOptions, open } from 'gaplessdb';
import { keyAt, valueAt, values } from '../data.js';
import { atRate } from '../drivers.js';

export interface LoaderPlan {
  readonly dir: string;
  readonly options: OpenOptions;
  readonly keys: number;
  readonly perSecond: number;
}

const batchKeys = 100;

const port = parentPort;
if (port === null) throw new Error('this file is a worker');
const { dir, options, keys, perSecond } = workerData as LoaderPlan;
const db = await open(dir, options);
const pool = values();
let isStopped = false;
const stop = once(port, 'message').then(() => {
  isStopped = true;
});
port.postMessage('loading');
let next = 0;
while (!isStopped) {
  const commits: Promise<unknown>[] = [];
  await atRate(perSecond / batchKeys, 0.25, () => {
    const batch = db.batch();
    for (const end = next + batchKeys; next < end; next += 1) {
      batch.put(keyAt((next * 104_729) % keys), valueAt(pool, next));
    }
    commits.push(batch.commit());
  });
  await Promise.all(commits);
}
await stop;
await db.close();
port.close();

// One thread of the storm: opens the store, writes, reads, pins, snapshots, until it is terminated at any point.
import { parentPort, threadId, workerData } from 'node:worker_threads';
import { open } from '../../dist/index.js';

const db = await open(workerData.path, { durability: 'sync' });
const acknowledge = (key) => parentPort.postMessage(key);
for (let i = 0; ; i += 1) {
  const key = `${workerData.round}-${threadId}-${i}`;
  const writes = [0, 1, 2, 3].map((part) => db.put(`${key}-${part}`, key).then(() => acknowledge(`${key}-${part}`)));
  const view = db.view();
  view.get(key);
  db.range({ prefix: `${workerData.round}` }).next(20);
  if (i % 5 === 0) void db.digest().catch(() => undefined);
  if (i % 7 === 0) db.putSync(`${key}-sync`, key);
  if (i % 2 === 0) view.close();
  if (i % 11 !== 0) await Promise.all(writes);
}

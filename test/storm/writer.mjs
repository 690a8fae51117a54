// A thread of the storm: opens the store and does everything at once until it is terminated, anywhere. What it was told
// it tells the parent, behind the acknowledgement: {key, value} for a write, {add} for the shared counter.
import { parentPort, threadId, workerData } from 'node:worker_threads';
import { open } from '../../dist/index.js';

const { path, round, durability } = workerData;
const db = await open(path);
parentPort.postMessage({ opened: true });
const told = (fact) => parentPort.postMessage(fact);
const prefix = `${round}-${threadId}-`;

for (let i = 0; ; i += 1) {
  const value = `${prefix}${i}.`.padEnd(10 + ((i * 131) % 2000), 'v');
  const key = `${prefix}${i}`;
  const commits = [db.put(key, value, { durability }).then(() => told({ key, value }))];
  const batch = db.batch().put(`${key}-a`, value).put(`${key}-b`, value);
  commits.push(
    batch.commit().then(() => {
      told({ key: `${key}-a`, value });
      told({ key: `${key}-b`, value });
    }),
  );
  commits.push(db.increment('counter', 1n).then(() => told({ add: 1 })));
  if (i % 5 === 0) {
    db.putSync(`${key}-sync`, value);
    told({ key: `${key}-sync`, value });
  }
  // Views, ranges, feeds and digests that nobody closes: the thread's end must.
  const view = db.view();
  view.get(key);
  view.range({ prefix: `${round}` }).next(5);
  db.range().next(3);
  if (i % 7 === 0) void view.digest().catch(() => undefined);
  else if (i % 3 === 0) view.close();
  if (i % 11 === 0) void db.digest().catch(() => undefined);
  if (i % 13 === 0) {
    void (async () => {
      for await (const change of db.changes({ from: 'oldest' })) if (change.operations.length > 100) break;
    })().catch(() => undefined);
  }
  if (i % 4 !== 0) await Promise.all(commits);
}

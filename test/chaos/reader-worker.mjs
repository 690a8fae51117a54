// A reader in a thread of its own: opens the store that its process has open already and reads whole generations, by
// getMany and by views, without pause, until it is told to stop. Says what was wrong, and how often it looked.
import { parentPort, workerData } from 'node:worker_threads';
import { open } from '../../dist/index.js';
import { inspect } from './generations.mjs';

const db = await open(workerData.dir, { asReplica: true });
const stop = new Int32Array(workerData.stop);
const wrong = [];
let reads = 0;
let last = 0;
parentPort.postMessage({ ready: true });
while (Atomics.load(stop, 0) === 0 && wrong.length === 0) {
  const fault = reads % 2 === 0 ? inspect((keys) => db.getMany(keys), last) : lookAtView();
  if (fault !== null) wrong.push(fault);
  last = Math.max(last, Number(db.get('sessions')));
  reads++;
  // The engine's calls into this thread want a turn now and then.
  if (reads % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
}
await db.close();
parentPort.postMessage({ wrong, reads });

function lookAtView() {
  const view = db.view();
  try {
    const fault = inspect((keys) => keys.map((key) => view.get(key)), last);
    if (fault !== null) return `view at ${view.position}: ${fault}`;
    const members = [...view.range({ gte: 'member-', lt: 'member.' })].map(([, value]) => value.toString());
    if (members.length !== 64) return `a range over 64 members shows ${members.length}`;
    return new Set(members).size === 1 ? null : 'a range shows members of several generations';
  } finally {
    view.close();
  }
}

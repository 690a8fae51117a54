// Writes with many commits in flight, tells each acknowledgement through stdout, and leaves in the middle.
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { open } from '../../dist/index.js';

const [, , path, how] = process.argv;
const db = await open(path, { durability: 'sync' });
let acknowledged = 0;
if (how === 'with workers') {
  for (let i = 0; i < 2; i += 1) {
    new Worker(new URL('./storm-worker.mjs', import.meta.url), { workerData: { path, round: `w${i}` } });
  }
}
for (let i = 0; ; i += 1) {
  const key = `k${i}`;
  const write = db.put(key, key).then(() => {
    writeSync(1, `${key}\n`);
    acknowledged += 1;
    if (acknowledged === 300) process.exit(7);
  });
  if (i % 40 === 0) await write;
}

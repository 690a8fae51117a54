// A process that leaves with many commits in flight, in one of many ways. Acknowledgements go out on fd 1 at once.
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { open } from '../../dist/index.js';

const [, , path, how, count] = process.argv;
const leaveAt = Number(count);
const db = await open(path);
db.view();
void db.digest();
if (how.endsWith('workers')) {
  for (let i = 0; i < 2; i += 1) {
    const workerData = { path, round: `w${i}`, durability: 'sync' };
    new Worker(new URL('./writer.mjs', import.meta.url), { workerData });
  }
}

const ways = {
  exit: () => process.exit(7),
  throw: () => {
    throw new Error('meant to be thrown');
  },
  reject: () => void Promise.reject(new Error('meant to be thrown')),
  timer: () => setTimeout(() => process.exit(7), 3),
  close: () => {
    void db.close();
    setImmediate(() => process.exit(7));
  },
};
const leave = ways[how.split(' ')[0]];

let acknowledged = 0;
for (let i = 0; ; i += 1) {
  const key = `k${i}`;
  const write = db.put(key, `${key}.`.padEnd(10 + ((i * 37) % 500), 'v')).then(
    () => {
      writeSync(1, `${key}\n`);
      acknowledged += 1;
      if (acknowledged === leaveAt) leave();
    },
    (error) => {
      if (error.code !== 'CLOSED') throw error;
    },
  );
  if (i % 30 === 0) await write;
  if (i % 100 === 50) await new Promise((resolve) => setImmediate(resolve));
}

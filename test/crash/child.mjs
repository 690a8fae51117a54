// The process that dies. Says on fd 3, a pipe to the parent: `open`, then for each write `i <number>` before it is
// submitted and `a <number> <seq> <nanoseconds>` after its acknowledgement; `e <number> <code> <offset>` for a refusal;
// `closed`, or `unclean <code>`, at the
// end. Nothing that it says goes through a file.
import { writeSync } from 'node:fs';
import { open } from '../../dist/index.js';
import { submit } from './workload.mjs';

const job = JSON.parse(process.argv[2]);
const cell = new Int32Array(new SharedArrayBuffer(4));

function say(line) {
  let rest = Buffer.from(`${line}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(3, rest));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(cell, 0, 0, 1);
    }
  }
}

say('open');
const db = await open(job.path, job.options);
say(`opened ${db.position.seq}`);

let inFlight = 0;
let wake = () => {};
for (let i = 0; i < job.writes; i += 1) {
  say(`i ${i}`);
  const write = submit(db, job.seed, i).then(
    (commit) => say(`a ${i} ${commit.position.seq} ${process.hrtime.bigint()}`),
    (error) => say(`e ${i} ${error.code ?? error} ${error.details?.position?.seq ?? '-'}`),
  );
  inFlight += 1;
  void write.then(() => {
    inFlight -= 1;
    wake();
  });
  while (inFlight >= job.inFlight) {
    await new Promise((resolve) => {
      wake = resolve;
    });
  }
  if (job.pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, job.pauseMs));
  else if (i % 16 === 15) await new Promise((resolve) => setImmediate(resolve));
}
while (inFlight > 0) {
  await new Promise((resolve) => {
    wake = resolve;
  });
}
try {
  await db.close();
  say('closed');
} catch (error) {
  say(`unclean ${error.code ?? error}`);
}

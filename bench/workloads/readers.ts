/**
 * How many gets a second do 1, 2 and 4 threads make on one store, alone and beside a writer?
 *
 * The store lies in runs, behind a cache that holds them. Readers are worker threads with a handle of their own on the
 * engine of this process; the writer is this thread, with puts at a fixed rate, so that it takes the same share of the
 * processor beside each number of readers. More threads than cores show what sharing costs, not what scales.
 */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type Database, open } from 'gaplessdb';
import type { ReaderAnswer, ReaderPlan } from '../children/reader.js';
import { fill, keyAt, valueAt, values } from '../data.js';
import { atRate, latencyOf, newHistogram, now, record } from '../drivers.js';
import type { Case, Outcome, Trial, Workload } from '../workload.js';

const writesPerSecond = 5000;
const options = { durability: 'os', cacheBytes: 512 * 1024 * 1024 } as const;
const readerPath = fileURLToPath(new URL('../children/reader.js', import.meta.url));

class Reader {
  readonly #worker: Worker;

  constructor(plan: ReaderPlan) {
    this.#worker = new Worker(readerPath, { workerData: plan });
  }
  go(): void {
    this.#worker.postMessage('go');
  }
  /** First that it is ready, then what it did. */
  async answer(): Promise<ReaderAnswer> {
    const [answer] = await once(this.#worker, 'message');
    return answer as ReaderAnswer;
  }
  async ended(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** Gets of all readers a second, while `beside` runs. */
async function together(
  plan: Omit<ReaderPlan, 'seed'>,
  threads: number,
  beside: () => Promise<unknown>,
): Promise<number> {
  const readers = Array.from({ length: threads }, (_, index) => new Reader({ ...plan, seed: index * 12_347 }));
  await Promise.all(readers.map((reader) => reader.answer()));
  for (const reader of readers) reader.go();
  const [answers] = await Promise.all([Promise.all(readers.map((reader) => reader.answer())), beside()]);
  await Promise.all(readers.map((reader) => reader.ended()));
  return answers.reduce((sum, { gets, ns }) => sum + (gets * 1e9) / ns, 0);
}

/** Overwrites keys one by one; the latencies are those of the puts from when they were due. */
async function write(db: Database, keys: number, seconds: number): Promise<ReturnType<typeof latencyOf>> {
  const pool = values();
  const histogram = newHistogram();
  const answers: Promise<void>[] = [];
  await atRate(writesPerSecond, seconds, (index, dueNs) => {
    const put = db.put(keyAt((index * 7919) % keys), valueAt(pool, index));
    answers.push(put.then(() => record(histogram, now() - dueNs)));
  });
  await Promise.all(answers);
  return latencyOf(histogram);
}

async function run({ dir, sizes }: Trial, threads: number): Promise<Outcome[]> {
  let db = await open(dir, options);
  await fill(db, sizes.keys);
  await db.compact();
  await db.close();
  db = await open(dir, options);
  const seconds = Math.max(1, sizes.streamSeconds / 2);
  const plan = { dir, options, keys: sizes.keys, ms: seconds * 1000 };
  const alone = await together(plan, threads, () => Promise.resolve());
  let latency: Outcome['latency'];
  const beside = await together(plan, threads, async () => {
    latency = await write(db, sizes.keys, seconds);
  });
  await db.close();
  return [
    { what: 'gets of all threads, alone', unit: 'gets', perSecond: alone },
    { what: `gets beside ${writesPerSecond} puts/s`, unit: 'gets', perSecond: beside },
    { what: 'the puts meanwhile', unit: 'puts', perSecond: writesPerSecond, latency },
  ];
}

const cases: Case[] = [1, 2, 4].map((threads) => ({
  name: threads === 1 ? '1 thread' : `${threads} threads`,
  run: (trial) => run(trial, threads),
}));

export const readers: Workload = {
  name: 'readers',
  question: 'point reads of several threads on one store, alone and beside a writer',
  cases,
};

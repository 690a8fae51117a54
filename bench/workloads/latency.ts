/**
 * What do single puts and gets feel while flushing and merging run, and how long is the event loop held up?
 *
 * The memtables are small, so that a stream of batches beside the measured operations is flushed and merged several
 * times a second. The thread of the measured operations does nothing else; the batches come from a worker thread. Puts
 * count from the moment at which they were due, in bursts of a millisecond; gets block, so they are timed as calls.
 */
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type Database, open } from 'gaplessdb';
import type { LoaderPlan } from '../children/loader.js';
import { fill, keyAt, valueAt, values } from '../data.js';
import { atRate, latencyOf, newHistogram, now, record } from '../drivers.js';
import type { Case, Outcome, Trial, Workload } from '../workload.js';

const operationsPerSecond = 2000;
const loadedPerSecond = 20_000;
const memtableBytes = 1024 * 1024;
const loaderPath = fileURLToPath(new URL('../children/loader.js', import.meta.url));

interface Feeling {
  readonly puts: Outcome['latency'];
  readonly gets: Outcome['latency'];
  readonly seconds: number;
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
}

async function feel(db: Database, keys: number, seconds: number): Promise<Feeling> {
  const pool = values();
  const [puts, gets] = [newHistogram(), newHistogram()];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const answers: Promise<void>[] = [];
  delay.enable();
  const ns = await atRate(operationsPerSecond, seconds, (index, dueNs) => {
    const key = keyAt((index * 7919) % keys);
    const before = now();
    if (db.get(key) === undefined) throw new Error('a key was not found');
    record(gets, now() - before);
    answers.push(db.put(key, valueAt(pool, index)).then(() => record(puts, now() - dueNs)));
  });
  delay.disable();
  await Promise.all(answers);
  return {
    puts: latencyOf(puts),
    gets: latencyOf(gets),
    seconds: ns / 1e9,
    delayP99Ms: delay.percentile(99) / 1e6,
    delayMaxMs: delay.max / 1e6,
  };
}

function outcomesOf({ puts, gets, seconds, delayP99Ms, delayMaxMs }: Feeling, rate: number, facts = {}): Outcome[] {
  const perSecond = rate / Math.max(1, seconds);
  const held = { 'event loop p99 ms': delayP99Ms, 'event loop max ms': delayMaxMs };
  return [
    { what: 'put', unit: 'puts', perSecond, latency: puts, facts: { ...held, ...facts } },
    { what: 'get', unit: 'gets', perSecond, latency: gets },
  ];
}

async function run({ dir, sizes }: Trial, isLoaded: boolean): Promise<Outcome[]> {
  const options = { durability: 'os', memtableBytes } as const;
  const db = await open(dir, options);
  await fill(db, sizes.keys);
  const seconds = sizes.streamSeconds;
  const count = operationsPerSecond * seconds;
  if (!isLoaded) {
    const outcomes = outcomesOf(await feel(db, sizes.keys, seconds), count);
    await db.close();
    return outcomes;
  }
  const plan: LoaderPlan = { dir, options, keys: sizes.keys, perSecond: loadedPerSecond };
  const loader = new Worker(loaderPath, { workerData: plan });
  await once(loader, 'message');
  const before = db.stats().background;
  const feeling = await feel(db, sizes.keys, seconds);
  const { flushes, merges } = db.stats().background;
  loader.postMessage('stop');
  await once(loader, 'exit');
  await db.close();
  const work = { flushes: flushes - before.flushes, merges: merges - before.merges };
  if (work.flushes === 0 || work.merges === 0) throw new Error('nothing was flushed and merged meanwhile');
  return outcomesOf(feeling, count, work);
}

const cases: Case[] = [
  { name: 'idle', run: (trial) => run(trial, false) },
  { name: 'flushing and merging', run: (trial) => run(trial, true) },
];

export const latency: Workload = {
  name: 'latency',
  question: 'single puts and gets and the event loop, idle and while flushing and merging run',
  cases,
};

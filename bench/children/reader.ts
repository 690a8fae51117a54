/** A worker thread that reads random keys of a store for a time: says that it is ready, waits for 'go', reports. */
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { type OpenOptions, open } from 'gaplessdb';
import { keyAt, valueBytes } from '../data.js';
import { now } from '../drivers.js';

export interface ReaderPlan {
  readonly dir: string;
  readonly options: OpenOptions;
  readonly keys: number;
  readonly ms: number;
  /** Another one for each thread. */
  readonly seed: number;
}

export interface ReaderAnswer {
  readonly gets: number;
  readonly ns: number;
}

const samples = 100_000;
const round = 1000;

async function main(plan: ReaderPlan, say: (answer: ReaderAnswer) => void, go: Promise<unknown>): Promise<void> {
  const db = await open(plan.dir, plan.options);
  const into = Buffer.alloc(valueBytes);
  const keys = Array.from({ length: samples }, (_, index) => keyAt((index * 7919 + plan.seed) % plan.keys));
  const read = (from: number): void => {
    for (let index = from; index < from + round; index += 1) {
      if (db.getInto(keys[index] ?? '', into) !== valueBytes) throw new Error('a key was not found');
    }
  };
  for (let from = 0; from < samples; from += round) read(from);
  say({ gets: 0, ns: 0 });
  await go;
  const begun = now();
  let gets = 0;
  for (let from = 0; now() - begun < plan.ms * 1e6; gets += round) {
    read(from);
    from = (from + round) % samples;
  }
  const ns = now() - begun;
  await db.close();
  say({ gets, ns });
}

const port = parentPort;
if (port === null) throw new Error('this file is a worker');
await main(workerData as ReaderPlan, (answer) => port.postMessage(answer), once(port, 'message'));

/**
 * What is done with an engine, one process a step. `load` and `reads` follow each other on one directory, so that reads
 * meet what a reopened store has on disk; `sync` has a directory of its own. Reads run for a time, writes for a count.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { keyAt, valueAt, values } from '../data.js';
import { blocking, inFlight, now } from '../drivers.js';
import type { Latency, Outcome } from '../workload.js';
import type { BenchStore, Engine, Settings } from './store.js';

export type StepName = 'probe' | 'load' | 'reads' | 'sync';

export interface Job {
  readonly engine: string;
  readonly step: StepName;
  readonly dir: string;
  readonly keys: number;
  readonly durableWrites: number;
  /** How long each read is measured, and what background work gets before. */
  readonly readMs: number;
  readonly settleMs: number;
  readonly settings: Omit<Settings, 'durability'>;
}

export interface Measure {
  readonly work: string;
  readonly unit: string;
  readonly perSecond: number;
  readonly latency?: Latency | undefined;
  readonly facts?: Readonly<Record<string, number>> | undefined;
}

/** Facts that a report shows for themselves. */
export const diskFact = 'bytes on disk after the load';
export const amplificationFact = 'the same per byte of keys and values';
export const residentFact = 'resident bytes after the reads';

const batchKeys = 1000;
const manyKeys = 100;
const inFlightWidth = 64;
/** Random keys of a loop of reads: enough to be cold, few enough to hold. */
const sampleMax = 1_000_000;
const roundReads = 500;
const batchBytesMax = 8 * 1024 * 1024;

export async function runStep(engine: Engine, job: Job): Promise<Measure[]> {
  switch (job.step) {
    case 'probe':
      return probe(engine, job);
    case 'load':
      return load(engine, job);
    case 'reads':
      return reads(engine, job);
    case 'sync':
      return sync(engine, job);
  }
}

async function probe(engine: Engine, { dir, settings }: Job): Promise<Measure[]> {
  const store = await engine.open(dir, { ...settings, durability: 'os' });
  await store.put('key', Buffer.from('value'));
  const value = store.get('key');
  await store.close();
  if (value?.toString() !== 'value') throw new Error('what was put is not what was read');
  return [];
}

async function load(engine: Engine, job: Job): Promise<Measure[]> {
  const { dir, settings, keys } = job;
  const store = await engine.open(dir, { ...settings, durability: 'os' });
  const batch = await putBatches(store, settings.valueBytes, keys, `batch put of ${batchSize(settings)}, os`);
  const hot = readRandom(store, job, 'random get, just written', (key) => store.get(key)?.length ?? -1);
  await store.close();
  const bytes = bytesBelow(dir);
  const amplification = bytes / (keys * (16 + settings.valueBytes));
  return [{ ...batch, facts: { [diskFact]: bytes, [amplificationFact]: amplification } }, hot];
}

/** Whole numbers of keys, and not too many bytes in one batch. */
function batchSize({ valueBytes }: Pick<Settings, 'valueBytes'>): number {
  return Math.min(batchKeys, Math.max(1, Math.floor(batchBytesMax / valueBytes)));
}

async function putBatches(store: BenchStore, valueBytes: number, keys: number, work: string): Promise<Measure> {
  const size = batchSize({ valueBytes });
  const pool = values(valueBytes);
  const all = Array.from({ length: keys }, (_, index) => keyAt(index));
  const put = async (number: number): Promise<void> => {
    const from = number * size;
    const some = all.slice(from, from + size);
    await store.batch(
      some,
      some.map((_, index) => valueAt(pool, from + index)),
    );
  };
  const count = Math.ceil(keys / size);
  const outcome = await inFlight({ what: work, unit: 'keys', count, warmUp: 0, each: keys / count }, 2, put);
  return measureOf(outcome);
}

async function reads(engine: Engine, job: Job): Promise<Measure[]> {
  const { dir, settings } = job;
  const begun = now();
  const store = await engine.open(dir, { ...settings, durability: 'os' });
  const found = store.get(keyAt(0));
  const openNs = now() - begun;
  if (found?.length !== settings.valueBytes) throw new Error('the first key is not there');
  await delay(job.settleMs);
  const measures: Measure[] = [readRandom(store, job, 'random get, Buffer', (key) => store.get(key)?.length ?? -1)];
  const { getInto } = store;
  if (getInto !== undefined) measures.push(readRandom(store, job, 'random get, into a buffer', getInto));
  measures.push(await readMany(store, job), await scanAll(store, job));
  const facts = { ms: openNs / 1e6, [residentFact]: process.memoryUsage.rss() };
  await store.close();
  return [...measures, { work: 'open and get one', unit: 'opens', perSecond: 1e9 / openNs, facts }];
}

/** The same keys in the same order for every engine. */
function sample(keys: number): string[] {
  const count = Math.min(keys, sampleMax);
  let state = 12345;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return keyAt(Math.floor((state / 2 ** 32) * keys));
  });
}

function readRandom(store: BenchStore, job: Job, work: string, read: (key: string) => number): Measure {
  const keys = sample(job.keys);
  const size = job.settings.valueBytes;
  let next = 0;
  const round = (): void => {
    if (next + roundReads > keys.length) next = 0;
    for (const end = Math.min(keys.length, next + roundReads); next < end; next += 1) {
      if (read.call(store, keys[next] ?? '') !== size) throw new Error(`${work}: a key was not found`);
    }
  };
  const reads = Math.min(roundReads, keys.length);
  return repeated(work, 'gets', reads, job.readMs, round);
}

/** For as long as the job says, behind a third of that to warm up. */
function repeated(work: string, unit: string, each: number, ms: number, round: () => void): Measure {
  const warm = now() + (ms * 1e6) / 3;
  while (now() < warm) round();
  const begun = now();
  let rounds = 0;
  while (now() - begun < ms * 1e6) {
    round();
    rounds += 1;
  }
  const perSecond = (rounds * each * 1e9) / (now() - begun);
  return { work, unit, perSecond, facts: { 'ns each': 1e9 / perSecond } };
}

async function readMany(store: BenchStore, job: Job): Promise<Measure> {
  const keys = sample(job.keys);
  const work = `multi-get of ${manyKeys}`;
  const each = Math.min(manyKeys, keys.length);
  const run = async (ms: number): Promise<number> => {
    const begun = now();
    let calls = 0;
    for (let at = 0; now() - begun < ms * 1e6; calls += 1) {
      if (at + each > keys.length) at = 0;
      const bytes = await store.getMany(keys.slice(at, at + each));
      if (bytes !== each * job.settings.valueBytes) throw new Error(`${work}: gave ${bytes} bytes`);
      at += each;
    }
    return (calls * each * 1e9) / (now() - begun);
  };
  await run(job.readMs / 3);
  return { work, unit: 'keys', perSecond: await run(job.readMs) };
}

async function scanAll(store: BenchStore, job: Job): Promise<Measure> {
  const begun = now();
  let entries = 0;
  let passes = 0;
  for (let isWarm = false; passes === 0 || now() - begun < job.readMs * 1e6; isWarm = true) {
    const from = now();
    const found = await store.scan();
    if (found !== job.keys) throw new Error(`a scan gave ${found} entries of ${job.keys}`);
    // The first pass of several warms up.
    if (isWarm || now() - from > job.readMs * 1e6) {
      entries += found * (1e9 / (now() - from));
      passes += 1;
    }
  }
  return { work: 'range scan', unit: 'entries', perSecond: entries / passes };
}

async function sync(engine: Engine, job: Job): Promise<Measure[]> {
  const { dir, settings, durableWrites } = job;
  const store = await engine.open(dir, { ...settings, durability: 'sync' });
  const keys = Math.max(batchSize(settings), Math.min(job.keys, durableWrites * 100, job.keys / 4));
  const measures = [await putBatches(store, settings.valueBytes, keys, `batch put of ${batchSize(settings)}, sync`)];
  const pool = values(settings.valueBytes);
  const warmUp = Math.ceil(durableWrites / 10);
  const put = (index: number): Promise<unknown> | undefined => {
    return store.put(keyAt(index + 0x4000_0000), valueAt(pool, index));
  };
  const one = { what: 'durable put, one at a time', unit: 'puts', count: durableWrites, warmUp };
  const { putSync } = store;
  measures.push(
    measureOf(
      putSync === undefined
        ? await inFlight(one, 1, async (index) => put(index))
        : blocking(one, (index) => putSync.call(store, keyAt(index + 0x2000_0000), valueAt(pool, index))),
    ),
  );
  const count = durableWrites * 4;
  const wide = { what: `durable puts, ${inFlightWidth} in flight`, unit: 'puts', count, warmUp: inFlightWidth };
  measures.push(measureOf(await inFlight(wide, inFlightWidth, async (index) => put(index))));
  await store.close();
  return measures;
}

function measureOf({ what, unit, perSecond, latency }: Outcome): Measure {
  return { work: what, unit, perSecond, latency };
}

/** What the files take, holes and preallocated room counted as the file system counts them. */
function bytesBelow(dir: string): number {
  let bytes = 0;
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).blocks * 512;
  }
  return bytes;
}

/**
 * Threads that share a store and are terminated anywhere: no signal, no hang, acknowledgements true, and nothing
 * of theirs stays behind. GAPLESS_STORM_S sets the seconds of each storm (60 for the long one).
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterAll, expect, test } from 'vitest';
import { loadAddon } from '../../dist/binding/load.js';
import { open } from '../../dist/index.js';
import { allocateRing } from '../../dist/ring/reader.js';
import { seeded, temporaryRoot, withStore } from '../crash/harness.js';

const seconds = Number(process.env['GAPLESS_STORM_S'] ?? 12);
const random = seeded(Number(process.env['GAPLESS_SEED'] ?? 1));
const root = temporaryRoot();
afterAll(() => root.remove());

const threadsAtOnce = 3;
const options = { segmentBytes: 64 * 1024, shards: 2 } as const;
const timeout = seconds * 1000 + 120_000;

interface Fact {
  readonly opened?: boolean;
  readonly key?: string;
  readonly value?: string;
  readonly add?: number;
  readonly wrong?: string;
  readonly tally?: Readonly<Record<'ring' | 'segments' | 'overtaken' | 'records', number>>;
}

/** Rejects when the work takes longer: a hang is a failure with a name. */
async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} hangs`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs one thread and terminates it: one in four while it loads, the others in the middle of their work. */
async function stormed(file: string, workerData: object, onFact: (fact: Fact) => void): Promise<void> {
  const thread = new Worker(new URL(file, import.meta.url), { workerData });
  const failed = once(thread, 'error').then(([error]) => {
    throw error;
  });
  failed.catch(() => undefined);
  thread.on('message', onFact);
  if (random(4) > 0) await within(20_000, 'opening in a thread', Promise.race([once(thread, 'message'), failed]));
  await Promise.race([new Promise((resolve) => setTimeout(resolve, random(random(2) === 0 ? 20 : 250))), failed]);
  await within(20_000, 'terminating a thread', thread.terminate());
}

test('threads that write and are terminated lose nothing that was acknowledged and leave nothing open', {
  timeout,
}, async () => {
  const path = root.path('writers');
  const acknowledged = new Map<string, string>();
  let added = 0;
  const onFact = (fact: Fact): void => {
    if (fact.key !== undefined && fact.value !== undefined) acknowledged.set(fact.key, fact.value);
    added += fact.add ?? 0;
  };
  const until = performance.now() + seconds * 1000;
  let threads = 0;
  let round = 0;
  // In half of the rounds this thread holds the store, too; in the others the last thread closes the engine.
  for (; performance.now() < until; round += 1) {
    const db = round % 2 === 0 ? await open(path, options) : undefined;
    const durability = (['sync', 'os', 'memory'] as const)[round % 3];
    const work = Array.from({ length: threadsAtOnce }, async () => {
      for (let i = 0; i < 2; i += 1) {
        await stormed('./writer.mjs', { path, round, durability }, onFact);
        threads += 1;
      }
    });
    await Promise.all(work);
    if (db === undefined) continue;
    const deadline = performance.now() + 10_000;
    let stats = db.stats();
    while ((stats.store.openViews > 0 || stats.log.holds.length > 0) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      stats = db.stats();
    }
    expect({ views: stats.store.openViews, holds: stats.log.holds }).toEqual({ views: 0, holds: [] });
    await within(20_000, 'closing', db.close());
  }
  await within(
    30_000,
    'the last look',
    withStore(path, options, async (db) => {
      const wrong = [...acknowledged].filter(([key, value]) => db.get(key)?.toString() !== value).map(([key]) => key);
      expect(wrong).toEqual([]);
      // Each acknowledged increment counts once; those in flight at a termination may count, too.
      expect(Number(db.get('counter')?.toString() ?? '0')).toBeGreaterThanOrEqual(added);
      expect((await db.verify({ deep: true })).ok).toBe(true);
    }),
  );
  process.stdout.write(
    `storm: ${JSON.stringify({ rounds: round, threads, acknowledged: acknowledged.size, added })}\n`,
  );
  expect(threads).toBeGreaterThan(6);
  expect(acknowledged.size).toBeGreaterThan(50);
});

test('readers of the ring, terminated in mid-copy, harm nobody and never read a wrong record', {
  timeout,
}, async () => {
  const path = root.path('ring');
  const db = await open(path, options);
  const store = await loadAddon().openStore(path, {}, () => {});
  const ring = allocateRing(256 * 1024);
  expect(store.offerRing(new Uint8Array(ring))).toBe(true);
  const { clusterId } = store.identity();
  let isDone = false;
  let written = 0;
  const sum = { ring: 0, segments: 0, overtaken: 0, records: 0 };
  const wrong: string[] = [];
  const writing = (async () => {
    while (!isDone) {
      // In one turn of three more than the ring holds: a reader that pauses is overtaken.
      const length = random(3) === 0 ? 200 : 5;
      const commits = Array.from({ length }, (_, i) => db.put(`k${(written + i) % 500}`, 'v'.repeat(random(6000))));
      await Promise.all(commits);
      written += commits.length;
    }
  })();
  const until = performance.now() + (seconds * 1000) / 2;
  let threads = 0;
  while (performance.now() < until) {
    await Promise.all(
      [0, 1].map(async () => {
        let last: Fact['tally'];
        await stormed('./ring-reader.mjs', { path, ring, clusterId }, (fact) => {
          if (fact.wrong !== undefined) wrong.push(fact.wrong);
          else last = fact.tally;
        });
        for (const name of ['ring', 'segments', 'overtaken', 'records'] as const) sum[name] += last?.[name] ?? 0;
        threads += 1;
      }),
    );
  }
  isDone = true;
  await within(20_000, 'writing', writing);
  expect(wrong).toEqual([]);
  expect(db.stats().store.openViews).toBe(0);
  store.dropRing();
  await within(20_000, 'closing', Promise.all([store.close(), db.close()]));
  process.stdout.write(`ring: ${JSON.stringify({ threads, written, ...sum })}\n`);
  // Read from the ring, and overtaken in it: else this has shown nothing.
  expect(sum.ring).toBeGreaterThan(0);
  expect(sum.overtaken).toBeGreaterThan(0);
  expect(threads).toBeGreaterThan(3);
  expect(written).toBeGreaterThan(100);
});

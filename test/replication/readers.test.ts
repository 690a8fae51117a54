/**
 * Readers on a replica under bulk apply, and across a switch: they see whole batches, in order, and nothing else. In
 * the replica's own thread and in another one. GAPLESS_SHARD_PAIRS=all: every pair of shard counts; GAPLESS_ROUNDS.
 */
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { watchGenerations, writeGeneration } from '../chaos/generations.mjs';
import { report } from './figures.js';
import { converged, TestCluster, type TestNode, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

const counts = [1, 2, 8];
const all = counts.flatMap((sender) => counts.map((receiver) => [sender, receiver] as const));
const few = [
  [1, 8],
  [2, 1],
  [8, 2],
  [8, 8],
] as const;
const pairs = process.env['GAPLESS_SHARD_PAIRS'] === 'all' ? all : few;
const rounds = Number(process.env['GAPLESS_ROUNDS'] ?? 1);

let cluster: TestCluster;
let proxy: FrameProxy;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

interface ThreadReader {
  /** What was wrong, and how often it looked. */
  stop(): Promise<{ readonly wrong: readonly string[]; readonly reads: number }>;
}

async function readInThread(dir: string): Promise<ThreadReader> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL('../chaos/reader-worker.mjs', import.meta.url), {
    workerData: { dir, stop: stop.buffer },
  });
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  await next();
  const result = next();
  result.catch(() => undefined);
  return {
    stop: async () => {
      Atomics.store(stop, 0, 1);
      return (await result) as { wrong: string[]; reads: number };
    },
  };
}

async function pair(sender: number, receiver: number): Promise<[TestNode, TestNode]> {
  const primary = await cluster.primary({ shards: sender, durability: 'os' });
  proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
  await writeGeneration(primary.db, 0);
  const replica = await cluster.replica(proxy.address, { shards: receiver, durability: 'os' });
  await converged(primary, replica);
  return [primary, replica];
}

describe('readers of a replica', () => {
  for (const [sender, receiver] of pairs) {
    test(`see whole batches only: ${sender} shards sent, ${receiver} received`, async () => {
      const [primary, replica] = await pair(sender, receiver);
      const reader = await readInThread(replica.dir);
      const watch = watchGenerations(replica.db);
      let generation = 0;
      for (let round = 0; round < rounds; round++) {
        // Small batches as they come, then a backlog that arrives in bulk, with batches too large to be applied inline.
        for (let i = 0; i < 30; i++) await writeGeneration(primary.db, ++generation);
        proxy.isDown = true;
        proxy.cut();
        for (let i = 0; i < 200; i++) await writeGeneration(primary.db, ++generation, i % 20 === 0 ? 300_000 : 0);
        proxy.isDown = false;
        await converged(primary, replica, 30_000);
        // And another state altogether, while batches go on.
        const syncs = replica.saw('sync_done').length;
        await replica.db.replication.resync({ full: true });
        for (let i = 0; i < 30; i++) await writeGeneration(primary.db, ++generation);
        await until('the switch', () => replica.saw('sync_done').length > syncs, 30_000);
        await converged(primary, replica, 30_000);
      }
      expect(await watch.stop()).toEqual([]);
      const { wrong, reads } = await reader.stop();
      report(`reads in a thread, ${sender} to ${receiver} shards`, reads);
      expect(wrong).toEqual([]);
      expect(reads).toBeGreaterThan(20);
      expect(watch.reads()).toBeGreaterThan(20);
      expect(replica.db.get('sessions')?.toString()).toBe(`${generation}`);
    }, 120_000);
  }

  test('keep the old state in a view and in a range that were open before a switch', async () => {
    const [primary, replica] = await pair(8, 2);
    await primary.db.put('gone', 'old');
    await converged(primary, replica);
    const view = replica.db.view();
    const range = replica.db.range({ gte: 'member-', lt: 'member.' });
    const [first] = range.next();
    expect(first?.[1].toString()).toBe('0');
    const before = `${view.position}`;
    const digest = await view.digest();
    await primary.db.batch().del('gone').delRange({ gte: 'member-0', lt: 'member-1' }).put('new', '1').commit();
    await writeGeneration(primary.db, 1);
    await replica.db.replication.resync({ full: true });
    await until('the switch', () => replica.saw('switched').length > 1);
    await converged(primary, replica);
    await writeGeneration(primary.db, 2);
    await converged(primary, replica);
    expect(`${view.position}`).toBe(before);
    expect(view.get('gone')?.toString()).toBe('old');
    expect(view.get('new')).toBeUndefined();
    expect(view.get('member-7')?.toString()).toBe('0');
    expect((await view.digest()).digest).toBe(digest.digest);
    const rest = range.next(100);
    expect(rest).toHaveLength(63);
    expect(new Set(rest.map(([, value]) => value.toString()))).toEqual(new Set(['0']));
    expect(replica.db.get('gone')).toBeUndefined();
    expect(replica.db.get('member-7')?.toString()).toBe('2');
    view.close();
  });
});

/**
 * The boundary of a full sync under writers: the state at the snapshot position is the log replayed up to it, and the
 * stream goes on at exactly the next record. GAPLESS_SYNCS: how many full syncs (default 6).
 */
import { cpSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Position } from '../../dist/index.js';
import { converged, fill, TestCluster, type TestNode, until } from './nodes.js';
import { FrameProxy } from './proxy.js';
import { LogIndex, replayedDigest, startWriters } from './workload.js';

const syncs = Number(process.env['GAPLESS_SYNCS'] ?? 6);
const frozenWrites = Number(process.env['GAPLESS_FROZEN_WRITES'] ?? 100_000);

/** No checkpoint while the test runs: any position can be replayed from the beginning. */
const whole = { memtableBytes: 1 << 30 };

let cluster: TestCluster;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

/** What a kill would leave of a node at rest: a close makes a checkpoint, and nothing before that could be replayed. */
async function asKilled({ dir }: TestNode): Promise<string> {
  const copy = `${dir}-killed`;
  let isCopied = false;
  // A generation that was switched away from may go meanwhile.
  await until('a copy', () => {
    try {
      rmSync(copy, { recursive: true, force: true });
      cpSync(dir, copy, { recursive: true });
      isCopied = true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    return isCopied;
  });
  return copy;
}

async function proxied(primary: { readonly address: { host: string; port: number } }): Promise<FrameProxy> {
  const proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
  return proxy;
}

/** Snapshot positions of the finished syncs, and where the state stood that each replaced. */
function boundaries(replica: TestNode): { snapshot: Position; replaced: bigint }[] {
  const done = replica.saw('sync_done').map(({ position }) => position as Position);
  const replaced = replica.saw('switched').map(({ from }) => (from as Position).seq);
  return done.map((snapshot, i) => ({ snapshot, replaced: replaced[i] ?? 0n }));
}

function firstSnapshot(replica: TestNode): Position {
  const [first] = boundaries(replica);
  if (first === undefined) throw new Error('no full sync has ended');
  return first.snapshot;
}

/** Records that the engine must have applied since it opened: each state from its snapshot to where it was replaced. */
function predictedRecords(replica: TestNode, log: LogIndex, end: bigint): number {
  const cuts = boundaries(replica);
  let total = 0;
  for (const [i, { snapshot }] of cuts.entries()) total += log.between(snapshot.seq, cuts[i + 1]?.replaced ?? end);
  return total;
}

describe('full syncs under 16 writers', () => {
  test(`${syncs} times, the state installed is the log replayed up to the snapshot`, async () => {
    const primary = await cluster.primary(whole);
    await fill(primary, 2000, 60, 'data');
    const proxy = await proxied(primary);
    const writers = startWriters(primary.db, { seed: 7 });
    const shown: { seq: bigint; digest: string }[] = [];
    cutAtInstall(proxy);
    const replica = await cluster.replica(proxy.address);
    for (let i = 0; i < syncs; i++) {
      if (i > 0) {
        cutAtInstall(proxy);
        const { tier, reason } = await replica.db.replication.resync({ full: true });
        expect({ tier, reason }).toEqual({ tier: 'full', reason: 'operator' });
      }
      await until(`switch ${i + 1}`, () => proxy.isDown && replica.saw('sync_done').length > i, 30_000);
      // Nothing of the log came along: this is the snapshot and not one record more.
      const snapshot = replica.saw('sync_done')[i]?.['position'] as Position;
      const { position, digest } = await replica.db.digest();
      expect(`${position}`).toBe(`${snapshot}`);
      shown.push({ seq: position.seq, digest });
      const streams = replica.saw('streaming').length;
      proxy.fate = () => 'pass';
      proxy.isDown = false;
      await until('the stream', () => replica.saw('streaming').length > streams, 30_000);
    }
    await writers.stop();
    await converged(primary, replica);
    writers.check(primary.db);
    writers.check(replica.db);
    const { counters } = replica.db.status();
    expect(replica.saw('resync', { tier: 'full' })).toHaveLength(syncs);
    expect(replica.saw('sync_failed')).toHaveLength(0);
    const { position: end } = await primary.db.digest();
    const leftOfPrimary = await asKilled(primary);
    await primary.db.close();
    for (const { seq, digest } of shown) expect(await replayedDigest(leftOfPrimary, seq)).toBe(digest);
    const log = await LogIndex.read(leftOfPrimary);
    expect(counters.appliedRecords).toBe(predictedRecords(replica, log, end.seq));
    expect(counters).toMatchObject({ gaps: 0, droppedRecords: 0 });
  }, 600_000);

  test('the log that came along during the sync is applied behind it, record by record, once', async () => {
    const primary = await cluster.primary({ ...whole, compression: 'lz4', shards: 8 });
    await fill(primary, 6000, 200, 'data');
    const proxy = await proxied(primary);
    proxy.fate = ({ name }) => (name === 'FLOW_DATA' ? { delayMs: 40 } : 'pass');
    const writers = startWriters(primary.db, { seed: 11 });
    const replica = await cluster.replica(proxy.address, { ...whole, shards: 2 });
    await until('the switch', () => replica.saw('sync_done').length > 0, 30_000);
    await until('the stream', () => replica.saw('streaming').length > 0, 30_000);
    await replica.db.replication.resync({ full: true });
    await until('the second switch', () => replica.saw('sync_done').length > 1, 30_000);
    await writers.stop();
    await converged(primary, replica);
    writers.check(replica.db);
    const { counters } = replica.db.status();
    const { position, digest } = await replica.db.digest();
    const leftOfPrimary = await asKilled(primary);
    const leftOfReplica = await asKilled(replica);
    await replica.db.close();
    await primary.db.close();
    const log = await LogIndex.read(leftOfPrimary);
    expect(counters.appliedRecords).toBe(predictedRecords(replica, log, position.seq));
    // What the directory of the replica replays to, at the boundary and at its end.
    const snapshot = boundaries(replica).at(-1)?.snapshot.seq ?? 0n;
    expect(snapshot).toBeLessThan(position.seq);
    expect(await replayedDigest(leftOfReplica, snapshot)).toBe(await replayedDigest(leftOfPrimary, snapshot));
    expect(await replayedDigest(leftOfReplica, position.seq)).toBe(digest);
    expect(await replayedDigest(leftOfPrimary, position.seq)).toBe(digest);
  }, 120_000);

  test('flows that stand still in mid-scan miss nothing that is written meanwhile', async () => {
    const patient = { replication: { timeoutMs: 10_000 } };
    const primary = await cluster.primary({ ...whole, ...patient, durability: 'os' });
    // Larger than the credit of all flows together, so that the workers wait inside their scans.
    await fill(primary, 24_000, 1000, 'data');
    const proxy = await proxied(primary);
    const frozen = new Set<number>();
    let isFrozen = false;
    proxy.fate = ({ name, connection }) => {
      if (name !== 'FLOW_DATA' || frozen.has(connection)) return 'pass';
      frozen.add(connection);
      isFrozen = true;
      return { delayMs: 1000 };
    };
    const replica = await cluster.replica(proxy.address, { ...whole, ...patient, durability: 'os' });
    await until('frozen flows', () => isFrozen);
    await overwrite(primary, frozenWrites);
    // The slot's record comes when the replica streams, and may be the last one.
    await until('the stream', () => primary.saw('replica', { state: 'streaming' }).length > 0, 60_000);
    await primary.db.put('last', '1');
    await converged(primary, replica, 60_000);
    expect(replica.db.replication.status().resync).toMatchObject({ full: 1, err: 0 });
    const { position, digest } = await replica.db.digest();
    const snapshot = firstSnapshot(replica).seq;
    expect(position.seq - snapshot).toBeGreaterThanOrEqual(BigInt(frozenWrites));
    const { counters } = replica.db.status();
    const leftOfPrimary = await asKilled(primary);
    const leftOfReplica = await asKilled(replica);
    await primary.db.close();
    await replica.db.close();
    expect(await replayedDigest(leftOfPrimary, position.seq)).toBe(digest);
    expect(await replayedDigest(leftOfReplica, snapshot)).toBe(await replayedDigest(leftOfPrimary, snapshot));
    const log = await LogIndex.read(leftOfPrimary);
    expect(counters.appliedRecords).toBe(log.between(snapshot, position.seq));
  }, 120_000);

  test('a ring of 64 KiB that is long overwritten when a throttled transfer ends', async () => {
    const primary = await cluster.primary(whole);
    await fill(primary, 4000, 300, 'data');
    const writers = startWriters(primary.db, { seed: 13, valueBytes: 300 });
    const options = { replication: { syncRateBytes: 1_000_000 } };
    const replica = await cluster.replica(primary.address, options);
    await until('the stream', () => replica.saw('streaming').length > 0, 30_000);
    await writers.stop();
    await converged(primary, replica);
    writers.check(replica.db);
    const { ring, counters, resync } = primary.db.status();
    expect(BigInt(ring?.oldest ?? 0)).toBeGreaterThan(firstSnapshot(replica).offset);
    expect(resync).toMatchObject({ full: 1 });
    expect(counters.gaps).toBe(0);
    expect(replica.db.replication.status().resync).toMatchObject({ full: 1, err: 0 });
  }, 60_000);
});

/** From the next full sync on no record of the log arrives, and the link breaks at the word that it is installed. */
function cutAtInstall(proxy: FrameProxy): void {
  let isSyncing = false;
  proxy.fate = ({ name }) => {
    if (name === 'SNAPSHOT_BEGIN') isSyncing = true;
    if (!isSyncing) return 'pass';
    if (name === 'LOG') return 'drop';
    // The stream's budget counts what the replica acknowledges: nothing, while its log is dropped.
    if (name !== 'INSTALLED') return 'pass';
    proxy.isDown = true;
    return 'cut';
  };
}

/** `count` operations over the keys of the fill, in batches: overwrites, deletes and range deletes. */
async function overwrite(node: TestNode, count: number): Promise<void> {
  const value = Buffer.alloc(100, 'n');
  for (let done = 0; done < count; done += 1000) {
    const batch = node.db.batch();
    for (let i = done; i < done + 1000; i++) {
      const key = `data-${(i * 7919) % 24_000}`;
      if (i % 10 === 0) batch.del(key);
      else if (i % 250 === 1) batch.delRange({ gte: key, lt: `${key}5` });
      else batch.put(key, value);
    }
    await batch.commit();
  }
}

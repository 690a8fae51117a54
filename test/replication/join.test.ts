// How a replica joins: empty, with data, under writers; what it shows meanwhile; that nothing is applied twice.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { present } from '../../dist/base/assert.js';
import { positionBytes } from '../../dist/position.js';
import { frameHeaderBytes } from '../../dist/wire/frames.js';
import { converged, fill, resyncs, TestCluster, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

let cluster: TestCluster;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

describe('joining', () => {
  test('an empty replica joins an empty primary by the ring and adopts its cluster id', async () => {
    const primary = await cluster.primary();
    const replica = await cluster.replica(primary.address);
    await until('the replica to stream', () => replica.saw('streaming').length > 0);
    expect(resyncs(replica)).toEqual({ ring: 1 });
    expect(replica.db.status().clusterId).toBe(primary.db.status().clusterId);
    await primary.db.put('a', '1');
    await converged(primary, replica);
    expect(replica.db.get('a')?.toString()).toBe('1');
  });

  test('an empty replica of a primary with data is synced in full, once', async () => {
    const primary = await cluster.primary();
    await fill(primary, 2000);
    const replica = await cluster.replica(primary.address);
    await until('the replica to stream', () => replica.saw('streaming').length > 0);
    await converged(primary, replica);
    expect(resyncs(replica)).toEqual({ full: 1 });
    expect(replica.db.replication.status().resync.reasons).toEqual({ new_replica: 1 });
    expect(replica.saw('sync_flow')).toHaveLength(4);
    expect(replica.saw('sync_barrier')).toHaveLength(1);
    expect(replica.saw('switched')).toEqual([
      expect.objectContaining({ cause: 'full', generation: expect.any(Number) }),
    ]);
    expect(replica.saw('link', { state: 'full', reason: 'new_replica' })).toHaveLength(1);
    expect(replica.saw('link').at(-1)).toMatchObject({ state: 'streaming', reason: null });
    expect(replica.db.status().link).toMatchObject({ state: 'streaming', tier: 'full', reason: null });
    await until('the primary to count it', () => primary.db.replication.status().resync.full === 1);
    await primary.db.put('late', '1');
    await converged(primary, replica);
  });

  test('the replica names its slot in the log of the primary, once', async () => {
    const primary = await cluster.primary();
    await primary.db.put('a', '1');
    const replica = await cluster.replica(primary.address);
    await until('the replica to stream', () => replica.saw('streaming').length > 0);
    const { nodeId } = replica.db.status();
    await until('a streaming replica', () => primary.saw('replica', { nodeId, state: 'streaming' }).length > 0);
    expect(primary.db.status().log.holds).toContainEqual(expect.objectContaining({ kind: 'slot', name: nodeId }));
    const before = primary.db.position;
    await replica.reopen();
    await replica.db.replication.follow(primary.address);
    const streamed = (): number => primary.saw('replica', { nodeId, state: 'streaming' }).length;
    await until('it to stream again', () => streamed() > 1);
    expect(`${primary.db.position}`).toBe(`${before}`);
  });

  test('flow counts of the two sides may differ', async () => {
    const primary = await cluster.primary({ shards: 8 });
    await fill(primary, 1000);
    const replica = await cluster.replica(primary.address, { shards: 3 });
    await converged(primary, replica);
    expect(replica.saw('sync_flow')).toHaveLength(8);
  });

  test('flows may be compressed', async () => {
    const primary = await cluster.primary({ compression: 'lz4' });
    await fill(primary, 1000);
    const replica = await cluster.replica(primary.address);
    await converged(primary, replica);
    expect(resyncs(replica)).toEqual({ full: 1 });
  });

  test('counters that writers increment all the while are exact, and so is the number of applied records', async () => {
    const primary = await cluster.primary();
    await fill(primary, 3000);
    let isWriting = true;
    let increments = 0;
    const writers = Array.from({ length: 16 }, async (_, writer) => {
      for (let i = 0; isWriting; i++) {
        await primary.db.batch().increment('shared', 1n).put(`own-${writer}`, `${i}`).commit();
        increments++;
      }
    });
    const proxy = await FrameProxy.start(primary.address);
    cluster.atEnd(() => proxy.close());
    const count = recordCounter(proxy);
    const replica = await cluster.replica(proxy.address, { replication: { syncRateBytes: 400_000 } });
    await until('the switch', () => replica.saw('switched').length > 0, 30_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    isWriting = false;
    await Promise.all(writers);
    await converged(primary, replica);
    expect(Number(replica.db.get('shared'))).toBe(increments);
    const done = present(replica.saw('sync_done')[0], 'a sync is done');
    const from = (done['position'] as { seq: bigint }).seq;
    const records = count(from, primary.db.position.seq);
    expect(replica.db.status().counters.appliedRecords).toBe(records);
    expect(replica.db.status().counters.droppedRecords).toBe(0);
    expect(replica.db.status().counters.gaps).toBe(0);
  });

  test('the old state is served until the new one is complete, and then at once the new one', async () => {
    const primary = await cluster.primary();
    await fill(primary, 2000, 200);
    const proxy = await FrameProxy.start(primary.address);
    cluster.atEnd(() => proxy.close());
    const replica = await cluster.replica(proxy.address);
    await converged(primary, replica);
    proxy.fate = ({ name }) => (name === 'FLOW_DONE' ? { delayMs: 150 } : 'pass');
    const resync = await replica.db.replication.resync({ full: true });
    expect(resync).toEqual({ tier: 'full', reason: 'operator' });
    await until('the sync to start', () => replica.saw('sync_start').length > 1);
    // Taken only now: the primary's own records (a slot's, say) reach the old state until its link ends.
    const before = `${replica.db.position}`;
    await primary.db.put('key-0', 'new');
    expect(replica.db.status().state).toBe('syncing');
    expect(`${replica.db.position}`).toBe(before);
    expect(replica.db.get('key-0')?.toString()).toBe('v'.repeat(200));
    await converged(primary, replica);
    expect(replica.db.get('key-0')?.toString()).toBe('new');
    // The new state is served before its sync is told to be done.
    await until('the end of the sync', () => replica.saw('sync_done').length > 1);
    expect(replica.db.replication.status().resync.reasons).toEqual({ new_replica: 1, operator: 1 });
  });

  test('a full sync that is asked for while another one is installed is carried out', async () => {
    const primary = await cluster.primary();
    await fill(primary, 200, 20);
    const replica = await cluster.node({ asReplica: true });
    const asked = new Promise((resolve) => {
      replica.db.on('switched', () => {
        if (replica.saw('switched').length === 1) resolve(replica.db.replication.resync({ full: true }));
      });
    });
    await replica.db.replication.follow(primary.address);
    expect(await asked).toEqual({ tier: 'full', reason: 'operator' });
    await until('the second sync', () => replica.saw('sync_done').length > 1);
    expect(replica.db.replication.status().resync.reasons).toEqual({ new_replica: 1, operator: 1 });
  });

  test('a replica refuses writes and a state that is not there yet', async () => {
    const primary = await cluster.primary();
    await primary.db.put('a', '1');
    const replica = await cluster.replica(primary.address);
    await converged(primary, replica);
    await expect(replica.db.put('b', '1')).rejects.toMatchObject({ code: 'READ_ONLY' });
  });
});

/** First sequences of the records of LOG frames, as they pass; a record sent again counts once. */
function recordCounter(proxy: FrameProxy): (from: bigint, to: bigint) => number {
  const last = new Map<bigint, bigint>();
  proxy.fate = ({ name, bytes }) => {
    if (name !== 'LOG') return 'pass';
    const records = bytes.subarray(frameHeaderBytes + positionBytes);
    for (let at = 0; at < records.length; ) {
      const first = records.readBigUInt64LE(at + 24);
      last.set(first, first + BigInt(Math.max(1, records.readUInt32LE(at + 32))) - 1n);
      at += (56 + records.readUInt32LE(at + 8) + 7) & ~7;
    }
    return 'pass';
  };
  return (from, to) => {
    let count = 0;
    for (let seq = from; seq < to; count++) {
      const end = last.get(seq + 1n);
      if (end === undefined) throw new Error(`no record with first sequence ${seq + 1n} was sent`);
      seq = end;
    }
    return count;
  };
}

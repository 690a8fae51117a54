// How a replica goes on after an interruption: by the ring, by the segments, and never in full without a reason.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { converged, fill, resyncs, TestCluster, type TestNode, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

let cluster: TestCluster;
let proxy: FrameProxy;
let primary: Awaited<ReturnType<TestCluster['primary']>>;
let replica: TestNode;

beforeEach(async () => {
  cluster = new TestCluster();
  primary = await cluster.primary();
  proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
  replica = await cluster.replica(proxy.address);
  // Joined while both were empty, so that every record of the log travels.
  await until('the primary to name the slot', () => primary.saw('replica', { state: 'streaming' }).length > 0);
  await primary.db.put('first', '1');
  await converged(primary, replica);
});
afterEach(() => cluster.end());

function isLinked(): boolean {
  const state = replica.db.replication.status().link?.state;
  return state === 'catching_up' || state === 'streaming';
}

async function interrupted(work: () => Promise<void>): Promise<void> {
  proxy.isDown = true;
  proxy.cut();
  await until('the link to be lost', () => !isLinked());
  await work();
  proxy.isDown = false;
}

describe('resuming', () => {
  test('a short interruption ends by the ring', async () => {
    await interrupted(() => fill(primary, 100));
    await converged(primary, replica);
    await until('a second resync', () => replica.db.replication.status().resync.ring === 2);
    expect(resyncs(replica)).toMatchObject({ ring: 2 });
    expect(replica.db.status().counters.droppedRecords).toBe(0);
  });

  test('what the ring no longer has comes from the segments', async () => {
    await interrupted(() => fill(primary, 3000));
    await converged(primary, replica);
    await until('a resync by the log', () => replica.db.replication.status().resync.wal === 1);
    expect(replica.db.replication.status().resync.full).toBe(0);
    // And back to the ring: single writes arrive without another handshake.
    for (let i = 0; i < 20; i++) await primary.db.put(`after-${i}`, 'x');
    await converged(primary, replica);
  });

  test('a record that is larger than the ring arrives', async () => {
    await primary.db.put('large', Buffer.alloc(3 * 1024 * 1024, 7));
    await converged(primary, replica);
    expect(replica.db.get('large')?.length).toBe(3 * 1024 * 1024);
    expect(resyncs(replica)).toEqual({ ring: 1 });
  });

  test('equal positions are the ring, also after both have restarted', async () => {
    await replica.db.close();
    await primary.db.close();
    await primary.reopen();
    const address = await primary.db.replication.listen({ host: '127.0.0.1', port: 0 });
    await replica.reopen();
    await replica.db.replication.follow(address);
    await until('the replica to stream', () => replica.saw('streaming').length > 1);
    expect(resyncs(replica)).toEqual({ ring: 1 });
    await primary.db.put('second', '2');
    await converged(primary, replica);
    expect(replica.saw('epoch', { epoch: '1.1' })).toHaveLength(1);
  });

  test('a slot keeps the log for its replica, also through an open in which nobody listens', async () => {
    await replica.db.close();
    await primary.reopen();
    await fill(primary, 2000);
    await primary.db.compact();
    await primary.reopen();
    const address = await primary.db.replication.listen({ host: '127.0.0.1', port: 0 });
    await replica.reopen();
    await replica.db.replication.follow(address);
    await converged(primary, replica);
    expect(resyncs(replica)).toEqual({ wal: 1 });
  });

  test('a replica is told the undo floor, and keeps to it', async () => {
    await fill(primary, 100);
    await converged(primary, replica);
    await until(
      'the floor to be told',
      () => replica.db.replication.status().undoFloor.offset === primary.db.position.offset,
    );
  });

  test('heartbeats consume no sequence, so an idle cluster resumes where it was', async () => {
    const before = `${primary.db.position}`;
    await new Promise((resolve) => setTimeout(resolve, 500));
    await interrupted(async () => undefined);
    await until('a second resync', () => replica.db.replication.status().resync.ring === 2);
    expect(`${primary.db.position}`).toBe(before);
    expect(`${replica.db.position}`).toBe(before);
  });

  test('links that break again and again under load lose and repeat nothing', async () => {
    let isWriting = true;
    let increments = 0;
    const writer = (async () => {
      while (isWriting) {
        await primary.db.increment('n');
        increments++;
      }
    })();
    for (let i = 0; i < 8; i++) {
      const links = proxy.accepted;
      await new Promise((resolve) => setTimeout(resolve, 100));
      proxy.cut();
      await until('the next link', () => proxy.accepted > links);
    }
    isWriting = false;
    await writer;
    await converged(primary, replica);
    expect(Number(replica.db.get('n'))).toBe(increments);
    const committed = primary.db.status().counters.committedRecords;
    expect(replica.db.status().counters.appliedRecords).toBe(committed);
    expect(replica.db.replication.status().resync.full).toBe(0);
  });

  test('a flipped byte of a record costs the link and nothing else', async () => {
    let isFlipped = false;
    proxy.fate = ({ name, bytes }) => {
      if (name !== 'LOG' || isFlipped) return 'pass';
      isFlipped = true;
      return { flip: bytes.length - 3 };
    };
    await fill(primary, 50);
    await converged(primary, replica);
    expect(isFlipped).toBe(true);
    expect(replica.saw('link', { state: 'waiting', reason: 'protocol' })).toHaveLength(1);
  });

  test('a stalled link is noticed by silence, on both sides', async () => {
    proxy.stall('to-primary', 'to-replica');
    await until('the replica to notice', () => replica.saw('link', { reason: 'timeout' }).length > 0);
    await until('the primary to notice', () => primary.saw('replica', { reason: 'timeout' }).length > 0);
    await primary.db.put('later', '1');
    await converged(primary, replica);
  });

  test('a LOG frame that comes twice is applied once', async () => {
    proxy.fate = ({ name }) => (name === 'LOG' ? 'twice' : 'pass');
    for (let i = 0; i < 30; i++) await primary.db.increment('n');
    await converged(primary, replica);
    expect(Number(replica.db.get('n'))).toBe(30);
    expect(replica.db.status().counters.droppedRecords).toBeGreaterThan(0);
    expect(replica.db.status().counters.appliedRecords).toBe(primary.db.status().counters.committedRecords);
  });

  test('a LOG frame that is missing is a gap, an error of the link', async () => {
    let isDropped = false;
    proxy.fate = ({ name }) => {
      if (name !== 'LOG' || isDropped) return 'pass';
      isDropped = true;
      return 'drop';
    };
    await primary.db.put('dropped', '1');
    await until('the frame to be dropped', () => isDropped);
    await primary.db.put('next', '1');
    await converged(primary, replica);
    expect(replica.db.status().counters.gaps).toBe(1);
    expect(replica.db.get('dropped')?.toString()).toBe('1');
  });
});

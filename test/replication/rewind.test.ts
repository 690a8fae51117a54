/**
 * Giving up a suffix: the old primary rejoins by rewinding, what it loses is saved, and where it cannot or may not go
 * back it says why. Rows 1-2, 1-4 and 1-8 of the edge cases; reading of 1-8: the cap of the slot lies below the suffix.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { listLost, readLostRecords, readOperations } from '../../dist/index.js';
import { converged, fill, TestCluster, type TestNode, until } from './nodes.js';

const anywhere = { host: '127.0.0.1', port: 0 };

let cluster: TestCluster;
let old: TestNode;
let next: TestNode;

beforeEach(async () => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

/** A primary and its replica, both with the same keys; the replica streams. */
async function pair(options = {}): Promise<void> {
  const primary = await cluster.primary(options);
  old = primary;
  await fill(old, 200);
  next = await cluster.replica(primary.address);
  await converged(old, next);
  await until('the slot', () => old.saw('replica', { state: 'streaming' }).length > 0);
}

/** Whoever was the replica leads now; the old primary, which wrote `suffix` alone, has not heard of it. */
async function failover(suffix: () => Promise<unknown>): Promise<{ host: string; port: number }> {
  await converged(old, next);
  await next.db.replication.follow({ host: '127.0.0.1', port: 1 });
  await suffix();
  await next.db.replication.promote();
  return await next.db.replication.listen(anywhere);
}

async function lostOperations(node: TestNode): Promise<string[]> {
  const found: string[] = [];
  await node.db.close();
  for (const { file } of await listLost(node.dir)) {
    for await (const record of readLostRecords(node.dir, file)) {
      if (record.kind !== 1) continue;
      for (const operation of readOperations(record.body, record.firstSeq)) {
        const { op } = operation;
        found.push(op === 'delRange' ? `${op} ${operation.gte} ${operation.lt}` : `${op} ${operation.key}`);
      }
    }
  }
  return found;
}

describe('the old primary rejoins', () => {
  test('1-4: its puts, deletes and range delete are undone and saved, by a rewind and no full sync', async () => {
    await pair();
    const successor = await failover(async () => {
      for (let i = 0; i < 5; i++) await old.db.put(`lost-${i}`, 'x');
      for (let i = 0; i < 3; i++) await old.db.del(`key-${i}`);
      await old.db.batch().delRange({ gte: 'key-10', lt: 'key-19' }).commit();
    });
    const end = `${old.db.position}`;
    await next.db.put('theirs', '1');
    await old.db.replication.demote({ follow: successor });
    await converged(next, old);
    for (let i = 0; i < 5; i++) expect(old.db.get(`lost-${i}`)).toBeUndefined();
    for (const key of ['key-0', 'key-1', 'key-2', 'key-10', 'key-18']) expect(old.db.get(key)?.length).toBe(100);
    expect(old.db.get('theirs')?.toString()).toBe('1');
    const [divergence, ...more] = old.saw('divergence');
    expect(more).toEqual([]);
    expect(divergence).toMatchObject({ operations: 9, reason: 'rewind', file: expect.stringMatching(/\.log$/) });
    expect(`${divergence?.['to']}`).toBe(end);
    expect(divergence?.['keys']).toEqual([
      'lost-0',
      'lost-1',
      'lost-2',
      'lost-3',
      'lost-4',
      'key-0',
      'key-1',
      'key-2',
      'key-10',
    ]);
    expect(old.saw('switched', { cause: 'rewind' })).toHaveLength(1);
    expect(old.saw('sync_start')).toEqual([]);
    const { resync, counters } = old.db.replication.status();
    // Each node counts what it did itself and what its replicas did: the first sync of the one that is now the primary.
    expect(resync).toMatchObject({ rewind: 1, ring: 0, wal: 0, full: 1 });
    expect(counters).toMatchObject({ divergenceOperations: 9, partialOk: 1 });
    expect(next.db.replication.status().resync).toMatchObject({ rewind: 1, ring: 0, wal: 0, full: 1 });
    expect((await lostOperations(old)).sort()).toEqual(
      [
        ...[0, 1, 2, 3, 4].map((i) => `put lost-${i}`),
        ...[0, 1, 2].map((i) => `del key-${i}`),
        'delRange key-10 key-19',
      ].sort(),
    );
    await old.reopen();
  });

  test('1-2: with as many sequences as its successor it is told apart all the same', async () => {
    await pair();
    const successor = await failover(() => old.db.batch().put('k', '222').put('k2', '222').commit());
    await next.db.put('k', '111');
    expect(next.db.position.seq).toBe(old.db.position.seq);
    await old.db.replication.demote({ follow: successor });
    await converged(next, old);
    expect(old.db.get('k')?.toString()).toBe('111');
    expect(old.db.get('k2')).toBeUndefined();
    expect(old.saw('divergence')).toMatchObject([{ records: 1, operations: 2 }]);
  });

  test('a suffix of control records only leaves no file', async () => {
    await pair();
    const successor = await failover(() => old.db.replication.promote({ epoch: 2 }));
    await next.db.replication.promote({ epoch: 3 });
    await old.db.replication.demote({ follow: successor });
    await converged(next, old);
    expect(old.saw('divergence')).toMatchObject([{ operations: 0, file: null, keys: [], reason: 'rewind' }]);
    expect(await lostOperations(old)).toEqual([]);
    await old.reopen();
  });

  test('after a restart, too: the checkpoint to go back to is still there', async () => {
    await pair({ memtableBytes: 256 * 1024 });
    const successor = await failover(() => fill(old, 1500, 400, 'lost'));
    await old.reopen({ asReplica: true });
    await old.db.replication.follow(successor);
    await converged(next, old);
    expect(old.db.get('lost-1')).toBeUndefined();
    expect(old.saw('resync', { tier: 'rewind' })).toHaveLength(1);
    expect(old.saw('sync_start')).toEqual([]);
  });
});

describe('what reads and follows meanwhile', () => {
  test('a view stays on the old state, a feed beyond the common position ends, one behind it goes on', async () => {
    await pair();
    const from = old.db.position;
    const successor = await failover(() => old.db.put('lost', '1'));
    const abort = new AbortController();
    const view = old.db.view();
    const seen: string[] = [];
    const beyond = (async () => {
      for await (const change of old.db.changes({ from, signal: abort.signal })) seen.push(`${change.position}`);
    })();
    const ended = expect(beyond).rejects.toMatchObject({ code: 'HISTORY_CHANGED' });
    await until('the feed to be beyond', () => seen.length === 1);
    const behind = (async () => {
      for await (const change of old.db.changes({ from: 'now', signal: abort.signal })) return change;
      return undefined;
    })();
    void behind.catch(() => undefined);
    await next.db.put('theirs', '1');
    await old.db.replication.demote({ follow: successor });
    await converged(next, old);
    await ended;
    expect(view.get('lost')?.toString()).toBe('1');
    expect(view.get('theirs')).toBeUndefined();
    view.close();
    abort.abort();
  });

  test('a replica of the one that goes back shakes hands again and goes back with it', async () => {
    await pair();
    const leaf = await cluster.replica(old.db.replication.status().listen ?? anywhere);
    await converged(old, leaf);
    const successor = await failover(async () => {
      await old.db.put('lost', '1');
      await converged(old, leaf);
    });
    await next.db.put('theirs', '1');
    await old.db.replication.demote({ follow: successor });
    await converged(next, old);
    await converged(next, leaf);
    expect(leaf.db.get('lost')).toBeUndefined();
    expect(leaf.saw('divergence', { reason: 'rewind' })).toHaveLength(1);
    expect(leaf.saw('sync_start')).toHaveLength(1);
  });
});

describe('what is not given up without a word', () => {
  test('beyond lossLimitBytes an operator is asked; with acceptLoss it goes on', async () => {
    await pair({ replication: { lossLimitBytes: 1000 } });
    const limit = { replication: { lossLimitBytes: 1000 } };
    await next.db.close();
    await next.reopen(limit);
    await next.db.replication.follow(old.db.replication.status().listen ?? anywhere);
    const successor = await failover(() => fill(old, 100, 100, 'lost'));
    await old.db.replication.demote({ follow: successor });
    await until('an operator to be asked', () => old.saw('needs_operator').length > 0);
    expect(old.saw('needs_operator')[0]).toMatchObject({ reason: 'lost_limit_exceeded' });
    expect(old.db.get('lost-1')?.length).toBe(100);
    await old.db.replication.follow({ ...successor, acceptLoss: true });
    await converged(next, old);
    expect(old.saw('divergence')).toMatchObject([{ operations: 100, reason: 'rewind' }]);
    expect(old.db.get('lost-1')).toBeUndefined();
  });

  test('beyond lostMaxBytes an operator is asked, and nothing is lost', async () => {
    await pair({ lostMaxBytes: 1000 });
    const successor = await failover(() => fill(old, 100, 100, 'lost'));
    await old.db.replication.demote({ follow: successor });
    await until('an operator to be asked', () => old.saw('needs_operator').length > 0);
    expect(old.saw('needs_operator')[0]?.['details']).toMatch(/lostMaxBytes/);
    expect(old.db.get('lost-1')?.length).toBe(100);
    await old.reopen({ asReplica: true, lostMaxBytes: 1_000_000 });
    await old.db.replication.follow(successor);
    await converged(next, old);
    expect(old.db.get('lost-1')).toBeUndefined();
  });

  test('1-8: where no checkpoint reaches back it is synced in full with a reason, the suffix saved', async () => {
    await pair({ slotMaxBytes: 64 * 1024, memtableBytes: 256 * 1024, segmentBytes: 64 * 1024 });
    const successor = await failover(() => fill(old, 2000, 400, 'lost'));
    await old.reopen({ asReplica: true });
    await old.db.replication.follow({ ...successor, acceptLoss: true });
    await converged(next, old);
    expect(old.saw('resync').at(-1)).toMatchObject({ tier: 'full', reason: 'undo_unavailable' });
    expect(old.db.get('lost-1')).toBeUndefined();
    const [divergence] = old.saw('divergence');
    expect(divergence).toMatchObject({ reason: 'full' });
    expect((await lostOperations(old)).length).toBeGreaterThan(0);
    await old.reopen();
  });
});

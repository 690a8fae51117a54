// Positions, waits, change feeds, snapshots.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Change, type Database, parsePosition, snapshotInfo, verifySnapshot } from '../../dist/index.js';
import { temporary } from './temporary.js';

const temp = temporary();
const code = (name: string): unknown => expect.objectContaining({ code: name });

async function take(db: Database, from: 'oldest' | 'now', count: number): Promise<Change[]> {
  const changes: Change[] = [];
  for await (const change of db.changes({ from })) {
    changes.push(change);
    if (changes.length === count) break;
  }
  return changes;
}

describe('changes', () => {
  test('deliver every batch once, in order, with all its operations', async () => {
    const db = await temp.open();
    const put = await db.put('a', 'x');
    await db.batch().del('a').increment('n', 5).delRange({ gt: 'b', lt: 'c' }).delRange({ gte: 'z' }).commit();
    const [first, second] = await take(db, 'oldest', 2);
    expect(first).toMatchObject({ position: put.position, firstSeq: put.firstSeq });
    const shown = second?.operations.map((operation) => JSON.stringify({ ...operation, seq: `${operation.seq}` }));
    expect(shown).toHaveLength(4);
    expect(second?.operations.map(({ op }) => op)).toEqual(['del', 'put', 'delRange', 'delRange']);
    expect(second?.operations[1]).toMatchObject({ op: 'put', key: Buffer.from('n'), value: Buffer.from('5') });
    expect(second?.operations[2]).toMatchObject({ gte: Buffer.from('b\0'), lt: Buffer.from('c') });
    expect(second?.operations[3]).toMatchObject({ lt: null });
    expect(second?.timestamp).toBeGreaterThan(1_600_000_000_000);
  });

  test('follow writes that come later', async () => {
    const db = await temp.open();
    await db.put('before', 'x');
    const following = take(db, 'now', 50);
    for (let i = 0; i < 50; i += 1) await db.put(`k${i}`, `${i}`);
    const keys = (await following).flatMap(({ operations }) =>
      operations.map((op) => 'key' in op && op.key.toString()),
    );
    expect(keys).toEqual(Array.from({ length: 50 }, (_, i) => `k${i}`));
  });

  test('begin behind a position, and refuse one of another history', async () => {
    const db = await temp.open();
    const { position } = await db.put('a', '1');
    await db.put('b', '2');
    const iterator = db.changes({ from: position })[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toMatchObject({ operations: [{ key: Buffer.from('b') }] });
    await iterator.return?.();
    const foreign = parsePosition(`${position.epoch}:${position.seq}:${position.offset}:00000000000000ff`);
    expect(() => db.changes({ from: foreign })).toThrow(code('POSITION_NOT_IN_HISTORY'));
  });

  test('end with the signal, and with the store', async () => {
    const db = await temp.open();
    const controller = new AbortController();
    const aborted = db.changes({ signal: controller.signal })[Symbol.asyncIterator]().next();
    const closed = db.changes()[Symbol.asyncIterator]().next();
    const checked = Promise.all([
      expect(aborted).rejects.toEqual(code('ABORTED')),
      expect(closed).rejects.toEqual(code('CLOSED')),
    ]);
    controller.abort();
    await db.close();
    await checked;
  });
});

describe('waits', () => {
  test('resolve at the level, and time out', async () => {
    const db = await temp.open({ durability: 'memory', syncIntervalMs: 20, flushIntervalMs: 5 });
    await db.put('a', '1');
    const { position } = await db.put('b', '2');
    await db.waitFor(position);
    await db.waitFor(position, { level: 'durable', timeoutMs: 5000 });
    expect(db.durable.offset).toBeGreaterThanOrEqual(position.offset);
    const ahead = parsePosition(`${position.epoch}:${position.seq + 9n}:${position.offset + 800n}:00000000000000ff`);
    await expect(db.waitFor(ahead, { timeoutMs: 30 })).rejects.toEqual(code('TIMEOUT'));
    await expect(db.getAsync('b', { minPosition: position, maxLagMs: 0 })).resolves.toEqual(Buffer.from('2'));
    await expect(db.waitFor(position, { level: 'lost' } as object)).rejects.toBeInstanceOf(TypeError);
  });

  test('a digest at a sequence still to come is the one of exactly that state, however fast writes go on', async () => {
    const db = await temp.open({ durability: 'memory' });
    await db.put('k', '0');
    const seq = db.position.seq;
    const wanted = db.digest({ at: seq + 1n, timeoutMs: 5000 });
    const across = db.digest({ at: seq + 3n, timeoutMs: 5000 });
    const refused = expect(across).rejects.toEqual(code('NOT_A_RECORD_END'));
    db.putSync('k', '1');
    const state = await db.digest();
    db.putSync('k', '2');
    db.batch().put('k', '3').put('l', '3').commitSync();
    expect(await wanted).toEqual(state);
    await refused;
    expect(db.stats().store.openViews).toBe(0);
  });

  test('a digest at a sequence that went by says why not', async () => {
    const db = await temp.open();
    await db.batch().put('a', '1').put('b', '2').commit();
    const { position } = await db.put('c', '3');
    await expect(db.digest({ at: position.seq - 1n })).rejects.toEqual(code('POSITION_UNAVAILABLE'));
    const inside = await db.digest({ at: position.seq - 2n }).catch((error) => error);
    expect(inside.code).toBe('NOT_A_RECORD_END');
    const { at, before, after } = inside.details;
    expect([at, before.seq, after.seq]).toEqual([position.seq - 2n, position.seq - 3n, position.seq - 1n]);
    expect([before.epoch, after.epoch]).toEqual(['1.0', '1.0']);
    expect(inside.toJSON().details.at).toBe(`${at}`);
    await expect(db.digest({ at: position.seq + 1n, timeoutMs: 20 })).rejects.toEqual(code('TIMEOUT'));
    const later = db.digest({ at: position.seq + 1n, timeoutMs: 5000 });
    await db.put('d', '4');
    expect((await later).keys).toBe(4);
    const across = db.digest({ at: position.seq + 2n, timeoutMs: 5000 }).catch((error) => error);
    const batch = await db.batch().put('e', '5').put('f', '6').put('g', '7').commit();
    const missed = await across;
    expect(missed.code).toBe('NOT_A_RECORD_END');
    expect(missed.details.before.seq).toBe(position.seq + 1n);
    expect(missed.details.after).toEqual(batch.position);
  });
});

describe('snapshots', () => {
  test('hold the state at one position while writers go on', async () => {
    const db = await temp.open({ shards: 3 });
    const batch = db.batch();
    for (let i = 0; i < 2000; i += 1) batch.put(`k${i}`, Buffer.alloc(500, i));
    await batch.commit();
    const path = temp.path();
    const events: string[] = [];
    db.on('snapshot', (event) => events.push(event.path));
    const writing = Promise.all(Array.from({ length: 200 }, (_, i) => db.put(`k${i}`, 'changed')));
    const result = await db.snapshot(path);
    await writing;
    expect(events).toEqual([path]);
    expect(result).toMatchObject({ flows: 3, keys: 2000 });
    expect(readdirSync(path).sort()).toEqual(['SNAPSHOT', 'flow-00000', 'flow-00001', 'flow-00002']);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(statSync(join(path, 'flow-00000')).mode & 0o777).toBe(0o600);
    const info = await snapshotInfo(path);
    expect(info.meta.position).toEqual(result.position);
    expect((await verifySnapshot(path)).damage).toEqual([]);
  });

  test('exist once, and leave nothing behind when they fail', async () => {
    const db = await temp.open();
    await db.put('k', 'v');
    const path = temp.path();
    await db.snapshot(path, { compression: 'lz4' });
    await expect(db.snapshot(path)).rejects.toEqual(code('EXISTS'));
    await expect(db.snapshot(join(path, 'no', 'parent'))).rejects.toEqual(code('IO'));
    const closing = temp.path();
    const running = db.snapshot(closing).then(
      () => existsSync(join(closing, 'SNAPSHOT')),
      () => !existsSync(closing),
    );
    await db.close();
    expect(await running).toBe(true);
  });
});

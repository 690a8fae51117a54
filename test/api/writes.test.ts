// Limits, argument mistakes, states, and what a caller may do with what it gave and got.
import { describe, expect, test } from 'vitest';
import { type Database, open } from '../../dist/index.js';
import { temporary } from './temporary.js';

const temp = temporary();
const code = (name: string): unknown => expect.objectContaining({ code: name });

describe('limits', () => {
  test('the largest key passes, one byte more does not', async () => {
    const db = await temp.open({ durability: 'memory' });
    const key = Buffer.alloc(32 * 1024, 'k');
    await db.put(key, 'x');
    await db.put(key.toString(), 'y');
    expect(db.get(key)?.toString()).toBe('y');
    expect([...db.range({ lte: key })]).toHaveLength(1);
    await db.delRange({ gt: key.subarray(1), lte: key });
    const longer = Buffer.alloc(32 * 1024 + 1, 'k');
    for (const bad of [longer, longer.toString(), '\u20ac'.repeat(11_000)]) {
      await expect(db.put(bad, 'x')).rejects.toEqual(code('KEY_TOO_LARGE'));
      expect(() => db.get(bad)).toThrow(code('KEY_TOO_LARGE'));
      expect(() => db.batch().del(bad)).toThrow(code('KEY_TOO_LARGE'));
      expect(() => db.getMany([bad])).toThrow(code('KEY_TOO_LARGE'));
      expect(() => db.batch().check(bad, null)).toThrow(code('KEY_TOO_LARGE'));
    }
  });

  test('a value beyond 64 MiB is refused before memory is taken', async () => {
    const db = await temp.open();
    const value = Buffer.alloc(64 * 1024 * 1024 + 1);
    await expect(db.put('k', value)).rejects.toEqual(code('VALUE_TOO_LARGE'));
    expect(() => db.putSync('k', value)).toThrow(code('VALUE_TOO_LARGE'));
    expect(db.has('k')).toBe(false);
  });

  test('a batch has at most a million operations', async () => {
    const db = await temp.open({ durability: 'memory' });
    const batch = db.batch();
    for (let i = 0; i < 1_000_000; i += 1) batch.del('k');
    expect(() => batch.del('k')).toThrow(code('BATCH_TOO_LARGE'));
    const { position, firstSeq } = await batch.commit();
    expect(position.seq - firstSeq).toBe(999_999n);
  });

  test('a batch body has at most 128 MiB', async () => {
    const db = await temp.open({ durability: 'memory' });
    const value = Buffer.alloc(60 * 1024 * 1024);
    const batch = db.batch().put('a', value).put('b', value);
    expect(() => batch.put('c', value)).toThrow(code('BATCH_TOO_LARGE'));
    expect(batch.size).toBe(2);
  });
});

describe('mistakes', () => {
  test('wrong types are TypeErrors and change nothing', async () => {
    const db = await temp.open();
    const seen = db.position;
    for (const bad of [undefined, null, 1, {}, [1], new ArrayBuffer(4), new Uint16Array(2)] as unknown as string[]) {
      await expect(db.put(bad, 'x')).rejects.toBeInstanceOf(TypeError);
      await expect(db.put('k', bad)).rejects.toBeInstanceOf(TypeError);
      await expect(db.del(bad)).rejects.toBeInstanceOf(TypeError);
      expect(() => db.get(bad)).toThrow(TypeError);
      expect(() => db.has(bad)).toThrow(TypeError);
      expect(() => db.batch().put(bad, 'x')).toThrow(TypeError);
      if (bad !== undefined) expect(() => db.range({ gte: bad })).toThrow(TypeError);
    }
    await expect(db.increment('k', 1.5)).rejects.toBeInstanceOf(RangeError);
    await expect(db.increment('k', 2n ** 63n)).rejects.toBeInstanceOf(RangeError);
    expect(() => db.range({ limit: -1 })).toThrow(RangeError);
    expect(() => db.range({ prefx: 'a' } as object)).toThrow(/did you mean "prefix"/);
    expect(db.position).toEqual(seen);
  });

  test('a string key that is no text is refused: two of them would be one key', async () => {
    const db = await temp.open({ durability: 'memory' });
    await db.put('\ufffd', 'replacement');
    const seen = db.position;
    for (const bad of ['\ud800', 'user:\udc00', '\udc00\ud800 and more', `${'k'.repeat(200)}\ud83d`]) {
      const refusal = /a key must be well-formed text.*pass bytes/;
      await expect(db.put(bad, 'x')).rejects.toThrow(refusal);
      await expect(db.put(bad, 'x')).rejects.toBeInstanceOf(TypeError);
      await expect(db.del(bad)).rejects.toThrow(refusal);
      await expect(db.increment(bad)).rejects.toThrow(refusal);
      await expect(db.getAsync(bad)).rejects.toThrow(refusal);
      expect(() => db.putSync(bad, 'x')).toThrow(refusal);
      for (const read of [() => db.get(bad), () => db.getEntry(bad), () => db.has(bad), () => db.getMany(['a', bad])]) {
        expect(read).toThrow(refusal);
      }
      expect(() => db.batch().check(bad, null)).toThrow(refusal);
      expect(() => db.range({ prefix: bad })).toThrow(refusal);
      expect(() => db.range().seek(bad)).toThrow(refusal);
    }
    expect(db.position).toEqual(seen);
    for (const good of ['\u00e9', '\u20ac', '\ud83d\ude00', '\ufffd']) {
      await db.put(good, good);
      expect(db.get(good)?.toString()).toBe(good);
    }
  });

  test('an event that does not exist is refused, with the one that was meant', async () => {
    const db = await temp.open();
    const listener = (): void => undefined;
    expect(() => db.on('frob' as 'closed', listener)).toThrow(TypeError);
    expect(() => db.on('frob' as 'closed', listener)).toThrow(/"frob" is no event; the events are .*recovery/);
    expect(() => db.on('recover' as 'recovery', listener)).toThrow(/"recover" is no event; did you mean "recovery"/);
    expect(() => db.off('close' as 'closed', listener)).toThrow(/did you mean "closed"/);
    expect(() => db.on('closed', undefined as unknown as typeof listener)).toThrow(TypeError);
    expect(() => db.onAny(1 as unknown as typeof listener)).toThrow(TypeError);
    expect(() => db.on('toString' as 'closed', listener)).toThrow(TypeError);
    db.on('needs_operator', listener).off('needs_operator', listener);
  });

  test('unknown and future write options are TypeErrors that say so', async () => {
    const db = await temp.open();
    await expect(db.put('k', 'v', { durabilty: 'os' } as object)).rejects.toThrow(/did you mean "durability"/);
    await expect(db.put('k', 'v', { level: 'far' } as object)).rejects.toThrow(/one of "received"/);
    await expect(db.put('k', 'v', { expiresAt: 1 } as object)).rejects.toBeInstanceOf(TypeError);
    expect(() => db.changes({ consumer: 'x' } as object)).toThrow(/durable cursors/);
    expect(db.has('k')).toBe(false);
  });

  test('a batch commits once, also when it was refused', async () => {
    const db = await temp.open();
    const batch = db.batch().put('k', 'v').check('k', '1.1:42');
    await expect(batch.commit()).rejects.toEqual(code('CONFLICT'));
    await expect(batch.commit()).rejects.toBeInstanceOf(TypeError);
    expect(() => batch.put('k', 'v')).toThrow(TypeError);
  });

  test('a failed check names key, expected and actual', async () => {
    const db = await temp.open();
    const { version } = await db.put('k', 'v');
    const failure = await db
      .batch()
      .check('k', null)
      .put('k', 'w')
      .commit()
      .catch((error) => error);
    expect(failure.code).toBe('CONFLICT');
    expect(failure.details).toEqual({ key: 'k', expected: null, actual: version.toString() });
    const gone = await db
      .batch()
      .check('none', version)
      .commit()
      .catch((error) => error);
    expect(gone.details).toEqual({ key: 'none', expected: version.toString(), actual: null });
  });

  test('a write that is refused leaves no trace in the log, the first one of an opening included', async () => {
    const path = temp.path();
    const first = await temp.open({}, path);
    const { version } = await first.put('text', 'abc');
    await first.put('last', `${2n ** 63n - 1n}`);
    await first.close();
    const db = await temp.open({}, path);
    const { end } = db.stats().log;
    await expect(db.batch().check('text', null).put('x', '1').commit()).rejects.toEqual(code('CONFLICT'));
    await expect(db.increment('text')).rejects.toEqual(code('NOT_A_COUNTER'));
    await expect(db.increment('last')).rejects.toEqual(code('COUNTER_OVERFLOW'));
    expect(() => db.batch().check('none', version).put('x', '1').commitSync()).toThrow(code('CONFLICT'));
    expect(() => db.batch().increment('text').commitSync()).toThrow(code('NOT_A_COUNTER'));
    expect(db.stats().log.end).toBe(end);
    expect(db.status().epoch).toBe('1.0');
    // One that holds begins the epoch, and sees the results of the one before it.
    const counted = db.batch().check('text', version).increment('n', 4).commit();
    await db.increment('n');
    expect((await counted).results).toEqual([4n]);
    expect([db.get('n')?.toString(), db.status().epoch]).toEqual(['5', '1.1']);
  });
});

describe('states', () => {
  const uses: [string, (db: Database) => unknown][] = [
    ['get', (db) => db.get('k')],
    ['getEntry', (db) => db.getEntry('k')],
    ['getMany', (db) => db.getMany(['k'])],
    ['has', (db) => db.has('k')],
    ['range', (db) => db.range()],
    ['view', (db) => db.view()],
    ['batch', (db) => db.batch()],
    ['putSync', (db) => db.putSync('k', 'v')],
    ['status', (db) => db.status()],
    ['position', (db) => db.position],
    ['changes', (db) => db.changes()],
    ['put', (db) => db.put('k', 'v')],
    ['del', (db) => db.del('k')],
    ['delRange', (db) => db.delRange({})],
    ['increment', (db) => db.increment('k')],
    ['digest', (db) => db.digest()],
    ['verify', (db) => db.verify()],
    ['snapshot', (db) => db.snapshot('never')],
    ['getAsync', (db) => db.getAsync('k')],
  ];
  test.each(uses)('%s on a closing and on a closed store is CLOSED', async (_name, use) => {
    const db = await temp.open();
    const attempt = async (): Promise<unknown> => await use(db);
    const closing = db.close();
    await expect(attempt()).rejects.toEqual(code('CLOSED'));
    await closing;
    await expect(attempt()).rejects.toEqual(code('CLOSED'));
  });

  test('close waits for pending writes and is idempotent', async () => {
    const path = temp.path();
    const db = await temp.open({}, path);
    const writes = Array.from({ length: 100 }, (_, i) => db.put(`k${i}`, 'v'));
    const first = db.close();
    expect(db.close()).toBe(first);
    await first;
    await expect(Promise.all(writes)).resolves.toHaveLength(100);
    const again = await temp.open({}, path);
    expect([...again.range()]).toHaveLength(100);
  });

  test('views, ranges and batches of a closed store are closed', async () => {
    const db = await temp.open();
    await db.put('k', 'v');
    const view = db.view();
    const range = db.range();
    range.next();
    const batch = db.batch().put('x', 'y');
    await db.close();
    expect(() => view.get('k')).toThrow(code('CLOSED'));
    view.close();
    range.close();
    await expect(batch.commit()).rejects.toEqual(code('CLOSED'));
  });

  test('opening says what is wrong', async () => {
    const path = temp.path();
    await expect(open(path, { createIfMissing: false })).rejects.toEqual(code('NOT_A_STORE'));
    await expect(open('')).rejects.toBeInstanceOf(TypeError);
    const db = await temp.open({ segmentBytes: 65_536 }, path);
    await expect(open(path, { segmentBytes: 131_072 })).rejects.toEqual(code('OPTIONS_CONFLICT'));
    const second = await temp.open({}, path);
    await second.put('k', 'shared');
    expect(db.get('k')?.toString()).toBe('shared');
    await second.close();
    expect(db.get('k')?.toString()).toBe('shared');
    await db.close();
    await expect(open(path, { errorIfExists: true })).rejects.toEqual(code('EXISTS'));
    await expect(open(path, { signal: AbortSignal.abort() })).rejects.toEqual(code('ABORTED'));
  });

  test('events tell of recovery, epoch and close', async () => {
    const db = await temp.open();
    const seen: string[] = [];
    db.onAny(({ event }) => seen.push(event));
    const recovery = new Promise((resolve) => db.on('recovery', resolve));
    expect(await recovery).toMatchObject({ outcome: 'skipped', reason: 'new', cut: null });
    await db.put('k', 'v');
    await db.close();
    expect(seen).toEqual(['recovery', 'epoch', 'closed']);
  });
});

describe('buffers', () => {
  test('what was given may be changed or detached at once', async () => {
    const db = await temp.open();
    const key = new Uint8Array([1, 2, 3]);
    const value = new Uint8Array(100_000).fill(7);
    const write = db.put(key, value);
    key.fill(9);
    structuredClone(value, { transfer: [value.buffer] });
    await write;
    expect(db.get(new Uint8Array([1, 2, 3]))?.equals(Buffer.alloc(100_000, 7))).toBe(true);
    await expect(db.put(value, 'its buffer is gone')).rejects.toBeInstanceOf(TypeError);
  });

  test('bytes over shared memory are copied', async () => {
    const db = await temp.open();
    const shared = new Uint8Array(new SharedArrayBuffer(3)).fill(5);
    await db.put(shared, shared);
    shared.fill(0);
    expect([...(db.get(new Uint8Array([5, 5, 5])) ?? [])]).toEqual([5, 5, 5]);
  });

  test("a result is the caller's: writing to it or transferring it harms no other", async () => {
    const db = await temp.open();
    await db.batch().put('a', 'first').put('b', 'second').commit();
    const a = db.get('a');
    const b = db.get('b');
    a?.fill(0);
    expect(b?.toString()).toBe('second');
    expect(db.get('a')?.toString()).toBe('first');
    if (a !== undefined) {
      try {
        structuredClone(a.buffer, { transfer: [a.buffer as ArrayBuffer] });
      } catch {
        // Newer Node refuses loudly, older ones clone instead.
      }
    }
    expect(b?.toString()).toBe('second');
    expect(db.get('b')?.toString()).toBe('second');
    expect([...db.range()].map(([, value]) => value.toString())).toEqual(['first', 'second']);
  });
});

// What the store says of its space and its work, compaction on demand, getInto, and the options of the store.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Database, open, statDirectory, verifyDirectory } from '../../dist/index.js';
import { temporary } from './temporary.js';

const temp = temporary();
const code = (name: string): unknown => expect.objectContaining({ code: name });
const kib = 1024;

const keyOf = (index: number): string => `key:${`${index}`.padStart(8, '0')}`;
/** Does not compress, and tells which round wrote it. */
function bytesAt(index: number, round: number): Buffer {
  const value = Buffer.alloc(256);
  let state = (index * 31 + round + 1) >>> 0;
  for (let at = 0; at < value.length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    value[at] = state >>> 24;
  }
  return value;
}

async function putRound(db: Database, keys: number, round: number): Promise<void> {
  for (let from = 0; from < keys; from += 500) {
    const batch = db.batch();
    for (let index = from; index < Math.min(keys, from + 500); index += 1) {
      batch.put(keyOf(index), bytesAt(index, round));
    }
    await batch.commit();
  }
}

const small = { durability: 'os', memtableBytes: 512 * kib, cacheBytes: 256 * kib, segmentBytes: 256 * kib } as const;
const keys = 4000;

/** A store whose data lies in runs. */
async function filled(path: string, rounds = 3): Promise<Database> {
  const db = await temp.open({ ...small, logRetainBytes: 0 }, path);
  for (let round = 0; round < rounds; round += 1) await putRound(db, keys, round);
  return db;
}

describe('stats', () => {
  test('tell space, runs, work and amplification', async () => {
    const db = await filled(temp.path());
    await db.compact();
    for (let index = 0; index < keys; index += 1) db.get(keyOf(index));
    const stats = db.stats();
    const written = keys * (12 + 256);
    expect(stats.runs.count).toBeGreaterThan(0);
    expect(stats.runs.count).toBe(stats.runs.levels.reduce((total, { runs }) => total + runs, 0));
    expect(stats.runs.bytes).toBe(stats.runs.levels.reduce((total, { bytes }) => total + bytes, 0));
    expect(stats.runs.bytes).toBeGreaterThan(written);
    expect(stats.runs.bytes).toBeLessThan(written * 1.3);
    expect(stats.space.total).toBe(stats.runs.bytes + stats.log.bytes);
    expect(stats.space.live).toBeGreaterThanOrEqual(written);
    expect(stats.space.live).toBeLessThan(written + small.memtableBytes * 2);
    expect(stats.space.amplification).toBeCloseTo(stats.space.total / stats.space.live, 1);
    expect(stats.background).toMatchObject({ failures: 0, damagedRuns: 0, lastError: null, mergeDebtBytes: 0 });
    expect(stats.background.flushes).toBeGreaterThan(1);
    expect(stats.background.merges).toBeGreaterThan(0);
    const { flushWrittenBytes, mergeWrittenBytes } = stats.background;
    expect(stats.writeAmplification).toBeCloseTo(1 + (flushWrittenBytes + mergeWrittenBytes) / (3 * written), 1);
    expect(stats.cache.capacityBytes).toBe(small.cacheBytes);
    expect(stats.cache.usedBytes).toBeLessThanOrEqual(small.cacheBytes);
    expect(stats.cache.misses).toBeGreaterThan(0);
    expect(stats.cache.hits).toBeGreaterThan(0);
    expect(stats.stalls.count >= 0 && stats.stalls.ms >= 0).toBe(true);
    expect(stats.checkpoint.seq).toBeGreaterThan(0n);
    expect(db.status().store).toMatchObject({
      runs: stats.runs.count,
      bytes: { live: stats.space.live, total: stats.space.total },
      cacheBytes: db.stats().cache.usedBytes,
      checkpoint: stats.checkpoint,
      oldestViewMs: 0,
    });
  });

  test('of an empty store have no amplification', async () => {
    const db = await temp.open();
    const { writeAmplification, oldestViewMs, runs } = db.stats();
    expect({ writeAmplification, oldestViewMs, runs }).toEqual({
      writeAmplification: null,
      oldestViewMs: null,
      runs: { count: 0, bytes: 0, memoryBytes: 0, levels: [] },
    });
  });

  test('show the age of the oldest view', async () => {
    const db = await temp.open();
    await db.put('a', '1');
    const view = db.view();
    await new Promise((resolve) => setTimeout(resolve, 60));
    const range = db.range();
    range.next(1);
    expect(db.stats().oldestViewMs).toBeGreaterThanOrEqual(50);
    expect(db.status().store.oldestViewMs).toBeGreaterThanOrEqual(50);
    view.close();
    expect(db.stats().oldestViewMs).toBeLessThan(50);
    range.close();
    expect(db.stats().oldestViewMs).toBeNull();
  });

  test('of a directory name its runs by level', async () => {
    const path = temp.path();
    const db = await filled(path);
    await db.compact();
    const { runs } = db.stats();
    await db.close();
    const found = await statDirectory(path);
    expect(found.runs.count).toBeGreaterThanOrEqual(runs.count);
    expect(found.runs.levels.reduce((total, level) => total + level.bytes, 0)).toBe(found.runs.bytes);
    expect(found.bytes.total).toBeGreaterThan(found.runs.bytes);
    expect(found.keysEstimate).toBe(keys);
    expect(found.bytes.live).toBe(keys * (12 + 256));
    expect(found.spaceAmplification).toBeCloseTo(found.bytes.total / found.bytes.live, 1);
    expect(found.checkpoint.seq).toBeGreaterThan(0n);
    const reader = await temp.open({ readOnly: true }, path);
    expect(reader.stats().runs).toMatchObject({ count: found.runs.count, bytes: found.runs.bytes });
    expect(reader.stats().checkpoint).toEqual(found.checkpoint);
  });
});

describe('compact', () => {
  test('gives back what was overwritten and deleted, and keeps the rest', async () => {
    const db = await filled(temp.path(), 2);
    await db.delRange({ gte: keyOf(keys / 2) });
    const { bytesBefore, bytesAfter } = await db.compact();
    expect(bytesAfter).toBeLessThan(bytesBefore);
    expect(bytesAfter).toBeLessThan((keys / 2) * (12 + 256) * 1.3);
    expect(db.stats().runs.bytes).toBe(bytesAfter);
    expect([...db.range()]).toHaveLength(keys / 2);
    expect(db.get(keyOf(7))).toEqual(bytesAt(7, 1));
    expect(db.get(keyOf(keys - 1))).toBeUndefined();
  });

  test('of an empty range changes nothing', async () => {
    const db = await filled(temp.path(), 1);
    const { runs } = db.stats();
    const { bytesBefore, bytesAfter } = await db.compact({ gte: 'b', lt: 'a' });
    expect([bytesBefore, bytesAfter]).toEqual([runs.bytes, runs.bytes]);
  });

  test('of a part leaves what an open view can see', async () => {
    const db = await filled(temp.path(), 1);
    const view = db.view();
    await putRound(db, keys, 5);
    await db.compact({ prefix: keyOf(0).slice(0, 8) });
    await db.compact();
    expect(view.get(keyOf(11))).toEqual(bytesAt(11, 0));
    expect(db.get(keyOf(11))).toEqual(bytesAt(11, 5));
    view.close();
  });

  test('refuses what it does not know, and ends with its signal and with the database', async () => {
    const db = await filled(temp.path(), 1);
    await expect(db.compact({ from: 'a' } as object)).rejects.toBeInstanceOf(TypeError);
    await expect(db.compact({}, { sinal: 1 } as object)).rejects.toThrow('did you mean "signal"');
    await expect(db.compact({}, { signal: AbortSignal.abort() })).rejects.toEqual(code('ABORTED'));
    const [ended] = await Promise.allSettled([db.compact(), db.close()]);
    expect(ended.status === 'fulfilled' || (ended.reason as { code: string }).code === 'CLOSED').toBe(true);
    await expect(db.compact()).rejects.toEqual(code('CLOSED'));
  });

  test('is refused where nothing may be changed', async () => {
    const path = temp.path();
    await (await filled(path, 1)).close();
    const db = await temp.open({ readOnly: true }, path);
    await expect(db.compact()).rejects.toEqual(code('READ_ONLY'));
  });
});

describe('getInto', () => {
  test('copies a value where it fits and tells its length', async () => {
    const db = await temp.open({ durability: 'memory' });
    await db.batch().put('k', 'value').put('empty', '').commit();
    const into = Buffer.alloc(8, '.');
    expect(db.getInto('k', into)).toBe(5);
    expect(into.toString()).toBe('value...');
    expect(db.getInto(Buffer.from('k'), into, 3)).toBe(5);
    expect(into.toString()).toBe('valvalue');
    expect(db.getInto('k', into, 4)).toBe(5);
    expect(into.toString()).toBe('valvalue');
    expect(db.getInto('k', new Uint8Array(0))).toBe(5);
    expect(db.getInto('empty', into)).toBe(0);
    expect(db.getInto('missing', into)).toBeUndefined();
    const view = db.view();
    await db.put('k', 'other');
    into.fill('.');
    expect(view.getInto('k', into)).toBe(5);
    expect(into.toString()).toBe('value...');
    view.close();
    expect(() => view.getInto('k', into)).toThrow(code('CLOSED'));
  });

  test('refuses what is no buffer, no place in it, or no key', async () => {
    const db = await temp.open();
    const into = Buffer.alloc(8);
    expect(() => db.getInto('k', [] as unknown as Buffer)).toThrow(TypeError);
    for (const at of [-1, 9, 0.5]) expect(() => db.getInto('k', into, at)).toThrow(RangeError);
    expect(() => db.getInto(1 as unknown as string, into)).toThrow(TypeError);
  });
});

describe('options of the store', () => {
  test('have limits, and a suggestion for a misspelled name', async () => {
    const path = temp.path();
    await expect(open(path, { memtableBytes: 256 * kib - 1 })).rejects.toThrow('from 262144 to 4294967296');
    await expect(open(path, { memtableBytes: 4 * 2 ** 30 + 1 })).rejects.toBeInstanceOf(RangeError);
    await expect(open(path, { cacheBytes: -1 })).rejects.toBeInstanceOf(RangeError);
    await expect(open(path, { mergeRateBytes: 0.5 })).rejects.toBeInstanceOf(RangeError);
    await expect(open(path, { compression: 'zip' as 'lz4' })).rejects.toThrow('"none", "lz4"');
    await expect(open(path, { cachBytes: 1 } as object)).rejects.toThrow('did you mean "cacheBytes"?');
  });

  test('belong to the first open of a process', async () => {
    const path = temp.path();
    await temp.open({ cacheBytes: 1024 * kib, compression: 'lz4' }, path);
    await expect(open(path, { cacheBytes: 2048 * kib })).rejects.toEqual(code('OPTIONS_CONFLICT'));
    await expect(open(path, { compression: 'none' })).rejects.toEqual(code('OPTIONS_CONFLICT'));
    const second = await open(path, { cacheBytes: 1024 * kib, compression: 'lz4' });
    expect(second.stats().cache.capacityBytes).toBe(1024 * kib);
    await second.close();
  });

  test('a store without a cache reads all the same', async () => {
    const path = temp.path();
    await (await filled(path, 1)).close();
    const db = await temp.open({ ...small, cacheBytes: 0 }, path);
    expect(db.get(keyOf(123))).toEqual(bytesAt(123, 0));
    expect([...db.range({ limit: 100 })]).toHaveLength(100);
    expect(db.stats().cache).toMatchObject({ capacityBytes: 0, hits: 0 });
  });

  test('compressed runs are smaller and read the same', async () => {
    const sizes: number[] = [];
    for (const compression of ['none', 'lz4'] as const) {
      const db = await temp.open({ ...small, compression });
      for (let from = 0; from < keys; from += 500) {
        const batch = db.batch();
        for (let index = from; index < from + 500; index += 1) batch.put(keyOf(index), 'again and '.repeat(25));
        await batch.commit();
      }
      sizes.push((await db.compact()).bytesAfter);
      expect(db.get(keyOf(99))?.toString()).toBe('again and '.repeat(25));
      expect([...db.range()]).toHaveLength(keys);
    }
    const [plain = 0, packed = 0] = sizes;
    expect(packed).toBeLessThan(plain / 3);
  });
});

describe('damage in a run', () => {
  /** One byte in the middle of the largest run is flipped. */
  function flip(path: string): string {
    const runs = join(path, 'gen-000001', 'runs');
    const sized = readdirSync(runs).map((name) => ({ name, bytes: readFileSync(join(runs, name)) }));
    const [largest] = sized.sort((a, b) => b.bytes.length - a.bytes.length);
    if (largest === undefined) throw new Error('there is no run');
    const at = largest.bytes.length >> 1;
    largest.bytes[at] = (largest.bytes[at] ?? 0) ^ 0x40;
    writeFileSync(join(runs, largest.name), largest.bytes);
    return largest.name;
  }

  test('is CORRUPT with file and offset from every read, and found by verify', async () => {
    const path = temp.path();
    const db = await filled(path, 1);
    await db.compact();
    await db.close();
    const name = flip(path);
    const deep = await verifyDirectory(path, true);
    expect(deep.damage).toEqual([expect.objectContaining({ kind: 'run', file: expect.stringContaining(name) })]);
    const again = await temp.open(small, path);
    const seen: unknown[] = [];
    for (let index = 0; index < keys; index += 1) {
      try {
        if (again.get(keyOf(index))?.equals(bytesAt(index, 0)) !== true) throw new Error(`wrong value of ${index}`);
      } catch (error) {
        seen.push(error);
      }
    }
    const corrupt = expect.objectContaining({
      code: 'CORRUPT',
      details: expect.objectContaining({ file: expect.stringContaining(name), offset: expect.any(Number) }),
    });
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.length).toBeLessThan(keys / 10);
    for (const error of seen) expect(error).toEqual(corrupt);
    // Ranges give what lies before, then throw, and never skip.
    const given: string[] = [];
    let thrown: unknown;
    try {
      for (const [key] of again.range()) given.push(key.toString());
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toEqual(corrupt);
    expect(given).toEqual(Array.from({ length: given.length }, (_, index) => keyOf(index)));
    expect(given.length).toBeLessThan(keys);
    const all = Array.from({ length: keys }, (_, index) => keyOf(index));
    expect(() => again.getMany(all)).toThrow(corrupt as Error);
    await expect(again.digest()).rejects.toEqual(corrupt);
    expect((await again.verify({ deep: true })).damage).toEqual([
      expect.objectContaining({ kind: 'run', file: expect.stringContaining(name), offset: expect.any(Number) }),
    ]);
  });
});

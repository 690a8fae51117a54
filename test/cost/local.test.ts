/**
 * What writing costs in the steady state, counted and not timed: memory, syncs, checks. (The log's own buffers are
 * counted in test/native/log, the memtable's in test/native/table.)
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { loadAddon } from '../../dist/binding/load.js';
import type { Database } from '../../dist/index.js';
import { temporary } from '../api/temporary.js';

const files = temporary();
const value = Buffer.alloc(100, 'v');
const keys = Array.from({ length: 1000 }, (_, index) => `key-${index}`);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Overwrites the keys again and again; other work of the thread may run now and then. */
async function overwrite(db: Database, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    db.putSync(keys[index % keys.length] ?? '', value);
    if (index % 1000 === 999) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Of JavaScript, of its buffers, and of native objects tied to it. */
function heapBytes(): number {
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test('a hundred thousand puts leave no memory behind, in JavaScript or below', async () => {
  const db = await files.open({ durability: 'memory', logRetainBytes: 0 });
  await overwrite(db, 50_000);
  const arena = db.stats().store.arenaAllocations;
  const before = heapBytes();
  await overwrite(db, 100_000);
  expect(heapBytes() - before).toBeLessThan(256 * 1024);
  expect(db.stats().store.arenaAllocations).toBe(arena);
});

test('reads leave no memory behind', async () => {
  const db = await files.open({ durability: 'memory' });
  await overwrite(db, 1000);
  const read = (count: number): void => {
    for (let index = 0; index < count; index += 1) db.get(keys[index % keys.length] ?? '');
  };
  read(20_000);
  const before = heapBytes();
  read(100_000);
  expect(heapBytes() - before).toBeLessThan(256 * 1024);
});

test('64 durable puts in flight share their syncs', async () => {
  const db = await files.open({ durability: 'sync' });
  await db.put('first', value);
  const before = db.stats().log;
  const waves = 20;
  for (let wave = 0; wave < waves; wave += 1) {
    await Promise.all(keys.slice(0, 64).map((key) => db.put(key, value)));
  }
  const { fdatasyncs, writes } = db.stats().log;
  // Each wave waits for the disk; eight to a sync is far from what is usual (about 32) and from one each.
  expect(fdatasyncs - before.fdatasyncs).toBeGreaterThanOrEqual(waves);
  expect(fdatasyncs - before.fdatasyncs).toBeLessThan((waves * 64) / 8);
  expect(writes - before.writes).toBeLessThan((waves * 64) / 8);
});

test('puts that do not wait for the disk are synced by the clock, not by their number', async () => {
  const db = await files.open({ durability: 'os', syncIntervalMs: 60_000 });
  await db.put('first', value);
  const before = db.stats().log.fdatasyncs;
  for (let wave = 0; wave < 20; wave += 1) await Promise.all(keys.map((key) => db.put(key, value)));
  expect(db.stats().log.fdatasyncs - before).toBe(0);
});

test('a record of our own is checked when it is read back from disk, once, and never before', async () => {
  const addon = loadAddon();
  const path = files.path();
  const db = await files.open({ durability: 'os' }, path);
  await db.put('first', value);
  const before = addon.recordsChecked();
  for (const key of keys) await db.put(key, value);
  expect(addon.recordsChecked()).toBe(before);
  await db.close();
  expect(addon.recordsChecked()).toBe(before);
  const again = await files.open({}, path);
  const { replayedRecords } = again.stats().counters;
  expect(replayedRecords).toBeGreaterThan(keys.length);
  expect(addon.recordsChecked() - before).toBe(replayedRecords);
});

test('results of increments are exact at both ends of 64 bits', async () => {
  const db = await files.open({ durability: 'memory' });
  const most = 2n ** 63n - 1n;
  expect((await db.increment('up', most - 1n)).results).toEqual([most - 1n]);
  expect((await db.increment('up')).results).toEqual([most]);
  expect((await db.increment('down', -most - 1n)).results).toEqual([-most - 1n]);
  await expect(db.increment('up')).rejects.toMatchObject({ code: 'COUNTER_OVERFLOW' });
  expect(db.get('up')?.toString()).toBe(`${most}`);
});

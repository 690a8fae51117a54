// A snapshot becomes a store: the same state at the same position, whatever the number of shards.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  digestDirectory,
  open,
  readLogRecords,
  restoreSnapshot,
  snapshotInfo,
  verifyDirectory,
  verifySnapshot,
} from '../../dist/index.js';
import { temporary } from './temporary.js';

const temp = temporary();
const code = (name: string): unknown => expect.objectContaining({ code: name });

async function snapshotOf(compression: 'none' | 'lz4'): Promise<{ snapshot: string; digest: unknown; store: string }> {
  const store = temp.path();
  const db = await temp.open({ shards: 3 }, store);
  const batch = db.batch();
  for (let i = 0; i < 1000; i += 1) batch.put(`k${i}`, Buffer.alloc(i, `${i}`));
  await batch.commit();
  await db.delRange({ prefix: 'k9' });
  const snapshot = temp.path();
  const { position } = await db.snapshot(snapshot, { compression });
  await db.put('later', 'x');
  await db.delRange({ prefix: 'later' });
  const digest = { ...(await db.digest()), position };
  await db.close();
  return { snapshot, digest, store };
}

test.each(['none', 'lz4'] as const)('a restored store equals the snapshot, %s', async (compression) => {
  const { snapshot, digest } = await snapshotOf(compression);
  for (const shards of [undefined, 1, 8]) {
    const target = temp.path();
    const { position } = await restoreSnapshot(snapshot, target, { shards });
    const db = await temp.open({}, target);
    expect(await db.digest()).toEqual(digest);
    expect(db.position).toEqual(position);
    const next = await db.put('new', 'write');
    expect(next.position.epoch > position.epoch).toBe(true);
    await db.close();
    expect((await verifyDirectory(target, true)).damage).toEqual([]);
  }
});

test('restore refuses a target in use and damaged flows', async () => {
  const { snapshot, store } = await snapshotOf('none');
  await expect(restoreSnapshot(snapshot, store)).rejects.toEqual(code('EXISTS'));
  const name = readdirSync(snapshot).find((entry) => entry.startsWith('flow-')) ?? '';
  const bytes = readFileSync(join(snapshot, name));
  bytes[200] = (bytes[200] ?? 0) ^ 1;
  writeFileSync(join(snapshot, name), bytes);
  expect((await verifySnapshot(snapshot)).damage).toHaveLength(1);
  const target = temp.path();
  await expect(restoreSnapshot(snapshot, target)).rejects.toEqual(code('CORRUPT'));
  await expect(open(target, { createIfMissing: false })).rejects.toEqual(code('NOT_A_STORE'));
  await expect(snapshotInfo(store)).rejects.toEqual(code('NOT_A_STORE'));
});

test('a closed directory can be verified, summed at any record end, and its log read', async () => {
  const { store } = await snapshotOf('none');
  const db = await temp.open({}, store);
  await expect(verifyDirectory(store)).rejects.toEqual(code('LOCKED'));
  const { keys } = await db.digest();
  const { seq } = db.position;
  await db.close();
  expect(await verifyDirectory(store)).toMatchObject({ damage: [], position: { seq } });
  expect((await digestDirectory(store)).keys).toBe(keys);
  expect((await digestDirectory(store, 1001n)).keys).toBe(1000);
  const inside = await digestDirectory(store, 500n).catch((error) => error);
  expect(inside.code).toBe('NOT_A_RECORD_END');
  expect(inside.details).toMatchObject({ at: 500n, before: { seq: 1n }, after: { seq: 1001n } });
  const near = await digestDirectory(store, inside.details.before.seq);
  expect(near.position).toEqual(inside.details.before);
  const kinds: number[] = [];
  for await (const { kind } of readLogRecords(store)) kinds.push(kind);
  expect(kinds).toEqual([2, 1, 1, 1, 1]);
});

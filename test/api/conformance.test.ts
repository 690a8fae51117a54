// Every public operation on a fresh store, a reopened one, in every durability, and from a worker thread.
import { Worker } from 'node:worker_threads';
import { beforeAll, describe, expect, test } from 'vitest';
import { facts } from './conformance.mjs';
import { temporary } from './temporary.js';

const temp = temporary();

for (const durability of ['sync', 'os', 'memory'] as const) {
  describe(`a fresh store, ${durability}`, () => {
    test.each(Object.keys(facts))('%s', async (name) => {
      const db = await temp.open({ durability });
      await facts[name]?.(db);
    });
  });
}

describe('a reopened store', () => {
  test.each(Object.keys(facts))('%s', async (name) => {
    const path = temp.path();
    const first = await temp.open({}, path);
    const batch = first.batch();
    for (let i = 0; i < 100; i += 1) batch.put(`zz${i}`, `${i}`);
    await batch.commit();
    const digest = await first.digest();
    await first.close();
    const db = await temp.open({}, path);
    expect(await db.digest()).toEqual(digest);
    await facts[name]?.(db);
  });
});

describe('a worker thread', () => {
  let path: string;
  beforeAll(() => {
    path = temp.path();
  });
  test.each(Object.keys(facts))('%s', async (name) => {
    // The main thread has the store open too, so both share one engine.
    const db = await temp.open({}, path);
    const worker = new Worker(new URL('./conformance-worker.mjs', import.meta.url), { workerData: { path, name } });
    const failure = await new Promise<string | null>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    await worker.terminate();
    expect(failure).toBeNull();
    expect(db.position.seq).toBeGreaterThan(0n);
  });
});

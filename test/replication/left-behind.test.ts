// What a thread that followed leaves when it is terminated, and who finishes it.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { loadAddon } from '../../dist/binding/load.js';
import { converged, fill, TestCluster, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

let cluster: TestCluster;

vi.setConfig({ testTimeout: 20_000, hookTimeout: 10_000 });

beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

test('records that a terminated thread took and did not show are shown before another link goes on', async () => {
  const primary = await cluster.primary();
  const proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
  // A primary without a record would let an empty replica join without a full sync.
  await primary.db.put('a', '1');
  const replica = await cluster.replica(proxy.address);
  // Behind the slot's record, which comes when the replica streams.
  await until('the stream', () => primary.saw('replica', { state: 'streaming' }).length > 0);
  await primary.db.put('a', '2');
  await converged(primary, replica);
  proxy.isDown = true;
  proxy.cut();
  const from = replica.db.position.offset;
  await primary.db.put('b', '2');
  const source = await loadAddon().openStore(primary.dir, {}, () => undefined);
  const { bytes: records } = source.readLog(from, 1 << 20);
  await source.close();
  const worker = new Worker(new URL('leaver.mjs', import.meta.url), { workerData: { dir: replica.dir, records } });
  await once(worker, 'message');
  await worker.terminate();
  expect(replica.db.get('b')).toBeUndefined();
  await replica.db.replication.follow(primary.address);
  expect(replica.db.get('b')?.toString()).toBe('2');
  await fill(primary, 200);
  await converged(primary, replica);
  expect(replica.db.replication.status().resync).toMatchObject({ full: 1 });
});

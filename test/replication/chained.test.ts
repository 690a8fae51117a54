// A replica that serves replicas: what it passes on, and what becomes of them when its own state is replaced.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { converged, fill, resyncs, TestCluster, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

vi.setConfig({ testTimeout: 40_000, hookTimeout: 10_000 });

let cluster: TestCluster;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

const anywhere = { host: '127.0.0.1', port: 0 };

describe('a replica that serves replicas', () => {
  test('cuts them when a full sync replaced its state, and they go on from where they were', async () => {
    const primary = await cluster.primary();
    await fill(primary, 500);
    const middle = await cluster.replica(primary.address);
    await converged(primary, middle);
    const address = await middle.db.replication.listen(anywhere);
    const leaf = await cluster.replica(address);
    await converged(primary, leaf);
    const decided = leaf.saw('resync').length;
    await middle.db.replication.resync({ full: true });
    await until('the switch', () => middle.saw('switched').length === 2);
    await until('another handshake', () => leaf.saw('resync').length > decided);
    await fill(primary, 200, 100, 'more');
    await converged(primary, leaf);
    expect(resyncs(leaf)).toMatchObject({ full: 1 });
    expect(leaf.db.status().counters).toMatchObject({ gaps: 0 });
  });

  test('takes in no new ones while its state is being replaced', async () => {
    const primary = await cluster.primary();
    await fill(primary, 500);
    const proxy = await FrameProxy.start(primary.address);
    cluster.atEnd(() => proxy.close());
    const middle = await cluster.replica(proxy.address);
    await converged(primary, middle);
    const address = await middle.db.replication.listen(anywhere);
    proxy.fate = ({ name }) => (name === 'FLOW_DONE' ? 'hold' : 'pass');
    await middle.db.replication.resync({ full: true });
    await until('a flow to be held back', () => proxy.held > 0);
    const leaf = await cluster.replica(address);
    await until('refusals', () => leaf.saw('link', { state: 'waiting' }).length > 0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(leaf.saw('resync')).toHaveLength(0);
    proxy.fate = () => 'pass';
    proxy.releaseHeld();
    await converged(primary, leaf);
  });

  test('without a complete state has nothing to give', async () => {
    const primary = await cluster.primary();
    await fill(primary, 100);
    const proxy = await FrameProxy.start(primary.address);
    cluster.atEnd(() => proxy.close());
    proxy.fate = ({ name }) => (name === 'FLOW_DONE' ? 'hold' : 'pass');
    const middle = await cluster.replica(proxy.address);
    const address = await middle.db.replication.listen(anywhere);
    await until('a flow to be held back', () => proxy.held > 0);
    const leaf = await cluster.replica(address);
    await until('refusals', () => leaf.saw('link', { state: 'waiting' }).length > 0);
    expect(leaf.db.position.seq).toBe(0n);
    proxy.fate = () => 'pass';
    proxy.releaseHeld();
    await converged(primary, leaf);
  });

  test('sends nothing that is not durable with itself', async () => {
    const primary = await cluster.primary();
    const middle = await cluster.replica(primary.address);
    await fill(primary, 10);
    await converged(primary, middle);
    const leaf = await cluster.replica(await middle.db.replication.listen(anywhere));
    await converged(primary, leaf);
    const writing = fill(primary, 3000);
    let isDone = false;
    const done = writing.then(() => {
      isDone = true;
    });
    let looks = 0;
    while (!isDone) {
      const [status] = middle.db.replication.status().replicas;
      expect(BigInt(status?.sent.offset ?? 0)).toBeLessThanOrEqual(middle.db.durable.offset);
      looks++;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await done;
    expect(looks).toBeGreaterThan(5);
    await converged(primary, leaf);
  });
});

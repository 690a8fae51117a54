// A full sync that something happens to: the old state stays, the barrier counts flows by name, nothing is half.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { converged, fill, resyncs, TestCluster, type TestNode, until } from './nodes.js';
import { type Fate, FrameProxy, type ProxiedFrame } from './proxy.js';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 10_000 });

let cluster: TestCluster;
let primary: Awaited<ReturnType<TestCluster['primary']>>;
let proxy: FrameProxy;

beforeEach(async () => {
  cluster = new TestCluster();
  primary = await cluster.primary();
  await fill(primary, 2000, 200);
  proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
});
afterEach(() => cluster.end());

/** The fate of the first frame that fits; the others pass. */
function once(fits: (frame: ProxiedFrame) => boolean, fate: Fate): void {
  let isDone = false;
  proxy.fate = (frame) => {
    if (isDone || !fits(frame)) return 'pass';
    isDone = true;
    return fate;
  };
}

describe('the barrier', () => {
  test('is not opened by a flow that ends twice while another has not ended', async () => {
    // Flow 0 says three times that it is done; flow 3 is held back.
    proxy.fate = ({ name, bytes }) => {
      if (name !== 'FLOW_DONE') return 'pass';
      const flow = bytes.readUInt32LE(24);
      if (flow === 0) return 'twice';
      return flow === 3 ? 'hold' : 'pass';
    };
    const replica = await cluster.replica(proxy.address);
    await until('three flows', () => replica.saw('sync_flow').length === 3);
    await until('flow 3 to be held back', () => proxy.held === 1);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(replica.saw('sync_barrier')).toHaveLength(0);
    expect(replica.saw('switched')).toHaveLength(0);
    proxy.releaseHeld();
    await converged(primary, replica);
    expect(replica.saw('sync_flow').map(({ flow }) => flow)).toHaveLength(4);
    expect(new Set(replica.saw('sync_flow').map(({ flow }) => flow))).toEqual(new Set([0, 1, 2, 3]));
    expect(resyncs(replica)).toEqual({ full: 1 });
  });

  test('waits for the word that the log is durable', async () => {
    once(({ name }) => name === 'LOG_DURABLE', 'hold');
    const replica = await cluster.replica(proxy.address);
    await until('all flows', () => replica.saw('sync_flow').length === 4);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(replica.saw('sync_barrier')).toHaveLength(0);
    proxy.releaseHeld();
    await converged(primary, replica);
  });

  test('a flow that waits keeps its connections and what is written meanwhile arrives once', async () => {
    once(({ name, bytes }) => name === 'FLOW_DONE' && bytes.readUInt32LE(24) === 2, 'hold');
    const replica = await cluster.replica(proxy.address);
    await until('three flows', () => replica.saw('sync_flow').length === 3);
    // Longer than the silence after which a link is lost.
    const end = performance.now() + 2000;
    let increments = 0;
    for (; performance.now() < end; increments++) {
      await primary.db.increment('window');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(replica.saw('sync_barrier')).toHaveLength(0);
    proxy.releaseHeld();
    await converged(primary, replica);
    expect(Number(replica.db.get('window'))).toBe(increments);
    expect(replica.saw('sync_failed')).toHaveLength(0);
    expect(replica.saw('sync_start')).toHaveLength(1);
  });
});

describe('a full sync that fails', () => {
  const accidents: readonly (readonly [string, (frame: ProxiedFrame) => boolean, Fate])[] = [
    ['a flipped byte of a flow', ({ name }) => name === 'FLOW_DATA', { flip: 60 }],
    ['a flipped byte of the meta state', ({ name }) => name === 'SNAPSHOT_BEGIN', { flip: 200 }],
    ['a piece of a flow that is missing', ({ name }) => name === 'FLOW_DATA', 'drop'],
    ['a piece of a flow that comes twice', ({ name }) => name === 'FLOW_DATA', 'twice'],
    ['the control connection that breaks', ({ name }) => name === 'SNAPSHOT_BEGIN', { cutAt: 2000 }],
  ];
  test.each(accidents)('%s: the old state is served, and the next sync is whole', async (_, fits, fate) => {
    const replica = await cluster.replica(proxy.address);
    await converged(primary, replica);
    const before = `${replica.db.position}`;
    once(fits, fate);
    await replica.db.replication.resync({ full: true });
    const failures = (): number => replica.saw('sync_failed').length + replica.saw('link', { state: 'waiting' }).length;
    await until('the sync to fail', () => failures() > 1 || replica.saw('sync_failed').length > 0);
    expect(`${replica.db.position}`).toBe(before);
    expect(replica.db.get('key-5')?.length).toBe(200);
    await until('another sync', () => replica.saw('sync_done').length === 2, 20_000);
    await converged(primary, replica);
    expect(replica.db.replication.status().resync.reasons).toEqual({ new_replica: 1, operator: 1 });
  });

  test.each([
    ['before its flow is done', 'FLOW_DONE', 'cut'],
    ['inside a frame', 'FLOW_DATA', { cutAt: 100 }],
  ] as const)('no: a data connection that breaks %s is dialled again, and the sync goes on', async (_, name, fate) => {
    once((frame) => frame.name === name, fate);
    const replica = await cluster.replica(proxy.address);
    await converged(primary, replica);
    expect(replica.saw('sync_start')).toHaveLength(1);
    expect(replica.saw('sync_failed')).toHaveLength(0);
    expect(replica.saw('sync_flow')).toHaveLength(4);
  });

  test('because a frame was lost on the way is noticed, and tried again', async () => {
    once(({ name }) => name === 'FLOW_DONE', 'drop');
    const replica = await cluster.replica(proxy.address, { replication: { timeoutMs: 300 } });
    await until('the failure', () => replica.saw('sync_failed', { code: 'TIMEOUT' }).length === 1);
    await converged(primary, replica);
  });

  test.each(['WELCOME', 'DECISION', 'ANSWER', 'SNAPSHOT_BEGIN'] as const)('a lost %s costs one link', async (lost) => {
    once(({ name }) => name === lost, 'drop');
    const replica = await cluster.replica(proxy.address, { replication: { timeoutMs: 300 } });
    await converged(primary, replica);
    expect(replica.saw('link', { state: 'waiting' }).length).toBeGreaterThan(0);
  });

  test('leaves no pin behind on the primary', async () => {
    const replica = await cluster.replica(proxy.address);
    once(({ name }) => name === 'FLOW_DATA', { flip: 60 });
    await until('a failure', () => replica.saw('sync_failed').length === 1);
    const snapshots = (): number => primary.db.status().log.holds.filter(({ kind }) => kind === 'snapshot').length;
    await converged(primary, replica);
    await until('every pin to go', () => snapshots() === 0);
  });

  test('an empty replica whose first sync failed joins with the next', async () => {
    once(({ name }) => name === 'FLOW_DATA', { flip: 60 });
    const replica: TestNode = await cluster.replica(proxy.address);
    await converged(primary, replica);
    expect(replica.saw('sync_failed')).toHaveLength(1);
    // Nothing of it goes on: it begins from nothing, and not at once.
    expect(replica.saw('sync_failed')[0]?.['retryMs']).toBeGreaterThan(700);
    expect(replica.saw('sync_start', { resumed: true })).toHaveLength(0);
  });
});

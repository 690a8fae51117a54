// What a write that asks for replicas is told, when, and what becomes of it.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { OpenOptions, Position } from '../../dist/index.js';
import { converged, fill, TestCluster, type TestNode, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

vi.setConfig({ testTimeout: 20_000, hookTimeout: 10_000 });

let cluster: TestCluster;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

type Primary = Awaited<ReturnType<TestCluster['primary']>>;
interface Follower {
  readonly node: TestNode;
  readonly proxy: FrameProxy;
}

/** A replica behind a proxy of its own, streaming. */
async function follower(primary: Primary, options: OpenOptions = {}): Promise<Follower> {
  const proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
  const node = await cluster.replica(proxy.address, options);
  const { nodeId } = node.db.status();
  await until('the replica to stream', () => primary.saw('replica', { nodeId, state: 'streaming' }).length > 0);
  return { node, proxy };
}

function cutOff({ proxy }: Follower): void {
  proxy.isDown = true;
  proxy.cut();
}

/** Whether it has settled, looked at without waiting for it. */
function watch(promise: Promise<unknown>): { isSettled: boolean } {
  const seen = { isSettled: false };
  const settled = (): void => {
    seen.isSettled = true;
  };
  promise.then(settled, settled);
  return seen;
}

const streaming = (primary: Primary): number =>
  primary.db.status().replicas.filter(({ state }) => state === 'streaming').length;

describe('a write that asks for replicas', () => {
  test('resolves when they hold it at the level, not before, and then they do', async () => {
    const primary = await cluster.primary();
    const one = await follower(primary);
    await primary.db.put('first', '1');
    one.proxy.fate = ({ name }) => (name === 'ACK' ? 'hold' : 'pass');
    const writing = primary.db.put('a', '1', { replicas: 1, level: 'applied' });
    const seen = watch(writing);
    await until('the write to be applied', () => one.node.db.get('a') !== undefined);
    await until('its own node to have it', () => primary.db.durable.offset === primary.db.position.offset);
    await until('an acknowledgement on its way', () => one.proxy.held > 0);
    expect(seen.isSettled).toBe(false);
    one.proxy.fate = () => 'pass';
    one.proxy.releaseHeld();
    const { position } = await writing;
    expect(`${position}`).toBe(`${primary.db.position}`);
    const batch = await primary.db.batch().put('b', '1').del('a').commit({ replicas: 1, level: 'applied' });
    expect(one.node.db.get('b')?.toString()).toBe('1');
    expect(`${primary.db.status().promised}`).toBe(`${batch.position}`);
    await expect(primary.db.put('c', '1', { replicas: 2 })).rejects.toMatchObject({ code: 'NOT_ENOUGH_REPLICAS' });
  });

  test('that time out are in doubt with their position, and show later', async () => {
    const primary = await cluster.primary();
    const one = await follower(primary);
    one.proxy.stall('to-replica');
    const late = await primary.db.put('a', '1', { replicas: 1, timeoutMs: 100 }).catch((error) => error);
    expect(late).toMatchObject({ code: 'IN_DOUBT', inDoubt: true, retryable: false });
    const position = late.details.position as Position;
    expect(`${position}`).toBe(`${primary.db.position}`);
    expect(primary.db.get('a')?.toString()).toBe('1');
    one.proxy.resume();
    await converged(primary, one.node);
    expect(one.node.db.get('a')?.toString()).toBe('1');
    await primary.db.replication.waitFor(position, { replicas: 1 });
    expect(await primary.db.outcome(position)).toBe('committed');
  });

  test('survives the death of its primary where the best replica is promoted', async () => {
    const primary = await cluster.primary({ replication: { ackReplicas: 1 } });
    const all = [await follower(primary), await follower(primary)];
    await primary.db.put('0', 'x');
    const acknowledged: string[] = [];
    for (let i = 1; i <= 40; i++) {
      // One of them lags behind, now this one, now that one.
      const lagging = all[Math.floor(i / 10) % 2];
      lagging?.proxy.stall('to-replica');
      await primary.db.put(`${i}`, 'x');
      acknowledged.push(`${i}`);
      if (i % 10 === 9) {
        lagging?.proxy.resume();
        for (const { node } of all) await converged(primary, node);
      }
    }
    // What nobody holds was acknowledged by nobody.
    for (const each of all) cutOff(each);
    await expect(primary.db.put('unheld', 'x', { timeoutMs: 100 })).rejects.toMatchObject({
      retryable: expect.anything(),
    });
    const [first, second] = all as [Follower, Follower];
    const best = first.node.db.position.offset >= second.node.db.position.offset ? first : second;
    const rest = best === first ? second : first;
    const { promised } = best.node.db.status();
    expect(best.node.db.position.offset >= promised.offset).toBe(true);
    await best.node.db.replication.promote();
    expect(acknowledged.filter((key) => !best.node.db.has(key))).toEqual([]);
    const address = await best.node.db.replication.listen({ host: '127.0.0.1', port: 0 });
    await rest.node.db.replication.follow(address);
    await converged(best.node, rest.node);
  });

  test('blocks no thread: putSync and commitSync take none', async () => {
    const primary = await cluster.primary({ replication: { ackReplicas: 1 } });
    expect(() => primary.db.putSync('a', '1', { replicas: 1 })).toThrow(TypeError);
    expect(() => primary.db.batch().put('a', '1').commitSync({ timeoutMs: 5 })).toThrow(TypeError);
    expect(primary.db.putSync('a', '1').firstSeq).toBe(2n);
    for (const wrong of [{ replicas: -1 }, { replicas: 65 }, { level: 'written' }, { timeoutMs: 1.5 }]) {
      await expect(primary.db.put('a', '1', wrong as object)).rejects.toThrow(/option "/);
    }
  });
});

describe('acknowledgements that do not count', () => {
  test('are those of a replica in a full sync', async () => {
    const primary = await cluster.primary();
    await fill(primary, 2000);
    const proxy = await FrameProxy.start(primary.address);
    cluster.atEnd(() => proxy.close());
    let isHeld = true;
    proxy.fate = ({ name }) => (name === 'FLOW_DONE' && isHeld ? 'hold' : 'pass');
    const replica = await cluster.replica(proxy.address);
    const writes: Promise<unknown>[] = [];
    await until('the full sync', () => primary.saw('replica', { state: 'full' }).length > 0);
    const { position } = await primary.db.put('during', '1');
    const waiting = primary.db.replication.waitFor(position, { level: 'received', timeoutMs: 15_000 });
    const seen = watch(waiting);
    const offset = `${position.offset}`;
    await until('the replica to have received it', () => primary.db.status().replicas[0]?.received.offset === offset);
    expect(seen.isSettled).toBe(false);
    await expect(primary.db.put('x', '1', { replicas: 1 })).rejects.toMatchObject({ code: 'NOT_ENOUGH_REPLICAS' });
    isHeld = false;
    proxy.releaseHeld();
    await Promise.all([...writes, waiting]);
    await converged(primary, replica);
  });

  test('are those of an older epoch, though they cover the position', async () => {
    const primary = await cluster.primary();
    const one = await follower(primary);
    await primary.db.put('first', '1');
    await converged(primary, one.node);
    const term = (bytes: Buffer): number => bytes.readUInt32LE(8);
    one.proxy.fate = ({ name, bytes }) => (name !== 'ACK' ? 'pass' : term(bytes) === 1 ? 'hold' : 'drop');
    const { position } = await primary.db.put('a', '1');
    await until('the replica to apply it', () => `${one.node.db.position}` === `${position}`);
    await until('acknowledgements of it', () => one.proxy.held > 1);
    await primary.db.replication.promote({ epoch: 5 });
    const waiting = primary.db.replication.waitFor(position, { timeoutMs: 15_000 });
    const seen = watch(waiting);
    one.proxy.releaseHeld();
    const covers = (): boolean => BigInt(primary.db.status().replicas[0]?.durable.offset ?? 0) >= position.offset;
    await until('the old acknowledgements to arrive', covers);
    await new Promise((resolve) => setImmediate(resolve));
    expect(seen.isSettled).toBe(false);
    one.proxy.fate = () => 'pass';
    await waiting;
  });
});

describe('with too few replicas in reach', () => {
  test('"error" refuses the write before it is written, and takes it once there are enough', async () => {
    const primary = await cluster.primary({ replication: { ackReplicas: 1 } });
    const before = `${primary.db.position}`;
    const refused = await primary.db.put('a', '1').catch((error) => error);
    expect(refused).toMatchObject({ code: 'NOT_ENOUGH_REPLICAS', retryable: true, details: { needed: 1, have: 0 } });
    expect(`${primary.db.position}`).toBe(before);
    expect(primary.db.get('a')).toBeUndefined();
    await primary.db.put('b', '1', { replicas: 0 });
    const one = await follower(primary);
    await primary.db.put('a', '1', { level: 'applied' });
    expect(one.node.db.get('a')?.toString()).toBe('1');
    await expect(one.node.db.put('a', '2')).rejects.toMatchObject({ code: 'READ_ONLY' });
  });

  test('"block" writes, and waits for them up to its time', async () => {
    const primary = await cluster.primary({
      replication: { ackReplicas: 1, ackTimeoutMs: 15_000, onTooFewReplicas: 'block' },
    });
    const short = await primary.db.put('short', '1', { timeoutMs: 50 }).catch((error) => error);
    expect(short).toMatchObject({ code: 'IN_DOUBT' });
    expect(`${short.details.position}`).toBe(`${primary.db.position}`);
    const writing = primary.db.put('long', '1');
    const seen = watch(writing);
    await until('the write to be durable', () => primary.db.durable.offset === primary.db.position.offset);
    expect(seen.isSettled).toBe(false);
    const one = await follower(primary);
    const { position } = await writing;
    expect(one.node.db.durable.offset >= position.offset).toBe(true);
  });

  test('"degrade" goes on without, and says so once at its begin and at its end', async () => {
    const primary = await cluster.primary({
      replication: { ackReplicas: 1, ackTimeoutMs: 15_000, onTooFewReplicas: 'degrade' },
    });
    await primary.db.put('a', '1');
    await primary.db.put('b', '1');
    expect(primary.saw('degraded')).toMatchObject([{ needed: 1, have: 0 }]);
    expect(primary.saw('degraded_end')).toHaveLength(0);
    const one = await follower(primary);
    await until('the end of it', () => primary.saw('degraded_end').length > 0);
    expect(primary.saw('degraded_end')).toMatchObject([{ needed: 1, have: 1 }]);
    await primary.db.put('c', '1', { level: 'applied' });
    expect(one.node.db.get('c')?.toString()).toBe('1');
    const { promised } = primary.db.status();
    // One that waits already goes on too when the replica leaves.
    one.proxy.stall('to-replica');
    const writing = primary.db.put('d', '1');
    await until('the write to be durable', () => primary.db.durable.offset === primary.db.position.offset);
    cutOff(one);
    await writing;
    expect(primary.saw('degraded')).toHaveLength(2);
    // Nobody was told that replicas hold it.
    expect(`${primary.db.status().promised}`).toBe(`${promised}`);
    expect(await primary.db.outcome((await writing).position)).toBe('unknown');
  });
});

describe('every replica hears', () => {
  test('where the policy is met, and of what callers were promised, also at second hand', async () => {
    const primary = await cluster.primary({ replication: { ackReplicas: 1 } });
    const one = await follower(primary);
    const address = await one.node.db.replication.listen({ host: '127.0.0.1', port: 0 });
    const leaf = await cluster.replica(address);
    await until('the leaf to stream', () => leaf.db.status().link?.state === 'streaming');
    const { position } = await primary.db.put('a', '1');
    for (const node of [primary, one.node, leaf]) {
      await node.db.waitFor(position, { level: 'commit', timeoutMs: 10_000 });
      expect(`${node.db.status().commit}`).toBe(`${position}`);
      await until('the promise', () => `${node.db.status().promised}` === `${position}`);
      expect(await node.db.outcome(position)).toBe('committed');
    }
    expect(streaming(primary)).toBe(1);
    // What the policy is not met for is nowhere called committed.
    const open = await primary.db.put('b', '1', { replicas: 0 });
    await converged(primary, one.node);
    one.proxy.stall('to-primary');
    const { position: beyond } = await primary.db.put('c', '1', { replicas: 0 });
    await converged(primary, one.node);
    await primary.db.waitFor(open.position, { level: 'commit', timeoutMs: 10_000 });
    const early = one.node.db.waitFor(beyond, { level: 'commit', timeoutMs: 200 });
    await expect(early).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(await one.node.db.outcome(beyond)).toBe('unknown');
  });

  test('and a successor goes on with the promises of its predecessor', async () => {
    const primary = await cluster.primary();
    const [one, two] = [await follower(primary), await follower(primary)];
    two.proxy.fate = ({ name }) => (name === 'LOG' ? 'drop' : 'pass');
    const { position } = await primary.db.put('a', '1', { replicas: 1 });
    for (const { node } of [one, two]) {
      await until('the promise', () => `${node.db.status().promised}` === `${position}`);
    }
    await one.node.db.replication.promote();
    expect(`${one.node.db.status().promised}`).toBe(`${position}`);
    // Also one that dials somebody else meanwhile does not forget it.
    await two.node.db.replication.follow({ host: '127.0.0.1', port: 1 });
    await expect(two.node.db.replication.promote()).rejects.toMatchObject({ code: 'BEHIND_PROMISED' });
    await expect(two.node.db.replication.promote({ force: true })).resolves.toMatchObject({ epoch: '2.0' });
  });
});

describe('what became of a write', () => {
  test('is lost where the history went on without it, and its waits end at once with the common position', async () => {
    const primary = await cluster.primary();
    const one = await follower(primary);
    const { position: kept } = await primary.db.put('kept', '1');
    await converged(primary, one.node);
    cutOff(one);
    const { position: undone } = await primary.db.put('undone', '1');
    await primary.db.put('undone too', '1');
    expect(await one.node.db.outcome(undone)).toBe('unknown');
    await one.node.db.replication.promote();
    await one.node.db.put('b', '2');
    expect(await one.node.db.outcome(undone)).toBe('lost');
    expect(await one.node.db.outcome(kept)).toBe('committed');
    const refusal = { code: 'POSITION_NOT_IN_HISTORY', details: { common: kept } };
    const { db } = one.node;
    await expect(db.waitFor(undone)).rejects.toMatchObject(refusal);
    await expect(db.replication.waitFor(undone)).rejects.toMatchObject(refusal);
    await expect(db.getAsync('b', { minPosition: undone })).rejects.toMatchObject(refusal);
    const forged = { ...kept, chain: '0123456789abcdef' } as Position;
    await expect(db.outcome(forged)).rejects.toMatchObject({ code: 'POSITION_NOT_IN_HISTORY' });
    // The old primary has it and knows nothing of its end, until it is fenced.
    expect(await primary.db.outcome(undone)).toBe('committed');
    one.proxy.isDown = false;
    const address = await one.node.db.replication.listen({ host: '127.0.0.1', port: 0 });
    const third = await cluster.replica(address);
    await until('the third to stream', () => third.db.status().link?.state === 'streaming');
    await third.db.replication.follow(primary.address);
    await until('the fence', () => primary.saw('fenced').length > 0);
    expect(await primary.db.outcome(undone)).toBe('unknown');
  });
});

describe('a read on a replica', () => {
  test('that names its own write waits for it, and for no longer than it may', async () => {
    const primary = await cluster.primary();
    const one = await follower(primary);
    await primary.db.put('a', '1');
    await converged(primary, one.node);
    one.proxy.fate = ({ name }) => (name === 'LOG' ? 'hold' : 'pass');
    const { position } = await primary.db.put('a', '2');
    await until('the record on its way', () => one.proxy.held > 0);
    const reading = one.node.db.getAsync('a', { minPosition: position });
    const late = one.node.db.getAsync('a', { minPosition: position, timeoutMs: 50 });
    await expect(late).rejects.toMatchObject({ code: 'TIMEOUT', retryable: true });
    expect(one.node.db.get('a')?.toString()).toBe('1');
    one.proxy.fate = () => 'pass';
    one.proxy.releaseHeld();
    expect((await reading)?.toString()).toBe('2');
  });

  test('that asks for a lag waits while it is greater or not known', async () => {
    const primary = await cluster.primary();
    const one = await follower(primary);
    await primary.db.put('a', '1');
    await converged(primary, one.node);
    expect((await one.node.db.getAsync('a', { maxLagMs: 0, timeoutMs: 10_000 }))?.toString()).toBe('1');
    one.proxy.fate = ({ name }) => (name === 'LOG' ? 'hold' : 'pass');
    await primary.db.put('a', '2');
    await until('the lag to be known', () => (one.node.db.status().link?.lag?.bytes ?? 0) > 0);
    const late = one.node.db.getAsync('a', { maxLagMs: 0, timeoutMs: 50 });
    await expect(late).rejects.toMatchObject({ code: 'TIMEOUT' });
    const reading = one.node.db.getAsync('a', { maxLagMs: 0, timeoutMs: 10_000 });
    one.proxy.fate = () => 'pass';
    one.proxy.releaseHeld();
    expect((await reading)?.toString()).toBe('2');
  });
});

describe('closing', () => {
  test('gives what waits for replicas its time, and leaves the rest in doubt', async () => {
    const options = { ackReplicas: 1, ackTimeoutMs: 100, onTooFewReplicas: 'block' } as const;
    const primary = await cluster.primary({ replication: options });
    const writing = primary.db.put('a', '1', { timeoutMs: 60_000 }).catch((error) => error);
    await until('the write to be durable', () => primary.db.durable.offset > 0n);
    await primary.db.close();
    expect(await writing).toMatchObject({ code: 'IN_DOUBT', details: { position: expect.anything() } });
  });
});

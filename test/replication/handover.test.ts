// A planned change of primary: nothing lost, nothing acknowledged by two, and nobody left without a way on.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Commit } from '../../dist/index.js';
import { converged, TestCluster, type TestNode, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

vi.setConfig({ testTimeout: 20_000, hookTimeout: 10_000 });
const anywhere = { host: '127.0.0.1', port: 0 };

let cluster: TestCluster;
let primary: Awaited<ReturnType<TestCluster['primary']>>;
let replica: TestNode;
let proxy: FrameProxy;

beforeEach(async () => {
  cluster = new TestCluster();
  primary = await cluster.primary();
  proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
  replica = await cluster.replica(proxy.address);
  await replica.db.replication.listen(anywhere);
  await until('the replica to stream', () => primary.saw('replica', { state: 'streaming' }).length > 0);
  await primary.db.put('a', '1');
  await converged(primary, replica);
});
afterEach(() => cluster.end());

/** Writes until told to stop, to the old primary first and to the new one from the first refusal on. */
function writeOn(from: TestNode, to: TestNode, options: object) {
  const acknowledged: { readonly key: string; readonly commit: Commit; readonly by: TestNode }[] = [];
  const refusals: string[] = [];
  let isOver = false;
  const lane = async (name: number): Promise<void> => {
    let target = from;
    for (let i = 0; !isOver; i++) {
      const key = `${name}-${i}-${target === from ? 'old' : 'new'}`;
      try {
        acknowledged.push({ key, commit: await target.db.put(key, 'x', target === from ? options : {}), by: target });
      } catch (error) {
        refusals.push((error as { readonly code: string }).code);
        if (target === from) target = to;
        else await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  };
  const lanes = Array.from({ length: 8 }, (_, name) => lane(name));
  return {
    acknowledged,
    refusals,
    by: (node: TestNode) => acknowledged.filter((each) => each.by === node),
    end: async () => {
      isOver = true;
      await Promise.all(lanes);
    },
  };
}

describe('a handover', () => {
  test('begins the next term on the successor, and the old primary follows it, both at one position', async () => {
    const third = await cluster.replica(primary.address);
    await converged(primary, third);
    const promoted = await replica.db.replication.promote({ handover: true });
    expect(promoted).toMatchObject({ role: 'primary', epoch: '2.0' });
    expect(primary.saw('role')).toMatchObject([{ role: 'replica', cause: 'handover' }]);
    expect(replica.saw('role')).toMatchObject([{ role: 'primary', cause: 'handover', epoch: '2.0' }]);
    expect(replica.saw('epoch', { epoch: '2.0' })[0]).toMatchObject({ cause: 'promote' });
    await replica.db.put('b', '2');
    await converged(replica, primary);
    // Whoever followed the old primary goes on with it.
    await converged(replica, third);
    await expect(primary.db.put('c', '3')).rejects.toMatchObject({ code: 'READ_ONLY' });
    for (const node of [primary, replica]) expect(node.saw('sync_start').length).toBeLessThanOrEqual(1);
    expect(primary.saw('sync_start')).toHaveLength(0);
    expect(primary.saw('fenced')).toHaveLength(0);
    // And back again.
    await until('the old primary to stream', () => primary.db.status().link?.state === 'streaming');
    expect(await primary.db.replication.promote({ handover: true, epoch: 9 })).toMatchObject({ epoch: '9.0' });
    await primary.db.put('d', '4', { replicas: 0 });
    await converged(primary, replica);
  });

  for (const replicas of [0, 1]) {
    test(`under writes that ask for ${replicas} replicas loses none, and only one acknowledges`, async () => {
      const writers = writeOn(primary, replica, { replicas });
      await until('acknowledgements', () => writers.by(primary).length > 50);
      await replica.db.replication.promote({ handover: true });
      await until('acknowledgements by the new one', () => writers.by(replica).length > 50);
      await writers.end();
      await converged(replica, primary);
      const end = replica.saw('epoch', { epoch: '2.0' })[0]?.['position'] as { readonly offset: bigint };
      for (const { key, commit, by } of writers.acknowledged) {
        expect(by === primary).toBe(commit.position.offset <= end.offset);
        expect(replica.db.has(key)).toBe(true);
        expect(await replica.db.outcome(commit.position)).toBe('committed');
      }
      // Refused, and not in doubt: whoever met the change knows that nothing was written.
      expect(writers.refusals.filter((code) => code !== 'READ_ONLY')).toEqual([]);
    });
  }

  test('is given up when the successor is too slow, and the primary goes on in a higher term', async () => {
    proxy.fate = ({ name }) => (name === 'LOG' ? 'hold' : 'pass');
    const { position } = await primary.db.put('late', '1');
    const refused = await replica.db.replication.promote({ handover: true }).catch((error) => error);
    expect(refused).toMatchObject({ code: 'NOT_READY', retryable: true });
    expect(primary.db.status()).toMatchObject({ role: 'primary', state: 'serving', epoch: '2.0' });
    expect(replica.db.status().role).toBe('replica');
    await primary.db.put('after', '1');
    proxy.fate = () => 'pass';
    proxy.releaseHeld();
    await converged(primary, replica);
    expect(await replica.db.outcome(position)).toBe('committed');
    await until('the replica to stream', () => replica.db.status().link?.state === 'streaming');
    expect(await replica.db.replication.promote({ handover: true })).toMatchObject({ epoch: '3.0' });
  });

  test('whose last word is lost leaves two equal replicas, of which an operator promotes one', async () => {
    proxy.fate = ({ name }) => (name === 'GRANT' ? 'cut' : 'pass');
    const lost = await replica.db.replication.promote({ handover: true }).catch((error) => error);
    expect(lost).toMatchObject({ code: 'TIMEOUT' });
    for (const node of [primary, replica]) {
      expect(node.db.status().role).toBe('replica');
      await expect(node.db.put('x', '1')).rejects.toMatchObject({ code: 'READ_ONLY' });
    }
    expect(`${replica.db.position}`).toBe(`${primary.db.position}`);
    expect(await replica.db.replication.promote()).toMatchObject({ epoch: '2.0' });
    await replica.db.put('b', '2');
    await converged(replica, primary);
  });

  test('is refused to who is primary, who streams from nobody, and for a term that was seen', async () => {
    await expect(primary.db.replication.promote({ handover: true })).rejects.toMatchObject({ code: 'ALREADY_PRIMARY' });
    await expect(replica.db.replication.promote({ handover: true, epoch: 1 })).rejects.toMatchObject({
      code: 'NOT_READY',
    });
    expect(primary.db.status()).toMatchObject({ role: 'primary', epoch: '1.0' });
    await replica.db.replication.follow({ host: '127.0.0.1', port: 1 });
    await expect(replica.db.replication.promote({ handover: true })).rejects.toMatchObject({ code: 'NOT_READY' });
    await primary.db.put('b', '2');
  });
});

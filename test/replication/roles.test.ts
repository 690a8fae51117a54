// Promotion, fencing, demotion: who may write, who notices, what is refused.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { listLost, repairDirectory } from '../../dist/index.js';
import { converged, fill, TestCluster, type TestNode, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

let cluster: TestCluster;
let primary: Awaited<ReturnType<TestCluster['primary']>>;
let replica: TestNode;
let proxy: FrameProxy;

vi.setConfig({ testTimeout: 20_000, hookTimeout: 10_000 });
const anywhere = { host: '127.0.0.1', port: 0 };

/** Damages the first record of the log of a closed node that holds these bytes. */
function flipIn(dir: string, content: string): void {
  const log = join(dir, readdirSync(dir).find((name) => name.startsWith('gen-')) ?? '', 'log');
  for (const name of readdirSync(log)) {
    const bytes = readFileSync(join(log, name));
    const at = bytes.indexOf(content);
    if (at < 0) continue;
    bytes[at] = 0;
    writeFileSync(join(log, name), bytes);
    return;
  }
  throw new Error('the log does not hold it');
}

beforeEach(async () => {
  cluster = new TestCluster();
  primary = await cluster.primary();
  proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
  replica = await cluster.replica(proxy.address);
  await until('the replica to stream', () => primary.saw('replica', { state: 'streaming' }).length > 0);
  await primary.db.put('a', '1');
  await converged(primary, replica);
});
afterEach(() => cluster.end());

describe('promotion', () => {
  test('begins the next term, fences the old primary over the link, and the new one takes writes', async () => {
    const promoted = await replica.db.replication.promote();
    expect(promoted).toMatchObject({ role: 'primary', epoch: '2.0' });
    await replica.db.put('b', '2');
    expect(replica.db.get('b')?.toString()).toBe('2');
    await until('the old primary to be fenced', () => primary.saw('fenced').length > 0);
    await expect(primary.db.put('c', '3')).rejects.toMatchObject({ code: 'FENCED' });
    expect(primary.db.status()).toMatchObject({ role: 'primary', state: 'fenced', reason: 'fenced' });
    expect(replica.saw('role', { role: 'primary', epoch: '2.0' })).toHaveLength(1);
  });

  test('a fenced primary is still fenced after a restart', async () => {
    await replica.db.replication.promote();
    await until('the old primary to be fenced', () => primary.saw('fenced').length > 0);
    await primary.reopen();
    await expect(primary.db.put('c', '3')).rejects.toMatchObject({ code: 'FENCED' });
  });

  test('the old primary, demoted, follows the new one without a full sync', async () => {
    await replica.db.replication.promote();
    const address = await replica.db.replication.listen(anywhere);
    await replica.db.put('b', '2');
    await until('the old primary to be fenced', () => primary.saw('fenced').length > 0);
    const demoted = await primary.db.replication.demote({ follow: address });
    expect(demoted.role).toBe('replica');
    await converged(replica, primary);
    expect(primary.db.get('b')?.toString()).toBe('2');
    expect(primary.db.replication.status().resync).toMatchObject({ full: 0 });
  });

  test('a write that only the old primary has is neither served on nor thrown away in silence', async () => {
    proxy.isDown = true;
    proxy.cut();
    await primary.db.put('only-here', '1');
    await replica.db.replication.promote();
    const address = await replica.db.replication.listen(anywhere);
    await replica.db.put('b', '2');
    await primary.db.replication.demote({ follow: address });
    await converged(replica, primary);
    expect(primary.db.get('only-here')).toBeUndefined();
    expect(primary.saw('divergence')).toMatchObject([{ operations: 1, keys: ['only-here'], reason: 'rewind' }]);
    await primary.db.close();
    const [lost] = await listLost(primary.dir);
    expect(lost).toMatchObject({ file: primary.saw('divergence')[0]?.['file'], operations: 1, reason: 'rewind' });
    await primary.reopen();
  });

  test('on a primary without a term it is refused', async () => {
    await expect(primary.db.replication.promote()).rejects.toMatchObject({ code: 'ALREADY_PRIMARY' });
  });

  test('during a full sync it is refused, forced or not the state stays whole', async () => {
    await fill(primary, 2000);
    await converged(primary, replica);
    proxy.fate = ({ name }) => (name === 'FLOW_DONE' ? 'drop' : 'pass');
    await replica.db.replication.resync({ full: true });
    await until('the sync to start', () => replica.saw('sync_start').length > 0);
    await expect(replica.db.replication.promote()).rejects.toMatchObject({ code: 'NOT_READY' });
    const promoted = await replica.db.replication.promote({ force: true });
    expect(promoted.epoch).toBe('2.0');
    expect(replica.db.get('key-7')).toBeDefined();
    await replica.db.put('b', '2');
  });

  test('a replica that never had a complete state is refused', async () => {
    const joining = await cluster.replica({ host: '127.0.0.1', port: 1 });
    await expect(joining.db.replication.promote()).rejects.toMatchObject({ code: 'NOT_READY' });
  });

  test('behind what callers were promised it is refused unless forced', async () => {
    const other = await cluster.replica(primary.address);
    await until('the other to stream', () => primary.saw('replica', { state: 'streaming' }).length > 1);
    proxy.fate = ({ name }) => (name === 'LOG' ? 'drop' : 'pass');
    const { position } = await primary.db.put('promised', '1');
    await primary.db.replication.waitFor(position);
    await until('the replica to hear of it', () => `${replica.db.replication.status().promised}` === `${position}`);
    await expect(replica.db.replication.promote()).rejects.toMatchObject({ code: 'BEHIND_PROMISED' });
    expect(other.db.get('promised')?.toString()).toBe('1');
    await expect(other.db.replication.promote()).resolves.toMatchObject({ epoch: '2.0' });
  });

  test('a repaired replica is refused until it has again what it once had', async () => {
    await primary.db.put('victim', 'v'.repeat(100));
    for (let i = 0; i < 5; i++) await primary.db.put(`k${i}`, `${i}`);
    await converged(primary, replica);
    proxy.isDown = true;
    proxy.cut();
    await replica.db.close();
    flipIn(replica.dir, 'v'.repeat(100));
    const { from } = await repairDirectory(replica.dir);
    await repairDirectory(replica.dir, from?.offset ?? 0n);
    await replica.reopen();
    await expect(replica.db.replication.promote()).rejects.toMatchObject({ code: 'NOT_READY' });
    proxy.isDown = false;
    await replica.db.replication.follow(proxy.address);
    await converged(primary, replica);
    expect(await replica.db.replication.promote()).toMatchObject({ epoch: '2.0' });
  });

  test('two promotions to one term by hand are an epoch conflict that the next promotion ends', async () => {
    const other = await cluster.replica(primary.address);
    await until('the other to stream', () => primary.saw('replica', { state: 'streaming' }).length > 1);
    await converged(primary, other);
    await converged(primary, replica);
    await primary.db.close();
    await replica.db.replication.promote({ epoch: 5 });
    await other.db.replication.promote({ epoch: 5 });
    const address = await replica.db.replication.listen(anywhere);
    await other.db.replication.demote({ follow: address });
    await until('the conflict', () => other.saw('needs_operator', { reason: 'epoch_conflict' }).length > 0);
    await replica.db.replication.promote({ epoch: 6 });
    await converged(replica, other);
    expect(other.saw('divergence')).toMatchObject([{ operations: 0, file: null }]);
  });
});

describe('acknowledgements', () => {
  test('a write that waits for replicas resolves when one holds it, and times out in doubt without', async () => {
    const commit = await primary.db.put('b', '2');
    await primary.db.replication.waitFor(commit.position, { level: 'applied' });
    expect(replica.db.get('b')?.toString()).toBe('2');
    expect(`${primary.db.replication.status().promised}`).toBe(`${commit.position}`);
    proxy.stall('to-replica');
    const { position } = await primary.db.put('c', '3');
    const late = primary.db.replication.waitFor(position, { timeoutMs: 200 });
    await expect(late).rejects.toMatchObject({ code: 'IN_DOUBT', details: { position: expect.anything() } });
    expect(primary.db.get('c')?.toString()).toBe('3');
    proxy.resume();
    await converged(primary, replica);
  });

  test('two replicas are not one replica twice', async () => {
    const { position } = await primary.db.put('b', '2');
    const two = primary.db.replication.waitFor(position, { replicas: 2, timeoutMs: 300 });
    await expect(two).rejects.toMatchObject({ code: 'IN_DOUBT' });
  });

  test('waiting for a position of another history is refused at once', async () => {
    const { position } = await primary.db.put('b', '2');
    const foreign = { ...position, chain: '0123456789abcdef', toString: position.toString, toJSON: position.toJSON };
    const waiting = primary.db.replication.waitFor(foreign);
    await expect(waiting).rejects.toMatchObject({ code: 'POSITION_NOT_IN_HISTORY' });
  });
});

describe('chains', () => {
  test('a replica that listens passes the stream on', async () => {
    const address = await replica.db.replication.listen(anywhere);
    const leaf = await cluster.replica(address);
    await converged(primary, leaf);
    await fill(primary, 500);
    await converged(primary, leaf);
    expect(leaf.db.replication.status().resync).toMatchObject({ full: 1 });
  });
});

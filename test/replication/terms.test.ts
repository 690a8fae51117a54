/**
 * Terms: what an old primary may do beside its successor, before and after it met the higher term; that two histories
 * never share an epoch, or that it is said; that a suffix stays until somebody gives it up.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Position, readLogRecords } from '../../dist/index.js';
import { converged, TestCluster, type TestNode, until } from './nodes.js';
import { startWriters } from './workload.js';

const anywhere = { host: '127.0.0.1', port: 0 };

let cluster: TestCluster;
let old: Awaited<ReturnType<TestCluster['primary']>>;
let next: TestNode;
let third: TestNode;

beforeEach(async () => {
  cluster = new TestCluster();
  old = await cluster.primary();
  await old.db.put('first', '1');
  next = await cluster.replica(old.address);
  third = await cluster.replica(old.address);
  await until('two streams', () => old.saw('replica', { state: 'streaming' }).length >= 2);
  await converged(old, next);
  await converged(old, third);
});
afterEach(() => cluster.end());

/** Kind of the record that begins an epoch, in docs/FORMAT.md. */
const epochRecord = 2;

/** The epochs that begin in a closed directory's log: number, and chain of the record. */
async function epochsOf(node: TestNode): Promise<Map<string, string>> {
  const epochs = new Map<string, string>();
  // What lies before a full sync is not in the log of whoever was synced.
  const base = node.saw('sync_done').at(-1)?.['position'] as Position | undefined;
  for await (const { kind, epoch, chain } of readLogRecords(node.dir, (base?.seq ?? 0n) + 1n)) {
    if (kind === epochRecord) epochs.set(epoch, chain);
  }
  return epochs;
}

/** Epochs that two of the nodes both have, begun by different records. The nodes are closed. */
async function sharedEpochs(...nodes: readonly TestNode[]): Promise<string[]> {
  for (const node of nodes) await node.db.close();
  const begun = new Map<string, string>();
  const shared: string[] = [];
  for (const node of nodes) {
    for (const [epoch, chain] of await epochsOf(node)) {
      if ((begun.get(epoch) ?? chain) !== chain) shared.push(epoch);
      begun.set(epoch, chain);
    }
  }
  return shared;
}

describe('an old primary that restarts beside its successor', () => {
  test('acknowledges in its own run until it meets the higher term, then nothing, also after restarts', async () => {
    await old.db.close();
    await next.db.replication.promote();
    await next.db.put('theirs', '2');
    // It knows nothing of its successor: what it acknowledges now is in its own history, under a run of its own.
    await old.reopen();
    await old.db.put('ours', '1');
    expect(old.db.status().epoch).toBe('1.1');
    expect(next.db.status().epoch).toBe('2.0');
    const address = await old.db.replication.listen(anywhere);
    const successor = await next.db.replication.listen(anywhere);
    await third.db.replication.follow(successor);
    await converged(next, third);
    const served = await third.db.digest();
    // Somebody who has seen the higher term dials it, in the middle of its writing.
    const writers = startWriters(old.db, { writers: 4 });
    const stopped = writers.stop.bind(writers);
    await until('acknowledgements', () => writers.commits() > 20);
    await third.db.replication.follow(address);
    await until('the fence', () => old.db.status().state === 'fenced');
    const acknowledged = writers.commits();
    await expect(stopped()).rejects.toMatchObject({ code: 'FENCED' });
    expect(writers.commits()).toBe(acknowledged);
    await expect(old.db.put('late', '1')).rejects.toMatchObject({ code: 'FENCED' });
    // Nothing changes on the one that told it.
    await until('the answer', () => third.saw('needs_operator', { reason: 'fenced' }).length > 0);
    expect((await third.db.digest()).digest).toBe(served.digest);
    for (let restart = 0; restart < 3; restart++) {
      await old.reopen();
      await expect(old.db.put('later', '1')).rejects.toMatchObject({ code: 'FENCED' });
      await expect(old.db.put('later', '1', { durability: 'memory' })).rejects.toMatchObject({ code: 'FENCED' });
      expect(() => old.db.putSync('later', '1')).toThrowError(expect.objectContaining({ code: 'FENCED' }));
      expect(old.db.status()).toMatchObject({ state: 'fenced', role: 'primary' });
      expect(old.db.get('late')).toBeUndefined();
    }
    expect(await sharedEpochs(old, next, third)).toEqual([]);
  });

  test('rejects whoever waits for replicas when the higher term comes, and lets nobody wait afterwards', async () => {
    const { position: both } = await old.db.put('both', '1');
    await old.db.replication.waitFor(both, { replicas: 2 });
    await third.db.replication.follow({ host: '127.0.0.1', port: 1 });
    const { position } = await old.db.put('one', '1');
    const waiting = old.db.replication.waitFor(position, { replicas: 2, timeoutMs: 20_000 });
    const rejected = expect(waiting).rejects.toMatchObject({ code: 'FENCED' });
    // It takes its leave with the higher term in its last word.
    const promoted = await next.db.replication.promote({ epoch: 7 });
    expect(promoted.epoch).toBe('7.0');
    await rejected;
    await expect(old.db.replication.waitFor(position)).rejects.toMatchObject({ code: 'FENCED' });
    expect(old.saw('fenced')).toEqual([expect.objectContaining({ seen: '7.0' })]);
  });
});

describe('an old primary with a suffix', () => {
  test('promised to callers keeps and serves it until an operator accepts the loss, also after a restart', async () => {
    await old.db.put('promised', '1');
    await converged(old, third);
    await next.db.replication.follow({ host: '127.0.0.1', port: 1 });
    const { position: held } = await old.db.put('suffix', 'x');
    await old.db.replication.waitFor(held);
    await until('the third to hear of it', () => `${third.db.replication.status().promised}` === `${held}`);
    await next.db.replication.promote();
    const successor = await next.db.replication.listen(anywhere);
    await next.db.put('theirs', '2');
    for (let turn = 0; turn < 2; turn++) {
      await third.db.replication.follow(successor);
      const stops = (): number => third.saw('needs_operator', { reason: 'lost_limit_exceeded' }).length;
      await until('the stop', () => stops() > turn);
      expect(`${third.db.position}`).toBe(`${held}`);
      expect(third.db.get('suffix')?.toString()).toBe('x');
      expect(third.db.get('theirs')).toBeUndefined();
      expect(third.db.status()).toMatchObject({ state: 'needs_operator', reason: 'lost_limit_exceeded' });
      // To ask for a full sync is not to accept that it takes the suffix away.
      const asked = await third.db.replication.resync({ full: true });
      expect(asked).toEqual({ tier: 'stop', reason: 'lost_limit_exceeded' });
    }
    await third.db.replication.follow({ ...successor, acceptLoss: true });
    await converged(next, third);
    expect(third.db.get('suffix')).toBeUndefined();
    expect(third.saw('cleared').length).toBeGreaterThan(0);
    expect(third.saw('divergence')).toMatchObject([{ operations: 1 }]);
    expect(await sharedEpochs(next, third)).toEqual([]);
  });

  test('of the same length as the successor has is not taken for equal', async () => {
    await old.db.close();
    await next.db.replication.promote();
    const successor = await next.db.replication.listen(anywhere);
    await third.db.replication.follow(successor);
    await old.reopen();
    // An EPOCH record and two puts on either side: equal sequences, equal offsets, other bytes.
    await next.db.put('key', '222');
    await old.db.put('key', '111');
    while (next.db.position.seq < old.db.position.seq) await next.db.put('more', '2');
    while (old.db.position.seq < next.db.position.seq) await old.db.put('more', '1');
    expect(old.db.position.seq).toBe(next.db.position.seq);
    await old.db.replication.demote({ follow: successor });
    await converged(next, old);
    expect(old.saw('resync', { tier: 'rewind', reason: null })).toHaveLength(1);
    expect(old.db.get('key')?.toString()).toBe('222');
  });
});

describe('promotions', () => {
  test('to one term by hand, twice, are told to whoever dials, and both histories stay', async () => {
    await old.db.close();
    await next.db.replication.promote({ epoch: 5 });
    await third.db.replication.promote({ epoch: 5 });
    await next.db.put('who', 'next');
    await third.db.put('who', 'third');
    const address = await next.db.replication.listen(anywhere);
    await third.db.replication.demote({ follow: address });
    await until('the conflict', () => third.saw('needs_operator', { reason: 'epoch_conflict' }).length > 0);
    expect(third.db.get('who')?.toString()).toBe('third');
    expect(next.db.get('who')?.toString()).toBe('next');
    expect(next.db.status().state).toBe('serving');
    // The one case in which two histories share an epoch, and it was said.
    expect(await sharedEpochs(next, third)).toEqual(['5.0']);
  });

  test('in turn, with nothing lost in between, need no full sync and leave all nodes equal', async () => {
    const nodes = [old, next, third];
    let primary: TestNode = old;
    for (let turn = 1; turn <= 4; turn++) {
      const successor = nodes[turn % 3] as TestNode;
      await primary.db.put(`turn-${turn}`, 'x');
      for (const node of nodes) await converged(primary, node);
      await successor.db.replication.promote();
      const address = successor.db.replication.status().listen ?? (await successor.db.replication.listen(anywhere));
      await until('the fence', () => primary.db.status().state === 'fenced');
      await primary.db.replication.demote({ follow: address });
      const rest = nodes.filter((node) => node !== primary && node !== successor);
      for (const node of rest) await node.db.replication.follow(address);
      await successor.db.put(`after-${turn}`, 'y');
      primary = successor;
      for (const node of nodes) await converged(primary, node);
    }
    expect(primary.db.status().epoch).toBe('5.0');
    for (const node of nodes) expect(node.saw('sync_start').length).toBeLessThanOrEqual(1);
    expect(old.saw('sync_start')).toHaveLength(0);
    expect(await sharedEpochs(old, next, third)).toEqual([]);
  });
});

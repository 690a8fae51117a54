/**
 * What a frame of the stream costs, counted: native calls on the replica for any number of shards, looks at the engine
 * on the primary for any number of replicas, and checks of a record wherever it goes.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { loadAddon } from '../../dist/binding/load.js';
import type { OpenOptions } from '../../dist/index.js';
import { fill, TestCluster, type TestNode, until } from '../replication/nodes.js';
import { callsOf, countOf } from './counting.js';

let cluster = new TestCluster();
afterEach(async () => {
  await cluster.end();
  cluster = new TestCluster();
});

interface Running {
  readonly primary: TestNode;
  readonly replicas: readonly TestNode[];
}

/** A primary and replicas that follow its stream. */
async function running(count: number, options: OpenOptions = {}): Promise<Running> {
  const primary = await cluster.primary(options);
  const replicas: TestNode[] = [];
  for (let index = 0; index < count; index += 1) replicas.push(await cluster.replica(primary.address, options));
  for (const replica of replicas) await until('the stream', () => replica.saw('streaming').length > 0);
  return { primary, replicas };
}

/** Until all show what the primary shows now; asks the primary once. */
async function caughtUp({ primary, replicas }: Running): Promise<void> {
  const end = primary.db.position;
  // Or beyond: a slot's record may come behind.
  for (const replica of replicas) await until(`${end}`, () => replica.db.position.offset >= end.offset);
}

describe('a frame costs a replica three native calls', () => {
  test.each([1, 64])('with %i shards', async (shards) => {
    const nodes = await running(1, { shards });
    await caughtUp(nodes);
    const calls = callsOf(nodes.replicas[0]?.dir ?? '');
    calls.byMethod.clear();
    await fill(nodes.primary, 2000);
    await caughtUp(nodes);
    const published = countOf(calls, 'publishTicket');
    expect(published).toBeGreaterThan(0);
    expect(countOf(calls, 'applyTicket')).toBe(published);
    // One more now and then: a log that has no room takes a frame in two parts.
    expect(countOf(calls, 'appendReplicated')).toBeGreaterThanOrEqual(published);
    expect(countOf(calls, 'appendReplicated')).toBeLessThanOrEqual(published + 4);
    expect(countOf(calls, 'applyTicketShard')).toBe(0);
  });
});

describe('a primary looks at the engine as often as it wakes, not as often as it has replicas', () => {
  test.each([0, 1, 3])('with %i replicas', async (count) => {
    const nodes = await running(count);
    const calls = callsOf(nodes.primary.dir);
    calls.byMethod.clear();
    calls.wakes = 0;
    await fill(nodes.primary, 3000);
    const { wakes } = calls;
    const looks = countOf(calls, 'progress');
    expect(wakes).toBeGreaterThan(10);
    // One for the commits, one for replication.
    expect(looks).toBeLessThanOrEqual(2 * wakes + 4);
    await caughtUp(nodes);
  });
});

describe('a record is checked once where it leaves shared memory and once where it arrives', () => {
  const records = 1000;
  test.each([0, 1, 2])('with %i replicas', async (count) => {
    const addon = loadAddon();
    const nodes = await running(count);
    await caughtUp(nodes);
    const before = addon.recordsChecked();
    for (let index = 0; index < records; index += 1) {
      await nodes.primary.db.put(`key-${index}`, 'value', { durability: 'memory' });
    }
    await caughtUp(nodes);
    const checked = addon.recordsChecked() - before;
    expect(checked).toBeGreaterThanOrEqual(2 * records * count);
    // Room for control records and for what a reader of the ring met twice.
    expect(checked).toBeLessThanOrEqual(2 * (records + 20) * count);
  });
});

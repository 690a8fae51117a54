/**
 * What stays within its bounds: memory beside a replica that takes nothing, a log that is trimmed, records around the
 * size of the ring, a node that is alone, a process that is killed or frozen. GAPLESS_STALLED_BYTES: written
 * meanwhile.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestDirectory } from '../../dist/index.js';
import { NodeProcess } from '../chaos/node-process.mjs';
import { report } from './figures.js';
import { converged, fill, resyncs, TestCluster, type TestNode, until } from './nodes.js';
import { FrameProxy } from './proxy.js';
import { replayedDigest } from './workload.js';

const mib = 1024 * 1024;
const stalledBytes = Number(process.env['GAPLESS_STALLED_BYTES'] ?? 96 * mib);
const ringBytes = 64 * 1024;

let cluster: TestCluster;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

async function proxied(address: { host: string; port: number }): Promise<FrameProxy> {
  const proxy = await FrameProxy.start(address);
  cluster.atEnd(() => proxy.close());
  return proxy;
}

/** A path that nothing stands at yet. */
function directory(): string {
  const parent = mkdtempSync(join(tmpdir(), 'gapless-limits-'));
  cluster.atEnd(async () => rmSync(parent, { recursive: true, force: true }));
  return join(parent, 'node');
}

interface Digested {
  readonly digest: string;
  readonly position: { readonly seq: string };
}
const processOptions = { ringBytes, segmentBytes: 64 * 1024, logRetainBytes: 0 } as const;
const impatient = { heartbeatMs: 50, timeoutMs: 600 } as const;

async function processNode(dir: string, options: Parameters<typeof NodeProcess.start>[1]): Promise<NodeProcess> {
  const node = await NodeProcess.start(dir, { ...processOptions, replication: impatient, ...options });
  cluster.atEnd(async () => {
    await node.kill();
  });
  return node;
}

describe('memory', () => {
  test('beside a replica that takes nothing stays bounded, whatever is written', async () => {
    const patient = { replication: { timeoutMs: 120_000, replicaMaxBytes: mib } };
    const primary = await cluster.primary({ ...patient, durability: 'os', segmentBytes: 8 * mib });
    const proxy = await proxied(primary.address);
    const replica = await cluster.replica(proxy.address, { ...patient, durability: 'os' });
    const value = Buffer.alloc(mib - 256, 1);
    let tableMost = 0;
    const write = async (bytes: number): Promise<void> => {
      for (let done = 0; done < bytes; done += 4 * mib) {
        await Promise.all(Array.from({ length: 4 }, (_, i) => primary.db.put(`large-${i}`, value)));
        tableMost = Math.max(tableMost, primary.db.stats().store.memtableBytes);
      }
    };
    await write(16 * mib);
    await converged(primary, replica, 30_000);
    const syncs = replica.saw('sync_start').length;
    proxy.stall('to-primary', 'to-replica');
    // The table keeps overwritten versions for a while, and an allocator what was freed: not memory for the replica.
    const memory = (): number => process.memoryUsage().rss - tableMost;
    const before = memory();
    const buffersBefore = process.memoryUsage().external;
    await write(stalledBytes);
    const grown = memory() - before;
    expect(process.memoryUsage().external - buffersBefore).toBeLessThan(16 * mib);
    report('MiB of memory grown beside a stalled replica', Math.round(grown / mib), Math.round(stalledBytes / mib));
    expect(grown).toBeLessThan(ringBytes + 64 * mib);
    proxy.resume();
    await converged(primary, replica, 60_000);
    expect(replica.saw('sync_start')).toHaveLength(syncs);
  }, 300_000);
});

describe('a record around the size of the ring', () => {
  test('travels on a live link and after a cut', async () => {
    const primary = await cluster.primary({ ringBytes });
    const proxy = await proxied(primary.address);
    const replica = await cluster.replica(proxy.address);
    await until('the stream', () => replica.saw('streaming').length > 0);
    // The node's own records (epoch, slot) may stand between: the least of a few is the put alone.
    const probes: number[] = [];
    for (let i = 0; i < 4; i += 1) probes.push(await recordBytes(primary, 1000));
    const probe = Math.min(...probes);
    const sizes: number[] = [];
    for (const wanted of [ringBytes - 8, ringBytes, ringBytes + 8]) {
      const bytes = 1000 + wanted - probe;
      for (const isCut of [false, true]) {
        if (isCut) {
          proxy.isDown = true;
          proxy.cut();
        }
        sizes.push(await recordBytes(primary, bytes));
        await primary.db.put('small', `${wanted}`);
        proxy.isDown = false;
        await converged(primary, replica);
        expect(replica.db.get('sized')?.length).toBe(bytes);
      }
    }
    expect(new Set(sizes)).toEqual(new Set([ringBytes - 8, ringBytes, ringBytes + 8]));
    expect(replica.db.status().counters).toMatchObject({ gaps: 0, droppedRecords: 0 });
    expect(replica.db.replication.status().resync).toMatchObject({ full: 0 });
  });
});

/** Puts a value of so many bytes; the bytes of its record. */
async function recordBytes(node: TestNode, bytes: number): Promise<number> {
  const before = node.db.position.offset;
  const { position } = await node.db.put('sized', Buffer.alloc(bytes, 's'));
  return Number(position.offset - before);
}

describe('a log', () => {
  test('of ten times logRetainBytes reopens complete: on a primary, and behind a full sync on a replica', async () => {
    const logRetainBytes = 64 * 1024;
    const primary = await cluster.primary({ logRetainBytes });
    await fill(primary, 500, 100, 'early');
    const replica = await cluster.replica(primary.address, { logRetainBytes });
    await converged(primary, replica);
    expect(replica.saw('sync_done')).toHaveLength(1);
    for (let round = 0; round < 8; round++) await fill(primary, 1000, 100, `round-${round % 3}`);
    await converged(primary, replica);
    const { position, digest, keys } = await primary.db.digest();
    expect(position.offset).toBeGreaterThan(BigInt(10 * logRetainBytes));
    for (const node of [primary, replica]) {
      await node.reopen();
      const again = await node.db.digest();
      expect({ position: `${again.position}`, digest: again.digest, keys: again.keys }).toEqual({
        position: `${position}`,
        digest,
        keys,
      });
      expect(node.db.get('early-0')?.length).toBe(100);
    }
  });
});

describe('an idle primary', () => {
  test('that was lost behind nothing but heartbeats is found again at the very same offset', async () => {
    const primary = await cluster.primary({ replication: { heartbeatMs: 10 } });
    await fill(primary, 10);
    const proxy = await proxied(primary.address);
    const replica = await cluster.replica(proxy.address, { replication: { heartbeatMs: 10 } });
    await until('the stream', () => primary.saw('replica', { state: 'streaming' }).length > 0);
    await converged(primary, replica);
    const beats = new Map<string, number>();
    proxy.fate = ({ name }) => {
      beats.set(name, (beats.get(name) ?? 0) + 1);
      return 'pass';
    };
    const { position } = await primary.db.digest();
    await until('heartbeats', () => (beats.get('COMMIT') ?? 0) >= 50 && (beats.get('ACK') ?? 0) >= 50);
    expect([...beats.keys()].filter((name) => !['COMMIT', 'ACK', 'PING'].includes(name))).toEqual([]);
    proxy.cut();
    await until('the second decision', () => replica.saw('resync').length > 1);
    expect(replica.saw('resync').at(-1)).toMatchObject({ tier: 'ring', reason: null });
    expect(`${replica.saw('resync').at(-1)?.['from']}`).toBe(`${position}`);
    await until('the stream', () => replica.saw('streaming').length > 1);
    expect(`${primary.db.position}`).toBe(`${position}`);
    expect(resyncs(replica)).toMatchObject({ full: 1, ring: 1 });
  });
});

describe('processes', () => {
  test('a replica killed behind a full sync has the same state without its primary', async () => {
    const primary = await cluster.primary();
    await fill(primary, 3000, 100);
    const dir = directory();
    const replica = await processNode(dir, { asReplica: true });
    await replica.ask('follow', primary.address);
    await until('the switch', () => replica.saw('sync_done').length > 0);
    // The primary has named its slot by then, so that nothing follows what is put now.
    await until('the slot', () => primary.db.status().log.holds.some(({ kind }) => kind === 'slot'));
    await until('the stream', () => primary.saw('replica', { state: 'streaming' }).length > 0);
    await primary.db.put('behind', 'the sync');
    const shown = async (): Promise<string> => (await replica.ask<{ position: string }>('place')).position;
    while ((await shown()) !== `${primary.db.position}`) await new Promise((resolve) => setTimeout(resolve, 10));
    const { position, digest } = await primary.db.digest();
    await replica.kill();
    await primary.db.close();
    expect((await digestDirectory(dir, position.seq)).digest).toBe(digest);
    const alone = await processNode(dir, { asReplica: true });
    const again = await alone.ask<Digested>('digest');
    expect(again.digest).toBe(digest);
    expect(await alone.ask('get', { key: 'behind' })).toBe('the sync');
  }, 60_000);

  test('a replica killed at any moment of a full sync keeps its old state, or has the new one whole', async () => {
    const primary = await cluster.primary();
    await fill(primary, 3000, 100);
    const proxy = await proxied(primary.address);
    const dir = directory();
    const follow = async (): Promise<NodeProcess> => {
      const node = await processNode(dir, { asReplica: true });
      await node.ask('follow', proxy.address);
      return node;
    };
    let replica = await follow();
    await until('the first stream', () => replica.saw('streaming').length > 0);
    const moments = ['SNAPSHOT_BEGIN', 'FLOW_DATA', 'FLOW_DONE', 'LOG_DURABLE', 'FLOW_END', 'INSTALLED'];
    for (const moment of moments) {
      await primary.db.put('moment', moment);
      let isReached = false;
      proxy.fate = ({ name }) => {
        isReached ||= name === moment;
        return 'pass';
      };
      await replica.ask('resync', { full: true });
      await until(moment, () => isReached);
      await replica.kill();
      proxy.fate = () => 'pass';
      const { digest, position } = await digestDirectory(dir);
      expect(position.seq).toBeGreaterThan(0n);
      expect(await replayedOnCopy(primary, position.seq)).toBe(digest);
      replica = await follow();
      await until('the stream', () => replica.saw('streaming').length > 0);
      // An operator asked the process that is gone: nobody asks any more, and the position is good.
      expect(replica.saw('sync_start')).toHaveLength(0);
    }
  }, 120_000);

  test('a primary that stands still is given up by silence, and found again where it was', async () => {
    const primary = await processNode(directory(), {});
    const address = await primary.ask<{ host: string; port: number }>('listen', { host: '127.0.0.1', port: 0 });
    const replica = await cluster.replica(address, { replication: impatient });
    await until('the stream', () => replica.saw('streaming').length > 0);
    await primary.ask('load', { writers: 16, seed: 3, keys: 500, pauseMs: 0, generations: true });
    await until('acknowledgements', () => primary.acks > 200);
    await replica.db.replication.resync({ full: true });
    await until('the sync', () => replica.saw('sync_start').length > 0);
    primary.freeze();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    primary.thaw();
    await until('a state', () => replica.saw('sync_done').length > 0, 30_000);
    await primary.ask('stopLoad');
    const { position, digest } = await primary.ask<{ position: string; digest: string }>('digest');
    const shown = (): string => JSON.stringify(replica.db.position);
    await until('the end', () => shown() === JSON.stringify(position), 30_000);
    expect((await replica.db.digest()).digest).toBe(digest);
    expect(replica.saw('sync_done')).toHaveLength(1);
    for (const [writer, i] of primary.acknowledged) expect(replica.db.get(`own-${writer}`)?.toString()).toBe(`${i}`);
  }, 60_000);
});

/** The primary's log replayed up to a sequence, out of a copy of its directory. Requires: nobody writes. */
async function replayedOnCopy(primary: TestNode, seq: bigint): Promise<string> {
  const copy = directory();
  cpSync(primary.dir, copy, { recursive: true });
  return replayedDigest(copy, seq);
}

/**
 * Full syncs that are cut short: they go on where they were, while the primary has the snapshot; joiners share one.
 * GAPLESS_SYNC_CUTS: how often the long one is cut (3 MiB of data for each).
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { OpenOptions } from '../../dist/index.js';
import { NodeProcess } from '../chaos/node-process.mjs';
import { report } from './figures.js';
import { converged, fill, resyncs, TestCluster, type TestNode, until } from './nodes.js';
import { FrameProxy, type ProxiedFrame } from './proxy.js';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 10_000 });

const mib = 1024 * 1024;
const cuts = Number(process.env['GAPLESS_SYNC_CUTS'] ?? 12);
const patient: OpenOptions = { durability: 'os', segmentBytes: 8 * mib, replication: { timeoutMs: 10_000 } };

let cluster: TestCluster;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

type Primary = Awaited<ReturnType<TestCluster['primary']>>;

async function proxied(options: OpenOptions = patient): Promise<{ primary: Primary; proxy: FrameProxy }> {
  const primary = await cluster.primary(options);
  const proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
  return { primary, proxy };
}

/** Values that no compression and no guess makes smaller. */
async function fillLarge(node: TestNode, mebibytes: number): Promise<void> {
  for (let i = 0; i < mebibytes; i++) {
    const batch = node.db.batch();
    for (let j = 0; j < 16; j++) batch.put(`large-${i}-${j}`, randomBytes(mib / 16));
    await batch.commit();
  }
}

const snapshots = (node: TestNode): number =>
  node.db.status().log.holds.filter(({ kind }) => kind === 'snapshot').length;
const isData = ({ name }: ProxiedFrame): boolean => name === 'FLOW_DATA';

describe('an interrupted full sync', () => {
  test(
    'goes on from the last verified piece of each flow: many cuts cost less than half a sync more',
    async () => {
      const { primary, proxy } = await proxied();
      await fillLarge(primary, cuts * 3);
      proxy.bytesPerSecond = 64 * mib;
      let done = 0;
      let passed = 0;
      let turn = 0;
      proxy.fate = (frame) => {
        if (!isData(frame)) return 'pass';
        // Every third piece is lost, with its connection or with all of them.
        if (done < cuts && ++turn % 3 === 0) {
          done++;
          if (done % 2 === 0) return 'cut';
          queueMicrotask(() => proxy.cut());
          return 'drop';
        }
        passed += frame.bytes.length;
        return 'pass';
      };
      const replica = await cluster.replica(proxy.address, patient);
      await until('the cuts', () => done === cuts, 50_000 + cuts * 3000);
      await converged(primary, replica, 60_000);
      const bytes = Number(replica.saw('sync_done')[0]?.['bytes']);
      report('times the bytes of one sync were sent, with cuts', passed / bytes, cuts);
      expect(bytes).toBeGreaterThan(cuts * 3 * mib);
      expect(passed).toBeLessThan(1.5 * bytes);
      expect(new Set(replica.saw('sync_start').map(({ id }) => id)).size).toBe(1);
      expect(Number(replica.saw('sync_done')[0]?.['resumedBytes'])).toBeGreaterThan(0);
      expect(resyncs(replica)).toMatchObject({ full: 1 });
    },
    120_000 + cuts * 4000,
  );

  test('whose control connection broke resumes its snapshot, and what was written meanwhile arrives once', async () => {
    const { primary, proxy } = await proxied();
    await fillLarge(primary, 8);
    let isCut = false;
    proxy.fate = (frame) => {
      if (isCut || frame.name !== 'FLOW_DONE') return 'pass';
      isCut = true;
      queueMicrotask(() => proxy.cut());
      return 'drop';
    };
    const replica = await cluster.replica(proxy.address, patient);
    for (let i = 0; i < 50; i++) await primary.db.increment('counted');
    await until('the second start', () => replica.saw('sync_start', { resumed: true }).length === 1);
    for (let i = 0; i < 50; i++) await primary.db.increment('counted');
    await converged(primary, replica);
    expect(replica.db.get('counted')?.toString()).toBe('100');
    const [first, second] = replica.saw('sync_start');
    expect(first).toMatchObject({ resumed: false });
    expect(second).toMatchObject({ resumed: true, id: first?.['id'] });
    expect(replica.db.status().counters).toMatchObject({ gaps: 0 });
    expect(replica.saw('sync_done')).toHaveLength(1);
    expect(replica.saw('sync_done')[0]?.['resumedBytes']).toBeGreaterThan(0);
    expect(replica.saw('sync_failed')[0]?.['retryMs']).toBeLessThan(200);
    await until('the pin to go', () => snapshots(primary) === 0);
  });

  test('begins anew when the primary has let go of the snapshot', async () => {
    const { primary, proxy } = await proxied({ ...patient, snapshotHoldMs: 1000 });
    await fillLarge(primary, 4);
    let isCut = false;
    proxy.fate = (frame) => {
      if (isCut || !isData(frame)) return 'pass';
      isCut = true;
      proxy.isDown = true;
      queueMicrotask(() => proxy.cut());
      return 'drop';
    };
    const replica = await cluster.replica(proxy.address, patient);
    await until('the cut', () => isCut);
    await until('the pin to go', () => snapshots(primary) === 0);
    proxy.isDown = false;
    await converged(primary, replica);
    const [first, second] = replica.saw('sync_start');
    expect(second).toMatchObject({ resumed: false });
    expect(second?.['id']).not.toBe(first?.['id']);
    expect(replica.saw('sync_done')[0]?.['resumedBytes']).toBe(0);
  });

  test('that another decision makes needless leaves nothing behind, on either side', async () => {
    const { primary, proxy } = await proxied();
    await fillLarge(primary, 4);
    const replica = await cluster.replica(proxy.address, patient);
    await converged(primary, replica);
    let isCut = false;
    proxy.fate = (frame) => {
      if (isCut || !isData(frame)) return 'pass';
      isCut = true;
      proxy.isDown = true;
      queueMicrotask(() => proxy.cut());
      return 'drop';
    };
    await replica.db.replication.resync({ full: true });
    await until('the cut', () => isCut);
    expect(snapshots(primary)).toBe(1);
    // Asked for again, and not in full.
    const decided = replica.db.replication.resync();
    proxy.isDown = false;
    expect(await decided).toMatchObject({ tier: 'ring' });
    await until('the pin to go', () => snapshots(primary) === 0);
    await converged(primary, replica);
    expect(replica.saw('sync_done')).toHaveLength(1);
  });
});

describe('joiners', () => {
  test('that come while a snapshot is young take flows of the same one', async () => {
    const { primary, proxy } = await proxied();
    await fillLarge(primary, 4);
    proxy.fate = ({ name }) => (name === 'FLOW_DONE' ? 'hold' : 'pass');
    const first = await cluster.replica(proxy.address, patient);
    await until('a flow to be held back', () => proxy.held > 0);
    await fill(primary, 100);
    const second = await cluster.replica(primary.address, patient);
    await converged(primary, second);
    expect(second.saw('sync_start')[0]).toMatchObject({ id: first.saw('sync_start')[0]?.['id'] });
    expect(snapshots(primary)).toBe(1);
    proxy.fate = () => 'pass';
    proxy.releaseHeld();
    await converged(primary, first);
    await until('the pin to go', () => snapshots(primary) === 0);
  });

  test('are not shown a state older than their own', async () => {
    const { primary, proxy } = await proxied();
    await fillLarge(primary, 2);
    const second = await cluster.replica(primary.address, patient);
    await converged(primary, second);
    proxy.fate = ({ name }) => (name === 'FLOW_DONE' ? 'hold' : 'pass');
    const first = await cluster.replica(proxy.address, patient);
    await until('a flow to be held back', () => proxy.held > 0);
    await fill(primary, 100);
    await converged(primary, second);
    await second.db.replication.resync({ full: true });
    await until('the sync', () => second.saw('sync_done').length === 2);
    expect(second.saw('sync_start').at(-1)?.['id']).not.toBe(first.saw('sync_start')[0]?.['id']);
    for (const { from, to } of second.saw('switched') as unknown as {
      from: { offset: bigint };
      to: { offset: bigint };
    }[]) {
      expect(to.offset).toBeGreaterThanOrEqual(from.offset);
    }
    proxy.fate = () => 'pass';
    proxy.releaseHeld();
    await converged(primary, first);
  });

  test('are told how far their sync is, flow by flow, and when it will be done', async () => {
    const { primary, proxy } = await proxied();
    await fillLarge(primary, 8);
    proxy.bytesPerSecond = 2 * mib;
    const replica = await cluster.replica(proxy.address, patient);
    await until('progress', () => replica.saw('progress').length >= 2);
    const progress = replica.db.replication.status().link?.progress;
    expect(progress?.flows).toHaveLength(4);
    expect(progress?.totalBytes).toBeGreaterThan(7 * mib);
    expect(progress?.totalBytes).toBeLessThan(12 * mib);
    expect(progress?.etaMs).toBeGreaterThan(0);
    const [said] = replica.saw('progress');
    expect(said).toMatchObject({ phase: 'full' });
    expect(Number(said?.['done'])).toBeLessThanOrEqual(Number(said?.['total']));
    proxy.bytesPerSecond = 0;
    await converged(primary, replica);
  });
});

describe('a replica process that is ended in mid-sync', () => {
  async function interrupted(end: (node: NodeProcess) => Promise<unknown>): Promise<void> {
    const { primary, proxy } = await proxied();
    await fillLarge(primary, 24);
    let passed = 0;
    proxy.fate = (frame) => {
      if (isData(frame)) passed += frame.bytes.length;
      return 'pass';
    };
    proxy.bytesPerSecond = 4 * mib;
    const dir = join(mkdtempSync(join(tmpdir(), 'gapless-interrupted-')), 'node');
    cluster.atEnd(async () => rmSync(dirname(dir), { recursive: true, force: true }));
    const start = async (): Promise<NodeProcess> => {
      const node = await NodeProcess.start(dir, { ...patient, asReplica: true });
      cluster.atEnd(async () => {
        await node.kill();
      });
      await node.ask('follow', proxy.address);
      return node;
    };
    const first = await start();
    await until('half of it', () => passed > 12 * mib, 40_000);
    await end(first);
    await primary.db.put('meanwhile', 'written');
    proxy.bytesPerSecond = 0;
    const second = await start();
    await until('the end of the sync', () => second.saw('sync_done').length === 1, 40_000);
    expect(second.saw('sync_start')).toHaveLength(1);
    expect(second.saw('sync_start')[0]).toMatchObject({ resumed: true, id: first.saw('sync_start')[0]?.['id'] });
    const done = second.saw('sync_done')[0];
    expect(Number(done?.['resumedBytes'])).toBeGreaterThan(4 * mib);
    expect(passed).toBeLessThan(1.5 * Number(done?.['bytes']));
    report('times the bytes of one sync were sent, with a kill', passed / Number(done?.['bytes']));
    await until('the stream', () => primary.saw('replica', { state: 'streaming' }).length > 0);
    const { position, digest } = await primary.db.digest();
    for (;;) {
      const theirs = await second.ask<{ digest: string; position: { seq: string } }>('digest');
      if (`${theirs.position.seq}` === `${position.seq}`) {
        expect(theirs.digest).toBe(digest);
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await second.ask('get', { key: 'meanwhile' })).toBe('written');
    await second.close();
  }

  test('by kill -9 goes on when it is started again', () => interrupted((node) => node.kill()), 120_000);
  test('in order goes on when it is started again', () => interrupted((node) => node.close()), 120_000);
});

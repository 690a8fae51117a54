/**
 * What replication may cost: so many full syncs for one reason; and a log that is only in segments is caught up with
 * at the pace of the disk. GAPLESS_CATCH_UP_MIB: how much log that is.
 */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { report } from './figures.js';
import { converged, fill, TestCluster, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 10_000 });

const mib = 1024 * 1024;
const catchUpMib = Number(process.env['GAPLESS_CATCH_UP_MIB'] ?? 24);

let cluster: TestCluster;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

describe('full syncs for one reason', () => {
  test('beyond fullSyncsMax stop with needs_operator, and an operator gets it further', async () => {
    const primary = await cluster.primary({ slotMaxBytes: 64 * 1024, memtableBytes: 256 * 1024 });
    const proxy = await FrameProxy.start(primary.address);
    cluster.atEnd(() => proxy.close());
    await primary.db.put('a', '1');
    const replica = await cluster.replica(proxy.address, { replication: { fullSyncsMax: 1 } });
    await converged(primary, replica);
    const fallBehind = async (): Promise<void> => {
      proxy.isDown = true;
      proxy.cut();
      const { offset } = replica.db.position;
      const isTrimmed = (): boolean => BigInt(primary.db.status().log.floor) > offset;
      for (let i = 0; i < 60 && !isTrimmed(); i++) await fill(primary, 500, 200, `round-${i % 4}`);
      await until('the log to be trimmed', isTrimmed);
      proxy.isDown = false;
    };
    await fallBehind();
    await converged(primary, replica, 30_000);
    expect(replica.saw('resync').at(-1)).toMatchObject({ tier: 'full', reason: 'below_wal_floor' });
    await fallBehind();
    await until('the stop', () => replica.saw('needs_operator').length > 0, 30_000);
    expect(replica.saw('needs_operator')[0]).toMatchObject({ reason: 'below_wal_floor' });
    expect(replica.db.status()).toMatchObject({ state: 'needs_operator', reason: 'below_wal_floor' });
    expect(replica.db.get('a')?.toString()).toBe('1');
    await replica.db.replication.resync({ full: true });
    await until('the end of the stop', () => replica.saw('cleared').length > 0);
    await converged(primary, replica, 30_000);
  });
});

describe('a log that is only in segments', () => {
  test('is caught up with at the pace of the disk', async () => {
    const primary = await cluster.primary({ durability: 'os', segmentBytes: 8 * mib, logRetainBytes: 1024 * mib });
    const proxy = await FrameProxy.start(primary.address);
    cluster.atEnd(() => proxy.close());
    await primary.db.put('a', '1');
    const replica = await cluster.replica(proxy.address, { durability: 'os', segmentBytes: 8 * mib });
    await converged(primary, replica);
    proxy.isDown = true;
    proxy.cut();
    for (let i = 0; i < catchUpMib; i++) {
      const batch = primary.db.batch();
      for (let j = 0; j < 256; j++) batch.put(`key-${i}-${j}`, randomBytes(4096));
      await batch.commit();
    }
    const began = performance.now();
    await replica.db.replication.follow(primary.address);
    await until('the end', () => replica.db.position.offset === primary.db.position.offset, 60_000);
    const seconds = (performance.now() - began) / 1000;
    report('MiB a second of catching up from segments', Math.round(catchUpMib / seconds));
    await converged(primary, replica);
    expect(replica.saw('resync').at(-1)).toMatchObject({ tier: 'wal' });
    expect(replica.saw('sync_start')).toHaveLength(1);
    // Far below what it does, and far above what one frame a round trip would do.
    expect(catchUpMib / seconds).toBeGreaterThan(2);
  });
});

/**
 * What replication may cost: so many full syncs for one reason, so many replicas at once, and a log behind segments
 * that is caught up with at the pace of the disk. GAPLESS_CATCH_UP_MIB: how much log that is.
 */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../dist/base/clock.js';
import { systemRandom } from '../../dist/base/prng.js';
import { emptyPosition } from '../../dist/position.js';
import { Connection, type ConnectionHandler } from '../../dist/replication/connection.js';
import { tcpNetwork } from '../../dist/replication/tcp-transport.js';
import type { Frame } from '../../dist/wire/frames.js';
import { report } from './figures.js';
import { checksum } from './liar.js';
import { converged, fill, TestCluster, type TestNode, until } from './nodes.js';
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

/** A replica that is nothing but its connection: takes what comes, and acknowledges nothing. */
class Taker implements ConnectionHandler {
  received = 0;
  state = 'handshake';
  #connection: Connection | undefined;
  readonly #nodeId = randomBytes(16).toString('hex');
  readonly #from: TestNode;

  constructor(from: TestNode) {
    this.#from = from;
  }

  async dial(address: { readonly host: string; readonly port: number }): Promise<void> {
    const channel = await tcpNetwork().dial(address, 10_000);
    this.#connection = new Connection(
      channel,
      {
        side: 'replica',
        purpose: 'control',
        nodeId: this.#nodeId,
        clusterId: this.#from.db.status().clusterId ?? '',
        secret: undefined,
        clock: systemClock(),
        random: systemRandom(),
        checksum,
        heartbeatMs: 100,
        timeoutMs: 20_000,
        epoch: () => '1.0',
        highestTerm: () => 1,
        seeTerm: async () => undefined,
      },
      this,
    );
    cluster.atEnd(async () => this.#connection?.destroy(null));
  }

  authenticated(): void {
    queueMicrotask(() => this.#shake());
  }
  frame(frame: Frame): void {
    if (frame.type === 'DECISION') {
      this.state = frame.tier;
      this.#connection?.send({ type: 'ANSWER', verdict: 'accept', position: frame.from, details: '' });
    } else if (frame.type === 'LOG') this.received += frame.records.length;
  }
  drained(): void {}
  beat(): void {}
  closed(): void {
    this.state = 'closed';
  }

  /** At the primary's very position, as a replica that was there before. */
  #shake(): void {
    const { db } = this.#from;
    const position = db.position;
    this.#connection?.send({
      type: 'HANDSHAKE',
      clusterId: db.status().clusterId ?? '',
      nodeId: this.#nodeId,
      highestTerm: 1,
      position,
      durable: position,
      applied: position,
      promised: emptyPosition(),
      complete: true,
      consistent: true,
      belowFormerMark: false,
      acceptLoss: false,
      asksFull: null,
      capabilities: 0n,
      resume: null,
      checkpoints: [],
      epochs: [],
      version: 'test',
    });
  }
}

describe('sixty-four replicas', () => {
  test('that take the stream and never acknowledge it cost a bounded amount, and one more is refused', async () => {
    const replicaMaxBytes = mib;
    const primary = await cluster.primary({ replication: { replicaMaxBytes, timeoutMs: 20_000 }, durability: 'os' });
    await primary.db.put('a', '1');
    const takers: Taker[] = [];
    for (let i = 0; i < 64; i++) {
      const taker = new Taker(primary);
      takers.push(taker);
      await taker.dial(primary.address);
    }
    const streams = (): number => takers.filter(({ state }) => state === 'ring' || state === 'wal').length;
    await until('all of them', () => streams() === 64, 30_000);
    const more = new Taker(primary);
    await more.dial(primary.address);
    await until('the refusal', () => more.state === 'closed');
    const before = process.memoryUsage().external;
    for (let i = 0; i < 16; i++) await primary.db.put(`large-${i % 4}`, randomBytes(mib / 2));
    await until('budgets to be used up', () => takers.every(({ received }) => received >= replicaMaxBytes));
    // Nobody gets more than its budget and one chunk beyond it: for 64 of them, not 8 MiB each.
    for (const { received } of takers) expect(received).toBeLessThan(replicaMaxBytes + 2 * mib);
    const grown = process.memoryUsage().external - before;
    report('MiB of buffers grown beside 64 replicas that never acknowledge', Math.round(grown / mib));
    expect(grown).toBeLessThan(128 * mib);
    expect(streams()).toBe(64);
    // And writers go on.
    await primary.db.put('after', 'all');
  });
});

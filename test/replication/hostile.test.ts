/**
 * Peers that are authenticated and lie, with good checksums: whatever they say, the state that is served stays as it
 * is, nothing false becomes part of one, the process goes on, and an honest attempt afterwards works.
 */
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { FrameOf } from '../../dist/wire/frames.js';
import { checksum, lieAbout, lieOnceAbout } from './liar.js';
import { converged, fill, TestCluster, until } from './nodes.js';
import { type Fate, FrameProxy, type ProxiedFrame } from './proxy.js';

vi.setConfig({ testTimeout: 40_000, hookTimeout: 10_000 });

let cluster: TestCluster;
let primary: Awaited<ReturnType<TestCluster['primary']>>;
let proxy: FrameProxy;

beforeEach(async () => {
  cluster = new TestCluster();
  primary = await cluster.primary();
  await fill(primary, 500, 200);
  proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
});
afterEach(() => cluster.end());

type Lie = (proxied: ProxiedFrame) => Fate;
type Lies = readonly (readonly [string, Lie])[];
const atOnce = 8;

/** Each lie has a proxy of its own, some at a time; which of them did not end as they should. */
async function failuresOf(lies: Lies, told: (proxy: FrameProxy, lie: Lie) => Promise<void>): Promise<string[]> {
  const failures: string[] = [];
  const tell = async ([name, lie]: readonly [string, Lie]): Promise<void> => {
    const own = await FrameProxy.start(primary.address);
    cluster.atEnd(() => own.close());
    await told(own, lie).catch((error: unknown) => failures.push(`${name}: ${String(error)}`));
  };
  for (let i = 0; i < lies.length; i += atOnce) await Promise.all(lies.slice(i, i + atOnce).map(tell));
  return failures;
}

/** Passes what it is not asked about; `lied` says whether the lie was told. */
function tellOnce(own: FrameProxy, lie: Lie): () => boolean {
  let lied = 0;
  own.fate = (frame) => {
    const fate = lied > 0 ? 'pass' : lie(frame);
    if (fate !== 'pass') lied++;
    return fate;
  };
  return () => lied > 0;
}
const chunkHeaderBytes = 32;

/** The first chunk of a flow with another field in its header, and the header's checksum made good. */
function chunkField(at: number, value: number): Lie {
  return lieOnceAbout('FLOW_DATA', (frame) => {
    if (frame.bytes.length < chunkHeaderBytes || Buffer.from(frame.bytes).readUInt32LE(0) !== 0x4b4e4843) return null;
    const bytes = Buffer.from(frame.bytes);
    bytes.writeUInt32LE(value, at);
    bytes.writeUInt32LE(checksum(0, bytes.subarray(0, 28)), 28);
    return [{ ...frame, bytes }];
  });
}

describe('a primary that lies in a full sync', () => {
  const data = (change: (frame: FrameOf<'FLOW_DATA'>) => FrameOf<'FLOW_DATA'>[]): Lie =>
    lieOnceAbout('FLOW_DATA', change);
  const done = (change: (frame: FrameOf<'FLOW_DONE'>) => FrameOf<'FLOW_DONE'>[]): Lie =>
    lieOnceAbout('FLOW_DONE', change);
  const begin = (change: (frame: FrameOf<'SNAPSHOT_BEGIN'>) => FrameOf<'SNAPSHOT_BEGIN'>[]): Lie =>
    lieOnceAbout('SNAPSHOT_BEGIN', change);
  const lies: Lies = [
    ['a piece ahead of its turn', data((frame) => [{ ...frame, offset: frame.offset + 8n }])],
    ['a piece of another flow', data((frame) => [{ ...frame, flow: (frame.flow + 1) % 4 }])],
    ['a piece of a flow that was not announced', data((frame) => [{ ...frame, flow: 99 }])],
    ['a piece twice', data((frame) => [frame, frame])],
    ['a piece that is said to be the last and is not', data((frame) => [{ ...frame, last: true }])],
    ['a piece that is short', data((frame) => [{ ...frame, bytes: frame.bytes.subarray(0, frame.bytes.length - 8) }])],
    [
      'bytes behind the end of a flow',
      lieOnceAbout('FLOW_DATA', (frame) =>
        frame.last ? [{ ...frame, bytes: Buffer.concat([frame.bytes, Buffer.alloc(64)]) }] : null,
      ),
    ],
    ['the end of a flow that was not announced', done((frame) => [{ ...frame, flow: 64 }])],
    ['another checksum of a flow', done((frame) => [{ ...frame, crc: frame.crc ^ 1 }])],
    ['more entries than a flow has', done((frame) => [{ ...frame, entries: frame.entries + 1n }])],
    ['more bytes than a flow has', done((frame) => [{ ...frame, fileBytes: 2n ** 63n }])],
    ['no flows at all', begin((frame) => [{ ...frame, flows: 0 }])],
    ['more flows than there can be', begin((frame) => [{ ...frame, flows: 65 }])],
    ['other flows than it sends', begin((frame) => [{ ...frame, flows: 3 }])],
    ['a snapshot twice', begin((frame) => [frame, frame])],
    [
      'a position that is not the one of the meta state',
      begin((frame) => [
        { ...frame, position: { ...frame.position, offset: frame.position.offset + 8n } as typeof frame.position },
      ]),
    ],
    ['a snapshot larger than any disk', begin((frame) => [{ ...frame, estimatedBytes: 2n ** 53n - 1n }])],
    ['a snapshot larger than any number', begin((frame) => [{ ...frame, estimatedBytes: 2n ** 64n - 1n }])],
    ['a sync to go on with that was never begun', begin((frame) => [{ ...frame, resumed: true }])],
    ['a chunk of more than its limit', chunkField(8, 2 ** 31)],
    ['a chunk that says it grows a thousandfold', chunkField(12, 64)],
    ['a chunk out of order', chunkField(20, 7)],
    ['a chunk of other entries than it holds', chunkField(4, 1_000_000)],
    ['a durable log of another sync', lieOnceAbout('LOG_DURABLE', (frame) => [{ ...frame, syncId: 'ab'.repeat(16) }])],
  ];
  test('changes nothing, and an honest one afterwards is whole', async () => {
    const failures = await failuresOf(lies, async (own, lie) => {
      const replica = await cluster.replica(own.address);
      await converged(primary, replica);
      const { position, digest } = await replica.db.digest();
      let switches = 0;
      replica.db.on('switched', () => switches++);
      const isTold = tellOnce(own, lie);
      await replica.db.replication.resync({ full: true });
      await until('the lie', isTold);
      const failed = (): number => replica.saw('sync_failed').length + replica.saw('link', { state: 'waiting' }).length;
      await until('the end of it', () => failed() > 1 || replica.saw('sync_failed').length > 0);
      expect(switches).toBe(0);
      const after = await replica.db.digest();
      expect({ position: `${after.position}`, digest: after.digest }).toEqual({ position: `${position}`, digest });
      await until('an honest one', () => replica.saw('sync_done').length === 2, 30_000);
      await converged(primary, replica, 30_000);
      await replica.db.close();
    });
    expect(failures).toEqual([]);
  }, 180_000);
});

describe('a primary that lies in its stream', () => {
  const log = (change: (records: Buffer) => Buffer): Lie =>
    lieOnceAbout('LOG', (frame) => [{ ...frame, records: change(Buffer.from(frame.records)) }]);
  /** The record's own length, padded. */
  const recordBytes = (records: Buffer): number => Math.ceil((56 + records.readUInt32LE(8)) / 8) * 8;
  const lies: Lies = [
    ['a changed byte of a body', log((records) => flipped(records, 60))],
    ['a changed chain', log((records) => flipped(records, 40))],
    ['a record left out', log((records) => records.subarray(recordBytes(records)))],
    ['half a record', log((records) => records.subarray(0, Math.floor(recordBytes(records) / 16) * 8))],
    [
      'a length beyond every limit',
      log((records) => {
        records.writeUInt32LE(0xffff_fff8, 8);
        return records;
      }),
    ],
    ['zeros', log((records) => Buffer.alloc(records.length))],
  ];
  test('ends the link, and every record is applied once in the end', async () => {
    const failures = await failuresOf(lies, async (own, lie) => {
      const replica = await cluster.replica(own.address);
      await until('the stream', () => replica.saw('streaming').length > 0);
      const isTold = tellOnce(own, lie);
      await until('the lie', () => {
        if (!isTold()) primary.db.putSync('behind', 'written'.repeat(10));
        return isTold();
      });
      await until('the end of the link', () => replica.saw('link', { state: 'waiting' }).length > 0);
      await converged(primary, replica, 30_000);
      expect(replica.saw('sync_start')).toHaveLength(1);
      expect(replica.db.status().counters.gaps).toBeLessThanOrEqual(1);
      await replica.db.close();
    });
    expect(failures).toEqual([]);
  }, 120_000);
});

function flipped(bytes: Buffer, at: number): Buffer {
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
}

describe('a replica that lies', () => {
  test.each([
    ['beyond what it was sent', (ack: FrameOf<'ACK'>) => ({ ...ack, received: further(ack.received) })],
    ['durable beyond received', (ack: FrameOf<'ACK'>) => ({ ...ack, durable: further(ack.durable) })],
    ['applied beyond received', (ack: FrameOf<'ACK'>) => ({ ...ack, applied: further(ack.applied) })],
  ] as const)('in an acknowledgement, %s, is disconnected, and nothing counts', async (_, lie) => {
    const replica = await cluster.replica(proxy.address);
    await converged(primary, replica);
    await until('the stream', () => primary.saw('replica', { state: 'streaming' }).length > 0);
    proxy.fate = lieAbout('ACK', (ack) => [lie(ack)]);
    const write = primary.db.put('waits', 'for it', { replicas: 1, timeoutMs: 600 });
    await expect(write).rejects.toMatchObject({ code: expect.stringMatching(/IN_DOUBT|NOT_ENOUGH_REPLICAS/) });
    expect(primary.saw('replica', { reason: 'protocol' }).length).toBeGreaterThan(0);
    proxy.fate = () => 'pass';
    await converged(primary, replica);
  });

  test.each([
    ['ahead of everything', (position: FrameOf<'HANDSHAKE'>['position']) => further(position, 1n << 40n), 'stop'],
    ['inside a record', (position: FrameOf<'HANDSHAKE'>['position']) => back(position, 8n), 'full'],
  ] as const)('about where it is, %s, gets no stream to go on with', async (_, lie, tier) => {
    const replica = await cluster.replica(proxy.address);
    await converged(primary, replica);
    proxy.fate = lieOnceAbout('HANDSHAKE', (frame) => [{ ...frame, position: lie(frame.position) }]);
    const decisions = primary.saw('resync').length;
    proxy.cut();
    await until('the decision', () => primary.saw('resync').length > decisions);
    expect(primary.saw('resync')[decisions]).toMatchObject({ tier });
    await converged(primary, replica);
    await primary.db.put('goes', 'on');
    await converged(primary, replica);
  });

  const requests: Lies = [
    ['a flow that there is not', lieOnceAbout('FLOW_REQUEST', (frame) => [{ ...frame, flow: 63 }])],
    ['a flow of another sync', lieOnceAbout('FLOW_REQUEST', (frame) => [{ ...frame, syncId: 'cd'.repeat(16) }])],
    ['a flow from behind its end', lieOnceAbout('FLOW_REQUEST', (frame) => [{ ...frame, offset: 1n << 40n }])],
    ['a flow from beyond numbers', lieOnceAbout('FLOW_REQUEST', (frame) => [{ ...frame, offset: 2n ** 63n }])],
    ['two flows at once', lieOnceAbout('FLOW_REQUEST', (frame) => [frame, { ...frame, flow: (frame.flow + 1) % 4 }])],
    ['to join another sync', lieOnceAbout('JOIN', (frame) => [{ ...frame, syncId: 'ef'.repeat(16) }])],
    ['to join as number sixteen', lieOnceAbout('JOIN', (frame) => [{ ...frame, connection: 16 }])],
    ['that another sync be installed', lieOnceAbout('INSTALLED', (frame) => [{ ...frame, syncId: '12'.repeat(16) }])],
    [
      'that another position be installed',
      lieOnceAbout('INSTALLED', (frame) => [{ ...frame, position: further(frame.position) }]),
    ],
  ];
  test('about what it wants is refused, and joins when it is honest', async () => {
    const failures = await failuresOf(requests, async (own, lie) => {
      const isTold = tellOnce(own, lie);
      const replica = await cluster.replica(own.address);
      await until('the lie', isTold);
      await converged(primary, replica, 30_000);
      await replica.db.close();
    });
    expect(failures).toEqual([]);
    expect(primary.db.status().state).toBe('serving');
  }, 120_000);

  test('about what it has of a full sync gets a new one', async () => {
    let isCut = false;
    const cut = lieOnceAbout('FLOW_DONE', () => []);
    const lie = lieOnceAbout('HANDSHAKE', (frame) => {
      if (frame.resume === null) return null;
      return [{ ...frame, resume: { ...frame.resume, position: further(frame.resume.position) } }];
    });
    proxy.fate = (frame) => {
      if (frame.name === 'FLOW_DONE' && !isCut) {
        isCut = true;
        queueMicrotask(() => proxy.cut());
        return cut(frame);
      }
      return lie(frame);
    };
    const replica = await cluster.replica(proxy.address);
    await converged(primary, replica);
    expect(replica.saw('sync_start')).toHaveLength(2);
    expect(replica.saw('sync_start')[1]).toMatchObject({ resumed: false });
  });
});

type AnyPosition = FrameOf<'ACK'>['received'];
function further(position: AnyPosition, bytes = 4096n): AnyPosition {
  const { epoch, seq, offset, chain } = position;
  return { epoch, seq: seq + 5n, offset: offset + bytes, chain } as AnyPosition;
}
function back(position: AnyPosition, bytes: bigint): AnyPosition {
  const { epoch, seq, offset, chain } = position;
  return { epoch, seq: seq - 1n, offset: offset - bytes, chain } as AnyPosition;
}

test('a thousand peers without a proof cost less than 32 MiB, and are gone within five seconds', async () => {
  const guarded = await cluster.primary({ replication: { secret: 'a secret of sixteen bytes' } });
  const before = process.memoryUsage();
  const sockets: net.Socket[] = [];
  const began = performance.now();
  let most = 0;
  for (let i = 0; i < 1000; i++) {
    const socket = net.connect(guarded.address);
    socket.on('error', () => undefined);
    socket.on('connect', () => socket.write(Buffer.alloc(i % 128)));
    sockets.push(socket);
    if (i % 100 === 99) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const now = process.memoryUsage();
      most = Math.max(most, now.heapUsed + now.external - before.heapUsed - before.external);
    }
  }
  await until('all to be closed', () => sockets.every((socket) => socket.closed), 15_000);
  // Both ends are in this process; five seconds, and what a loaded machine adds.
  expect(performance.now() - began).toBeLessThan(12_000);
  expect(most).toBeLessThan(32 * 1024 * 1024);
  expect(guarded.db.status().state).toBe('serving');
  const replica = await cluster.replica(guarded.address, { replication: { secret: 'a secret of sixteen bytes' } });
  await converged(guarded, replica);
}, 40_000);

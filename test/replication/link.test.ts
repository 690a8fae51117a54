/**
 * A whole session (hello, handshake, flows, hand-over, stream) under cuts at every frame boundary, flipped bytes,
 * frames that are missing or come twice. GAPLESS_CUTS: how many cuts of a session are tried (default: a sample), or
 * `all`; GAPLESS_FLIPS: how many flips; GAPLESS_SEED.
 */
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { seededRandom } from '../../dist/base/prng.js';
import { portableChecksum } from '../../dist/wire/checksum.js';
import { type FrameName, frameHeaderBytes, frames } from '../../dist/wire/frames.js';
import { decodeHello, encodeHello, helloBytes, proofBytes } from '../../dist/wire/hello.js';
import { watchGenerations, writeGeneration } from '../chaos/generations.mjs';
import { report } from './figures.js';
import { converged, TestCluster, type TestNode, until } from './nodes.js';
import { type Direction, type Fate, FrameProxy, type ProxiedFrame } from './proxy.js';

const cutsWanted = process.env['GAPLESS_CUTS'] ?? '14';
const flipsWanted = Number(process.env['GAPLESS_FLIPS'] ?? 12);
const seed = Number(process.env['GAPLESS_SEED'] ?? 1);

/** A frame of a session: the `nth` of its name on its connection. */
interface Spot {
  readonly purpose: 'control' | 'data';
  readonly direction: Direction;
  readonly name: FrameName;
  readonly nth: number;
  /** Number of the data connection, from 0; 0 for control. */
  readonly connection: number;
}
type Cut =
  | { readonly kind: 'frame'; readonly spot: Spot; readonly at: 'start+1' | 'end-1' | 'end' }
  | { readonly kind: 'early'; readonly direction: Direction; readonly connection: number; readonly bytes: number };

let cluster: TestCluster;
let primary: Awaited<ReturnType<TestCluster['primary']>>;
let proxy: FrameProxy;
let replica: TestNode;
let generation: number;

beforeEach(async () => {
  cluster = new TestCluster();
  primary = await cluster.primary({ shards: 2 });
  proxy = await FrameProxy.start(primary.address);
  cluster.atEnd(() => proxy.close());
  generation = 0;
  await writeGeneration(primary.db, generation);
  replica = await cluster.replica(proxy.address, { shards: 2, replication: { syncConnections: 2 } });
  await converged(primary, replica);
});
afterEach(() => cluster.end());

describe('a session with a full sync', () => {
  test('cut at a frame boundary, a byte before or after it, ends in one switch and equal digests', async () => {
    const spots = await record(() => session('full'));
    const cuts = sample([...earlyCuts(3), ...spots.flatMap(cutsOf)], cutsWanted);
    const hit = await tryCuts(cuts, 'full');
    report('cuts of a full session', hit, cuts.length);
    expect(hit).toBeGreaterThanOrEqual(cuts.length / 2);
  }, 1_200_000);

  test('with a flipped byte anywhere, never shows wrong data and ends in equal digests', async () => {
    const random = seededRandom(seed);
    let flipped = 0;
    for (let i = 0; i < flipsWanted; i++) {
      let left = random.below(30);
      let isDone = false;
      proxy.fate = ({ bytes }) => {
        if (isDone || left-- > 0) return 'pass';
        isDone = true;
        return { flip: random.below(bytes.length) };
      };
      await session('full');
      if (isDone) flipped++;
    }
    report('flipped bytes', flipped, flipsWanted);
    expect(flipped).toBeGreaterThan(flipsWanted / 2);
    expect(replica.db.status().counters.appliedRecords).toBeGreaterThan(0);
  }, 600_000);

  test('with a flipped byte in a hello or proof is refused and tried again', async () => {
    for (const flip of [0, 8, 10, 11, 12, 20, 48, 100, 127]) {
      for (const direction of ['to-primary', 'to-replica'] as const) {
        const first = proxy.accepted;
        // The purpose is told by the byte itself, and a proof without a secret is all zeros.
        proxy.early = (way, connection) => (way === direction && connection === first ? { flip } : undefined);
        await session('resume');
        expect(proxy.accepted).toBeGreaterThan(first + 1);
      }
    }
  }, 60_000);

  test('with a frame that is missing or comes twice, never shows wrong data and ends in equal digests', async () => {
    const names: readonly FrameName[] = [
      ...(['HANDSHAKE', 'WELCOME', 'DECISION', 'ANSWER', 'SNAPSHOT_BEGIN', 'LOG_DURABLE', 'INSTALLED'] as const),
      ...(['JOIN', 'FLOW_REQUEST', 'FLOW_DATA', 'FLOW_DONE', 'FLOW_END', 'LOG', 'ACK', 'COMMIT'] as const),
    ];
    for (const fate of ['twice', 'drop'] as const) {
      for (const name of names) {
        let isDone = false;
        proxy.fate = (frame) => {
          if (isDone || frame.name !== name) return 'pass';
          isDone = true;
          return fate;
        };
        // What is missing altogether is waited for as long as the peer lives: end that.
        const timer = fate === 'drop' ? setTimeout(() => proxy.cut(), 400) : undefined;
        await session('full');
        clearTimeout(timer);
        expect(`${name} ${isDone}`).toBe(`${name} true`);
      }
    }
    expect(Number(replica.db.get('sessions'))).toBe(generation);
  }, 120_000);
});

describe('a session that resumes', () => {
  test('cut at a frame boundary, a byte before or after it, needs no full sync', async () => {
    const spots = await record(() => session('resume'));
    const syncs = replica.saw('sync_start').length;
    const cuts = sample([...earlyCuts(1), ...spots.flatMap(cutsOf)], cutsWanted);
    const hit = await tryCuts(cuts, 'resume');
    report('cuts of a resumed session', hit, cuts.length);
    expect(hit).toBeGreaterThanOrEqual(cuts.length / 2);
    expect(replica.saw('sync_start')).toHaveLength(syncs);
    expect(replica.db.status().counters).toMatchObject({ gaps: 0 });
  }, 600_000);
});

describe('an announced length', () => {
  test('beyond the limit of its frame is refused before anything is allocated', async () => {
    for (const length of [0xffff_ffff, frames.HANDSHAKE.limit + 1]) {
      const before = process.memoryUsage();
      const answer = await speak(primary.address, frameHeader('HANDSHAKE', length));
      expect(answer.at(4)).toBe(frames.ERROR.type);
      expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(1024 * 1024);
    }
  });

  test('within the limit costs only what has arrived', async () => {
    const before = process.memoryUsage().arrayBuffers;
    const sockets = await Promise.all(
      Array.from({ length: 50 }, () => introduce(primary.address, frameHeader('HANDSHAKE', frames.HANDSHAKE.limit))),
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50 * 64 * 1024);
    for (const socket of sockets) socket.destroy();
  });

  test('of the largest LOG frame does not make a replica allocate it', async () => {
    const liar = await liarPrimary(frameHeader('LOG', frames.LOG.limit));
    cluster.atEnd(liar.close);
    const before = process.memoryUsage().arrayBuffers;
    await replica.db.replication.follow(liar.address);
    await until('the header to be sent', () => liar.told() > 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
    expect(replica.db.get('sessions')?.toString()).toBe('0');
  });
});

test('a thousand connections that never prove themselves cost little memory, and a replica still gets in', async () => {
  global.gc?.();
  const before = process.memoryUsage().rss;
  const sockets: net.Socket[] = [];
  for (let i = 0; i < 1000; i++) {
    const socket = net.connect(primary.address);
    socket.on('error', () => undefined);
    socket.write(Buffer.alloc(127, i));
    sockets.push(socket);
    if (i % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const open = (): number => sockets.filter((socket) => !socket.closed).length;
  await until('the oldest to be closed', () => open() <= 128);
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  proxy.cut();
  await session('resume');
  for (const socket of sockets) socket.destroy();
});

/**
 * One session from the dialling to the stream, with writes at each stage, while a reader watches the replica; ends when
 * both are equal. A full one must switch exactly once, however often it was begun.
 */
async function session(kind: 'full' | 'resume'): Promise<void> {
  const syncs = replica.saw('sync_done').length;
  const streams = replica.saw('streaming').length;
  const watch = watchGenerations(replica.db);
  await writeGeneration(primary.db, ++generation);
  if (kind === 'full') replica.db.replication.resync({ full: true }).catch(() => undefined);
  else proxy.cut();
  for (let i = 0; i < 4; i++) {
    await primary.db.put(`stage-${i}`, `${generation}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  if (kind === 'full') await until('the switch', () => replica.saw('sync_done').length > syncs, 30_000);
  await until('the stream', () => replica.saw('streaming').length > streams, 30_000);
  for (let i = 0; i < 4; i++) await primary.db.put(`stream-${i}`, `${generation}`);
  // What meets the stream late may cost another link.
  await converged(primary, replica, 30_000);
  proxy.fate = () => 'pass';
  proxy.early = undefined;
  await converged(primary, replica, 30_000);
  const seen = await watch.stop();
  expect(seen).toEqual([]);
  expect(replica.saw('sync_done').length - syncs).toBe(kind === 'full' ? 1 : 0);
}

/** The frames of a session, each once. */
async function record(run: () => Promise<void>): Promise<Spot[]> {
  const count = new SpotCounter(proxy.accepted);
  const spots: Spot[] = [];
  proxy.fate = (frame) => {
    const spot = count.next(frame);
    if (spot !== undefined) spots.push(spot);
    return 'pass';
  };
  await run();
  // What depends on the clock more than on the session: once is enough.
  const most: Partial<Record<FrameName, number>> = { PING: 1, ACK: 1, COMMIT: 1, LOG: 3 };
  return spots.filter(({ name, nth }) => nth < (most[name] ?? 20));
}

async function tryCuts(cuts: readonly Cut[], kind: 'full' | 'resume'): Promise<number> {
  let hits = 0;
  for (const cut of cuts) {
    const first = proxy.accepted;
    let isHit = false;
    if (cut.kind === 'early') {
      proxy.early = (direction, connection) => {
        if (isHit || connection !== first + cut.connection || direction !== cut.direction) return undefined;
        isHit = true;
        return { cutAt: cut.bytes };
      };
    } else {
      const count = new SpotCounter(proxy.accepted);
      proxy.fate = (frame): Fate => {
        const spot = count.next(frame);
        if (isHit || spot === undefined || !isSame(spot, cut.spot)) return 'pass';
        isHit = true;
        return { cutAt: { 'start+1': 1, 'end-1': frame.bytes.length - 1, end: frame.bytes.length }[cut.at] };
      };
    }
    try {
      await session(kind);
    } catch (error) {
      throw new Error(`after a cut at ${JSON.stringify(cut)}`, { cause: error });
    }
    if (isHit) hits++;
  }
  return hits;
}

/** Names each frame by its place; connections are numbered per session and purpose, older ones left out. */
class SpotCounter {
  readonly #first: number;
  readonly #counts = new Map<string, number>();
  readonly #connections = { control: [] as number[], data: [] as number[] };

  constructor(first: number) {
    this.#first = first;
  }

  next({ purpose, direction, name, connection }: ProxiedFrame): Spot | undefined {
    if (connection < this.#first) return undefined;
    const known = this.#connections[purpose];
    if (!known.includes(connection)) known.push(connection);
    const number = known.indexOf(connection);
    const key = `${purpose} ${number} ${direction} ${name}`;
    const nth = this.#counts.get(key) ?? 0;
    this.#counts.set(key, nth + 1);
    return { purpose, direction, name, nth, connection: number };
  }
}

function isSame(a: Spot, b: Spot): boolean {
  const { purpose, direction, name, nth, connection } = b;
  const isPlace = a.purpose === purpose && a.direction === direction && a.name === name;
  return isPlace && a.nth === nth && a.connection === connection;
}

function cutsOf(spot: Spot): Cut[] {
  return (['start+1', 'end-1', 'end'] as const).map((at) => ({ kind: 'frame', spot, at }));
}

/** Around hello and proof of the first `connections` of a session. */
function earlyCuts(connections: number): Cut[] {
  const places = [
    0,
    1,
    helloBytes - 1,
    helloBytes,
    helloBytes + 1,
    helloBytes + proofBytes - 1,
    helloBytes + proofBytes,
  ];
  const cuts: Cut[] = [];
  for (let connection = 0; connection < connections; connection++) {
    for (const direction of ['to-primary', 'to-replica'] as const) {
      for (const bytes of places) cuts.push({ kind: 'early', direction, connection, bytes });
    }
  }
  return cuts;
}

function sample(cuts: readonly Cut[], wanted: string): readonly Cut[] {
  if (wanted === 'all' || Number(wanted) >= cuts.length) return cuts;
  const random = seededRandom(seed);
  const left = [...cuts];
  return Array.from({ length: Number(wanted) }, () => left.splice(random.below(left.length), 1)).flat();
}

// -- peers that lie --

function frameHeader(name: FrameName, length: number): Buffer {
  const header = Buffer.alloc(frameHeaderBytes);
  header.writeUInt32LE(length, 0);
  header.writeUInt8(frames[name].type, 4);
  header.writeUInt32LE(1, 8);
  header.writeUInt32LE(portableChecksum()(0, header.subarray(0, 20)), 20);
  return header;
}

function hello(side: 'replica' | 'primary', purpose: 'control' | 'data' = 'control'): Uint8Array {
  const nonce = Buffer.alloc(32, 7);
  const ids = { nodeId: 'ab'.repeat(16), clusterId: '00'.repeat(16) };
  return encodeHello({ purpose, side, hasSecret: false, ...ids, nonce }, portableChecksum());
}

/** A connection that has proven itself and then sent `words`. */
async function introduce(address: { host: string; port: number }, words: Buffer): Promise<net.Socket> {
  const socket = net.connect(address);
  socket.on('error', () => undefined);
  socket.write(Buffer.concat([hello('replica'), Buffer.alloc(proofBytes)]));
  let received = 0;
  await new Promise<void>((resolve) => {
    const onData = (bytes: Buffer): void => {
      received += bytes.length;
      if (received < helloBytes + proofBytes) return;
      socket.off('data', onData);
      socket.pause();
      resolve();
    };
    socket.on('data', onData);
  });
  socket.write(words);
  return socket;
}

/** What the primary answers before it closes. */
async function speak(address: { host: string; port: number }, words: Buffer): Promise<Buffer> {
  const socket = await introduce(address, words);
  const parts: Buffer[] = [];
  socket.on('data', (bytes) => parts.push(bytes));
  socket.resume();
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return Buffer.concat(parts);
}

/** Shakes hands as a primary does, then says `words` and nothing more. */
async function liarPrimary(words: Buffer): Promise<{
  readonly address: { host: string; port: number };
  readonly told: () => number;
  readonly close: () => Promise<void>;
}> {
  let told = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', (bytes) => {
      const { purpose } = decodeHello(bytes.subarray(0, helloBytes), 'replica', portableChecksum());
      socket.write(Buffer.concat([hello('primary', purpose), Buffer.alloc(proofBytes), words]), () => {
        told++;
      });
    });
  });
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
  const { port } = server.address() as net.AddressInfo;
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { address: { host: '127.0.0.1', port }, told: () => told, close };
}

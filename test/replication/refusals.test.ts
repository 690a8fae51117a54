// Whom a primary refuses, before and after authentication, and what that costs everybody else: nothing.
import { cpSync } from 'node:fs';
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { portableChecksum } from '../../dist/wire/checksum.js';
import { encodeHello, helloBytes } from '../../dist/wire/hello.js';
import { converged, fill, resyncs, TestCluster, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

vi.setConfig({ testTimeout: 20_000, hookTimeout: 10_000 });

let cluster: TestCluster;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

const secret = 'a secret of sixteen bytes';
const anywhere = { host: '127.0.0.1', port: 0 };

/** A connection that says `bytes` and collects what comes, until it is closed. */
async function speak(port: number, ...bytes: Uint8Array[]): Promise<{ received: Buffer; ms: number }> {
  const socket = net.connect({ host: '127.0.0.1', port });
  const chunks: Buffer[] = [];
  const start = performance.now();
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => chunks.push(chunk));
  for (const each of bytes) socket.write(each);
  await new Promise((resolve) => socket.on('close', resolve));
  return { received: Buffer.concat(chunks), ms: performance.now() - start };
}

function hello(fields: Partial<Parameters<typeof encodeHello>[0]> = {}): Uint8Array {
  return encodeHello(
    {
      purpose: 'control',
      side: 'replica',
      hasSecret: true,
      nodeId: '1'.repeat(32),
      clusterId: '0'.repeat(32),
      nonce: new Uint8Array(32),
      ...fields,
    },
    portableChecksum(),
  );
}

describe('before authentication', () => {
  test('garbage is closed at once, without an answer', async () => {
    const primary = await cluster.primary({ replication: { secret } });
    const { received, ms } = await speak(primary.address.port, Buffer.alloc(helloBytes, 0x47));
    expect(received).toHaveLength(0);
    expect(ms).toBeLessThan(2000);
  });

  test('a wrong proof is closed, with nothing but the hello answered', async () => {
    const primary = await cluster.primary({ replication: { secret } });
    const { received } = await speak(primary.address.port, hello(), Buffer.alloc(32, 1));
    expect(received).toHaveLength(helloBytes);
  });

  test('more than 256 bytes without a proof are closed', async () => {
    const primary = await cluster.primary({ replication: { secret } });
    const { received } = await speak(primary.address.port, Buffer.concat([hello(), Buffer.alloc(200)]));
    expect(received.length).toBeLessThanOrEqual(256);
  });

  test('a hello without a secret is not spoken with where there is one', async () => {
    const primary = await cluster.primary({ replication: { secret } });
    const { received } = await speak(primary.address.port, hello({ hasSecret: false }));
    expect(received).toHaveLength(0);
  });

  test('silence is closed after five seconds', async () => {
    const primary = await cluster.primary({ replication: { secret } });
    const { received, ms } = await speak(primary.address.port);
    expect(received).toHaveLength(0);
    expect(ms).toBeGreaterThan(4000);
    expect(ms).toBeLessThan(9000);
  });

  test('a flood of silent connections does not lock a replica out', async () => {
    const primary = await cluster.primary({ replication: { secret } });
    await primary.db.put('a', '1');
    const sockets = Array.from({ length: 200 }, () => net.connect(primary.address));
    for (const socket of sockets) socket.on('error', () => undefined);
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    await until('the oldest to be closed', () => sockets.filter((socket) => socket.closed).length >= 72);
    const replica = await cluster.replica(primary.address, { replication: { secret } });
    await converged(primary, replica);
    expect(replica.saw('link', { state: 'waiting' })).toHaveLength(0);
    for (const socket of sockets) socket.destroy();
  });

  test('a replica with another secret is refused and says so; with the right one it joins', async () => {
    const primary = await cluster.primary({ replication: { secret } });
    await primary.db.put('a', '1');
    const replica = await cluster.replica(primary.address, { replication: { secret: 'another sixteen bytes' } });
    await until('the refusal', () => replica.saw('link', { reason: 'auth' }).length > 0);
    expect(primary.saw('replica')).toHaveLength(0);
    await replica.reopen({ replication: { secret } });
    await replica.db.replication.follow(primary.address);
    await converged(primary, replica);
  });

  test('a port off loopback needs a secret', async () => {
    const node = await cluster.node();
    await expect(node.db.replication.listen({ host: '0.0.0.0', port: 0 })).rejects.toThrow(TypeError);
  });
});

describe('guards', () => {
  test('a replica of another cluster is stopped, keeps its state, and goes on by itself when it may', async () => {
    const [one, two] = [await cluster.primary(), await cluster.primary()];
    await one.db.put('a', '1');
    await two.db.put('b', '2');
    const replica = await cluster.replica(one.address);
    await converged(one, replica);
    await replica.db.replication.follow(two.address);
    await until('the stop', () => replica.saw('needs_operator', { reason: 'cluster_id_mismatch' }).length > 0);
    expect(replica.db.get('a')?.toString()).toBe('1');
    expect(replica.db.status()).toMatchObject({ state: 'needs_operator', reason: 'cluster_id_mismatch' });
    expect(replica.db.replication.status().link).toMatchObject({ state: 'stopped', reason: 'cluster_id_mismatch' });
    await replica.db.replication.follow(one.address);
    await until('the end of the stop', () => replica.saw('cleared').length > 0);
  });

  test('an empty primary does not empty a replica, unless an operator accepts the loss', async () => {
    const primary = await cluster.node();
    await primary.db.close();
    // The same cluster without its data, as after a restore from the wrong place.
    cpSync(primary.dir, `${primary.dir}-empty`, { recursive: true });
    await primary.reopen();
    const address = await primary.db.replication.listen(anywhere);
    const replica = await cluster.replica(address);
    await until('the replica to stream', () => primary.saw('replica', { state: 'streaming' }).length > 0);
    await primary.db.put('a', '1');
    await converged(primary, replica);
    await primary.db.close();
    const empty = await cluster.node({}, `${primary.dir}-empty`);
    const elsewhere = await empty.db.replication.listen(anywhere);
    await replica.db.replication.follow(elsewhere);
    await until('the stop', () => replica.saw('needs_operator', { reason: 'primary_empty_guard' }).length > 0);
    expect(replica.db.get('a')?.toString()).toBe('1');
    await replica.db.replication.follow({ ...elsewhere, acceptLoss: true });
    await until('the full sync', () => replica.saw('sync_done').length > 0);
    expect(replica.db.get('a')).toBeUndefined();
  });

  test('a copied directory with the node id of a replica that is connected is stopped', async () => {
    const primary = await cluster.primary();
    await primary.db.put('a', '1');
    const replica = await cluster.replica(primary.address);
    await converged(primary, replica);
    await replica.db.close();
    cpSync(replica.dir, `${replica.dir}-copy`, { recursive: true });
    await replica.reopen();
    await replica.db.replication.follow(primary.address);
    await until('the replica to stream', () => primary.saw('replica', { state: 'streaming' }).length > 1);
    const copy = await cluster.node({ asReplica: true }, `${replica.dir}-copy`);
    await copy.db.replication.follow(primary.address);
    await until('the stop', () => copy.saw('needs_operator', { reason: 'duplicate_node_id' }).length > 0);
    expect(replica.db.replication.status().link?.state).toBe('streaming');
    await copy.reopen({ newNodeId: true });
    await copy.db.replication.follow(primary.address);
    await converged(primary, copy);
  });

  test('a node that came back on another connection is no duplicate', async () => {
    const primary = await cluster.primary();
    const proxy = await FrameProxy.start(primary.address);
    cluster.atEnd(() => proxy.close());
    const replica = await cluster.replica(proxy.address);
    await until('the replica to stream', () => primary.saw('replica', { state: 'streaming' }).length > 0);
    // The primary hears nothing of the end of this one.
    proxy.stall('to-primary', 'to-replica');
    await replica.reopen();
    await replica.db.replication.follow(primary.address);
    await until('the second link', () => primary.saw('replica', { state: 'streaming' }).length > 1);
    expect(replica.saw('needs_operator')).toHaveLength(0);
  });

  test('one replica more than the limit is told so and waits', async () => {
    const primary = await cluster.primary({ replication: { maxReplicas: 1 } });
    await primary.db.put('a', '1');
    const first = await cluster.replica(primary.address);
    await converged(primary, first);
    const second = await cluster.replica(primary.address);
    await until('the refusal', () => second.saw('link', { reason: 'too_many' }).length > 0);
    await first.db.close();
    await converged(primary, second);
  });
});

describe('a slow replica', () => {
  test('holds up neither writers nor other replicas, and its primary keeps a bounded amount for it', async () => {
    const primary = await cluster.primary({ replication: { timeoutMs: 5000 } });
    const proxy = await FrameProxy.start(primary.address);
    cluster.atEnd(() => proxy.close());
    const slow = await cluster.replica(proxy.address, { replication: { timeoutMs: 5000 } });
    const quick = await cluster.replica(primary.address);
    await until('both to stream', () => primary.saw('replica', { state: 'streaming' }).length > 1);
    proxy.bytesPerSecond = 200_000;
    const before = process.memoryUsage().rss;
    await fill(primary, 4000, 2000, 'load');
    await converged(primary, quick);
    const behind = primary.db.replication.status().replicas.find(({ nodeId }) => nodeId === slow.db.status().nodeId);
    const sent = BigInt(behind?.sent.offset ?? '0');
    const received = BigInt(behind?.received.offset ?? '0');
    expect(behind?.lag?.bytes).toBeGreaterThan(1_000_000);
    // replicaMaxBytes and one chunk.
    expect(Number(sent - received)).toBeLessThanOrEqual(2.1 * 1024 * 1024);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
    proxy.bytesPerSecond = 0;
    await converged(primary, slow);
    expect(resyncs(slow)).toEqual({ ring: 1 });
  });

  test('beyond the cap of its slot is given up with a reason, while the primary goes on', async () => {
    const primary = await cluster.primary({ slotMaxBytes: 256 * 1024, replication: { timeoutMs: 5000 } });
    const proxy = await FrameProxy.start(primary.address);
    cluster.atEnd(() => proxy.close());
    const slow = await cluster.replica(proxy.address, { replication: { timeoutMs: 5000 } });
    await until('it to stream', () => primary.saw('replica', { state: 'streaming' }).length > 0);
    proxy.bytesPerSecond = 20_000;
    await fill(primary, 2000, 1000, 'load');
    await primary.db.put('after', '1');
    expect(primary.db.get('after')?.toString()).toBe('1');
    proxy.bytesPerSecond = 0;
    await converged(primary, slow);
  });
});

test('a listener that is closed takes its replicas with it, and they find the next one', async () => {
  const primary = await cluster.primary();
  await primary.db.put('a', '1');
  const replica = await cluster.replica(primary.address);
  await converged(primary, replica);
  const { port } = primary.address;
  await primary.reopen();
  await primary.db.replication.listen({ ...anywhere, port });
  await primary.db.put('b', '2');
  await converged(primary, replica);
  expect(replica.db.get('b')?.toString()).toBe('2');
});

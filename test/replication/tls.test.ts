/**
 * Mutual TLS on the replication port. The certificates are of two authorities made for these tests, valid for a hundred
 * years: `node` and `renewed` are of the cluster's, `stranger` of the other one.
 */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { converged, fill, TestCluster, until } from './nodes.js';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 10_000 });

const below = fileURLToPath(new URL('certificates/', import.meta.url));
const named = (name: string, ca = 'authority'): { cert: string; key: string; ca: string } => ({
  cert: join(below, `${name}.pem`),
  key: join(below, `${name}-key.pem`),
  ca: join(below, `${ca}.pem`),
});
const node = named('node');

let cluster: TestCluster;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(() => cluster.end());

/** Refused by its peer or by itself: it never gets as far as a decision. */
async function isKeptOut(address: { host: string; port: number }, files: ReturnType<typeof named>): Promise<boolean> {
  const replica = await cluster.replica(address, { replication: { tls: files } });
  await until('refusals', () => replica.saw('link', { state: 'waiting' }).length > 0);
  await new Promise((resolve) => setTimeout(resolve, 300));
  return replica.saw('resync').length === 0 && replica.saw('link', { reason: 'auth' }).length > 0;
}

describe('mutual TLS', () => {
  test('carries full syncs and the stream between nodes of one authority, with a secret or without', async () => {
    for (const secret of [undefined, 'a secret of sixteen bytes']) {
      const primary = await cluster.primary({ replication: { tls: node, secret } });
      await fill(primary, 2000);
      const replica = await cluster.replica(primary.address, { replication: { tls: named('renewed'), secret } });
      await converged(primary, replica);
      await fill(primary, 200, 100, 'more');
      await converged(primary, replica);
      expect(replica.saw('sync_done')).toHaveLength(1);
    }
  });

  test('keeps out a node of another authority, one that trusts another, and one without', async () => {
    const primary = await cluster.primary({ replication: { tls: node } });
    await primary.db.put('a', '1');
    expect(await isKeptOut(primary.address, named('stranger'))).toBe(true);
    expect(await isKeptOut(primary.address, named('stranger', 'other-authority'))).toBe(true);
    expect(await isKeptOut(primary.address, named('node', 'other-authority'))).toBe(true);
    const plain = await cluster.replica(primary.address);
    await until('refusals', () => plain.saw('link', { state: 'waiting' }).length > 0);
    expect(plain.saw('resync')).toHaveLength(0);
    expect(primary.saw('replica')).toHaveLength(0);
  });

  test('uses certificates that were replaced for the next connection, and the former ones until they fit', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'gapless-tls-'));
    cluster.atEnd(async () => rmSync(directory, { recursive: true, force: true }));
    const files = { cert: join(directory, 'cert'), key: join(directory, 'key'), ca: join(directory, 'ca') };
    const use = (part: 'cert' | 'key' | 'ca', from: ReturnType<typeof named>): void => {
      copyFileSync(from[part], files[part]);
    };
    for (const part of ['cert', 'key', 'ca'] as const) use(part, node);
    const primary = await cluster.primary({ replication: { tls: files } });
    const shown = async (): Promise<string> => {
      const socket = tls.connect({ ...primary.address, rejectUnauthorized: false });
      socket.on('error', () => undefined);
      await new Promise((resolve) => socket.once('secureConnect', resolve));
      const { CN } = socket.getPeerCertificate().subject;
      socket.destroy();
      return String(CN);
    };
    expect(await shown()).toBe('node');
    use('cert', named('renewed'));
    expect(await shown()).toBe('node');
    use('key', named('renewed'));
    expect(await shown()).toBe('renewed');
    await primary.db.put('a', '1');
    const replica = await cluster.replica(primary.address, { replication: { tls: node } });
    await converged(primary, replica);
  });

  test('is not held up by connections that never shake hands', async () => {
    const primary = await cluster.primary({ replication: { tls: node } });
    await primary.db.put('a', '1');
    const sockets = Array.from({ length: 200 }, () => net.connect(primary.address));
    for (const socket of sockets) socket.on('error', () => undefined);
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    await until('the oldest to be closed', () => sockets.filter((socket) => socket.closed).length >= 72);
    const replica = await cluster.replica(primary.address, { replication: { tls: node } });
    await converged(primary, replica);
    await until('the others to be closed', () => sockets.every((socket) => socket.closed), 12_000);
  });

  test('with files that are missing or do not fit together is no way to listen', async () => {
    const missing = { ...node, key: join(below, 'nothing.pem') };
    await expect(cluster.primary({ replication: { tls: missing } })).rejects.toMatchObject({ code: 'IO' });
    const mixed = { ...node, key: named('renewed').key };
    await expect(cluster.primary({ replication: { tls: mixed } })).rejects.toMatchObject({ code: 'IO' });
    await expect(cluster.node({ replication: { tls: { cert: 'x' } as never } })).rejects.toThrow(TypeError);
  });
});

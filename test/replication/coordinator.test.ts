// Who may be primary when a coordinator decides it, and that two nodes never acknowledge at once.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Coordinator, fileCoordinator, type Lease, staticCoordinator } from '../../dist/index.js';
import { converged, TestCluster, type TestNode, until } from './nodes.js';
import { FrameProxy } from './proxy.js';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 10_000 });
type HostPort = FrameProxy['address'];
const anywhere = { host: '127.0.0.1', port: 0 };

let cluster: TestCluster;
let directory: string;
beforeEach(() => {
  cluster = new TestCluster();
  directory = mkdtempSync(join(tmpdir(), 'gapless-leases-'));
});
afterEach(async () => {
  await cluster.end();
  rmSync(directory, { recursive: true, force: true });
});

const candidate = (nodeId: string, highestTerm = 0) => ({ nodeId, address: null, highestTerm });

describe('a directory as coordinator', () => {
  test('gives the lease to one of many that ask at once, and a higher term each time', async () => {
    const nodes = Array.from({ length: 8 }, (_, i) => ({ id: `${i}`, files: fileCoordinator({ directory }) }));
    let term = 0;
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all(
        nodes.map(({ id, files }) => files.acquire(candidate(id, round === 2 ? 40 : 0))),
      );
      const [lease, ...more] = answers.filter((answer) => answer !== null);
      expect(more).toEqual([]);
      expect(lease?.term).toBeGreaterThan(term);
      if (round === 2) expect(lease?.term).toBe(41);
      term = lease?.term ?? 0;
      const holder = nodes.find(({ id }) => id === lease?.nodeId);
      expect(await holder?.files.renew(lease as Lease)).toBe(true);
      for (const { files } of nodes) expect(await files.observe()).toEqual({ lease, isHeld: true });
      await holder?.files.resign(lease as Lease);
      expect(await holder?.files.observe()).toEqual({ lease, isHeld: false });
      expect(await holder?.files.renew(lease as Lease)).toBe(false);
    }
    expect(readdirSync(directory)).toHaveLength(1);
  });

  test('lets nobody have it before it is over, and its holder not behind that', async () => {
    const files = fileCoordinator({ directory, leaseMs: 200 });
    const first = (await files.acquire(candidate('a'))) as Lease;
    expect(await files.acquire(candidate('b'))).toBeNull();
    let second: Lease | null = null;
    const deadline = performance.now() + 10_000;
    while (second === null && performance.now() < deadline) second = await files.acquire(candidate('b'));
    expect(second).toMatchObject({ term: 2, nodeId: 'b' });
    expect(await files.renew(first)).toBe(false);
    await files.resign(first);
    expect((await files.observe())?.lease).toEqual(second);
  });

  test('forgets a lease of another boot, and refuses a file that is none', async () => {
    const files = fileCoordinator({ directory });
    const lease = { term: 3, nodeId: 'a', address: null };
    writeFileSync(join(directory, 'lease-7'), JSON.stringify({ boot: 'another', until: 1e12, lease }));
    expect(await files.observe()).toEqual({ lease, isHeld: false });
    expect(await files.acquire(candidate('b'))).toMatchObject({ term: 4 });
    writeFileSync(join(directory, 'lease-99'), '{}');
    await expect(files.observe()).rejects.toThrow();
    expect(() => fileCoordinator({ directory, leaseMs: 5 })).toThrow(RangeError);
  });
});

/** A coordinator whose answers can be held back from one node. */
function unplugged(
  inner: Coordinator,
  address: HostPort | null = null,
): { readonly coordinator: Coordinator; isPlugged: boolean } {
  const plug = {
    isPlugged: true,
    coordinator: {
      leaseMs: inner.leaseMs,
      observe: () => through(() => inner.observe()),
      acquire: (asking: Parameters<Coordinator['acquire']>[0]) =>
        through(() => inner.acquire(address === null ? asking : { ...asking, address })),
      renew: (lease: Lease) => through(() => inner.renew(lease)),
      resign: (lease: Lease) => through(() => inner.resign(lease)),
    },
  };
  const through = async <T>(ask: () => Promise<T>): Promise<T> => {
    if (!plug.isPlugged) throw new Error('unplugged');
    return await ask();
  };
  return plug;
}

const leads = (node: TestNode): boolean => {
  const { role, state } = node.db.status();
  return role === 'primary' && state === 'serving';
};

describe('under a coordinator', () => {
  test('that never changes, the named node leads in its term and the others follow it', async () => {
    const one = await cluster.node();
    const address = await one.db.replication.listen(anywhere);
    const decision = { term: 4, nodeId: one.db.status().nodeId, address };
    const onError = (error: unknown): void => expect.fail(String(error));
    await one.db.replication.coordinate({ coordinator: staticCoordinator(decision), onError });
    await one.db.put('a', '1');
    expect(one.db.status()).toMatchObject({ role: 'primary', epoch: '4.0' });
    const two = await cluster.node({ asReplica: true });
    await two.db.replication.coordinate({ coordinator: staticCoordinator(decision), onError });
    await converged(one, two);
    for (const { db } of [one, two]) {
      await expect(db.replication.promote()).rejects.toMatchObject({ code: 'NOT_READY' });
      await expect(db.replication.demote()).rejects.toMatchObject({ code: 'NOT_READY' });
      await expect(db.replication.follow(address)).rejects.toMatchObject({ code: 'NOT_READY' });
    }
    // A restart begins a run of the same term.
    await one.reopen();
    await one.db.replication.coordinate({ coordinator: staticCoordinator(decision), onError });
    await one.db.put('b', '1');
    expect(one.db.status().epoch).toBe('4.1');
  });

  test('a primary whose lease ran out acknowledges and appends nothing, though its event loop works', async () => {
    const one = await cluster.node({ replication: { onTooFewReplicas: 'block' } });
    const plug = unplugged(fileCoordinator({ directory, leaseMs: 1000 }));
    const errors: unknown[] = [];
    await one.db.replication.coordinate({ coordinator: plug.coordinator, onError: (error) => errors.push(error) });
    await one.db.put('a', '1');
    const waiting = one.db.put('b', '1', { replicas: 1, timeoutMs: 20_000 }).catch((error) => error);
    plug.isPlugged = false;
    const late = await waiting;
    expect(late).toMatchObject({ code: 'FENCED', inDoubt: true, details: { position: expect.anything() } });
    await until('the fence', () => one.saw('fenced').length > 0);
    const before = `${one.db.position}`;
    await expect(one.db.put('c', '1')).rejects.toMatchObject({ code: 'FENCED', inDoubt: false });
    expect(() => one.db.putSync('c', '1')).toThrow(expect.objectContaining({ code: 'FENCED' }));
    expect(`${one.db.position}`).toBe(before);
    expect(errors.length).toBeGreaterThan(0);
    const { epoch } = one.db.status();
    plug.isPlugged = true;
    // Nobody took it: it leads again, in a term of its own.
    await until('the lead', () => leads(one));
    await one.db.put('c', '1');
    expect(Number.parseInt(one.db.status().epoch, 10)).toBeGreaterThan(Number.parseInt(epoch, 10));
  });

  test('two nodes never acknowledge at once: the second one begins behind the last word of the first', async () => {
    const one = await cluster.node();
    const proxy = await FrameProxy.start(await one.db.replication.listen(anywhere));
    cluster.atEnd(() => proxy.close());
    const plug = unplugged(fileCoordinator({ directory, leaseMs: 1000 }), proxy.address);
    const onError = (): void => undefined;
    await one.db.replication.coordinate({ coordinator: plug.coordinator, onError });
    await one.db.put('first', '1');
    const two = await cluster.node({ asReplica: true });
    await two.db.replication.listen(anywhere);
    await two.db.replication.coordinate({ coordinator: fileCoordinator({ directory, leaseMs: 1000 }), onError });
    await converged(one, two);
    const acknowledged: { readonly node: TestNode; readonly key: string; readonly term: number }[] = [];
    let isOver = false;
    const write = async (node: TestNode, name: string): Promise<void> => {
      for (let i = 0; !isOver; i++) {
        const key = `${name}-${i}`;
        await node.db.put(key, 'x').then(
          ({ position }) => acknowledged.push({ node, key, term: Number.parseInt(position.epoch, 10) }),
          () => new Promise((resolve) => setTimeout(resolve, 3)),
        );
      }
    };
    const writers = [write(one, 'one'), write(two, 'two'), write(one, 'more')];
    const by = (node: TestNode): number => acknowledged.filter((each) => each.node === node).length;
    await until('acknowledgements of the first', () => by(one) > 20);
    // Neither the coordinator nor its successor can tell it anything.
    plug.isPlugged = false;
    proxy.isDown = true;
    proxy.cut();
    await until('acknowledgements of the second', () => by(two) > 20);
    isOver = true;
    await Promise.all(writers);
    plug.isPlugged = true;
    await until('the first to step down', () => one.saw('role', { role: 'replica', cause: 'coordinator' }).length > 0);
    const firstOfTwo = acknowledged.findIndex(({ node }) => node === two);
    expect(acknowledged.slice(firstOfTwo).filter(({ node }) => node === one)).toEqual([]);
    // Nothing of a term is acknowledged behind the first word of a later one.
    expect(acknowledged.filter(({ term }, i) => term < (acknowledged[i - 1]?.term ?? 0))).toEqual([]);
    expect(two.saw('role', { role: 'primary', cause: 'coordinator' }).length).toBeGreaterThan(0);
    expect(one.saw('fenced').length).toBeGreaterThan(0);
  });

  test('a primary that was frozen beyond its lease has acknowledged nothing that its successor lacks', async () => {
    const leaseMs = 1500;
    const script = join(import.meta.dirname, 'lease-child.mjs');
    const child: ChildProcess = spawn(process.execPath, [script, join(directory, 'child'), directory, `${leaseMs}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    cluster.atEnd(async () => {
      child.kill('SIGKILL');
    });
    const lines: string[] = [];
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => lines.push(line));
    const count = (word: string): number => lines.filter((line) => line.startsWith(word)).length;
    await until('the child to lead', () => count('listening') > 0);
    const two = await cluster.node({ asReplica: true });
    await two.db.replication.listen(anywhere);
    const listening = lines.find((line) => line.startsWith('listening'));
    const files = fileCoordinator({ directory, leaseMs });
    expect((await files.observe())?.lease.address?.port).toBe(Number(listening?.split(' ')[1]));
    await two.db.replication.coordinate({ coordinator: files, onError: () => undefined });
    await until('acknowledgements', () => count('ack') > 20);
    child.kill('SIGSTOP');
    await until('the successor to lead', () => leads(two));
    await two.db.put('successor', '1');
    const refusals = lines.length;
    child.kill('SIGCONT');
    await until('the child to be refused', () => lines.slice(refusals).some((line) => line.startsWith('refused')));
    const lost = lines.filter((line) => line.startsWith('ack')).filter((line) => !two.db.has(line.slice(4)));
    expect(lost).toEqual([]);
  });
});

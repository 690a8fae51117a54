/** Databases of one test process that replicate over loopback: opened small, closed and removed at the end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, type OpenOptions, open } from '../../dist/index.js';

export interface RecordedEvent {
  readonly event: string;
  readonly [field: string]: unknown;
}

export interface TestNode {
  readonly dir: string;
  db: Database;
  readonly events: RecordedEvent[];
  /** Closes and opens again, with these options on top. */
  reopen(options?: OpenOptions): Promise<Database>;
  saw(event: string, fields?: Readonly<Record<string, unknown>>): RecordedEvent[];
}

export const smallOptions: OpenOptions = {
  ringBytes: 64 * 1024,
  segmentBytes: 64 * 1024,
  logRetainBytes: 0,
  replication: { heartbeatMs: 50, timeoutMs: 1000, replicaMaxBytes: 1024 * 1024 },
};

const eventNames = [
  'link',
  'resync',
  'sync_start',
  'sync_flow',
  'progress',
  'sync_barrier',
  'sync_done',
  'sync_failed',
  'streaming',
  'switched',
  'divergence',
  'epoch',
  'role',
  'fenced',
  'replica',
  'needs_operator',
  'cleared',
  'degraded',
  'degraded_end',
] as const;

export class TestCluster {
  readonly #root = mkdtempSync(join(tmpdir(), 'gapless-replication-'));
  readonly #nodes: TestNode[] = [];
  readonly #cleanups: (() => Promise<void>)[] = [];
  #count = 0;

  async node(options: OpenOptions = {}, dir = join(this.#root, `node-${this.#count++}`)): Promise<TestNode> {
    const merge = (more: OpenOptions): OpenOptions => ({
      ...smallOptions,
      ...options,
      ...more,
      replication: { ...smallOptions.replication, ...options.replication, ...more.replication },
    });
    const events: RecordedEvent[] = [];
    const start = async (more: OpenOptions): Promise<Database> => {
      const db = await open(dir, merge(more));
      for (const name of eventNames) db.on(name, (event: object) => events.push(event as RecordedEvent));
      return db;
    };
    const node: TestNode = {
      dir,
      db: await start({}),
      events,
      reopen: async (more = {}) => {
        await node.db.close();
        node.db = await start(more);
        return node.db;
      },
      saw: (event, fields = {}) =>
        events.filter((each) => each.event === event && Object.entries(fields).every(([k, v]) => each[k] === v)),
    };
    this.#nodes.push(node);
    return node;
  }

  /** A primary that listens. */
  async primary(options: OpenOptions = {}): Promise<TestNode & { readonly address: { host: string; port: number } }> {
    const node = await this.node(options);
    const address = await node.db.replication.listen({ host: '127.0.0.1', port: 0 });
    return Object.assign(node, { address });
  }

  /** A replica that follows. */
  async replica(
    address: { readonly host: string; readonly port: number },
    options: OpenOptions = {},
  ): Promise<TestNode> {
    const node = await this.node({ ...options, asReplica: true });
    await node.db.replication.follow(address);
    return node;
  }

  atEnd(cleanup: () => Promise<void>): void {
    this.#cleanups.push(cleanup);
  }

  async end(): Promise<void> {
    for (const cleanup of this.#cleanups) await cleanup();
    for (const node of [...this.#nodes].reverse()) await node.db.close();
    rmSync(this.#root, { recursive: true, force: true });
  }
}

/** Waits until it is so; fails with `what` otherwise. */
export async function until(what: string, isSo: () => boolean, timeoutMs = 15_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Both show the same position, which is the end of the primary's log, and the same contents. */
export async function converged(primary: TestNode, replica: TestNode, timeoutMs = 15_000): Promise<void> {
  await until(
    `${replica.dir} to reach ${primary.db.position}`,
    () =>
      `${replica.db.position}` === `${primary.db.position}` &&
      // The state of a full sync is served a moment before its sync is done.
      replica.db.replication.status().link?.state !== 'full',
    timeoutMs,
  );
  const [ours, theirs] = await Promise.all([primary.db.digest(), replica.db.digest()]);
  if (`${ours.position}` !== `${theirs.position}`) return await converged(primary, replica, timeoutMs);
  if (ours.digest !== theirs.digest) {
    throw new Error(`digests differ at ${ours.position}: ${ours.digest} and ${theirs.digest}`);
  }
}

/** Puts `count` keys of `bytes` bytes each, some at a time. */
export async function fill(node: TestNode, count: number, bytes = 100, prefix = 'key'): Promise<void> {
  const value = Buffer.alloc(bytes, 'v');
  for (let i = 0; i < count; i += 100) {
    const batch = node.db.batch();
    for (let j = i; j < Math.min(count, i + 100); j++) batch.put(`${prefix}-${j}`, value);
    await batch.commit();
  }
}

/** What the resync counts of a node say, without the zeros. */
export function resyncs(node: TestNode): Record<string, unknown> {
  const { reasons, ...tiers } = node.db.replication.status().resync;
  return Object.fromEntries(Object.entries({ ...tiers }).filter(([, count]) => count !== 0));
}

/**
 * The node behind a status address, from before its database is open until after it is closed. The thread of `serve`.
 */
import type { Clock } from '../base/clock.js';
import { createError } from '../errors.js';
import { type Database, packageVersion } from '../index.js';

export interface Readiness {
  readonly ready: boolean;
  readonly state: string;
  readonly phase: string | null;
  readonly progress: { readonly done: number; readonly total: number } | null;
}

export class NodeCell {
  readonly clock: Clock;
  readonly #startedAt: number;
  #database: Database | undefined;
  #isClosing = false;
  #isComplete = false;

  constructor(clock: Clock) {
    this.clock = clock;
    this.#startedAt = clock.monotonic();
  }

  opened(database: Database): void {
    this.#database = database;
  }

  /** Nothing new is taken from here on. */
  closing(): void {
    this.#isClosing = true;
  }

  /** Throws NOT_READY while it is being opened, CLOSED once it is being closed. */
  get database(): Database {
    if (this.#isClosing) throw createError('CLOSED', 'the node is closing');
    if (this.#database === undefined) throw createError('NOT_READY', 'the node is recovering; ask again later');
    return this.#database;
  }

  /** For reads: NOT_READY also while a replica has no complete state. */
  get readable(): Database {
    const { database } = this;
    // Once there is a complete state it stays served, whatever is synced beside it.
    this.#isComplete ||= database.status().state !== 'joining';
    if (!this.#isComplete) {
      throw createError('NOT_READY', 'this replica has no complete state yet; ask again later');
    }
    return database;
  }

  /** What is open, if anything is. */
  get openDatabase(): Database | undefined {
    return this.#isClosing ? undefined : this.#database;
  }

  get state(): string {
    if (this.#isClosing) return 'closing';
    return this.#database?.status().state ?? 'recovering';
  }

  /** The body of GET /status. */
  status(): object {
    if (this.#database !== undefined && !this.#isClosing) return this.#database.status();
    const uptimeMs = Math.round(this.clock.monotonic() - this.#startedAt);
    const unknown = Object.fromEntries(unknownFields.map((name) => [name, null]));
    const head = { version: packageVersion(), pid: process.pid, uptimeMs, ...unknown, state: this.state };
    return { ...head, replicas: [], memory: { rss: process.memoryUsage.rss() } };
  }

  readiness(): Readiness {
    if (this.#database === undefined || this.#isClosing) {
      const { state } = this;
      return { ready: false, state, phase: state === 'recovering' ? 'replay' : null, progress: null };
    }
    const { state, role, link } = this.#database.status();
    const isReplicaReady = role === 'replica' && link !== null && link.lag !== null;
    const serves = state === 'serving' || state === 'catching_up' || state === 'syncing';
    const ready = role === 'primary' ? state === 'serving' : serves && isReplicaReady;
    const sync = link?.progress ?? null;
    if (sync === null) return { ready, state, phase: null, progress: null };
    return { ready, state, phase: 'full', progress: { done: sync.bytes, total: sync.totalBytes } };
  }
}

/** Fields of a status that nobody can fill before the database is open. */
const unknownFields = [
  'role',
  'state',
  'reason',
  'clusterId',
  'nodeId',
  'epoch',
  'position',
  'durable',
  'commit',
  'promised',
  'undoFloor',
  'replicas',
  'link',
  'resync',
  'recovery',
  'inconsistent',
  'counters',
  'ring',
  'log',
  'store',
  'eventLoopDelayMs',
  'memory',
] as const;

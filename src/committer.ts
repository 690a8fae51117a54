/**
 * Hands encoded batches to the engine and resolves their promises as progress says, in the order in which the engine
 * sequenced them. One object a handle; the thread that opened it.
 *
 * A commit that is sequenced waits in the line of its level until `written` or `durable` reaches its end; one that the
 * engine queued (pendingBytes) has a ticket and enters its line when its completion comes. Once the engine stops
 * acknowledging, everything that waits is rejected in doubt, with its position.
 */
import {
  type DurabilityName,
  durabilityCodes,
  type NativeStore,
  submitStates,
  submitWords,
} from './binding/contract.js';
import type { Progress } from './binding/progress.js';
import { type Commit, CommitValue, checkSyncWriteOptions, checkWriteOptions, type WriteOptions } from './commit.js';
import type { OperationEncoder } from './encoder.js';
import { abortError, createError, GaplessError } from './errors.js';
import { encodePosition } from './position.js';
import type { KeepAlive } from './waits.js';

interface Waiting {
  readonly commit: CommitValue;
  readonly resolve: (commit: Commit) => void;
  readonly reject: (error: unknown) => void;
}

interface Queued {
  readonly level: DurabilityName;
  readonly resolve: (commit: Commit) => void;
  readonly reject: (error: unknown) => void;
}

/** First in, first out, without moving the rest. */
class Line {
  #items: Waiting[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }
  push(item: Waiting): void {
    this.#items.push(item);
  }
  peek(): Waiting | undefined {
    return this.#items[this.#head];
  }
  shift(): Waiting | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head += 1;
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}

/** Longest blocking wait: effectively none; the engine ends it when it stops acknowledging. */
const foreverMs = 2 ** 40;

export class Committer {
  readonly #store: NativeStore;
  readonly #level: DurabilityName;
  readonly #alive: KeepAlive;
  readonly #lookAgain: () => void;
  readonly #lines = { sync: new Line(), os: new Line() } as const;
  readonly #tickets = new Map<bigint, Queued>();
  readonly #out = new BigUint64Array(submitWords.count);
  #isPending = false;
  /** Stops of acknowledging that were dealt with. */
  #stops: bigint;
  /** Who waits until nothing is pending. */
  #idle: (() => void)[] = [];

  /**
   * `stops`: of progress, now. `lookAgain` makes the owner look at progress: an empty batch appends nothing, so no wake
   * need come for it.
   */
  constructor(store: NativeStore, level: DurabilityName, alive: KeepAlive, stops: bigint, lookAgain: () => void) {
    this.#alive = alive;
    this.#stops = stops;
    this.#store = store;
    this.#level = level;
    this.#lookAgain = lookAgain;
  }

  get pending(): number {
    return this.#lines.sync.size + this.#lines.os.size + this.#tickets.size;
  }

  /** Never throws. The encoder may be used again when this returns. */
  commit(batch: OperationEncoder, options: WriteOptions | undefined): Promise<Commit> {
    try {
      if (options !== undefined) checkWriteOptions(options);
      if (options?.signal?.aborted) throw abortError(options.signal);
      const level = options?.durability ?? this.#level;
      if (this.#submit(batch, options?.durability, true) === submitStates.queued) {
        return this.#watched(this.#waitForTicket(this.#out[submitWords.ticket] ?? 0n, level), options?.signal);
      }
      const commit = this.#taken();
      if (level === 'memory') return Promise.resolve(commit);
      const waiting = this.#wait(commit, level);
      if (batch.operations === 0) queueMicrotask(this.#lookAgain);
      return this.#watched(waiting, options?.signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Blocks this thread until the write is acknowledged at its level. */
  commitSync(batch: OperationEncoder, options: WriteOptions | undefined): Commit {
    if (options !== undefined) checkSyncWriteOptions(options);
    const level = options?.durability ?? this.#level;
    this.#submit(batch, options?.durability, false);
    const commit = this.#taken();
    if (level === 'memory') return commit;
    try {
      this.#store.waitSync(commit.position, durabilityCodes[level], foreverMs);
    } catch (error) {
      throw inDoubt(error, commit);
    }
    return commit;
  }

  /** Resolves what is acknowledged; called on each wake. */
  progressed(progress: Progress): void {
    if (progress.hasCompletions) this.#complete();
    const stops = progress.stops - this.#stops;
    this.#stops = progress.stops;
    const isPoisoned = !progress.isAcknowledging && !progress.isFenced;
    if (stops > 0n && progress.isAcknowledging) this.#rejectStopped(progress);
    // What was durable before a poisoning is, unless a fence came before it; a fenced node acknowledges nothing more,
    // whatever it synced.
    if (progress.isAcknowledging || (isPoisoned && stops <= 1n)) {
      this.#settle(this.#lines.sync, progress.durableOffset);
      this.#settle(this.#lines.os, progress.writtenOffset);
    }
    if (!progress.isAcknowledging) this.rejectAll(this.#store.state().stop);
    this.#notePending();
  }

  /** A change of role ended a stop before this thread looked: only commits of an epoch begun behind it go on. */
  #rejectStopped(progress: Progress): void {
    const kept = progress.isPrimary ? progress.ownEpochWord : undefined;
    const cause = createError('FENCED', 'a higher term was seen while this commit was waited for');
    for (const line of [this.#lines.sync, this.#lines.os]) {
      for (let left = line.size; left > 0; left--) {
        const item = line.shift();
        if (item === undefined) break;
        if (item.commit.epochWord === kept) line.push(item);
        else item.reject(inDoubt(cause, item.commit));
      }
    }
  }

  /** Everything that waits is in doubt. */
  rejectAll(stop: Error | null): void {
    const cause = stop ?? createError('CLOSED', 'the store is closed');
    for (const line of [this.#lines.sync, this.#lines.os]) {
      for (let item = line.shift(); item !== undefined; item = line.shift()) item.reject(inDoubt(cause, item.commit));
    }
    for (const queued of this.#tickets.values()) queued.reject(cause);
    this.#tickets.clear();
    this.#notePending();
  }

  /** Resolves when nothing waits any more. */
  drained(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #submit(batch: OperationEncoder, durability: DurabilityName | undefined, mayQueue: boolean): number {
    const code = durability === undefined ? -1 : durabilityCodes[durability];
    const { body, bodyBytes, operations, checks, checksBytes } = batch;
    return this.#store.submit(body, bodyBytes, operations, checks, checksBytes, code, mayQueue, this.#out);
  }

  /** The commit that the last submit described. */
  #taken(): CommitValue {
    const out = this.#out;
    const results = out[submitWords.results] === 0n ? [] : this.#store.takeResults();
    // Completions that came before belong before this one.
    if (this.#tickets.size > 0) this.#complete();
    return new CommitValue(out.slice(0, 4), out[submitWords.firstSeq] ?? 0n, results);
  }

  #wait(commit: CommitValue, level: 'sync' | 'os'): Promise<Commit> {
    return new Promise((resolve, reject) => {
      this.#lines[level].push({ commit, resolve, reject });
      this.#notePending();
    });
  }

  #waitForTicket(ticket: bigint, level: DurabilityName): Promise<Commit> {
    return new Promise((resolve, reject) => {
      this.#tickets.set(ticket, { level, resolve, reject });
      this.#notePending();
    });
  }

  #complete(): void {
    for (const { ticket, error, position, firstSeq, results } of this.#store.takeCompletions()) {
      const queued = this.#tickets.get(ticket);
      if (queued === undefined) continue;
      this.#tickets.delete(ticket);
      if (error !== null) {
        queued.reject(error);
        continue;
      }
      const words = new BigUint64Array(4);
      encodePosition(position, new DataView(words.buffer), 0);
      const commit = new CommitValue(words, firstSeq, results);
      if (queued.level === 'memory') queued.resolve(commit);
      else this.#lines[queued.level].push({ commit, resolve: queued.resolve, reject: queued.reject });
    }
  }

  #settle(line: Line, reached: bigint): void {
    for (let item = line.peek(); item !== undefined && item.commit.offset <= reached; item = line.peek()) {
      line.shift();
      item.resolve(item.commit);
    }
  }

  #watched(promise: Promise<Commit>, signal: AbortSignal | undefined): Promise<Commit> {
    if (signal === undefined) return promise;
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(abortError(signal));
      signal.addEventListener('abort', abort, { once: true });
      promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
    });
  }

  #notePending(): void {
    const isPending = this.pending > 0;
    if (isPending === this.#isPending) return;
    this.#isPending = isPending;
    if (isPending) {
      this.#alive.hold();
      return;
    }
    this.#alive.release();
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }
}

/** The same error with the position of a record that may or may not be found later. */
function inDoubt(error: unknown, commit: CommitValue): unknown {
  if (!(error instanceof GaplessError)) return error;
  const details = { ...error.details, position: commit.position };
  return createError(error.code, error.message, { details, cause: error });
}

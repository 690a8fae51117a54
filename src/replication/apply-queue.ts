/**
 * What a replica received and does not show yet: appended, then applied (inline, or by shard in worker threads), then
 * safe on disk, then visible, in order. Outlives links. On the controller's thread.
 *
 * Invariants: visible <= safe <= received; tickets are applied and published in their order; at most one ticket is
 * being applied. Memory: the peer is held back from `queuedMax` bytes on (`isFull`).
 */
import type { CancelTimer } from '../base/clock.js';
import type { Progress } from '../binding/progress.js';
import { createError, GaplessError } from '../errors.js';
import type { Position } from '../position.js';
import type { ReplicationPorts } from './ports.js';

/** Tickets up to this size are applied at once: less than a millisecond or two of the event loop. */
const inlineMax = 128 * 1024;
const queuedMax = 16 * 1024 * 1024;
const retryMs = 10;

interface Ticket {
  readonly ticket: bigint;
  readonly after: Position;
  readonly bytes: number;
  isApplied: boolean;
}

export interface ApplyListener {
  /** received or visible moved. */
  moved(): void;
  /** `isFull` became false. */
  room(): void;
  /** What was received cannot go on; the queue takes nothing more until `reset`. */
  failed(error: Error): void;
}

export class ApplyQueue {
  readonly #ports: ReplicationPorts;
  readonly #progress: Progress;
  readonly #listener: ApplyListener;
  readonly #shards: number;
  readonly #tickets: Ticket[] = [];
  /** Received, and not taken by the log yet: it had no room. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #queuedBytes = 0;
  #received: Position;
  #isApplying = false;
  #wasFull = false;
  #retry: CancelTimer | undefined;
  #idle: (() => void)[] = [];
  /** Who waits until everything received is shown. */
  #drained: ((error?: Error) => void)[] = [];

  constructor(ports: ReplicationPorts, progress: Progress, listener: ApplyListener) {
    this.#ports = ports;
    this.#progress = progress;
    this.#listener = listener;
    this.#shards = ports.store.identity().shards;
    this.#received = progress.visible;
  }

  /** End of what the log took. */
  get received(): Position {
    return this.#received;
  }

  get isFull(): boolean {
    return this.#waitingBytes > 0 || this.#queuedBytes >= queuedMax;
  }

  /** Takes whole records. Throws what appending throws (PROTOCOL, POISONED ..); no room is no error. */
  receive(records: Uint8Array): void {
    this.#waiting.push(records);
    this.#waitingBytes += records.length;
    if (this.#waiting.length === 1) this.#append();
    this.#wasFull ||= this.isFull;
    this.#applyNext();
  }

  /** The engine's progress changed: more may be shown. */
  progressed(): void {
    try {
      if (this.#waitingBytes > 0) this.#append();
      this.#publish();
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#applyNext();
    this.#tellRoom();
    if (this.#isDrained) this.#tellDrained();
  }

  /** Resolves when no worker thread works for this queue. What is applied and not shown stays. */
  idle(): Promise<void> {
    if (!this.#isApplying) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /**
   * Resolves when everything that the log took is shown, or never will be because the store stopped; TIMEOUT. Another
   * queue must not begin before: the engine publishes in order, and a position is claimed to the next primary.
   */
  drained(): Promise<void> {
    if (this.#isDrained) return Promise.resolve();
    const { clock, options } = this.#ports;
    return new Promise((resolve, reject) => {
      const late = createError('TIMEOUT', `what was received was not shown within ${options.timeoutMs} ms`);
      const cancel = clock.after(options.timeoutMs, () => this.#tellDrained(late));
      this.#drained.push((error) => {
        cancel();
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  /** The link is gone: what the log had no room for comes again with the next one. */
  forgetWaiting(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#retry?.();
  }

  /** The store's state was replaced (full sync, promotion): nothing of before is left. Requires: idle. */
  reset(received: Position): void {
    this.forgetWaiting();
    this.#tickets.length = 0;
    this.#queuedBytes = 0;
    this.#wasFull = false;
    this.#received = received;
    this.#tellDrained();
  }

  get #isDrained(): boolean {
    return this.#tickets.length === 0 || !this.#progress.isAcknowledging;
  }

  #tellDrained(error?: Error): void {
    for (const tell of this.#drained.splice(0)) tell(error);
  }

  #append(): void {
    const { store } = this.#ports;
    for (let records = this.#waiting[0]; records !== undefined; records = this.#waiting[0]) {
      let taken = 0;
      try {
        const { ticket, after, bytes } = store.appendReplicated(records);
        taken = bytes;
        this.#received = after;
        if (ticket !== 0n) this.#tickets.push({ ticket, after, bytes, isApplied: false });
        if (ticket !== 0n) this.#queuedBytes += bytes;
      } catch (error) {
        if (!isNoRoom(error)) {
          this.forgetWaiting();
          throw error;
        }
      }
      this.#waitingBytes -= taken;
      if (taken < records.length) {
        this.#waiting[0] = records.subarray(taken);
        this.#tryAgain();
        break;
      }
      this.#waiting.shift();
    }
    this.#listener.moved();
  }

  #tryAgain(): void {
    this.#retry?.();
    this.#retry = this.#ports.clock.after(retryMs, () => {
      this.#progress.refresh();
      this.progressed();
    });
  }

  #applyNext(): void {
    while (!this.#isApplying) {
      const next = this.#tickets.find(({ isApplied }) => !isApplied);
      if (next === undefined) return;
      if (next.bytes > inlineMax) {
        this.#applyInWorkers(next);
        return;
      }
      this.#ports.store.applyTicket(next.ticket);
      next.isApplied = true;
    }
  }

  #applyInWorkers(next: Ticket): void {
    this.#isApplying = true;
    const { tasks, store } = this.#ports;
    const shards = Array.from({ length: this.#shards }, (_, shard) =>
      tasks.applyShard(store.token, next.ticket, shard),
    );
    // All of them, also behind a failure: nothing may still be at work when `idle` says so.
    void Promise.allSettled(shards).then((results) => {
      this.#isApplying = false;
      const failure = results.find((result) => result.status === 'rejected');
      for (const resolve of this.#idle.splice(0)) resolve();
      if (failure !== undefined) {
        this.#fail(createError('IO', 'a worker thread could not apply records', { cause: failure.reason }));
        return;
      }
      next.isApplied = true;
      this.#progress.refresh();
      this.progressed();
    });
  }

  /** Shows what is applied and safe: durable in a 'sync' store, otherwise written. */
  #publish(): void {
    const safe = this.#ports.isSync ? this.#progress.durableOffset : this.#progress.writtenOffset;
    let hasMoved = false;
    for (let first = this.#tickets[0]; first?.isApplied === true && first.after.offset <= safe; ) {
      this.#ports.store.publishTicket(first.ticket);
      this.#tickets.shift();
      this.#queuedBytes -= first.bytes;
      hasMoved = true;
      first = this.#tickets[0];
    }
    if (!hasMoved) return;
    this.#progress.refresh();
    this.#listener.moved();
  }

  #tellRoom(): void {
    if (!this.#wasFull || this.isFull) return;
    this.#wasFull = false;
    this.#listener.room();
  }

  #fail(cause: unknown): void {
    const error = cause instanceof Error ? cause : createError('IO', String(cause));
    this.#tellDrained(error);
    this.#listener.failed(error);
  }
}

function isNoRoom(error: unknown): boolean {
  return error instanceof GaplessError && (error.code === 'QUEUE_FULL' || error.code === 'NO_SPACE');
}

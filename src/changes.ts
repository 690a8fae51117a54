/**
 * A change feed: every batch of the log behind a position, in order, once, up to the shipping end and on as it moves.
 * Read from the log, which a hold keeps from going away under the reader. The thread that opened the store.
 */
import { holdKinds, type NativeStore } from './binding/contract.js';
import type { Progress } from './binding/progress.js';
import { createError } from './errors.js';
import { type Change, changesOf } from './operations.js';
import { type Position, toPosition } from './position.js';
import type { Waits } from './waits.js';

export interface ChangesOptions {
  /** Deliver what lies behind this position; default 'now'. */
  readonly from?: Position | 'now' | 'oldest' | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ChangesHost {
  readonly store: NativeStore;
  readonly progress: Progress;
  readonly waits: Waits;
  readonly holdMaxBytes: number;
  readonly check: () => void;
  /** Throws POSITION_NOT_IN_HISTORY. */
  readonly requireInHistory: (position: Position) => void;
}

const chunkBytes = 256 * 1024;

export class Changes implements AsyncIterable<Change> {
  readonly #host: ChangesHost;
  readonly #signal: AbortSignal | undefined;
  readonly #start: Position;
  readonly #generation: bigint;

  /** @internal */
  constructor(host: ChangesHost, options: ChangesOptions) {
    const { from = 'now', signal } = options;
    this.#host = host;
    this.#signal = signal;
    this.#start = this.#resolve(from);
    host.progress.refresh();
    this.#generation = host.progress.generation;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Change, void, void> {
    const { store, holdMaxBytes } = this.#host;
    let at = this.#start.offset;
    const hold = store.addHold(holdKinds.reader, 'changes', at, holdMaxBytes);
    try {
      for (;;) {
        await this.#moved(at);
        const { bytes, before, after } = await store.readLogAsync(at, chunkBytes);
        this.#requireSameHistory();
        for (const change of changesOf(bytes, before.offset)) {
          yield change;
          this.#host.check();
          this.#requireSameHistory();
        }
        at = after.offset;
        store.moveHold(hold, at);
      }
    } finally {
      this.#release(hold);
    }
  }

  #resolve(from: Position | 'now' | 'oldest'): Position {
    const { store } = this.#host;
    if (from === 'now') return store.shippingEnd();
    if (from === 'oldest') return store.positionAt(store.logStats().floor);
    const position = toPosition(from);
    this.#host.requireInHistory(position);
    return position;
  }

  /** Resolves when there is something behind `at` that may be seen. */
  #moved(at: bigint): Promise<void> {
    const { progress, waits } = this.#host;
    progress.refresh();
    const isThere = (): boolean => {
      this.#requireSameHistory();
      return progress.shippingOffset > at;
    };
    return waits.until(isThere, 'waiting for a change', { signal: this.#signal });
  }

  #requireSameHistory(): void {
    if (this.#host.progress.generation === this.#generation) return;
    throw createError('HISTORY_CHANGED', 'the history that this feed followed was replaced; begin again');
  }

  #release(hold: bigint): void {
    try {
      this.#host.check();
    } catch {
      return; // The database is closed, and all its holds with it.
    }
    this.#host.store.releaseHold(hold);
  }
}

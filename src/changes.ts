/**
 * A change feed: every batch of the log behind a position, in order, once, up to the shipping end and on as it moves.
 * Read from the log, which a hold keeps from going away under the reader. The thread that opened the store.
 */
import { holdKinds, type NativeLogChunk, type NativeStore } from './binding/contract.js';
import type { Progress } from './binding/progress.js';
import { createError, GaplessError } from './errors.js';
import { type Change, changesOf } from './operations.js';
import { type Position, positionsEqual, toPosition } from './position.js';
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
/** How the log says that it has no such record end. */
const goneCodes = new Set<string>(['EVICTED', 'NOT_A_RECORD_END', 'POSITION_UNAVAILABLE']);

export class Changes implements AsyncIterable<Change> {
  readonly #host: ChangesHost;
  readonly #signal: AbortSignal | undefined;
  readonly #start: Position;
  #generation: bigint;
  #hold = 0n;

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
    const { store, progress } = this.#host;
    let at = this.#start;
    this.#holdFrom(at);
    try {
      for (;;) {
        await this.#moved(at);
        const chunk = await this.#read(at.offset);
        if (chunk === undefined) continue;
        const { bytes, before, after } = chunk;
        progress.refresh();
        this.#requireHistory(after, at);
        for (const change of changesOf(bytes, before.offset)) {
          yield change;
          this.#host.check();
          this.#requireHistory(after, at);
        }
        progress.refresh();
        this.#requireHistory(after, at);
        at = after;
        store.moveHold(this.#hold, at.offset);
      }
    } finally {
      this.#release();
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
  #moved(at: Position): Promise<void> {
    const { progress, waits } = this.#host;
    progress.refresh();
    const isThere = (): boolean => {
      this.#requireHistory(at, at);
      return progress.shippingOffset > at.offset;
    };
    return waits.until(isThere, 'waiting for a change', { signal: this.#signal });
  }

  /** Undefined: the log is being cut; what this feed has seen is judged when that is done. */
  async #read(offset: bigint): Promise<NativeLogChunk | undefined> {
    try {
      return await this.#host.store.readLogAsync(offset, chunkBytes);
    } catch (error) {
      if (!(error instanceof GaplessError) || error.code !== 'NOT_READY') throw error;
    }
    let looks = 0;
    await this.#host.waits.until(() => looks++ > 0, 'waiting for a rewind', { signal: this.#signal });
    return undefined;
  }

  /** What was read up to `position` is undone if that is no position of the history any more. */
  #requireHistory(position: Position, heldFrom: Position): void {
    const { progress } = this.#host;
    if (progress.generation === this.#generation) return;
    if (!this.#hasStill(position, heldFrom)) {
      throw createError('HISTORY_CHANGED', 'the history that this feed followed was replaced; begin again');
    }
    this.#generation = progress.generation;
  }

  /** The log must have the very record end: what lies behind its end now may become something else. */
  #hasStill(position: Position, heldFrom: Position): boolean {
    try {
      this.#holdFrom(heldFrom);
      return positionsEqual(this.#host.store.positionAt(position.offset), position);
    } catch (error) {
      if (error instanceof GaplessError && goneCodes.has(error.code)) return false;
      throw error;
    }
  }

  #holdFrom({ offset }: Position): void {
    const { store, holdMaxBytes } = this.#host;
    const hold = store.addHold(holdKinds.reader, 'changes', offset, holdMaxBytes);
    if (this.#hold !== 0n) store.releaseHold(this.#hold);
    this.#hold = hold;
  }

  #release(): void {
    try {
      this.#host.check();
    } catch {
      return; // The database is closed, and all its holds with it.
    }
    this.#host.store.releaseHold(this.#hold);
  }
}

/**
 * Waiting for a fact about the node: looked at on each wake of the engine, given up at a deadline, a signal or close.
 * One object a handle; the thread that opened it.
 */
import type { CancelTimer, Clock } from './base/clock.js';
import type { NativeStore } from './binding/contract.js';
import { abortError, createError } from './errors.js';

/** Keeps the event loop alive while somebody waits: the engine's wake alone would let the process end. */
export class KeepAlive {
  readonly #store: NativeStore;
  #holds = 0;

  constructor(store: NativeStore) {
    this.#store = store;
  }
  hold(): void {
    this.#holds += 1;
    if (this.#holds === 1) this.#store.setPending(true);
  }
  release(): void {
    this.#holds -= 1;
    if (this.#holds === 0) this.#store.setPending(false);
  }
}

export interface WaitLimits {
  /** Default: no limit. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface Waiter {
  /** True: done. May throw: the wait fails. */
  readonly isMet: () => boolean;
  readonly finish: (error?: unknown) => void;
}

export class Waits {
  readonly #waiters = new Set<Waiter>();
  readonly #alive: KeepAlive;
  readonly #clock: Clock;

  constructor(alive: KeepAlive, clock: Clock) {
    this.#alive = alive;
    this.#clock = clock;
  }

  /** Resolves once `isMet`; rejects with TIMEOUT, ABORTED, what `isMet` throws, or what `closeAll` was given. */
  until(isMet: () => boolean, what: string, { timeoutMs, signal }: WaitLimits = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(abortError(signal));
        return;
      }
      if (isMet()) {
        resolve();
        return;
      }
      let cancel: CancelTimer = () => undefined;
      const abort = (): void => waiter.finish(abortError(signal));
      const waiter: Waiter = {
        isMet,
        finish: (error) => {
          if (!this.#waiters.delete(waiter)) return;
          cancel();
          signal?.removeEventListener('abort', abort);
          this.#alive.release();
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      this.#waiters.add(waiter);
      this.#alive.hold();
      signal?.addEventListener('abort', abort, { once: true });
      if (timeoutMs !== undefined) {
        cancel = this.#clock.after(timeoutMs, () => {
          waiter.finish(createError('TIMEOUT', `${what} took longer than ${timeoutMs} ms`, { details: { timeoutMs } }));
        });
      }
    });
  }

  /** Looks at every condition; called on each wake. */
  progressed(): void {
    for (const waiter of [...this.#waiters]) {
      try {
        if (waiter.isMet()) waiter.finish();
      } catch (error) {
        waiter.finish(error);
      }
    }
  }

  closeAll(error: unknown): void {
    for (const waiter of [...this.#waiters]) waiter.finish(error);
  }
}

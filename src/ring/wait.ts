/// <reference lib="es2024.sharedmemory" />
/**
 * Waiting for news in the ring, on its notify word. Any thread that was given the SharedArrayBuffer.
 *
 * Native code changes the word but cannot wake JavaScript: `wake()` is what each environment calls when the addon calls
 * it. A call may come late or be coalesced, so every wait has a timeout. A pending asynchronous wait does not keep the
 * process alive and cannot be taken back before its timeout.
 */
import { ringLayout } from './layout.js';

export type WaitOutcome = 'changed' | 'timeout';

export class RingWaiter {
  readonly #word: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#word = new Int32Array(buffer, ringLayout.notify, 1);
  }

  /** The word's present value: load it, then look for work, then wait for another value. */
  seen(): number {
    return Atomics.load(this.#word, 0);
  }

  /** Resolves once the word differs from `seen` and somebody called `wake`, or after `timeoutMs`. */
  async wait(seen: number, timeoutMs: number): Promise<WaitOutcome> {
    const result = Atomics.waitAsync(this.#word, 0, seen, timeoutMs);
    const outcome = result.async ? await result.value : result.value;
    return outcome === 'timed-out' ? 'timeout' : 'changed';
  }

  /** The same, holding the thread: for workers only. */
  waitBlocking(seen: number, timeoutMs: number): WaitOutcome {
    return Atomics.wait(this.#word, 0, seen, timeoutMs) === 'timed-out' ? 'timeout' : 'changed';
  }

  /** Wakes every waiter of this memory, in all threads. Returns how many there were. */
  wake(): number {
    return Atomics.notify(this.#word, 0);
  }
}

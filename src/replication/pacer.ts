/** Spreads credit over time so that no more than a number of bytes a second is granted. On one thread. */
import type { CancelTimer, Clock } from '../base/clock.js';

/** Credit is granted in parts of a quarter of a second, but not in smaller ones. */
const sliceMin = 16 * 1024;

export class Pacer {
  readonly #clock: Clock;
  /** 0: no limit. */
  readonly #bytesPerSecond: number;
  #freeAt: number;
  #timers = new Set<CancelTimer>();

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#freeAt = clock.monotonic();
  }

  /** Calls `grant` with parts of `bytes` as they may go: with all of them at once without a limit. */
  pace(bytes: number, grant: (part: number) => void): void {
    if (this.#bytesPerSecond === 0) {
      grant(bytes);
      return;
    }
    const slice = Math.max(sliceMin, Math.ceil(this.#bytesPerSecond / 4));
    const now = this.#clock.monotonic();
    this.#freeAt = Math.max(now, this.#freeAt);
    for (let left = bytes; left > 0; left -= slice) this.#later(Math.min(left, slice), now, grant);
  }

  #later(part: number, now: number, grant: (part: number) => void): void {
    this.#freeAt += (part * 1000) / this.#bytesPerSecond;
    const cancel = this.#clock.after(this.#freeAt - now, () => {
      this.#timers.delete(cancel);
      grant(part);
    });
    this.#timers.add(cancel);
  }

  close(): void {
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
  }
}

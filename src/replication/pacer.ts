/** Spreads credit over time so that no more than a number of bytes a second is granted. On one thread. */
import type { CancelTimer, Clock } from '../base/clock.js';

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

  /** Calls `grant` once so many bytes may go: at once without a limit. */
  pace(bytes: number, grant: () => void): void {
    if (this.#bytesPerSecond === 0) {
      grant();
      return;
    }
    const now = this.#clock.monotonic();
    const start = Math.max(now, this.#freeAt);
    this.#freeAt = start + (bytes * 1000) / this.#bytesPerSecond;
    const cancel = this.#clock.after(this.#freeAt - now, () => {
      this.#timers.delete(cancel);
      grant();
    });
    this.#timers.add(cancel);
  }

  close(): void {
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
  }
}

/** How long to wait before trying again: doubling from `least` to `most`, with jitter so that nobody comes in step. */
import type { Random } from '../base/prng.js';

export class Backoff {
  readonly #least: number;
  readonly #most: number;
  readonly #random: Random;
  #next: number;

  constructor(least: number, most: number, random: Random) {
    this.#least = least;
    this.#most = most;
    this.#random = random;
    this.#next = least;
  }

  /** The next wait: between three quarters of the present step and all of it. */
  next(): number {
    const step = this.#next;
    this.#next = Math.min(this.#most, step * 2);
    const quarter = Math.floor(step / 4);
    return step - (quarter === 0 ? 0 : this.#random.below(quarter + 1));
  }

  reset(): void {
    this.#next = this.#least;
  }
}

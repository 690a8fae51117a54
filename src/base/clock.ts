/**
 * Time, passed in: the only place of src/ that asks the system for it, so that a simulation can drive everything else.
 * One object a node; called on the thread that owns it.
 */

/** Cancels a timer; calling it again, or after the timer fired, does nothing. */
export type CancelTimer = () => void;

export interface Clock {
  /** Unix milliseconds; may jump. For timestamps shown to people and to peers. */
  now(): number;
  /** Milliseconds that never go back. For every interval and deadline. */
  monotonic(): number;
  /** Calls `fire` once, at the earliest after `ms`. Timers do not keep the process alive. */
  after(ms: number, fire: () => void): CancelTimer;
}

export function systemClock(): Clock {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after(ms, fire) {
      const timer = setTimeout(fire, ms);
      timer.unref();
      return () => clearTimeout(timer);
    },
  };
}

/** A clock that only moves when told: for tests and for the simulation. */
export class ManualClock implements Clock {
  #now: number;
  #timers: { readonly at: number; readonly order: number; readonly fire: () => void }[] = [];
  #order = 0;

  constructor(start = 1_700_000_000_000) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, fire: () => void): CancelTimer {
    const timer = { at: this.#now + Math.max(0, ms), order: this.#order++, fire };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Time of the next timer, or undefined. */
  next(): number | undefined {
    return this.#timers.reduce<number | undefined>((least, { at }) => Math.min(least ?? at, at), undefined);
  }

  /** Moves on by `ms`, firing every timer that becomes due, in order of time, then of creation. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const due = this.#timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== due);
      this.#now = Math.max(this.#now, due.at);
      due.fire();
    }
    this.#now = until;
  }
}

/**
 * When a replica stops syncing in full for one reason again and again, and asks for an operator instead. Pure; on the
 * controller's thread.
 */
import type { Clock } from '../base/clock.js';
import type { FullReason } from '../wire/names.js';

const windowMs = 10 * 60 * 1000;
const failuresMax = 8;

export class FullSyncLimits {
  readonly #clock: Clock;
  /** Completed within the window for one reason; 0: no limit. */
  readonly #max: number;
  readonly #completed = new Map<FullReason, number[]>();
  #failing: { readonly reason: FullReason; readonly count: number } | undefined;

  constructor(clock: Clock, max: number) {
    this.#clock = clock;
    this.#max = max;
  }

  /** False: too many, and only time or an operator changes that. */
  allows(reason: FullReason): boolean {
    if (this.#failing?.reason === reason && this.#failing.count >= failuresMax) return false;
    if (reason === 'new_replica' || reason === 'operator') return true;
    return this.#max === 0 || this.#recent(reason).length < this.#max;
  }

  completed(reason: FullReason): void {
    this.#failing = undefined;
    this.#completed.set(reason, [...this.#recent(reason), this.#clock.monotonic()]);
  }

  /** Not for a lost link: that is no fault of the sync. */
  failed(reason: FullReason): void {
    const before = this.#failing?.reason === reason ? this.#failing.count : 0;
    this.#failing = { reason, count: before + 1 };
  }

  /** An operator looked at it. */
  forgive(): void {
    this.#failing = undefined;
    this.#completed.clear();
  }

  #recent(reason: FullReason): number[] {
    const since = this.#clock.monotonic() - windowMs;
    return (this.#completed.get(reason) ?? []).filter((at) => at > since);
  }
}

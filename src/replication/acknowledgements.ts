/**
 * Who waits for replicas, and how far enough of them are. Pure but for the timers it is given; on the controller's
 * thread. Work per acknowledgement grows with the waiters that it ends and with the distinct policies, not with all
 * waiters.
 */
import type { CancelTimer, Clock } from '../base/clock.js';
import { abortError, createError } from '../errors.js';
import type { Position } from '../position.js';
import type { AckLevel } from './ports.js';

/** What one replica that counts has said. */
export interface Acknowledged {
  readonly received: Position;
  readonly durable: Position;
  readonly applied: Position;
}

interface Waiter {
  readonly position: Position;
  settle(error: Error | undefined): void;
}

interface Policy {
  readonly replicas: number;
  readonly level: AckLevel;
  /** Of writes that go on without replicas that are not in reach. */
  readonly mayDegrade: boolean;
  /** By rising offset. */
  readonly waiters: Waiter[];
}

/** The highest position that at least `replicas` of them hold at the level; undefined: too few replicas. */
export function reachedBy(
  replicas: number,
  level: AckLevel,
  acknowledged: readonly Acknowledged[],
): Position | undefined {
  const positions = acknowledged.map((each) => each[level]);
  positions.sort((a, b) => (a.offset < b.offset ? 1 : a.offset > b.offset ? -1 : 0));
  return positions[replicas - 1];
}

export class AckWaiters {
  readonly #clock: Clock;
  readonly #promised: (position: Position) => void;
  readonly #policies = new Map<string, Policy>();

  /** `promised`: a caller is told that replicas hold this. Called before the caller hears it. */
  constructor(clock: Clock, promised: (position: Position) => void) {
    this.#clock = clock;
    this.#promised = promised;
  }

  get size(): number {
    let size = 0;
    for (const { waiters } of this.#policies.values()) size += waiters.length;
    return size;
  }

  /** Rejects with IN_DOUBT after the time, with ABORTED by the signal: neither undoes anything. */
  wait(
    position: Position,
    replicas: number,
    level: AckLevel,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    mayDegrade = false,
  ): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(abortError(signal));
    const policy = this.#policy(replicas, level, mayDegrade);
    return new Promise((resolve, reject) => {
      let cancel: CancelTimer = () => undefined;
      const abort = (): void => this.#settle(policy, waiter, abortError(signal));
      const waiter: Waiter = {
        position,
        settle: (error) => {
          cancel();
          signal?.removeEventListener('abort', abort);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      cancel = this.#clock.after(timeoutMs, () => {
        const what = `${replicas} replica(s) did not say "${level}" within ${timeoutMs} ms`;
        this.#settle(policy, waiter, createError('IN_DOUBT', what, { details: { position, replicas, level } }));
      });
      signal?.addEventListener('abort', abort, { once: true });
      insert(policy.waiters, waiter);
    });
  }

  /** Something was acknowledged, or somebody came or left. */
  advance(acknowledged: readonly Acknowledged[]): void {
    for (const [key, { replicas, level, waiters }] of this.#policies) {
      const reached = reachedBy(replicas, level, acknowledged);
      if (reached !== undefined) {
        const count = waiters.findIndex(({ position }) => position.offset > reached.offset);
        const done = waiters.splice(0, count < 0 ? waiters.length : count);
        const last = done.at(-1);
        if (last !== undefined) this.#promised(last.position);
        for (const waiter of done) waiter.settle(undefined);
      }
      if (waiters.length === 0) this.#policies.delete(key);
    }
  }

  /** Ends the waits that go on without replicas out of reach. `goesOn` hears how many each of them asked for. */
  degrade(goesOn: (needed: number) => boolean): void {
    for (const [key, { replicas, mayDegrade, waiters }] of this.#policies) {
      if (!mayDegrade || waiters.length === 0 || !goesOn(replicas)) continue;
      this.#policies.delete(key);
      for (const waiter of waiters.splice(0)) waiter.settle(undefined);
    }
  }

  /** Nobody will acknowledge any more. `error` makes the error for a position. */
  rejectAll(error: (position: Position) => Error): void {
    const policies = [...this.#policies.values()];
    this.#policies.clear();
    for (const { waiters } of policies) for (const waiter of waiters) waiter.settle(error(waiter.position));
  }

  #policy(replicas: number, level: AckLevel, mayDegrade: boolean): Policy {
    const key = `${replicas} ${level} ${mayDegrade}`;
    const known = this.#policies.get(key) ?? { replicas, level, mayDegrade, waiters: [] };
    this.#policies.set(key, known);
    return known;
  }

  #settle(policy: Policy, waiter: Waiter, error: Error): void {
    const at = policy.waiters.indexOf(waiter);
    if (at < 0) return;
    policy.waiters.splice(at, 1);
    waiter.settle(error);
  }
}

/** Waiters come in nearly rising order, so the place is near the end. */
function insert(waiters: Waiter[], waiter: Waiter): void {
  let at = waiters.length;
  while (at > 0 && (waiters[at - 1]?.position.offset ?? 0n) > waiter.position.offset) at--;
  waiters.splice(at, 0, waiter);
}

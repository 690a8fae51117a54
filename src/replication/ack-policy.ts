/**
 * What a write does when fewer replicas are in reach than it asks for: refused before it is sequenced, waits all the
 * same, or goes on without, which is told once at its begin and once at its end. Pure but for the events; on the
 * controller's thread.
 */
import { createError } from '../errors.js';
import type { ReplicationEvent, TooFewReplicas } from './ports.js';

export class AckPolicy {
  readonly #onTooFew: TooFewReplicas;
  readonly #emit: (event: ReplicationEvent) => void;
  /** How many replicas the writes wanted that go on without; 0: none does. */
  #degraded = 0;

  constructor(onTooFew: TooFewReplicas, emit: (event: ReplicationEvent) => void) {
    this.#onTooFew = onTooFew;
    this.#emit = emit;
  }

  get isDegraded(): boolean {
    return this.#degraded > 0;
  }

  get mayDegrade(): boolean {
    return this.#onTooFew === 'degrade';
  }

  /** Before a write is sequenced. Throws NOT_ENOUGH_REPLICAS. */
  require(needed: number, have: number): void {
    if (this.#onTooFew !== 'error' || have >= needed) return;
    const message = `the write asks for ${needed} replica(s), and ${have} can acknowledge it: nothing was written`;
    throw createError('NOT_ENOUGH_REPLICAS', message, { details: { needed, have } });
  }

  /** Whether a write that is sequenced goes on without them. */
  goesOn(needed: number, have: number): boolean {
    if (!this.mayDegrade || have >= needed) return false;
    if (needed > this.#degraded) {
      this.#degraded = needed;
      this.#emit({ event: 'degraded', needed, have });
    }
    return true;
  }

  /** Somebody came or left. */
  reachChanged(have: number): void {
    if (this.#degraded === 0 || have < this.#degraded) return;
    const needed = this.#degraded;
    this.#degraded = 0;
    this.#emit({ event: 'degraded_end', needed, have });
  }
}

/** Counts resyncs for /status and metrics, since the process started. Both roles share one. */
import { isEmptyPosition, type Position } from '../position.js';
import type { Reason, Tier } from '../wire/names.js';
import type { ReplicationCounters, ResyncCounts } from './ports.js';

export class ResyncTally {
  readonly #byTier = { ring: 0, wal: 0, rewind: 0, padding: 0, full: 0, stop: 0 };
  readonly #reasons = new Map<string, number>();
  readonly #full = new Map<string, number>();
  readonly #pairs = new Map<string, number>();
  #err = 0;
  #partialErr = 0;
  #divergenceOperations = 0;

  /** A decision was made (here, or for us). */
  decided(tier: Tier, reason: Reason | null, from: Position): void {
    const isRefused = tier === 'full' || tier === 'stop';
    if (isRefused && !isEmptyPosition(from)) this.#partialErr++;
    if (tier !== 'stop') return;
    this.failed();
    add(this.#reasons, reason ?? 'none');
    add(this.#pairs, `${tier} ${reason ?? ''}`);
  }

  /** What was decided is done: the replica streams, or has installed the new state. */
  completed(tier: Tier, reason: Reason | null): void {
    this.#byTier[tier]++;
    if (reason !== null) add(this.#reasons, reason);
    if (tier === 'full') add(this.#full, reason ?? 'none');
    add(this.#pairs, `${tier} ${reason ?? ''}`);
  }

  /** So many operations of this node were given up. */
  diverged(operations: number): void {
    this.#divergenceOperations += operations;
  }

  failed(): void {
    this.#err++;
  }

  counts(): ResyncCounts {
    const { ring, wal, rewind, padding, full } = this.#byTier;
    return { ring, wal, rewind, padding, full, err: this.#err, reasons: Object.fromEntries(this.#reasons) };
  }

  counters(fenced: number, connectionsRefused: number): ReplicationCounters {
    const { ring, wal, rewind, padding } = this.#byTier;
    return {
      partialOk: ring + wal + rewind,
      partialErr: this.#partialErr,
      partialPadding: padding,
      divergenceOperations: this.#divergenceOperations,
      fullByReason: Object.fromEntries(this.#full),
      byTierAndReason: Object.fromEntries(this.#pairs),
      fenced,
      connectionsRefused,
    };
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

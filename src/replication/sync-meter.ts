/**
 * How much of a full sync is there, flow by flow, and when the rest will be: for status and events. Pure but for the
 * clock; on the controller's thread.
 */
import type { Clock } from '../base/clock.js';
import type { SyncProgress } from './ports.js';

/** `progress` events come at most so often. */
const everyMs = 500;

export class SyncMeter {
  readonly #clock: Clock;
  #estimate: number;
  readonly #bytes: Map<number, number>;
  readonly #began: number;
  #sum = 0;
  #startedAt: number;
  #resumedBytes = 0;
  #saidAt: number;

  /** `estimate`: bytes of all flows, as the primary guesses them. */
  constructor(clock: Clock, flows: readonly number[], estimate: number) {
    this.#clock = clock;
    this.#estimate = estimate;
    this.#bytes = new Map(flows.map((flow) => [flow, 0]));
    this.#began = clock.monotonic();
    this.#startedAt = this.#began;
    this.#saidAt = this.#began;
  }

  get bytes(): number {
    return this.#sum;
  }
  get resumedBytes(): number {
    return this.#resumedBytes;
  }
  get elapsedMs(): number {
    return Math.round(this.#clock.monotonic() - this.#began);
  }

  bytesOf(flow: number): number {
    return this.#bytes.get(flow) ?? 0;
  }

  /** It begins, or goes on with what is there. */
  start(estimate: number): void {
    this.#estimate = estimate;
    this.#resumedBytes = this.#sum;
    this.#startedAt = this.#clock.monotonic();
  }

  add(flow: number, bytes: number): void {
    this.#bytes.set(flow, this.bytesOf(flow) + bytes);
    this.#sum += bytes;
  }

  /** What a `progress` event says, if it is time for one. */
  due(): { readonly done: number; readonly total: number; readonly etaMs: number | null } | null {
    const now = this.#clock.monotonic();
    if (now - this.#saidAt < everyMs) return null;
    this.#saidAt = now;
    const total = this.#total();
    return { done: this.#sum, total, etaMs: this.#etaMs(total) };
  }

  progress(verified: ReadonlySet<number>): SyncProgress {
    const totalBytes = this.#total();
    const share = Math.ceil(this.#estimate / Math.max(1, this.#bytes.size));
    return {
      bytes: this.#sum,
      totalBytes,
      etaMs: this.#etaMs(totalBytes),
      flows: [...this.#bytes].map(([flow, bytes]) => ({
        flow,
        bytes,
        totalBytes: verified.has(flow) ? bytes : Math.max(bytes, share),
        verified: verified.has(flow),
      })),
    };
  }

  #total(): number {
    return Math.max(this.#sum, this.#estimate);
  }

  /** By the pace since it began or went on; null: nothing came yet. */
  #etaMs(total: number): number | null {
    const came = this.#sum - this.#resumedBytes;
    const ms = this.#clock.monotonic() - this.#startedAt;
    return came <= 0 ? null : Math.round(((total - this.#sum) * Math.max(1, ms)) / came);
  }
}

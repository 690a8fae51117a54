/**
 * The writer of the demo: moves a source into the primary batch by batch, remembers what was acknowledged, and goes on
 * where it was when the primary comes back. At most one batch is in flight.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../base/clock.js';
import { createError, GaplessError } from '../errors.js';
import { openImportSource, type SourceEntry } from './import-source.js';
import { batches } from './importer.js';
import type { Target } from './target.js';

const entriesPerBatch = 50;
const retryMs = 50;
/** A write is given up when the primary did not take it for so long. */
const writeMsMax = 60_000;
/** Between repeated writes that only keep the stream moving. */
const pauseMs = 10;

export interface SourceSize {
  readonly entries: number;
  readonly bytes: number;
}

export async function* noInput(): AsyncGenerator<Uint8Array, void, void> {}

export async function measureSource(source: string): Promise<SourceSize> {
  let entries = 0;
  let bytes = 0;
  for await (const { value } of (await openImportSource(source, noInput())).entries) {
    entries += 1;
    bytes += value.length;
  }
  return { entries, bytes };
}

export function valueHash(value: Buffer): string {
  return createHash('sha256').update(value).digest('hex');
}

export interface FeedPlan {
  readonly clock: Clock;
  readonly target: Target;
  readonly entries: AsyncIterable<SourceEntry>;
  /** How many there are. */
  readonly total: number;
  /** Ends every wait for the primary. */
  readonly signal: AbortSignal;
}

export class Feed {
  /** Hash of the value of each acknowledged key (latin1 of its bytes). */
  readonly acknowledged: Map<string, string> = new Map();
  readonly #clock: Clock;
  readonly #target: Target;
  readonly #total: number;
  readonly #signal: AbortSignal;
  readonly #batches: AsyncGenerator<readonly SourceEntry[], void, void>;
  #imported = 0;
  #writes = 0;
  #writingMs = 0;
  /** The smallest entry so far: what is written again where only the stream matters. */
  #smallest: SourceEntry | undefined;
  #newest: readonly SourceEntry[] = [];
  #offset = 0n;

  constructor(plan: FeedPlan) {
    this.#clock = plan.clock;
    this.#target = plan.target;
    this.#total = plan.total;
    this.#signal = plan.signal;
    this.#batches = batches(plan.entries, entriesPerBatch);
  }

  get imported(): number {
    return this.#imported;
  }
  /** End of the newest acknowledged record. */
  get offset(): bigint {
    return this.#offset;
  }
  /** Acknowledged writes in a second of waiting for acknowledgements. */
  get writesPerSecond(): number {
    return this.#writingMs === 0 ? 0 : Math.round(this.#writes / (this.#writingMs / 1000));
  }

  /** Imports until this share of the source is in. */
  async importTo(share: number): Promise<void> {
    while (this.#imported < this.#total * share) if (!(await this.step())) return;
  }

  /** Keeps writing until `until` settles: new entries up to the share, then the newest batch again. */
  async importWhile<T>(until: Promise<T>, share: number): Promise<T> {
    let isSettled = false;
    const settle = (): void => {
      isSettled = true;
    };
    until.then(settle, settle);
    while (!isSettled) {
      const isFresh = this.#imported < this.#total * share && (await this.step());
      if (!isFresh) await this.#write(this.#newest);
      await sleep(pauseMs);
    }
    return await until;
  }

  /** Writes one small entry again. */
  async touch(): Promise<void> {
    if (this.#smallest !== undefined) await this.#write([this.#smallest]);
  }

  /** Imports to the share, and then writes the newest batch again until the log has grown by so many bytes. */
  async grow(bytes: number, share: number): Promise<void> {
    const until = this.#offset + BigInt(bytes);
    await this.importTo(share);
    while (this.#offset < until) await this.#write(this.#newest);
  }

  /** Imports one batch. False: the source is at its end. */
  async step(): Promise<boolean> {
    const next = await this.#batches.next();
    if (next.done === true) return false;
    this.#newest = next.value;
    this.#imported += next.value.length;
    for (const entry of next.value) {
      if (this.#smallest === undefined || entry.value.length < this.#smallest.value.length) this.#smallest = entry;
    }
    await this.#write(next.value);
    return true;
  }

  /** Resolves once the batch is acknowledged; what a dying primary left unanswered is written again. */
  async #write(entries: readonly SourceEntry[]): Promise<void> {
    if (entries.length === 0) return;
    const operations = entries.map((entry) => ({ op: 'put', ...entry }) as const);
    const until = this.#clock.monotonic() + writeMsMax;
    for (;;) {
      const began = this.#clock.monotonic();
      try {
        const { position } = await this.#target.write(operations, {});
        this.#offset = position.offset;
        this.#writes += entries.length;
        this.#writingMs += this.#clock.monotonic() - began;
        break;
      } catch (error) {
        if (!isPassing(error) || this.#signal.aborted) throw error;
        if (this.#clock.monotonic() > until)
          throw createError('TIMEOUT', 'the primary takes no writes', { cause: error });
        await sleep(retryMs);
      }
    }
    for (const { key, value } of entries) this.acknowledged.set(key.toString('latin1'), valueHash(value));
  }
}

/** A primary that was killed, or is still recovering. */
function isPassing(error: unknown): boolean {
  return error instanceof GaplessError && ['IO', 'NOT_READY', 'TIMEOUT', 'CLOSED'].includes(error.code);
}

/** Compares what a node holds with what was acknowledged. */
export async function checkEntries(
  target: Target,
  acknowledged: ReadonlyMap<string, string>,
): Promise<{ readonly missing: number; readonly different: number }> {
  let found = 0;
  let different = 0;
  for await (const { key, value } of target.scan({ reverse: false, keys: false })) {
    const hash = acknowledged.get(key.toString('latin1'));
    if (hash === undefined) continue;
    found += 1;
    if (value === undefined || valueHash(value) !== hash) different += 1;
  }
  return { missing: acknowledged.size - found, different };
}

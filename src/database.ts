/**
 * A database: one handle on a directory, for the thread that opened it. Several threads and handles of a process share
 * one engine. Reads are synchronous; what waits for a disk or a peer is a promise.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { Batch, type BatchHost } from './batch.js';
import type { NativeLogChunk } from './binding/contract.js';
import { type KeyRange, toBounds } from './bounds.js';
import { Changes, type ChangesOptions } from './changes.js';
import type { Commit, WriteOptions } from './commit.js';
import { type Compaction, type CompactOptions, compactRange } from './compaction.js';
import { type Digest, digestOfView } from './digest.js';
import { OperationEncoder } from './encoder.js';
import { createError, GaplessError } from './errors.js';
import type { EventName, EventOf } from './events.js';
import { notARecordEnd, type Outcome, outcomeOf, requireInHistory } from './history.js';
import type { Node } from './node.js';
import { type Compression, checkOption, optionTable, refuseUnknown } from './options.js';
import { emptyPosition, type Position, toPosition, toSeq } from './position.js';
import { Range, type RangeOptions } from './range.js';
import { type Entry, Reads } from './reads.js';
import type { Replication } from './replication/ports.js';
import type { Bytes } from './scratch.js';
import { type SnapshotResult, writeSnapshot } from './snapshot.js';
import { buildStats, type Stats } from './stats.js';
import { buildStatus, delayResolutionMs, type Status } from './status.js';
import { type VerifyResult, verifyOpen } from './verify.js';
import { packageVersion } from './version.js';
import { View, type ViewHost } from './view.js';
import type { WaitLimits } from './waits.js';

/** `visible`: reads see it; `durable`: synced here; `commit`: the store's policy of acknowledgements is met. */
export type WaitLevel = 'visible' | 'durable' | 'commit';
export interface WaitForOptions extends WaitLimits {
  readonly level?: WaitLevel | undefined;
}
export interface GetAsyncOptions extends WaitLimits {
  /** Wait until this node has seen it. */
  readonly minPosition?: Position | undefined;
  /** On a replica: wait until it is no further behind than this. */
  readonly maxLagMs?: number | undefined;
}
export interface SnapshotOptions {
  readonly compression?: Compression | undefined;
}
export interface DigestOptions extends WaitLimits {
  /** The sequence at which a record must end. */
  readonly at?: bigint | number | string | undefined;
}

const encodersKept = 8;
/** How long an error waits for what it tells. */
const logWaitMs = 1000;

export class Database {
  readonly #node: Node;
  readonly #reads: Reads;
  readonly #viewHost: ViewHost;
  readonly #batchHost: BatchHost;
  readonly #single = new OperationEncoder();
  readonly #encoders: OperationEncoder[] = [];
  #delay: IntervalHistogram | undefined;

  /** @internal */
  constructor(node: Node) {
    this.#node = node;
    this.#reads = new Reads(node, 0);
    this.#viewHost = node;
    this.#batchHost = {
      takeEncoder: () => this.#encoders.pop() ?? new OperationEncoder(),
      giveEncoder: (encoder) => this.#keepEncoder(encoder),
      commit: (encoder, options) => this.#commit(encoder, options),
      commitSync: (encoder, options) => {
        node.check();
        return node.committer.commitSync(encoder, options);
      },
    };
  }

  /** The directory, as it was given. */
  get path(): string {
    return this.#node.path;
  }

  // -- reading ------------------------------------------------------------------------------------------------------

  /** The value, or undefined. The buffer belongs to the caller. */
  get(key: Bytes): Buffer | undefined {
    this.#node.check();
    return this.#reads.get(key);
  }

  /**
   * Copies the value to `into`, from byte `at` on, and returns its length; undefined: there is none. A value that is
   * longer than the room is not copied: compare the length. Costs no allocation.
   */
  getInto(key: Bytes, into: Uint8Array, at = 0): number | undefined {
    this.#node.check();
    return this.#reads.getInto(key, into, at);
  }

  /** The value with the version of its last write, or undefined. */
  getEntry(key: Bytes): Entry | undefined {
    this.#node.check();
    return this.#reads.getEntry(key);
  }

  /** Values in the order of the keys, all at one position. */
  getMany(keys: readonly Bytes[]): (Buffer | undefined)[] {
    this.#node.check();
    return this.#reads.getMany(keys);
  }

  has(key: Bytes): boolean {
    this.#node.check();
    return this.#reads.has(key);
  }

  /** Waits until this node is as far as asked for, then reads. TIMEOUT, POSITION_NOT_IN_HISTORY, ABORTED. */
  async getAsync(key: Bytes, options: GetAsyncOptions = {}): Promise<Buffer | undefined> {
    refuseUnknown(options, ['minPosition', 'maxLagMs', 'timeoutMs', 'signal'], '');
    const { minPosition, maxLagMs, timeoutMs, signal } = options;
    const limits = { timeoutMs, signal };
    if (minPosition !== undefined) await this.waitFor(minPosition, { level: 'visible', ...limits });
    if (maxLagMs !== undefined) {
      this.#node.check();
      await this.#node.waits.until(() => this.#lagMs() <= maxLagMs, `waiting for a lag of ${maxLagMs} ms`, limits);
    }
    return this.get(key);
  }

  /** Entries between two keys, in key order, at one position. */
  range(options: RangeOptions = {}): Range {
    this.#node.check();
    return new Range({ store: this.#node.store, check: this.#node.check, view: undefined }, options);
  }

  /** A view of the newest state. Close it, or declare it with `using`. */
  view(): View {
    return new View(this.#viewHost);
  }

  // -- writing ------------------------------------------------------------------------------------------------------

  put(key: Bytes, value: Bytes, options?: WriteOptions): Promise<Commit> {
    return this.#one((encoder) => encoder.put(key, value), options);
  }

  /** A missing key is no error. */
  del(key: Bytes, options?: WriteOptions): Promise<Commit> {
    return this.#one((encoder) => encoder.del(key), options);
  }

  /** Deletes every key of the range. */
  delRange(range: KeyRange, options?: WriteOptions): Promise<Commit> {
    return this.#one((encoder) => encoder.delRange(toBounds(range)), options);
  }

  /** Adds to a counter; `results[0]` of the commit is its new value. */
  increment(key: Bytes, by: bigint | number = 1n, options?: WriteOptions): Promise<Commit> {
    return this.#one((encoder) => encoder.increment(key, by), options);
  }

  /** Blocks this thread until the write is acknowledged. Throws QUEUE_FULL instead of waiting for room. */
  putSync(key: Bytes, value: Bytes, options?: WriteOptions): Commit {
    this.#node.check();
    this.#single.reset();
    this.#single.put(key, value);
    return this.#node.committer.commitSync(this.#single, options);
  }

  batch(): Batch {
    this.#node.check();
    return new Batch(this.#batchHost);
  }

  // -- positions ----------------------------------------------------------------------------------------------------

  /** What reads see. */
  get position(): Position {
    this.#node.check();
    this.#node.progress.refresh();
    return this.#node.progress.visible;
  }

  /** What is synced to this node's disk. */
  get durable(): Position {
    this.#node.check();
    this.#node.progress.refresh();
    return this.#node.progress.durable;
  }

  /** Resolves once this node has the position at the level. TIMEOUT, POSITION_NOT_IN_HISTORY, ABORTED. */
  async waitFor(position: Position, options: WaitForOptions = {}): Promise<void> {
    this.#node.check();
    refuseUnknown(options, ['level', 'timeoutMs', 'signal'], '');
    const { level = 'visible', ...limits } = options;
    if (!['visible', 'durable', 'commit'].includes(level)) {
      throw new TypeError(`option "level" must be one of "visible", "durable", "commit", not "${level}"`);
    }
    const wanted = toPosition(position);
    const { store, progress, waits } = this.#node;
    requireInHistory(store, progress, wanted);
    await waits.until(() => this.#reached(level) >= wanted.offset, `waiting for ${wanted}`, limits);
    requireInHistory(store, progress, wanted);
  }

  /**
   * What became of a write whose acknowledgement did not come: `committed` as the store's policy says, `lost` with the
   * history that it was in, or `unknown` yet. POSITION_NOT_IN_HISTORY if no history of this cluster had it.
   */
  async outcome(position: Position): Promise<Outcome> {
    this.#node.check();
    const { store, progress } = this.#node;
    progress.refresh();
    return outcomeOf(store, progress, toPosition(position), this.#safe());
  }

  // -- whole states -------------------------------------------------------------------------------------------------

  /** Digest of all live entries, at the visible position or at a record end still to come. */
  digest(options: DigestOptions = {}): Promise<Digest> {
    return this.#node.track(this.#digest(options));
  }

  /** Reads the log back from disk and checks it; `deep` also sums all live entries. */
  verify(options: { readonly deep?: boolean | undefined } = {}): Promise<VerifyResult> {
    return this.#node.track(this.#verify(options));
  }

  /** Writes a snapshot into a new directory. EXISTS if there is one. Writers are not held up. */
  snapshot(path: string, options: SnapshotOptions = {}): Promise<SnapshotResult> {
    return this.#node.track(this.#snapshot(path, options));
  }

  /**
   * Merges everything in the range down to the bottom: what was overwritten or deleted gives its space back now, not
   * when merging comes to it. For the whole store without a range. Reads and writes go on.
   */
  compact(range: KeyRange = {}, options: CompactOptions = {}): Promise<Compaction> {
    return this.#node.track(this.#compact(range, options));
  }

  /** Batches behind a position, as they become durable (`'sync'` stores) or written, for ever. */
  changes(options: ChangesOptions = {}): Changes {
    this.#node.check();
    if ('consumer' in options && options.consumer !== undefined) {
      throw new TypeError('option "consumer" comes with durable cursors, not in this version');
    }
    refuseUnknown(options, ['from', 'signal', 'consumer'], '');
    const { store, progress, waits, check } = this.#node;
    const holdMaxBytes = this.#node.options.holdMaxBytes;
    const inHistory = (position: Position): void => requireInHistory(store, progress, position);
    return new Changes({ store, progress, waits, holdMaxBytes, check, requireInHistory: inHistory }, options);
  }

  // -- the node -----------------------------------------------------------------------------------------------------

  get replication(): Replication {
    return this.#node.replication;
  }

  /** The body of `GET /status`. */
  status(): Status {
    const { store, progress, startedReplication, ringReader, clock, openedAt, isClosing } = this.#node;
    this.#node.check();
    if (this.#delay === undefined) {
      this.#delay = monitorEventLoopDelay({ resolution: delayResolutionMs });
      this.#delay.enable();
    }
    return buildStatus({
      store,
      progress,
      isClosing,
      version: packageVersion(),
      uptimeMs: clock.monotonic() - openedAt,
      replication: startedReplication?.status() ?? null,
      ring: ringReader?.state() ?? null,
      delay: this.#delay,
    });
  }

  /** Sizes, and what background work has done and has still to do. */
  stats(): Stats {
    this.#node.check();
    return buildStats(this.#node.store, this.#node.committer.pending);
  }

  on<N extends EventName>(event: N, listener: (event: EventOf<N>) => void): this {
    this.#node.events.on(event, listener);
    return this;
  }

  off<N extends EventName>(event: N, listener: (event: EventOf<N>) => void): this {
    this.#node.events.off(event, listener);
    return this;
  }

  /** Every event, as `serve` prints them. */
  onAny(listener: (event: EventOf<EventName>) => void): this {
    this.#node.events.onAny(listener);
    return this;
  }

  /** Waits for what is pending, syncs and closes. Idempotent. */
  close(): Promise<void> {
    this.#delay?.disable();
    return this.#node.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // -- inside -------------------------------------------------------------------------------------------------------

  #one(encode: (encoder: OperationEncoder) => void, options: WriteOptions | undefined): Promise<Commit> {
    try {
      this.#node.check();
      this.#single.reset();
      encode(this.#single);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#node.gate.commit(this.#single, options);
  }

  #commit(encoder: OperationEncoder, options: WriteOptions | undefined): Promise<Commit> {
    try {
      this.#node.check();
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#node.gate.commit(encoder, options);
  }

  #keepEncoder(encoder: OperationEncoder): void {
    encoder.reset();
    if (this.#encoders.length < encodersKept) this.#encoders.push(encoder);
  }

  #reached(level: WaitLevel): bigint {
    const { progress, startedReplication } = this.#node;
    progress.refresh();
    if (level === 'visible') return progress.visibleOffset;
    if (level === 'durable') return progress.durableOffset;
    const commit = startedReplication?.status().commit ?? this.#safe();
    // A replica may hear of it before it has it.
    return commit.offset < progress.visibleOffset ? commit.offset : progress.visibleOffset;
  }

  /** Up to where this node knows that a write stays: the commit position, if it still may say so. */
  #safe(): Position {
    const { progress, startedReplication, options } = this.#node;
    if (startedReplication === undefined) {
      const isAlone = progress.isPrimary && !progress.isFenced && options.replication.ackReplicas === 0;
      return isAlone ? progress.durable : emptyPosition();
    }
    const { commit, promised } = startedReplication.status();
    // A fenced primary's own disk says nothing about the history that goes on elsewhere.
    return progress.isFenced && options.replication.ackReplicas === 0 ? promised : commit;
  }

  /** Age of what this node has not applied yet; unknown counts as endless. */
  #lagMs(): number {
    if (this.#node.progress.isPrimary) return 0;
    return this.#node.startedReplication?.status().link?.lag?.ms ?? Number.POSITIVE_INFINITY;
  }

  async #digest({ at, ...limits }: DigestOptions): Promise<Digest> {
    this.#node.check();
    refuseUnknown(limits, ['timeoutMs', 'signal'], '');
    const { store, progress, waits } = this.#node;
    if (at === undefined) {
      const { view, position } = store.openView();
      return await digestOfView(store, view, position).finally(() => store.releaseView(view));
    }
    const seq = toSeq(at);
    progress.refresh();
    if (progress.visibleSeq > seq) throw await this.#passed(seq);
    const view = store.openViewAt(seq);
    try {
      const isThere = (): boolean => {
        progress.refresh();
        return progress.visibleSeq >= seq;
      };
      await waits.until(isThere, `waiting for sequence ${seq}`, limits);
      const position = await this.#awaitedPosition(view, seq);
      return await digestOfView(store, view, position);
    } finally {
      store.releaseView(view);
    }
  }

  async #awaitedPosition(view: number, seq: bigint): Promise<Position> {
    let position: Position | null;
    try {
      position = this.#node.store.viewPosition(view);
    } catch (error) {
      // A batch went across it: the log says which.
      if (error instanceof GaplessError && error.code === 'NOT_A_RECORD_END') throw await this.#passed(seq);
      throw error;
    }
    if (position === null) throw await this.#passed(seq);
    return position;
  }

  /** Why the state at a sequence that has gone by cannot be shown. */
  async #passed(seq: bigint): Promise<Error> {
    const { store, progress, waits } = this.#node;
    const details = { at: seq };
    const seen = progress.visibleOffset;
    // The log can be read as far as it is shipped, which comes a little later than being visible.
    const isReadable = (): boolean => store.shippingEnd().offset >= seen || !progress.isAcknowledging;
    await waits.until(isReadable, 'reading the log', { timeoutMs: logWaitMs }).catch(refuseAllButTimeout);
    const before = store.positionBeforeSeq(seq + 1n);
    if (before.seq !== seq) return notARecordEnd(seq, before, recordEnd(store.readLog(before.offset, 1)));
    return createError('POSITION_UNAVAILABLE', `the state at sequence ${seq} has gone by; compute it offline`, {
      details,
    });
  }

  async #verify(options: { readonly deep?: boolean | undefined }): Promise<VerifyResult> {
    this.#node.check();
    refuseUnknown(options, ['deep'], '');
    return await verifyOpen(this.#node.store, options.deep === true, this.#node.check);
  }

  async #compact(range: KeyRange, options: CompactOptions): Promise<Compaction> {
    this.#node.check();
    return await compactRange(this.#node.store, range, options, this.#node.check);
  }

  async #snapshot(path: string, options: SnapshotOptions): Promise<SnapshotResult> {
    this.#node.check();
    if (typeof path !== 'string' || path === '') throw new TypeError('the path must be a string that is not empty');
    refuseUnknown(options, ['compression'], '');
    const compression = options.compression ?? this.#node.options.compression;
    checkOption('compression', optionTable.compression, compression);
    const { store, addon, snapshots: tasks, clock, events } = this.#node;
    const result = await writeSnapshot({ store, addon, tasks, clock }, path, compression);
    const { position, bytes, ms } = result;
    events.emit({ event: 'snapshot', path, position, bytes, ms });
    return result;
  }
}

/** null: the record is not in the readable log yet. */
function recordEnd({ before, after }: NativeLogChunk): Position | null {
  return after.offset > before.offset ? after : null;
}

function refuseAllButTimeout(error: unknown): void {
  if (!(error instanceof GaplessError) || error.code !== 'TIMEOUT') throw error;
}

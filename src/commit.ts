/**
 * What a write resolves with, and what a caller may ask of it. Pure; any thread.
 */
import {
  type AckLevel,
  checkOption,
  type Durability,
  type OptionSpec,
  optionTable,
  refuseUnknown,
  replicationOptionTable,
} from './options.js';
import { createVersion, decodePosition, type Position, type PositionJson, type Version } from './position.js';

export interface Commit {
  /** Behind the batch's record. */
  readonly position: Position;
  /** Sequence of the first operation. */
  readonly firstSeq: bigint;
  /** New values of the increments, in order. */
  readonly results: readonly bigint[];
  /** Version that the first operation gave its key: the one of a single put. */
  readonly version: Version;
}

export interface WriteOptions {
  /** How safe this write is when it resolves; default: the store's. */
  readonly durability?: Durability | undefined;
  /** Replicas that must hold it too; default: the store's `ackReplicas`. 0: none. */
  readonly replicas?: number | undefined;
  /** What they must have done; default: the store's `ackLevel`. */
  readonly level?: AckLevel | undefined;
  /** How long they are waited for; default: the store's `ackTimeoutMs`. Then IN_DOUBT. */
  readonly timeoutMs?: number | undefined;
  /** Stops waiting, not the write: the rejection is in doubt once the write has a position. */
  readonly signal?: AbortSignal | undefined;
}

/** Four words as the addon writes them, and the facts beside them. Position and version are built when asked for. */
export class CommitValue implements Commit {
  readonly firstSeq: bigint;
  readonly results: readonly bigint[];
  readonly #words: BigUint64Array;
  #position: Position | undefined;

  constructor(words: BigUint64Array, firstSeq: bigint, results: readonly bigint[]) {
    this.#words = words;
    this.firstSeq = firstSeq;
    this.results = results;
  }

  get offset(): bigint {
    return this.#words[2] ?? 0n;
  }

  /** term | run << 32 */
  get epochWord(): bigint {
    return this.#words[0] ?? 0n;
  }

  get position(): Position {
    this.#position ??= decodePosition(new DataView(this.#words.buffer, this.#words.byteOffset), 0);
    return this.#position;
  }

  get version(): Version {
    return createVersion(this.position.epoch, this.firstSeq);
  }

  toJSON(): { readonly position: PositionJson; readonly firstSeq: string; readonly results: readonly string[] } {
    const results = this.results.map((result) => `${result}`);
    return { position: this.position.toJSON(), firstSeq: `${this.firstSeq}`, results };
  }
}

const writeOptionNames = ['durability', 'replicas', 'level', 'timeoutMs', 'signal'];
const timeoutSpec: OptionSpec = { type: 'count', default: 0, least: 0, most: 0xffff_ffff, store: false, help: '' };

/** Throws a TypeError or RangeError for anything but WriteOptions. */
export function checkWriteOptions(options: WriteOptions): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`write options must be an object, not ${options}`);
  }
  refuseUnknown(options, writeOptionNames, '');
  const { durability, replicas, level, timeoutMs, signal } = options;
  if (durability !== undefined) checkOption('durability', optionTable.durability, durability);
  if (replicas !== undefined) checkOption('replicas', replicationOptionTable.ackReplicas, replicas);
  if (level !== undefined) checkOption('level', replicationOptionTable.ackLevel, level);
  if (timeoutMs !== undefined) checkOption('timeoutMs', timeoutSpec, timeoutMs);
  if (signal !== undefined) checkOption('signal', optionTable.signal, signal);
}

/** The same for a write that blocks its thread: it cannot hear of replicas meanwhile. */
export function checkSyncWriteOptions(options: WriteOptions): void {
  checkWriteOptions(options);
  for (const name of ['replicas', 'level', 'timeoutMs'] as const) {
    if (options[name] === undefined || options[name] === 0) continue;
    throw new TypeError(`option "${name}" is for writes that are waited for, not for those that block the thread`);
  }
}

/**
 * What a write resolves with, and what a caller may ask of it. Pure; any thread.
 */
import { checkOption, type Durability, optionTable, refuseUnknown } from './options.js';
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

const writeOptionNames = ['durability', 'signal'];

/** Throws a TypeError or RangeError for anything but WriteOptions. */
export function checkWriteOptions(options: WriteOptions): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`write options must be an object, not ${options}`);
  }
  if (['replicas', 'level', 'timeoutMs'].some((name) => (options as Record<string, unknown>)[name] !== undefined)) {
    const { replicas = 0, ...rest } = options as { readonly replicas?: unknown };
    if (replicas !== 0) throw new TypeError('option "replicas" comes with acknowledgement levels, not in this version');
    refuseUnknown(rest, [...writeOptionNames, 'level', 'timeoutMs'], '');
  } else {
    refuseUnknown(options, [...writeOptionNames, 'replicas'], '');
  }
  if (options.durability !== undefined) checkOption('durability', optionTable.durability, options.durability);
  if (options.signal !== undefined) checkOption('signal', optionTable.signal, options.signal);
}

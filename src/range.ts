/**
 * Entries between two keys, in either direction, all at one position. One native call fetches a chunk; the view under
 * it is pinned from the first chunk on until the range is exhausted or closed. The thread that opened the store.
 */
import type { NativeStore } from './binding/contract.js';
import { type Bounds, isEmptyRange, type KeyRange, successor, toBounds, toKey } from './bounds.js';
import { createError } from './errors.js';
import { type Bytes, sharedBuffer } from './scratch.js';

export interface RangeOptions extends KeyRange {
  /** At most so many entries. */
  readonly limit?: number | undefined;
  /** From the last key to the first. */
  readonly reverse?: boolean | undefined;
}

/** A view that a range reads at: its own, or one that somebody else closes. */
export interface RangeSource {
  readonly store: NativeStore;
  /** Throws CLOSED if it may not be read any more. */
  readonly check: () => void;
  /** undefined: the range pins a view of its own. */
  readonly view: number | undefined;
}

const chunkBytesFirst = 4 * 1024;
const chunkBytesMax = 64 * 1024;
/** Entries that are large themselves come in larger chunks, several at a time. */
const largeChunkBytesMax = 1024 * 1024;
const largeEntries = 8;
const entryHeaderBytes = 8;
const rangeNames = ['limit', 'reverse'];
const noLimit = 0xffff_ffff;

export class Range implements Iterable<[Buffer, Buffer]> {
  readonly #source: RangeSource;
  readonly #all: Bounds;
  readonly #isReverse: boolean;
  #left: number;
  #rest: Bounds;
  #view: number | undefined;
  #entries: [Buffer, Buffer][] = [];
  #next = 0;
  #chunkBytes = chunkBytesFirst;
  #isExhausted: boolean;
  #isClosed = false;
  readonly #out = new Int32Array(4);

  constructor(source: RangeSource, options: RangeOptions) {
    this.#all = toBounds(options, rangeNames);
    const { limit, reverse = false } = options;
    if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 0)) {
      throw new RangeError(`option "limit" must be a whole number of at least 0, not ${limit}`);
    }
    if (typeof reverse !== 'boolean') throw new TypeError(`option "reverse" must be true or false, not ${reverse}`);
    this.#source = source;
    this.#isReverse = reverse;
    this.#left = limit ?? Number.POSITIVE_INFINITY;
    this.#rest = this.#all;
    this.#isExhausted = isEmptyRange(this.#all);
  }

  /** The next `count` entries; fewer at the end. */
  next(count = 1): [Buffer, Buffer][] {
    if (!Number.isSafeInteger(count) || count < 1)
      throw new RangeError(`next takes a count of at least 1, not ${count}`);
    const taken: [Buffer, Buffer][] = [];
    while (taken.length < count) {
      const entry = this.#take();
      if (entry === undefined) break;
      taken.push(entry);
    }
    return taken;
  }

  /** Goes on at `key`, or the next one behind it in this direction. Keys outside the range stay outside. */
  seek(key: Bytes): void {
    this.#refuseClosed();
    const at = toKey(key);
    const { lower, upper } = this.#all;
    if (this.#isReverse) {
      const end = successor(at);
      this.#rest = { lower, upper: upper === undefined || Buffer.compare(end, upper) < 0 ? end : upper };
    } else {
      this.#rest = { lower: Buffer.compare(at, lower) > 0 ? at : lower, upper };
    }
    this.#entries = [];
    this.#next = 0;
    this.#isExhausted = isEmptyRange(this.#rest);
  }

  /** Gives the view up. Idempotent; a loop that ends early calls it. */
  close(): void {
    this.#isClosed = true;
    this.#entries = [];
    this.#releaseView();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  *[Symbol.iterator](): Iterator<[Buffer, Buffer]> {
    try {
      for (let entry = this.#take(); entry !== undefined; entry = this.#take()) yield entry;
    } finally {
      this.close();
    }
  }

  #take(): [Buffer, Buffer] | undefined {
    this.#refuseClosed();
    if (this.#left <= 0) return undefined;
    if (this.#next >= this.#entries.length) {
      if (this.#isExhausted) return undefined;
      this.#fetch();
    }
    const entry = this.#entries[this.#next];
    if (entry === undefined) return undefined;
    this.#next += 1;
    this.#left -= 1;
    return entry;
  }

  #fetch(): void {
    this.#source.check();
    const { store } = this.#source;
    const { lower, upper } = this.#rest;
    const view = this.#pinned();
    const bounds = upper === undefined ? lower : Buffer.concat([lower, upper]);
    const limit = Math.min(this.#left, noLimit);
    const out = this.#out;
    for (;;) {
      const chunk = sharedBuffer(this.#chunkBytes);
      store.scan(view, bounds, lower.length, upper?.length ?? -1, this.#isReverse, limit, chunk, out);
      const [entries = 0, bytes = 0, isExhausted = 0, needed = 0] = out;
      if (needed > 0) {
        // Several such entries, if that is not too much: the next ones are likely to be as large.
        this.#chunkBytes = Math.max(needed, Math.min(needed * largeEntries, largeChunkBytesMax));
        continue;
      }
      this.#entries = unpack(chunk.subarray(0, bytes), entries);
      this.#isExhausted = isExhausted === 1;
      this.#chunkBytes = nextChunkBytes(this.#chunkBytes, bytes, entries);
      break;
    }
    this.#next = 0;
    const last = this.#entries.at(-1)?.[0];
    if (last !== undefined) {
      this.#rest = this.#isReverse ? { lower, upper: Buffer.from(last) } : { lower: successor(last), upper };
    }
  }

  #pinned(): number {
    if (this.#source.view !== undefined) return this.#source.view;
    this.#view ??= this.#source.store.openView().view;
    return this.#view;
  }

  #releaseView(): void {
    const view = this.#view;
    this.#view = undefined;
    if (view === undefined) return;
    try {
      this.#source.check();
    } catch {
      return; // The store is closed, and all its views with it.
    }
    this.#source.store.releaseView(view);
  }

  #refuseClosed(): void {
    if (this.#isClosed) throw createError('CLOSED', 'the range is closed');
  }
}

/** Four times the last one up to a limit, which is higher where few of such entries would fit. */
function nextChunkBytes(last: number, used: number, entries: number): number {
  if (last < chunkBytesMax) return Math.min(last * 4, chunkBytesMax);
  const several = Math.ceil((used / Math.max(1, entries)) * largeEntries);
  return Math.max(chunkBytesMax, Math.min(several, largeChunkBytesMax));
}

function unpack(chunk: Buffer, entries: number): [Buffer, Buffer][] {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
  const unpacked: [Buffer, Buffer][] = [];
  let at = 0;
  for (let index = 0; index < entries; index += 1) {
    const keyAt = at + entryHeaderBytes;
    const valueAt = keyAt + view.getUint32(at, true);
    const end = valueAt + view.getUint32(at + 4, true);
    unpacked.push([chunk.subarray(keyAt, valueAt), chunk.subarray(valueAt, end)]);
    at = end;
  }
  return unpacked;
}

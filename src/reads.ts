/**
 * Point reads at one state: the newest one of a handle (view 0), or a view's. Native code copies the value into a slab
 * of the handle; what does not fit is asked for again with room enough, as it may have changed meanwhile.
 */
import type { NativeReader, NativeStore } from './binding/contract.js';
import { decodeVersion, type Version } from './position.js';
import { type Bytes, type KeyScratch, roomOfKey, sharedBuffer, type ValueSlab, writeKey } from './scratch.js';

export interface Entry {
  readonly value: Buffer;
  /** Of the last write of the key. */
  readonly version: Version;
}

/** What the reads of one handle share. */
export interface ReadHost {
  readonly store: NativeStore;
  /** Made with the memory of `scratch`. */
  readonly reader: NativeReader;
  readonly scratch: KeyScratch;
  readonly slab: ValueSlab;
}

const missing = -1;
/** What getMany takes for its values before it knows them. */
const manyBytesLeast = 4 * 1024;
const manyBytesMost = 16 * 1024 * 1024;

export class Reads {
  readonly #store: NativeStore;
  readonly #reader: NativeReader;
  readonly #view: number;
  readonly #scratch: KeyScratch;
  readonly #slab: ValueSlab;
  /** Of the last getMany. */
  #bytesPerKey = 160;
  readonly #versionWords = new BigUint64Array(2);
  readonly #versionView = new DataView(this.#versionWords.buffer);

  constructor({ store, reader, scratch, slab }: ReadHost, view: number) {
    this.#store = store;
    this.#reader = reader;
    this.#view = view;
    this.#scratch = scratch;
    this.#slab = slab;
  }

  get(key: Bytes): Buffer | undefined {
    const keyBytes = this.#scratch.write(key);
    const { memory, at } = this.#slab;
    const size = this.#reader.get(this.#view, keyBytes, memory, at);
    if (size >= 0) return this.#slab.take(size);
    return size === missing ? undefined : this.#getLarge(keyBytes, -size - 2, undefined);
  }

  /** Length of the value, which is copied to `into` if it fits; undefined: missing. */
  getInto(key: Bytes, into: Uint8Array, at: number): number | undefined {
    if (!(into instanceof Uint8Array)) throw new TypeError('getInto copies to a Uint8Array');
    if (!Number.isInteger(at) || at < 0 || at > into.length) {
      throw new RangeError(`getInto copies to a byte from 0 to ${into.length}, not ${at}`);
    }
    const size = this.#reader.get(this.#view, this.#scratch.write(key), into, at);
    if (size >= 0) return size;
    return size === missing ? undefined : -size - 2;
  }

  getEntry(key: Bytes): Entry | undefined {
    const keyBytes = this.#scratch.write(key);
    const words = this.#versionWords;
    const { memory, at } = this.#slab;
    const size = this.#getFrom(keyBytes, memory, at, words);
    if (size === missing) return undefined;
    const value = size >= 0 ? this.#slab.take(size) : this.#getLarge(keyBytes, -size - 2, words);
    if (value === undefined) return undefined;
    return { value, version: decodeVersion(this.#versionView) };
  }

  has(key: Bytes): boolean {
    return this.#reader.has(this.#view, this.#scratch.write(key));
  }

  getMany(keys: readonly Bytes[]): (Buffer | undefined)[] {
    if (!Array.isArray(keys)) throw new TypeError('getMany takes an array of keys');
    const packed = packKeys(keys);
    const lengths = new Int32Array(keys.length);
    // As much as the last values would need, and a little more: what does not fit is read twice.
    const expected = Math.ceil(keys.length * this.#bytesPerKey * 1.125);
    let into = sharedBuffer(Math.max(manyBytesLeast, Math.min(expected, manyBytesMost)));
    for (;;) {
      const needed = this.#store.getMany(this.#view, packed, keys.length, into, lengths);
      this.#bytesPerKey = needed / Math.max(1, keys.length);
      if (needed <= into.length) break;
      into = sharedBuffer(needed);
    }
    const found: (Buffer | undefined)[] = [];
    let at = 0;
    for (const length of lengths) {
      found.push(length === missing ? undefined : into.subarray(at, at + length));
      at += Math.max(0, length);
    }
    return found;
  }

  /** The key stands in the scratch buffer. */
  #getFrom(keyBytes: number, into: Uint8Array, at: number, words: BigUint64Array | undefined): number {
    if (words === undefined) return this.#reader.get(this.#view, keyBytes, into, at);
    return this.#reader.get(this.#view, keyBytes, into, at, words);
  }

  /** The key still stands in the scratch buffer. */
  #getLarge(keyBytes: number, size: number, words: BigUint64Array | undefined): Buffer | undefined {
    let needed = size;
    for (;;) {
      if (this.#slab.refill(needed)) {
        const { memory, at } = this.#slab;
        const got = this.#getFrom(keyBytes, memory, at, words);
        if (got >= 0) return this.#slab.take(got);
        if (got === missing) return undefined;
        needed = -got - 2;
        continue;
      }
      const own = Buffer.allocUnsafeSlow(needed);
      const got = this.#getFrom(keyBytes, own, 0, words);
      if (got >= 0) return own.subarray(0, got);
      if (got === missing) return undefined;
      needed = -got - 2;
    }
  }
}

/** {u32 length, bytes} for each key. */
function packKeys(keys: readonly Bytes[]): Buffer {
  let room = 0;
  for (const key of keys) room += 4 + roomOfKey(key);
  const packed = Buffer.allocUnsafe(room);
  let at = 0;
  for (const key of keys) {
    const size = writeKey(packed, key, at + 4);
    packed.writeUInt32LE(size, at);
    at += 4 + size;
  }
  return packed.subarray(0, at);
}

/**
 * Memory of one handle for the short way between JavaScript and the addon: keys are encoded into a scratch buffer,
 * values come back in a slab that is handed out piece by piece. Owned by a Database; that thread only.
 *
 * Bytes of a slab are given away for good and never used again, so results belong to the caller. The memory below is
 * shared between results: it is marked as untransferable, or one caller could detach another one's value.
 */
/// <reference lib="es2024.string" />
import { markAsUntransferable } from 'node:worker_threads';
import { createError } from './errors.js';

/** A key or value; strings are UTF-8. */
export type Bytes = Uint8Array | string;

export const keyBytesMax: number = 32 * 1024;
export const valueBytesMax: number = 64 * 1024 * 1024;
const slabBytes = 32 * 1024;
/** Larger values get memory of their own, so that a small result never keeps a large one alive. */
const slabValueMax = 4 * 1024;

/** Keys up to this are copied here, one by one, which is quicker than a call into native code. */
const shortKeyMax = 40;

export class KeyScratch {
  /** Holds the longest string of keyBytesMax characters, three bytes each. Never leaves this class but to the addon. */
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(3 * keyBytesMax + 64);

  constructor() {
    markAsUntransferable(this.bytes.buffer);
  }

  /** Writes the key at the beginning and returns its length. Throws KEY_TOO_LARGE or a TypeError. */
  write(key: Bytes): number {
    if (typeof key === 'string') {
      if (writeShort(this.bytes, key, 0)) return key.length;
    } else if (key instanceof Uint8Array && key.length <= shortKeyMax) {
      const { bytes } = this;
      const size = key.length;
      for (let at = 0; at < size; at += 1) bytes[at] = key[at] ?? 0;
      return size;
    }
    roomOfKey(key);
    return writeKey(this.bytes, key, 0);
  }
}

/** Writes a short text of ASCII at `at`; false: it is not that, and `to` holds nothing of meaning there. */
export function writeShort(to: Buffer, text: string, at: number): boolean {
  const size = text.length;
  if (size > shortKeyMax) return false;
  for (let index = 0; index < size; index += 1) {
    const code = text.charCodeAt(index);
    if (code > 0x7f) return false;
    to[at + index] = code;
  }
  return true;
}

/** The most bytes that writing the key may need. Throws KEY_TOO_LARGE or a TypeError. */
export function roomOfKey(key: Bytes): number {
  if (typeof key === 'string') {
    if (key.length <= keyBytesMax) return 3 * key.length;
    throw keyTooLarge(Buffer.byteLength(key));
  }
  if (!(key instanceof Uint8Array)) throw notBytes('a key', key);
  if (key.length > keyBytesMax) throw keyTooLarge(key.length);
  return key.length;
}

/** Writes the key at `at` and returns its length. Throws KEY_TOO_LARGE. Requires: `roomOfKey` bytes of room. */
export function writeKey(to: Buffer, key: Bytes, at: number): number {
  if (typeof key !== 'string') {
    to.set(key, at);
    return key.length;
  }
  if (writeShort(to, key, at)) return key.length;
  const size = to.write(key, at, 'utf8');
  if (size > keyBytesMax) throw keyTooLarge(size);
  requireText(key, size);
  return size;
}

/**
 * Throws a TypeError for half of a surrogate pair: UTF-8 has no such thing, so that every one of them would be the same
 * key. `size`: of the string in UTF-8. Text of ASCII costs one comparison.
 */
export function requireText(key: string, size: number): void {
  if (size !== key.length && !key.isWellFormed()) {
    throw new TypeError('a key must be well-formed text (it holds half of a surrogate pair); pass bytes instead');
  }
}

export class ValueSlab {
  #slab: Buffer = newSlab();
  #at = 0;

  get memory(): Buffer {
    return this.#slab;
  }
  get at(): number {
    return this.#at;
  }

  /** The `size` bytes at `at`, which belong to the caller from now on. */
  take(size: number): Buffer {
    const from = this.#at;
    this.#at = from + size;
    return this.#slab.subarray(from, this.#at);
  }

  /** Makes room for a value that did not fit; undefined: it is to get memory of its own. */
  refill(size: number): boolean {
    if (size > slabValueMax) return false;
    this.#slab = newSlab();
    this.#at = 0;
    return true;
  }
}

function newSlab(): Buffer {
  const slab = Buffer.allocUnsafeSlow(slabBytes);
  markAsUntransferable(slab.buffer);
  return slab;
}

/** Memory that several results share. */
export function sharedBuffer(size: number): Buffer {
  const buffer = Buffer.allocUnsafeSlow(size);
  markAsUntransferable(buffer.buffer);
  return buffer;
}

export function notBytes(what: string, value: unknown): TypeError {
  const found = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
  return new TypeError(`${what} must be a string or a Uint8Array, not ${found}`);
}

export function keyTooLarge(bytes: number): Error {
  const message = `a key has at most ${keyBytesMax} bytes, not ${bytes}`;
  return createError('KEY_TOO_LARGE', message, { details: { bytes, max: keyBytesMax } });
}

export function valueTooLarge(bytes: number): Error {
  const message = `a value has at most ${valueBytesMax} bytes, not ${bytes}`;
  return createError('VALUE_TOO_LARGE', message, { details: { bytes, max: valueBytesMax } });
}

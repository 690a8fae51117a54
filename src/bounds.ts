/**
 * Ranges of keys as callers write them, and as the store takes them: lower bound inclusive, upper bound exclusive.
 * Pure; any thread.
 */
import { refuseUnknown } from './options.js';
import { type Bytes, keyBytesMax, keyTooLarge, notBytes, requireText } from './scratch.js';

/** Keys between bounds, all of which hold; without one: every key. Order is bytewise. */
export interface KeyRange {
  readonly gt?: Bytes | undefined;
  readonly gte?: Bytes | undefined;
  readonly lt?: Bytes | undefined;
  readonly lte?: Bytes | undefined;
  readonly prefix?: Bytes | undefined;
}

export const keyRangeNames: readonly string[] = ['gt', 'gte', 'lt', 'lte', 'prefix'];

export interface Bounds {
  readonly lower: Buffer;
  /** Exclusive; undefined: none. */
  readonly upper: Buffer | undefined;
}

/** Intersects the bounds. Throws a TypeError for unknown names and wrong types. */
export function toBounds(range: KeyRange, otherNames: readonly string[] = []): Bounds {
  if (typeof range !== 'object' || range === null) throw new TypeError(`a range must be an object, not ${range}`);
  refuseUnknown(range, [...keyRangeNames, ...otherNames], '');
  const lowers: Buffer[] = [];
  const uppers: Buffer[] = [];
  if (range.gte !== undefined) lowers.push(toKey(range.gte));
  if (range.gt !== undefined) lowers.push(successor(toKey(range.gt)));
  if (range.lt !== undefined) uppers.push(toKey(range.lt));
  if (range.lte !== undefined) uppers.push(successor(toKey(range.lte)));
  if (range.prefix !== undefined) {
    const prefix = toKey(range.prefix);
    lowers.push(prefix);
    const end = prefixEnd(prefix);
    if (end !== undefined) uppers.push(end);
  }
  const lower = lowers.sort(Buffer.compare).at(-1) ?? Buffer.alloc(0);
  return { lower, upper: uppers.sort(Buffer.compare)[0] };
}

export function isEmptyRange({ lower, upper }: Bounds): boolean {
  return upper !== undefined && Buffer.compare(lower, upper) >= 0;
}

/** A copy of the key's bytes. Throws KEY_TOO_LARGE or a TypeError. */
export function toKey(key: Bytes): Buffer {
  if (typeof key !== 'string' && !(key instanceof Uint8Array)) throw notBytes('a key', key);
  const bytes = typeof key === 'string' ? Buffer.from(key, 'utf8') : Buffer.from(key);
  if (bytes.length > keyBytesMax) throw keyTooLarge(bytes.length);
  if (typeof key === 'string') requireText(key, bytes.length);
  return bytes;
}

/** The first key behind `key`. */
export function successor(key: Uint8Array): Buffer {
  const next = Buffer.alloc(key.length + 1);
  next.set(key);
  return next;
}

/** The first key behind all that begin with `prefix`; undefined: there is none. */
function prefixEnd(prefix: Buffer): Buffer | undefined {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1;
  if (length === 0) return undefined;
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1] = (prefix[length - 1] ?? 0) + 1;
  return end;
}

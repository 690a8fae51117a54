/**
 * Encodes operations straight into the batch body of docs/FORMAT.md, and checks as engine::WriteRequest takes them, in
 * memory that is used again. One owner at a time; the addon copies before a submit returns. `increment` (op 4) is for
 * the engine only: it logs the put of its result.
 */
import { type Bounds, isEmptyRange } from './bounds.js';
import { createError } from './errors.js';
import { parseEpoch, type Version } from './position.js';
import {
  type Bytes,
  keyBytesMax,
  keyTooLarge,
  notBytes,
  requireText,
  valueBytesMax,
  valueTooLarge,
  writeShort,
} from './scratch.js';

const opCodes = { put: 1, del: 2, delRange: 3, increment: 4 } as const;
const unboundedFlag = 2;
const opHeaderBytes = 8;
const checkHeaderBytes = 20;
export const operationsMax: number = 1_000_000;
export const bodyBytesMax: number = 128 * 1024 * 1024;
/** A buffer that grew beyond this is not kept for the next batch. */
const keptBytesMax = 1024 * 1024;
const i64Min = -(2n ** 63n);
const i64Max = 2n ** 63n - 1n;

export class OperationEncoder {
  #body: Buffer = Buffer.allocUnsafeSlow(4096);
  #checks: Buffer = Buffer.allocUnsafeSlow(64);
  #bodyBytes = 0;
  #checksBytes = 0;
  #operations = 0;

  get body(): Buffer {
    return this.#body;
  }
  get bodyBytes(): number {
    return this.#bodyBytes;
  }
  get operations(): number {
    return this.#operations;
  }
  get checks(): Buffer {
    return this.#checks;
  }
  get checksBytes(): number {
    return this.#checksBytes;
  }

  reset(): void {
    this.#bodyBytes = 0;
    this.#checksBytes = 0;
    this.#operations = 0;
    if (this.#body.length > keptBytesMax) this.#body = Buffer.allocUnsafeSlow(4096);
    if (this.#checks.length > keptBytesMax) this.#checks = Buffer.allocUnsafeSlow(64);
  }

  put(key: Bytes, value: Bytes): void {
    const at = this.#begin(opHeaderBytes + roomOf(key, 'a key') + roomOf(value, 'a value'));
    const keyBytes = this.#key(key, at + opHeaderBytes);
    const valueAt = at + opHeaderBytes + keyBytes;
    const valueBytes = write(this.#body, value, valueAt);
    if (valueBytes > valueBytesMax) throw valueTooLarge(valueBytes);
    this.#end(at, opCodes.put, 0, keyBytes, valueBytes);
  }

  del(key: Bytes): void {
    const at = this.#begin(opHeaderBytes + roomOf(key, 'a key'));
    this.#end(at, opCodes.del, 0, this.#key(key, at + opHeaderBytes), 0);
  }

  /** An empty range adds no operation. */
  delRange(bounds: Bounds): void {
    if (isEmptyRange(bounds)) return;
    const { lower, upper } = bounds;
    const upperBytes = upper?.length ?? 0;
    const at = this.#begin(opHeaderBytes + lower.length + upperBytes);
    this.#body.set(lower, at + opHeaderBytes);
    if (upper !== undefined) this.#body.set(upper, at + opHeaderBytes + lower.length);
    this.#end(at, opCodes.delRange, upper === undefined ? unboundedFlag : 0, lower.length, upperBytes);
  }

  increment(key: Bytes, by: bigint | number): void {
    const step = toStep(by);
    const at = this.#begin(opHeaderBytes + roomOf(key, 'a key') + 8);
    const keyBytes = this.#key(key, at + opHeaderBytes);
    this.#body.writeBigInt64LE(step, at + opHeaderBytes + keyBytes);
    this.#end(at, opCodes.increment, 0, keyBytes, 8);
  }

  /** `version` null: the key must be absent. */
  check(key: Bytes, version: Version | null): void {
    const room = checkHeaderBytes + roomOf(key, 'a key');
    this.#checks = grown(this.#checks, this.#checksBytes, room);
    const at = this.#checksBytes;
    const keyBytes = write(this.#checks, key, at + checkHeaderBytes);
    if (keyBytes > keyBytesMax) throw keyTooLarge(keyBytes);
    if (typeof key === 'string') requireText(key, keyBytes);
    const epoch = version === null ? { term: 0, run: 0 } : parseEpoch(version.epoch);
    this.#checks.writeUInt16LE(keyBytes, at);
    this.#checks.writeUInt16LE(version === null ? 1 : 0, at + 2);
    this.#checks.writeUInt32LE(epoch.term, at + 4);
    this.#checks.writeUInt32LE(epoch.run, at + 8);
    this.#checks.writeBigUInt64LE(version === null ? 0n : version.seq, at + 12);
    this.#checksBytes = at + checkHeaderBytes + keyBytes;
  }

  #begin(room: number): number {
    if (this.#operations >= operationsMax) {
      const details = { operations: this.#operations + 1, max: operationsMax };
      throw createError('BATCH_TOO_LARGE', `a batch has at most ${operationsMax} operations`, { details });
    }
    if (this.#bodyBytes + room > this.#body.length) this.#body = grown(this.#body, this.#bodyBytes, room);
    return this.#bodyBytes;
  }

  #key(key: Bytes, at: number): number {
    if (typeof key === 'string' && writeShort(this.#body, key, at)) return key.length;
    const size = write(this.#body, key, at);
    if (size > keyBytesMax) throw keyTooLarge(size);
    if (typeof key === 'string') requireText(key, size);
    return size;
  }

  #end(at: number, op: number, flags: number, keyBytes: number, valueBytes: number): void {
    const end = at + opHeaderBytes + keyBytes + valueBytes;
    if (end > bodyBytesMax) {
      const details = { bytes: end, max: bodyBytesMax };
      throw createError('BATCH_TOO_LARGE', `an encoded batch has at most ${bodyBytesMax} bytes`, { details });
    }
    const body = this.#body;
    body[at] = op;
    body[at + 1] = flags;
    body[at + 2] = keyBytes & 0xff;
    body[at + 3] = keyBytes >>> 8;
    body[at + 4] = valueBytes & 0xff;
    body[at + 5] = (valueBytes >>> 8) & 0xff;
    body[at + 6] = (valueBytes >>> 16) & 0xff;
    body[at + 7] = valueBytes >>> 24;
    this.#bodyBytes = end;
    this.#operations += 1;
  }
}

/** Bytes that writing may need; refuses what is far too long before memory is taken for it. */
function roomOf(bytes: Bytes, what: 'a key' | 'a value'): number {
  if (typeof bytes !== 'string' && !(bytes instanceof Uint8Array)) throw notBytes(what, bytes);
  if (what === 'a key' && bytes.length > keyBytesMax) {
    throw keyTooLarge(typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length);
  }
  if (bytes.length > valueBytesMax) {
    throw valueTooLarge(typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length);
  }
  if (typeof bytes !== 'string') return bytes.length;
  return bytes.length < 4096 ? bytes.length * 3 : Buffer.byteLength(bytes);
}

function write(to: Buffer, bytes: Bytes, at: number): number {
  if (typeof bytes === 'string') return to.write(bytes, at, 'utf8');
  to.set(bytes, at);
  return bytes.length;
}

function grown(buffer: Buffer, used: number, room: number): Buffer {
  if (used + room <= buffer.length) return buffer;
  const larger = Buffer.allocUnsafeSlow(Math.max(used + room, buffer.length * 2));
  buffer.copy(larger, 0, 0, used);
  return larger;
}

function toStep(by: bigint | number): bigint {
  if (typeof by === 'number' && !Number.isSafeInteger(by)) {
    throw new RangeError(`an increment must be a bigint or a safe integer, not ${by}`);
  }
  if (typeof by !== 'number' && typeof by !== 'bigint') {
    throw new TypeError(`an increment must be a bigint or a safe integer, not ${typeof by}`);
  }
  const step = BigInt(by);
  if (step < i64Min || step > i64Max) throw new RangeError(`an increment must fit into 64 bits, not ${by}`);
  return step;
}

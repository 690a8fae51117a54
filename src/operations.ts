/**
 * Reads batches out of verified log bytes, as change feeds and the log command show them. Layout: docs/FORMAT.md. Pure;
 * the bytes were verified by the addon, which does not excuse reading outside them.
 */
import { recordKinds } from './binding/contract.js';
import { createError } from './errors.js';
import { createPosition, formatChain, type Position } from './position.js';

export type Operation =
  | { readonly op: 'put'; readonly key: Buffer; readonly value: Buffer; readonly seq: bigint }
  | { readonly op: 'del'; readonly key: Buffer; readonly seq: bigint }
  /** Keys from `gte` on, below `lt`; null: to the end. */
  | { readonly op: 'delRange'; readonly gte: Buffer; readonly lt: Buffer | null; readonly seq: bigint };

/** One batch of the log. */
export interface Change {
  /** Behind it. */
  readonly position: Position;
  readonly firstSeq: bigint;
  /** Unix milliseconds. */
  readonly timestamp: number;
  readonly operations: readonly Operation[];
}

export const recordHeaderBytes = 56;
const opHeaderBytes = 8;
const expiryFlag = 1;
const unboundedFlag = 2;

/** The batches among whole records that begin at `offset`; control records are passed over. */
export function* changesOf(records: Buffer, offset: bigint): Generator<Change> {
  const view = new DataView(records.buffer, records.byteOffset, records.length);
  let at = 0;
  while (at < records.length) {
    const bodyBytes = view.getUint32(at + 8, true);
    const end = at + Math.ceil((recordHeaderBytes + bodyBytes) / 8) * 8;
    if (view.getUint8(at + 12) === recordKinds.batch) {
      const firstSeq = view.getBigUint64(at + 24, true);
      const body = records.subarray(at + recordHeaderBytes, at + recordHeaderBytes + bodyBytes);
      const operations = readOperations(body, firstSeq);
      const epoch = `${view.getUint32(at + 16, true)}.${view.getUint32(at + 20, true)}`;
      const lastSeq = firstSeq + BigInt(Math.max(1, operations.length)) - 1n;
      const chain = formatChain(view.getBigUint64(at + 48, true));
      const timestamp = Number(view.getBigUint64(at + 40, true) >> 16n);
      const position = createPosition(epoch, lastSeq, offset + BigInt(end), chain);
      yield { position, firstSeq, timestamp, operations };
    }
    at = end;
  }
}

/** The operations of a batch body. Throws CORRUPT if it is not one. */
export function readOperations(body: Buffer, firstSeq: bigint): Operation[] {
  const operations: Operation[] = [];
  let at = 0;
  while (at < body.length) {
    if (body.length - at < opHeaderBytes) throw malformed(at);
    const flags = body.readUInt8(at + 1);
    const keyAt = at + opHeaderBytes + ((flags & expiryFlag) === 0 ? 0 : 8);
    const valueAt = keyAt + body.readUInt16LE(at + 2);
    const end = valueAt + body.readUInt32LE(at + 4);
    if (end > body.length) throw malformed(at);
    const seq = firstSeq + BigInt(operations.length);
    const key = body.subarray(keyAt, valueAt);
    const value = body.subarray(valueAt, end);
    operations.push(operation(body.readUInt8(at), flags, key, value, seq, at));
    at = end;
  }
  return operations;
}

function operation(code: number, flags: number, key: Buffer, value: Buffer, seq: bigint, at: number): Operation {
  switch (code) {
    case 1:
      return { op: 'put', key, value, seq };
    case 2:
      return { op: 'del', key, seq };
    case 3:
      return { op: 'delRange', gte: key, lt: (flags & unboundedFlag) === 0 ? value : null, seq };
    default:
      throw malformed(at);
  }
}

function malformed(at: number): Error {
  return createError('CORRUPT', `no operation stands at byte ${at} of the batch body`, { details: { bodyOffset: at } });
}

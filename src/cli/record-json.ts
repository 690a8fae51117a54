/**
 * Records of the log as `gapless log` shows them. Layout of control bodies: docs/FORMAT.md. Pure.
 */
import { type NativeLogRecord, type Operation, readOperations } from '../index.js';
import { decodePosition } from '../position.js';
import { bytesField, escapeBytes } from './text.js';

const kindNames = ['', 'batch', 'epoch', 'noop', 'cursor', 'digest', 'config'] as const;
const causes = ['', 'open', 'promote', 'repair'] as const;
const configKinds = ['', 'slot_created', 'slot_removed'] as const;
const batchKind = 1;

/** One line of `log --json`. */
export function recordJson(record: NativeLogRecord, values: boolean): Record<string, unknown> {
  const { before, after, bytes, kind, epoch, firstSeq, timestamp, chain, body } = record;
  const head = {
    offset: `${before.offset}`,
    bytes,
    kind: kindNames[kind] ?? `${kind}`,
    epoch,
    firstSeq: `${firstSeq}`,
    lastSeq: `${after.seq}`,
    time: Number(timestamp >> 16n),
    counter: Number(timestamp & 0xffffn),
    chain,
  };
  if (kind !== batchKind) return { ...head, ...controlFields(kind, body) };
  return { ...head, operations: readOperations(body, firstSeq).map((operation) => operationJson(operation, values)) };
}

function operationJson(operation: Operation, values: boolean): object {
  const { op, seq } = operation;
  if (op === 'delRange') {
    const { gte, lt } = operation;
    return { op, ...boundField('gte', gte), ...(lt === null ? { lt } : boundField('lt', lt)), seq: `${seq}` };
  }
  const key = bytesField('key', operation.key);
  if (op === 'del') return { op, ...key, seq: `${seq}` };
  const value = values ? bytesField('value', operation.value) : {};
  return { op, ...key, valueBytes: operation.value.length, ...value, seq: `${seq}` };
}

/** `gte` or `gte64`, as the lines of a batch have it. */
function boundField(name: string, bytes: Buffer): Record<string, string> {
  const { key, key64 } = bytesField('key', bytes);
  return key === undefined ? { [`${name}64`]: key64 ?? '' } : { [name]: key };
}

/** Fields of a record that is no batch; empty where a body is shorter than its format. */
function controlFields(kind: number, body: Buffer): Record<string, unknown> {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const hex = (from: number, bytes: number): string => body.toString('hex', from, from + bytes);
  switch (kindNames[kind]) {
    case 'epoch': {
      if (body.length < 64) return {};
      const cause = causes[body.readUInt8(24)] ?? `${body.readUInt8(24)}`;
      return { nodeId: hex(0, 16), random: hex(16, 8), cause, before: decodePosition(view, 32) };
    }
    case 'cursor': {
      if (body.length < 34) return {};
      return { name: body.toString('utf8', 34, 34 + body.readUInt16LE(32)), position: decodePosition(view, 0) };
    }
    case 'digest':
      return { auditId: hex(0, 16) };
    case 'config': {
      if (body.length < 24) return {};
      return { config: configKinds[body.readUInt8(0)] ?? `${body.readUInt8(0)}`, nodeId: hex(8, 16) };
    }
    default:
      return {};
  }
}

/** The lines of `log` without --json: the record, then its operations, indented. */
export function recordText(record: NativeLogRecord, values: boolean): string {
  const { before, after, bytes, kind, epoch, firstSeq, timestamp, body } = record;
  const time = new Date(Number(timestamp >> 16n)).toISOString();
  const seqs = firstSeq === after.seq ? `${firstSeq}` : `${firstSeq}-${after.seq}`;
  const head = `${before.offset} ${kindNames[kind] ?? kind} ${epoch} ${seqs} ${bytes} bytes ${time}`;
  if (kind !== batchKind) return `${head} ${JSON.stringify(controlFields(kind, body))}`;
  const lines = readOperations(body, firstSeq).map((operation) => `  ${operationText(operation, values)}`);
  return [head, ...lines].join('\n');
}

function operationText(operation: Operation, values: boolean): string {
  const { op, seq } = operation;
  if (op === 'delRange') {
    const to = operation.lt === null ? 'end' : escapeBytes(operation.lt);
    return `${seq} delRange ${escapeBytes(operation.gte)} to ${to}`;
  }
  if (op === 'del') return `${seq} del ${escapeBytes(operation.key)}`;
  const value = values ? escapeBytes(operation.value) : `${operation.value.length} bytes`;
  return `${seq} put ${escapeBytes(operation.key)}\t${value}`;
}

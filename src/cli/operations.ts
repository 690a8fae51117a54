/**
 * Lines of a batch: JSON text to operations. Used by `gapless batch` and by `POST /batch`; an unknown operation or
 * field refuses the whole batch with the number of its line, and nothing is written.
 */
import { parseVersion, type Version } from '../position.js';
import type { ByteRange, TextOperation } from './target.js';
import { bytesField, decodeBase64, textBytes } from './text.js';
import { UsageError } from './usage.js';

const knownFields: Readonly<Record<string, readonly string[]>> = {
  put: ['key', 'value'],
  del: ['key'],
  delRange: ['gt', 'gte', 'lt', 'lte', 'prefix'],
  increment: ['key', 'by'],
  check: ['key', 'version'],
};

/** A usage error that names the line, as `details.line` of the answer. */
export class LineError extends UsageError {
  override readonly details: Readonly<Record<string, unknown>>;

  constructor(line: number, message: string) {
    super(`line ${line}: ${message}`);
    this.details = { line };
  }
}

/** Parses NDJSON text; empty lines are passed over. */
export function parseOperations(text: string): TextOperation[] {
  const operations: TextOperation[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    try {
      operations.push(parseOperation(line));
    } catch (error) {
      if (error instanceof UsageError || error instanceof TypeError || error instanceof RangeError) {
        throw new LineError(index + 1, error.message);
      }
      throw error;
    }
  }
  return operations;
}

function parseObject(line: string): Map<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (cause) {
    throw new UsageError('is no JSON', { cause });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new UsageError('is no JSON object');
  return new Map(Object.entries(parsed));
}

function parseOperation(line: string): TextOperation {
  const fields = parseObject(line);
  const op = fields.get('op');
  const known = typeof op === 'string' && Object.hasOwn(knownFields, op) ? knownFields[op] : undefined;
  if (known === undefined) throw new UsageError(`unknown op ${JSON.stringify(op)}`);
  for (const name of fields.keys()) {
    const base = name.endsWith('64') && name !== 'by' && name !== 'version' ? name.slice(0, -2) : name;
    if (name !== 'op' && !known.includes(base)) throw new UsageError(`unknown field ${JSON.stringify(name)} of ${op}`);
  }
  return build(String(op), fields);
}

function build(op: string, fields: Map<string, unknown>): TextOperation {
  if (op === 'delRange') return { op, range: rangeOf(fields) };
  const key = required(fields, 'key');
  if (op === 'put') return { op, key, value: required(fields, 'value') };
  if (op === 'del') return { op, key };
  if (op === 'increment') return { op, key, by: incrementOf(fields.get('by')) };
  return { op: 'check', key, version: versionOf(fields.get('version')) };
}

function bytesOf(fields: Map<string, unknown>, name: string): Buffer | undefined {
  const text = fields.get(name);
  const base64 = fields.get(`${name}64`);
  if (text !== undefined && base64 !== undefined) throw new UsageError(`has both "${name}" and "${name}64"`);
  if (base64 !== undefined) {
    if (typeof base64 !== 'string') throw new UsageError(`"${name}64" must be a string`);
    return decodeBase64(base64, `"${name}64"`);
  }
  if (text === undefined) return undefined;
  if (typeof text !== 'string') throw new UsageError(`"${name}" must be a string`);
  return textBytes(text, `"${name}"`);
}

function required(fields: Map<string, unknown>, name: string): Buffer {
  const bytes = bytesOf(fields, name);
  if (bytes === undefined) throw new UsageError(`needs "${name}" or "${name}64"`);
  return bytes;
}

function rangeOf(fields: Map<string, unknown>): ByteRange {
  const range: Record<string, Buffer> = {};
  for (const name of knownFields['delRange'] ?? []) {
    const bytes = bytesOf(fields, name);
    if (bytes !== undefined) range[name] = bytes;
  }
  return range;
}

function incrementOf(by: unknown): bigint {
  if (typeof by === 'number' && Number.isSafeInteger(by)) return BigInt(by);
  if (typeof by !== 'string' || !/^-?\d{1,19}$/.test(by)) {
    throw new UsageError('"by" must be a whole number or its decimal text');
  }
  const step = BigInt(by);
  if (BigInt.asIntN(64, step) !== step) throw new UsageError(`"by" must fit into 64 bits, not ${by}`);
  return step;
}

function versionOf(version: unknown): Version | null {
  if (version === null) return null;
  if (typeof version !== 'string') throw new UsageError('"version" must be text such as "1.1:42", or null');
  return parseVersion(version);
}

/** Checks are conditions, not operations of the log. */
export function countWrites(operations: readonly TextOperation[]): number {
  return operations.filter(({ op }) => op !== 'check').length;
}

/** The line of one operation, as parseOperations reads it. */
export function operationLine(operation: TextOperation): string {
  const { op } = operation;
  if (op === 'delRange') {
    const bounds = Object.entries(operation.range).map(([name, bytes]: [string, Buffer]) => [
      `${name}64`,
      bytes.toString('base64'),
    ]);
    return JSON.stringify({ op, ...Object.fromEntries(bounds) });
  }
  const key = bytesField('key', operation.key);
  if (op === 'put') return JSON.stringify({ op, ...key, ...bytesField('value', operation.value) });
  if (op === 'increment') return JSON.stringify({ op, ...key, by: `${operation.by}` });
  if (op === 'check') return JSON.stringify({ op, ...key, version: operation.version?.toString() ?? null });
  return JSON.stringify({ op, ...key });
}

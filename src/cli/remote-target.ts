/**
 * The data commands' Target over a node's status address. A scan without a limit asks for page after page, each of them
 * one view of the node.
 */
import { createError } from '../errors.js';
import { type Position, parsePosition, parseVersion, toPosition, toVersion } from '../position.js';
import { operationLine } from './operations.js';
import { type Answer, parseObject, queryText, type Remote } from './remote.js';
import type {
  DigestAnswer,
  ReadAnswer,
  ScanQuery,
  ScanRow,
  Target,
  TextOperation,
  WriteAnswer,
  WriteFlags,
} from './target.js';
import { decodeBase64 } from './text.js';

/** Rows asked for at a time where the command sets no limit; the node answers at most 100000. */
const pageRowsDefault = 1000;

export class RemoteTarget implements Target {
  readonly #remote: Remote;
  readonly #pageRows: number;

  constructor(remote: Remote, pageRows: number = pageRowsDefault) {
    this.#remote = remote;
    this.#pageRows = pageRows;
  }

  async get(key: Buffer): Promise<ReadAnswer> {
    const answer = await this.#remote.call('GET', keyPath(key));
    const position = parsePosition(header(answer, 'x-gapless-position'));
    if (answer.status === 404) return { found: undefined, position };
    return { found: { value: answer.body, version: parseVersion(header(answer, 'x-gapless-version')) }, position };
  }

  async write(operations: readonly TextOperation[], flags: WriteFlags): Promise<WriteAnswer> {
    const [first] = operations;
    if (operations.length === 1 && first?.op === 'put') return await this.#put(first.key, first.value, flags);
    const lines = operations.map((operation) => `${operationLine(operation)}\n`).join('');
    const answer = await this.#remote.json('POST', `/batch?${queryText({ ...flags })}`, lines);
    const results = Array.isArray(answer['results']) ? answer['results'].map((result) => BigInt(String(result))) : [];
    return { position: toPosition(answer['position']), firstSeq: BigInt(String(answer['firstSeq'])), results };
  }

  async *scan(query: ScanQuery): AsyncGenerator<ScanRow, void, void> {
    let left = query.limit ?? Number.POSITIVE_INFINITY;
    let rest = query;
    while (left > 0) {
      const limit = Math.min(left, this.#pageRows);
      let count = 0;
      let last: Buffer | undefined;
      for await (const line of this.#remote.lines(`/scan?${scanQueryText(rest, limit)}`)) {
        const row = scanRow(line);
        count += 1;
        last = row.key;
        yield row;
      }
      if (last === undefined || count < limit) return;
      left -= count;
      rest = query.reverse ? { ...query, to: last } : { ...query, from: Buffer.concat([last, Buffer.alloc(1)]) };
    }
  }

  async digest(at: bigint | undefined): Promise<DigestAnswer> {
    const answer = await this.#remote.json('GET', `/digest?${queryText({ at })}`);
    return {
      position: toPosition(answer['position']),
      keys: Number(answer['keys']),
      bytes: Number(answer['bytes']),
      digest: String(answer['digest']),
    };
  }

  async position(): Promise<Position> {
    return toPosition((await this.#remote.json('GET', '/status'))['position']);
  }

  async close(): Promise<void> {}

  /** The value travels as it is, not as text of a line. */
  async #put(key: Buffer, value: Buffer, flags: WriteFlags): Promise<WriteAnswer> {
    const answer = await this.#remote.call('PUT', keyPath(key, { ...flags }), value);
    const { position, version } = parseObject(answer.body.toString('utf8'));
    return { position: toPosition(position), firstSeq: toVersion(version).seq, results: [] };
  }
}

/** `/kv?key64=` carries each key whole, whatever URL parsers do to paths. */
function keyPath(key: Buffer, query: Readonly<Record<string, string | number | undefined>> = {}): string {
  return `/kv?${queryText({ key64: key.toString('base64url'), ...query })}`;
}

function header(answer: Answer, name: string): string {
  const value = answer.headers[name];
  if (typeof value !== 'string') throw createError('PROTOCOL', `the node's answer has no header ${name}`);
  return value;
}

/** Every byte that is not a letter or digit is percent-encoded. */
function percentEncode(bytes: Buffer): string {
  return Array.from(bytes, (byte) => {
    const char = String.fromCharCode(byte);
    return /[A-Za-z0-9]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}

function scanQueryText(query: ScanQuery, limit: number): string {
  const parts = [`limit=${limit}`];
  if (query.prefix !== undefined) parts.push(`prefix=${percentEncode(query.prefix)}`);
  if (query.from !== undefined) parts.push(`from=${percentEncode(query.from)}`);
  if (query.to !== undefined) parts.push(`to=${percentEncode(query.to)}`);
  if (query.reverse) parts.push('reverse=1');
  if (query.keys) parts.push('keys=1');
  return parts.join('&');
}

function scanRow(line: Record<string, unknown>): ScanRow {
  const bytes = (name: string): Buffer | undefined => {
    const base64 = line[`${name}64`];
    if (typeof base64 === 'string') return decodeBase64(base64, name);
    const text = line[name];
    return typeof text === 'string' ? Buffer.from(text, 'utf8') : undefined;
  };
  const key = bytes('key');
  if (key === undefined) throw createError('PROTOCOL', 'a line of the scan has no key');
  const value = bytes('value');
  const row = { key, version: toVersion(line['version']) };
  return value === undefined ? row : { ...row, value };
}

/**
 * A node's status address as its clients see it: one request function, errors turned back into the table's errors, and the
 * data commands' Target over it.
 */
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createError, isErrorCode } from '../errors.js';
import { parsePosition, parseVersion, toPosition, toVersion } from '../position.js';
import { operationLine } from './operations.js';
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
import { UsageError } from './usage.js';

const tokenLabel = 'gaplessdb status v1';

/** The bearer token of a secret: lower-case hex. */
export function bearerToken(secret: Buffer): string {
  return createHmac('sha256', secret).update(tokenLabel).digest('hex');
}

/** The file's content without one trailing newline, 16 to 1024 bytes. */
export async function readSecret(path: string): Promise<Buffer> {
  const content = await readFile(path);
  const secret = content.at(-1) === 0x0a ? content.subarray(0, -1) : content;
  if (secret.length < 16 || secret.length > 1024) {
    throw new UsageError(`the secret in ${path} has ${secret.length} bytes; it must have 16 to 1024`);
  }
  return secret;
}

export interface RemoteOptions {
  readonly url: string;
  readonly secret?: Buffer | undefined;
  readonly timeoutMs: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export class Remote {
  readonly #base: URL;
  readonly #headers: Record<string, string>;
  readonly #timeoutMs: number;

  constructor(options: RemoteOptions) {
    this.#base = new URL(options.url);
    this.#headers = options.secret === undefined ? {} : { Authorization: `Bearer ${bearerToken(options.secret)}` };
    this.#timeoutMs = options.timeoutMs;
  }

  /** Sends one request; resolves with the head of the answer. Rejects with IO or TIMEOUT. */
  async open(method: string, path: string, body?: Buffer | string): Promise<IncomingMessage> {
    const url = new URL(path, this.#base);
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const payload = body === undefined ? undefined : Buffer.from(body);
    const headers = payload === undefined ? this.#headers : { ...this.#headers, 'Content-Length': payload.length };
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = send(
        url,
        { method, headers, agent: false, signal: AbortSignal.timeout(this.#timeoutMs) },
        resolve,
      );
      outgoing.on('error', (cause) => {
        const late = cause.name === 'AbortError' || cause.name === 'TimeoutError';
        const what = late ? `gave no answer within ${this.#timeoutMs} ms` : `cannot be reached: ${cause.message}`;
        reject(createError(late ? 'TIMEOUT' : 'IO', `${this.#base.origin} ${what}`, { cause }));
      });
      outgoing.end(payload);
    });
  }

  /** The whole answer; an error status becomes the error that its body names. 404 is an answer. */
  async call(method: string, path: string, body?: Buffer | string): Promise<Answer> {
    const response = await this.open(method, path, body);
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(Buffer.from(part));
    const answer = { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) };
    if (answer.status >= 400 && answer.status !== 404) throw answerError(answer);
    return answer;
  }

  /** A JSON object; 404 is an error here. */
  async json(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
    const answer = await this.call(method, path, body === undefined ? undefined : JSON.stringify(body));
    if (answer.status === 404) throw answerError(answer);
    return parseObject(answer.body.toString('utf8'));
  }
}

function parseObject(text: string): Record<string, unknown> {
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== 'object' || parsed === null) throw createError('PROTOCOL', 'the node answered no JSON object');
  return Object.fromEntries(Object.entries(parsed));
}

function answerError(answer: Answer): Error {
  const fallback = createError('PROTOCOL', `the node answered with HTTP status ${answer.status}`);
  if (!/json/.test(answer.headers['content-type'] ?? '')) return fallback;
  const body = parseObject(answer.body.toString('utf8'))['error'];
  if (typeof body !== 'object' || body === null) return fallback;
  const { code, message, details } = Object.fromEntries(Object.entries(body)) as Record<string, unknown>;
  if (typeof code !== 'string' || !isErrorCode(code)) return fallback;
  if (code === 'USAGE') return new UsageError(String(message));
  const facts = typeof details === 'object' && details !== null ? Object.fromEntries(Object.entries(details)) : {};
  return createError(code, String(message), { details: facts });
}

/** `/kv?key64=`: any key, whatever URL parsers do to paths. */
function keyPath(key: Buffer, query: Readonly<Record<string, string | undefined>> = {}): string {
  return `/kv?${queryText({ key64: key.toString('base64url'), ...query })}`;
}

export function queryText(query: Readonly<Record<string, string | undefined>>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, value);
  return parameters.toString();
}

function header(answer: Answer, name: string): string {
  const value = answer.headers[name];
  if (typeof value !== 'string') throw createError('PROTOCOL', `the node's answer has no header ${name}`);
  return value;
}

export class RemoteTarget implements Target {
  readonly #remote: Remote;

  constructor(remote: Remote) {
    this.#remote = remote;
  }

  async get(key: Buffer): Promise<ReadAnswer> {
    const answer = await this.#remote.call('GET', keyPath(key));
    const position = parsePosition(header(answer, 'x-gapless-position'));
    if (answer.status === 404) return { found: undefined, position };
    return { found: { value: answer.body, version: parseVersion(header(answer, 'x-gapless-version')) }, position };
  }

  async write(operations: readonly TextOperation[], flags: WriteFlags): Promise<WriteAnswer> {
    const lines = operations.map((operation) => `${operationLine(operation)}\n`).join('');
    const body = await this.#remote.call('POST', `/batch?${queryText({ ...flags })}`, lines);
    const answer = parseObject(body.body.toString('utf8'));
    const results = Array.isArray(answer['results']) ? answer['results'].map((result) => BigInt(String(result))) : [];
    return { position: toPosition(answer['position']), firstSeq: BigInt(String(answer['firstSeq'])), results };
  }

  async *scan(query: ScanQuery): AsyncGenerator<ScanRow> {
    const answer = await this.#remote.call('GET', `/scan?${scanQueryText(query, scanPageRows)}`);
    for (const line of answer.body.toString('utf8').split('\n')) if (line !== '') yield scanRow(parseObject(line));
  }

  async digest(at: bigint | undefined): Promise<DigestAnswer> {
    const answer = await this.#remote.json('GET', `/digest?${queryText({ at: at?.toString() })}`);
    return {
      position: toPosition(answer['position']),
      keys: Number(answer['keys']),
      bytes: Number(answer['bytes']),
      digest: String(answer['digest']),
    };
  }

  async close(): Promise<void> {}
}

/** Every byte that is not a letter or digit is percent-encoded. */
function percentEncode(bytes: Buffer): string {
  return Array.from(bytes, (byte) => {
    const char = String.fromCharCode(byte);
    return /[A-Za-z0-9]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}

/** The most rows that one answer may hold. */
const scanPageRows = 100_000;

function scanQueryText(query: ScanQuery, limit: number): string {
  const parts = [`limit=${query.limit ?? limit}`];
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
  const value = bytes('value');
  const row = { key: bytes('key') ?? Buffer.alloc(0), version: toVersion(line['version']) };
  return value === undefined ? row : { ...row, value };
}

/**
 * A node's status address as its clients see it: secrets and tokens, one request function, and errors turned back into
 * the errors of the table. The data commands' Target over it is remote-target.ts.
 */
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createError, GaplessError, isErrorCode } from '../errors.js';
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
    this.#base = baseUrl(options.url);
    this.#headers = options.secret === undefined ? {} : { Authorization: `Bearer ${bearerToken(options.secret)}` };
    this.#timeoutMs = options.timeoutMs;
  }

  /**
   * Sends one request; resolves with the head of the answer. Rejects with IO or TIMEOUT; a body that breaks off later
   * throws the same from its iteration. `timeoutMs` is the longest silence, not the longest answer.
   */
  async open(method: string, path: string, body?: Buffer | string): Promise<IncomingMessage> {
    const url = new URL(path, this.#base);
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const payload = body === undefined ? undefined : Buffer.from(body);
    const headers = payload === undefined ? this.#headers : { ...this.#headers, 'Content-Length': payload.length };
    return await new Promise<IncomingMessage>((resolve, reject) => {
      let response: IncomingMessage | undefined;
      const outgoing = send(url, { method, headers, agent: false }, (incoming) => {
        response = incoming;
        resolve(incoming);
      });
      outgoing.setTimeout(this.#timeoutMs, () => {
        const what = `gave no answer within ${this.#timeoutMs} ms`;
        const late = createError('TIMEOUT', `${this.#base.origin} ${what}`, {
          details: { timeoutMs: this.#timeoutMs },
        });
        response?.destroy(late);
        outgoing.destroy(late);
      });
      outgoing.on('error', (cause) => {
        const isOurs = cause instanceof GaplessError;
        const message = `${this.#base.origin} cannot be reached: ${cause.message}`;
        reject(isOurs ? cause : createError('IO', message, { cause }));
      });
      outgoing.end(payload);
    });
  }

  /** The body of an answer, chunk by chunk; what breaks it off is IO or TIMEOUT. */
  async *chunks(response: IncomingMessage): AsyncGenerator<Buffer, void, void> {
    try {
      for await (const part of response) yield Buffer.from(part);
    } catch (cause) {
      if (cause instanceof GaplessError) throw cause;
      throw createError('IO', `the answer of ${this.#base.origin} broke off`, { cause });
    }
  }

  /** The whole answer; an error status becomes the error that its body names. 404 is an answer. */
  async call(method: string, path: string, body?: Buffer | string): Promise<Answer> {
    const response = await this.open(method, path, body);
    const answer = await this.#collect(response);
    if (answer.status >= 400 && answer.status !== 404) throw answerError(answer);
    return answer;
  }

  /** A JSON object; 404 is an error here. */
  async json(method: string, path: string, body?: object | string): Promise<Record<string, unknown>> {
    const text = typeof body === 'object' ? JSON.stringify(body) : body;
    const answer = await this.call(method, path, text);
    if (answer.status === 404) throw answerError(answer);
    return parseObject(answer.body.toString('utf8'));
  }

  /** The lines of an NDJSON answer as they arrive. */
  async *lines(path: string): AsyncGenerator<Record<string, unknown>, void, void> {
    const response = await this.open('GET', path);
    if (response.statusCode !== 200) throw answerError(await this.#collect(response));
    let rest: Buffer[] = [];
    for await (const chunk of this.chunks(response)) {
      let from = 0;
      for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
        yield parseObject(Buffer.concat([...rest, chunk.subarray(from, end)]).toString('utf8'));
        rest = [];
        from = end + 1;
      }
      if (from < chunk.length) rest.push(chunk.subarray(from));
    }
    if (rest.length > 0) throw createError('IO', `the answer of ${this.#base.origin} broke off inside a line`);
  }

  async #collect(response: IncomingMessage): Promise<Answer> {
    const parts: Buffer[] = [];
    for await (const part of this.chunks(response)) parts.push(part);
    return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) };
  }
}

function baseUrl(text: string): URL {
  try {
    return new URL(text);
  } catch (cause) {
    throw new UsageError(`"${text}" is no address such as http://127.0.0.1:4000`, { cause });
  }
}

export function parseObject(text: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw createError('PROTOCOL', 'the node answered no JSON', { cause });
  }
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

/** Query text of the parameters that have a value. */
export function queryText(query: Readonly<Record<string, string | number | bigint | undefined>>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, `${value}`);
  return parameters.toString();
}

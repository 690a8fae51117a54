/**
 * One request to the status address and its answer: what handlers get and how errors become answers. Bodies are read
 * only when a handler asks, which is behind authorization.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { GaplessError } from '../errors.js';
import type { EventHub } from './event-hub.js';
import { readBody, type Target } from './http-request.js';
import type { NodeCell } from './node-cell.js';
import { errorBody } from './output.js';
import { parseCount } from './text.js';
import { UsageError } from './usage.js';

/** Longest wait that a request may ask for, and the one that it gets by default. */
const waitMsMax = 2 ** 31 - 1;
const waitMsDefault = 20_000;

export interface Incoming {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The client sends its body only when it is told to. */
  readonly isWaiting: boolean;
}

export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly target: Target;
  readonly node: NodeCell;
  readonly hub: EventHub;
  /** Fires when the client has gone. */
  readonly signal: AbortSignal;
  readonly #isWaiting: boolean;

  constructor({ request, response, isWaiting }: Incoming, target: Target, node: NodeCell, hub: EventHub) {
    this.request = request;
    this.response = response;
    this.#isWaiting = isWaiting;
    this.target = target;
    this.node = node;
    this.hub = hub;
    const controller = new AbortController();
    response.once('close', () => controller.abort());
    this.signal = controller.signal;
  }

  /** The body; a client that asked first (Expect: 100-continue) is told to send it now. */
  body(bytesMax: number, code: 'VALUE_TOO_LARGE' | 'BATCH_TOO_LARGE' = 'BATCH_TOO_LARGE'): Promise<Buffer> {
    return readBody(this.request, bytesMax, code, () => {
      if (this.#isWaiting) this.response.writeContinue();
    });
  }

  /** The body as a JSON object of known fields; an empty one is `{}`. */
  async fields(...known: readonly string[]): Promise<Record<string, unknown>> {
    const text = (await this.body(64 * 1024)).toString('utf8');
    if (text.trim() === '') return {};
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch (cause) {
      throw new UsageError('the body is no JSON', { cause });
    }
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
      throw new UsageError('the body must be a JSON object');
    }
    const fields = Object.fromEntries(Object.entries(parsed));
    for (const name of Object.keys(fields)) {
      if (!known.includes(name)) throw new UsageError(`unknown field "${name}" in the body`);
    }
    return fields;
  }

  /** Query parameter `timeoutMs`. */
  get timeoutMs(): number {
    const text = this.target.query.text('timeoutMs');
    return text === undefined ? waitMsDefault : parseCount(text, 'timeoutMs', 1, waitMsMax);
  }

  json(status: number, value: object, headers: Readonly<Record<string, string>> = {}): void {
    const body = Buffer.from(`${JSON.stringify(value)}\n`, 'utf8');
    this.bytes(status, 'application/json', body, headers);
  }

  bytes(status: number, type: string, body: Buffer, headers: Readonly<Record<string, string>> = {}): void {
    const { response } = this;
    response.writeHead(status, { 'Content-Type': type, 'Content-Length': body.length, ...headers });
    response.end(body);
  }

  /** The error as an answer; behind the head of an answer only its end can tell. */
  fail(error: unknown, headers: Readonly<Record<string, string>> = {}): void {
    if (this.response.headersSent) {
      this.response.destroy();
      return;
    }
    const { status, body } = describeFailure(error);
    // A body that nobody will read must not be taken for the next request.
    const { 'content-length': length = '0', 'transfer-encoding': encoding } = this.request.headers;
    const isUnread = !this.request.complete && (length !== '0' || encoding !== undefined);
    this.json(status, { error: body }, { ...headers, ...(isUnread ? { Connection: 'close' } : {}) });
  }
}

/** Status and error object of anything that was thrown. */
export function describeFailure(error: unknown): { readonly status: number; readonly body: object } {
  const body = errorBody(error);
  if (error instanceof GaplessError) return { status: error.status, body };
  if (error instanceof MethodRefusal) return { status: 405, body };
  return { status: body.code === 'USAGE' ? 400 : 500, body };
}

/** 403: the request comes from where no client of ours is. */
export class OriginRefusal extends GaplessError {
  constructor(message: string) {
    super('AUTH_FAILED', message);
  }

  override get status(): number {
    return 403;
  }
}

/** 405. */
export class MethodRefusal extends UsageError {
  readonly methods: readonly string[];

  constructor(message: string, methods: readonly string[]) {
    super(message);
    this.methods = methods;
  }
}

export interface Route {
  readonly method: string;
  readonly path: string;
  /** Query parameters that it knows. */
  readonly query: readonly string[];
  /** Needs no token. */
  readonly isOpen?: true;
  readonly handle: (exchange: Exchange) => Promise<void>;
}

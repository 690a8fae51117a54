/**
 * The status address: one HTTP server beside a node. Order of every request: limits of the head, origin, endpoint,
 * token, query, then the handler; a body is read only by the handler. The thread of `serve`.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { createError } from '../errors.js';
import type { EventHub } from './event-hub.js';
import { isAuthorized, originRefusal, parseTarget, requestHeadBytesMax, requestHeadTimeoutMs } from './http-request.js';
import type { NodeCell } from './node-cell.js';
import { errorBody } from './output.js';
import { Exchange, type Incoming, MethodRefusal, OriginRefusal, type Route } from './status-exchange.js';
import { allRoutes, findRoute } from './status-routes.js';
import type { HostPort } from './text.js';
import { UsageError } from './usage.js';

export interface StatusServerOptions {
  readonly address: HostPort;
  /** Undefined: everybody may. */
  readonly token: string | undefined;
  readonly allowedHosts: readonly string[];
}

/** Connections at one time; more are refused by closing them. */
const connectionsMax = 256;
const checkEveryMs = 1000;

/** What Node says about a head that it refuses, and our answer. */
const headRefusals: ReadonlyMap<string, readonly [status: string, message: string]> = new Map([
  [
    'HPE_HEADER_OVERFLOW',
    ['431 Request Header Fields Too Large', `the head of a request has at most ${requestHeadBytesMax} bytes`],
  ],
  ['ERR_HTTP_REQUEST_TIMEOUT', ['408 Request Timeout', 'the head of the request took too long']],
]);

export class StatusServer {
  readonly #server: Server;
  readonly #node: NodeCell;
  readonly #hub: EventHub;
  readonly #options: StatusServerOptions;
  readonly #routes: readonly Route[] = allRoutes();
  /** Connections with a request that is being answered. */
  readonly #answering = new WeakSet<Duplex>();

  private constructor(node: NodeCell, hub: EventHub, options: StatusServerOptions) {
    this.#node = node;
    this.#hub = hub;
    this.#options = options;
    this.#server = createServer({
      maxHeaderSize: requestHeadBytesMax,
      headersTimeout: requestHeadTimeoutMs,
      connectionsCheckingInterval: checkEveryMs,
    });
    this.#server.maxConnections = connectionsMax;
    this.#server.on('request', (request, response) => void this.#serve({ request, response, isWaiting: false }));
    this.#server.on('clientError', (error, socket) => refuseHead(error, socket, this.#answering.has(socket)));
    this.#server.on('checkContinue', (request, response) => void this.#serve({ request, response, isWaiting: true }));
  }

  /** Binds the address; IO if it is in use. */
  static async bind(node: NodeCell, hub: EventHub, options: StatusServerOptions): Promise<StatusServer> {
    const server = new StatusServer(node, hub, options);
    await server.#listen();
    return server;
  }

  get address(): HostPort {
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  /** Takes no more connections; what is being answered has `graceMs` to end. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#hub.close();
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), graceMs);
    await closed;
    clearTimeout(timer);
  }

  #listen(): Promise<void> {
    const { host, port } = this.#options.address;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) => {
        const details = { host, port, errno: Math.abs((cause as NodeJS.ErrnoException).errno ?? 0) };
        reject(createError('IO', `bind the status address ${host}:${port}: ${cause.message}`, { cause, details }));
      });
      this.#server.listen({ host, port }, resolve);
    });
  }

  /** Never throws. */
  async #serve(incoming: Incoming): Promise<void> {
    const { request, response } = incoming;
    // A client that goes away is no error of ours.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    const { socket } = request;
    this.#answering.add(socket);
    response.once('close', () => this.#answering.delete(socket));
    let exchange = new Exchange(incoming, parseTarget('/'), this.#node, this.#hub);
    try {
      const refusal = originRefusal(request, this.#options.allowedHosts);
      if (refusal !== undefined) throw new OriginRefusal(refusal);
      const target = parseTarget(request.url ?? '/');
      exchange = new Exchange(incoming, target, this.#node, this.#hub);
      const method = request.method ?? 'GET';
      if (!this.#isOpen(method, target.path)) this.#authorize(request);
      const route = findRoute(this.#routes, method, target.path);
      target.query.allow(...route.query);
      await route.handle(exchange);
    } catch (error) {
      const allow = error instanceof MethodRefusal ? { Allow: error.methods.join(', ') } : {};
      exchange.fail(error, allow);
    }
  }

  #isOpen(method: string, path: string): boolean {
    return this.#routes.some((route) => route.isOpen === true && route.method === method && route.path === path);
  }

  #authorize(request: IncomingMessage): void {
    if (isAuthorized(request, this.#options.token)) return;
    throw createError('AUTH_FAILED', 'this node wants "Authorization: Bearer TOKEN"; gapless token prints it');
  }
}

/** A head that is no HTTP, too long or too slow: there is no request yet, so the answer is written by hand. */
function refuseHead(error: NodeJS.ErrnoException, socket: Duplex, isAnswering: boolean): void {
  if (error.code === 'ECONNRESET' || !socket.writable || isAnswering) {
    socket.destroy();
    return;
  }
  const [status, message] = headRefusals.get(error.code ?? '') ?? ['400 Bad Request', 'the request is no HTTP/1.1'];
  const body = `${JSON.stringify({ error: errorBody(new UsageError(message)) })}\n`;
  const length = Buffer.byteLength(body);
  const head = `Content-Type: application/json\r\nContent-Length: ${length}\r\nConnection: close`;
  socket.end(`HTTP/1.1 ${status}\r\n${head}\r\n\r\n${body}`);
}

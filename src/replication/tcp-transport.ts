/**
 * The network over TCP. Sockets neither wait for more bytes (no Nagle) nor keep unsent ones for ever: an ended socket
 * that the peer does not read is destroyed after `lingerMs`.
 */
import net from 'node:net';
import { createError } from '../errors.js';
import type { HostPort } from './ports.js';
import type { Channel, ChannelHandler, Listener, Network } from './transport.js';

const lingerMs = 2000;

export function tcpNetwork(): Network {
  return { listen, dial };
}

async function listen(address: HostPort, accept: (channel: Channel) => void): Promise<Listener> {
  const server = net.createServer({ noDelay: true, keepAlive: true }, (socket) => accept(new SocketChannel(socket)));
  return {
    address: await listening(server, address),
    // The callback comes with the last connection, which is not waited for.
    close: async () => {
      server.close();
    },
  };
}

/** Resolves with the address that was bound. */
export async function listening(server: net.Server, address: HostPort): Promise<HostPort> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(networkError(`cannot listen on ${address.host}:${address.port}`, cause)));
    server.listen({ host: address.host, port: address.port, exclusive: true }, resolve);
  });
  // A failed accept (no descriptors left) costs one connection, which its peer dials again.
  server.on('error', () => undefined);
  const bound = server.address();
  if (typeof bound !== 'object' || bound === null) return address;
  return { host: bound.address, port: bound.port };
}

async function dial(address: HostPort, timeoutMs: number): Promise<Channel> {
  const socket = net.connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true });
  await opened(socket, 'connect', address, timeoutMs);
  return new SocketChannel(socket);
}

/** Resolves with the event `when`; rejects with IO or TIMEOUT, the socket destroyed. */
export async function opened(socket: net.Socket, when: string, address: HostPort, timeoutMs: number): Promise<void> {
  const { host, port } = address;
  await new Promise<void>((resolve, reject) => {
    socket.setTimeout(timeoutMs, () => {
      socket.destroy();
      reject(createError('TIMEOUT', `no connection to ${host}:${port} within ${timeoutMs} ms`));
    });
    socket.once('error', (cause) => reject(networkError(`cannot reach ${host}:${port}`, cause)));
    socket.once(when, resolve);
  });
  socket.setTimeout(0);
  socket.removeAllListeners('timeout');
  socket.removeAllListeners('error');
}

function networkError(message: string, cause: Error): Error {
  const errno = (cause as NodeJS.ErrnoException).errno;
  return createError('IO', `${message}: ${cause.message}`, { cause, details: errno === undefined ? {} : { errno } });
}

/** A stream of bytes over any socket. */
export class SocketChannel implements Channel {
  readonly address: string;
  readonly #socket: net.Socket;
  #error: Error | undefined;
  #handler: ChannelHandler | undefined;
  #isClosed = false;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    const { remoteAddress = '?', remotePort = 0 } = socket;
    this.address = remoteAddress.includes(':') ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
    socket.on('error', (error) => {
      this.#error = networkError('connection lost', error);
    });
    socket.on('data', (bytes) => this.#handler?.data(bytes));
    socket.on('drain', () => this.#handler?.drained());
    socket.on('close', () => {
      this.#isClosed = true;
      this.#handler?.closed(this.#error);
    });
    socket.pause();
  }

  get unsent(): number {
    return this.#socket.writableLength;
  }

  start(handler: ChannelHandler): void {
    this.#handler = handler;
    if (this.#isClosed) queueMicrotask(() => handler.closed(this.#error));
    else this.#socket.resume();
  }

  write(pieces: readonly Uint8Array[]): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    this.#socket.cork();
    for (const piece of pieces) this.#socket.write(piece);
    this.#socket.uncork();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#socket.destroyed) this.#socket.resume();
  }

  /** Closed with bytes unread, a socket resets, and the peer may lose the last word: it is read to the peer's end. */
  end(): void {
    const late = setTimeout(() => this.#socket.destroy(), lingerMs).unref();
    this.#socket.once('close', () => clearTimeout(late));
    this.#socket.end();
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

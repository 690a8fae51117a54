/**
 * The network over TLS 1.3, both sides with a certificate of the cluster's authority. Certificate, key and authority
 * are files, read again when they have changed: each new connection uses what they say then. While they do not fit
 * together (they are being replaced), the former ones serve.
 *
 * At most `handshakesMax` connections are in the TLS handshake at once, each for `handshakeMs`; one more closes the
 * oldest. Behind it the hello of docs/PROTOCOL.md follows, with limits of its own.
 */
import { readFileSync, statSync } from 'node:fs';
import { isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import { createError } from '../errors.js';
import type { TlsFiles } from '../options.js';
import type { HostPort } from './ports.js';
import { listening, opened, SocketChannel } from './tcp-transport.js';
import type { Channel, Listener, Network } from './transport.js';

const handshakesMax = 128;
const handshakeMs = 5000;
const minVersion = 'TLSv1.3';

interface Certificates {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

/** Throws IO if the files cannot be read or do not fit together. */
export function tlsNetwork(files: TlsFiles): Network {
  const source = new CertificateFiles(files);
  source.current();
  return {
    listen: (address, accept) => listen(source, address, accept),
    dial: (address, timeoutMs) => dial(source, address, timeoutMs),
  };
}

class CertificateFiles {
  readonly #files: TlsFiles;
  #stamp = '';
  #known: Certificates | undefined;

  constructor(files: TlsFiles) {
    this.#files = files;
  }

  current(): Certificates {
    try {
      const { cert, key, ca } = this.#files;
      const stamp = [cert, key, ca].map(stampOf).join(' ');
      if (this.#known !== undefined && stamp === this.#stamp) return this.#known;
      const read = { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) };
      tls.createSecureContext(read);
      this.#known = read;
      this.#stamp = stamp;
    } catch (cause) {
      if (this.#known === undefined) {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw createError('IO', `the certificates of replication.tls are of no use: ${why}`, { cause });
      }
    }
    return this.#known;
  }
}

function stampOf(path: string): string {
  const { ino, size, mtimeMs } = statSync(path);
  return `${ino}-${size}-${mtimeMs}`;
}

async function listen(
  source: CertificateFiles,
  address: HostPort,
  accept: (channel: Channel) => void,
): Promise<Listener> {
  let used = source.current();
  const options = { requestCert: true, rejectUnauthorized: true, minVersion, noDelay: true, keepAlive: true } as const;
  const server = tls.createServer({ ...options, ...used, handshakeTimeout: handshakeMs });
  const shaking = new Map<string, Socket>();
  // In front of the server's own listener, which begins the handshake.
  server.prependListener('connection', (socket: Socket) => {
    const now = source.current();
    if (now !== used) server.setSecureContext({ ...now, minVersion });
    used = now;
    const peer = peerOf(socket);
    for (const [name, oldest] of shaking) {
      if (shaking.size < handshakesMax) break;
      shaking.delete(name);
      oldest.destroy();
    }
    shaking.set(peer, socket);
    socket.once('close', () => shaking.delete(peer));
  });
  server.on('secureConnection', (socket) => {
    shaking.delete(peerOf(socket));
    accept(new SocketChannel(socket));
  });
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  const bound = await listening(server, address);
  return {
    address: bound,
    close: async () => {
      server.close();
      for (const socket of shaking.values()) socket.destroy();
    },
  };
}

async function dial(source: CertificateFiles, address: HostPort, timeoutMs: number): Promise<Channel> {
  const { host, port } = address;
  const servername = isIP(host) === 0 ? host : '';
  const socket = tls.connect({ host, port, servername, ...source.current(), minVersion, rejectUnauthorized: true });
  socket.setNoDelay(true);
  socket.setKeepAlive(true);
  try {
    await opened(socket, 'secureConnect', address, timeoutMs);
  } catch (error) {
    const { authorizationError } = socket;
    if (authorizationError === null || authorizationError === undefined) throw error;
    throw createError('AUTH_FAILED', `${host}:${port} has no certificate to trust`, { cause: authorizationError });
  }
  return new SocketChannel(socket);
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

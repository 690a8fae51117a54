/**
 * The link between the demo's nodes: a TCP relay on loopback that can be cut and mended. Connections that arrive
 * while it is cut are closed at once.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { HostPort } from './text.js';

export class Link {
  readonly #server: Server;
  readonly #target: HostPort;
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  private constructor(target: HostPort) {
    this.#target = target;
    this.#server = createServer((socket) => this.#relay(socket));
  }

  /** A relay to `target` on a free port of loopback. */
  static async to(target: HostPort): Promise<Link> {
    const link = new Link(target);
    await new Promise<void>((resolve, reject) => {
      link.#server.once('error', reject);
      link.#server.listen(0, '127.0.0.1', resolve);
    });
    return link;
  }

  get address(): HostPort {
    return { host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port };
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #relay(near: Socket): void {
    if (this.#isCut) {
      near.destroy();
      return;
    }
    const far = connect(this.#target);
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      // One end gone: the other one is told by closing it, as a broken link would.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  }
}

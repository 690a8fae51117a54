// A TCP proxy that can only do the crudest things: be cut, be down, point elsewhere. For nodes that are processes.
import net from 'node:net';

export class CutProxy {
  /** Where connections go; may change at any time. */
  target;
  isDown = false;
  #server;
  #sockets = new Set();

  static async start() {
    const proxy = new CutProxy();
    proxy.#server = net.createServer((socket) => proxy.#accept(socket));
    await new Promise((resolve) => proxy.#server.listen({ host: '127.0.0.1', port: 0 }, resolve));
    return proxy;
  }

  get port() {
    return this.#server.address().port;
  }

  /** Breaks every connection; how many there were. */
  cut() {
    const count = this.#sockets.size / 2;
    for (const socket of this.#sockets) socket.resetAndDestroy();
    return count;
  }

  async close() {
    this.isDown = true;
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(near) {
    if (this.isDown || this.target === undefined) {
      near.destroy();
      return;
    }
    const far = net.connect({ ...this.target, noDelay: true });
    const pair = [near, far];
    for (const socket of pair) {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        for (const other of pair) {
          other.destroy();
          this.#sockets.delete(other);
        }
      });
    }
    near.pipe(far);
    far.pipe(near);
  }
}

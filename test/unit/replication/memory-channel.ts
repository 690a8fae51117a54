// A channel whose other end is in this process; bytes arrive in a later microtask. Two that know each other are a wire.
import type { Channel, ChannelHandler } from '../../../dist/replication/transport.js';

export class MemoryChannel implements Channel {
  readonly address = 'memory';
  unsent = 0;
  peer: MemoryChannel | undefined;
  #handler: ChannelHandler | undefined;
  #waiting: Uint8Array[] = [];
  #isPaused = false;
  isClosed = false;
  sentBytes = 0;

  start(handler: ChannelHandler): void {
    this.#handler = handler;
    this.resume();
  }
  write(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      this.sentBytes += piece.length;
      this.peer?.take(Uint8Array.from(piece));
    }
  }
  take(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    queueMicrotask(() => this.#give());
  }
  pause(): void {
    this.#isPaused = true;
  }
  resume(): void {
    this.#isPaused = false;
    queueMicrotask(() => this.#give());
  }
  end(): void {
    this.destroy();
  }
  destroy(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    queueMicrotask(() => this.#handler?.closed(undefined));
    queueMicrotask(() => this.peer?.destroy());
  }
  #give(): void {
    while (!this.#isPaused && this.#handler !== undefined) {
      const bytes = this.#waiting.shift();
      if (bytes === undefined) return;
      this.#handler.data(bytes);
    }
  }
}

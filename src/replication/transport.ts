/**
 * The network as replication sees it: streams of bytes between two ends, injected so that tests cut, delay and flip
 * them. tcp-transport.ts is the real one. Everything is called, and calls back, on the thread that owns the controller.
 */
import type { HostPort } from './ports.js';

/** What an open channel reports. `closed` comes exactly once, last. */
export interface ChannelHandler {
  data(bytes: Uint8Array): void;
  /** What was unsent went below the mark at which the sender may want to go on. */
  drained(): void;
  closed(error: Error | undefined): void;
}

/** One connection: bytes in order, both ways. */
export interface Channel {
  /** The peer's address, for people. */
  readonly address: string;
  /** Bytes accepted by `write` that the system has not taken yet. */
  readonly unsent: number;
  /** Takes the handler of this channel; data comes only from then on. */
  start(handler: ChannelHandler): void;
  /** Never waits, never throws. The bytes must stay unchanged until they are sent. */
  write(pieces: readonly Uint8Array[]): void;
  /** Stops and resumes the delivery of data; the peer is then held back by its own buffers. */
  pause(): void;
  resume(): void;
  /** Sends what is unsent, then closes. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
}

export interface Listener {
  readonly address: HostPort;
  /** No more connections; those that are open stay. */
  close(): Promise<void>;
}

export interface Network {
  /** Rejects with IO when the address cannot be bound. */
  listen(address: HostPort, accept: (channel: Channel) => void): Promise<Listener>;
  /** Rejects with IO or TIMEOUT. */
  dial(address: HostPort, timeoutMs: number): Promise<Channel>;
}

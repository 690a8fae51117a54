/**
 * Events of a node on their way out: to stdout as JSON lines and to the clients of GET /events. Slow readers lose lines
 * or their connection, never the node its memory or its time.
 */
import type { ServerResponse } from 'node:http';
import type { Clock } from '../base/clock.js';

export interface EventFields {
  readonly event: string;
  readonly time?: number;
  readonly [name: string]: unknown;
}

/** Bytes that a reader may leave unread. */
const backlogBytesMax = 1024 * 1024;
const clientsMax = 32;
const keepAliveMs = 15_000;

export class EventHub {
  readonly #clock: Clock;
  readonly #stdout: NodeJS.WritableStream;
  readonly #clients = new Set<ServerResponse>();
  #stdoutLost = false;

  constructor(clock: Clock, stdout: NodeJS.WritableStream) {
    this.#clock = clock;
    this.#stdout = stdout;
    // Losing stdout (EPIPE) does not end the node.
    stdout.on('error', () => {
      this.#stdoutLost = true;
    });
  }

  publish(fields: EventFields): void {
    const { event, time = this.#clock.now(), ...rest } = fields;
    const line = JSON.stringify({ event, time, ...rest });
    if (!this.#stdoutLost && (this.#stdout as { writableLength?: number }).writableLength !== undefined) {
      const { writableLength = 0 } = this.#stdout as { writableLength?: number };
      if (writableLength < backlogBytesMax) this.#stdout.write(`${line}\n`);
    }
    for (const client of this.#clients) this.#send(client, `event: ${event}\ndata: ${line}\n\n`);
  }

  /** Makes the answer an event stream. False: there are too many already. */
  subscribe(response: ServerResponse): boolean {
    if (this.#clients.size >= clientsMax) return false;
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.write(': events of this node\n\n');
    this.#clients.add(response);
    const timer = setInterval(() => this.#send(response, ':\n\n'), keepAliveMs);
    timer.unref();
    response.once('close', () => {
      clearInterval(timer);
      this.#clients.delete(response);
    });
    return true;
  }

  /** Ends every event stream. */
  close(): void {
    for (const client of this.#clients) client.end();
  }

  #send(client: ServerResponse, text: string): void {
    if (client.writableLength > backlogBytesMax) client.destroy();
    else client.write(text);
  }
}

/** Looks at the lag of the demo's replica until it is stopped, from both nodes, and keeps the largest. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lag } from '../replication/ports.js';
import type { Remote } from './remote.js';

const everyMs = 50;

export class LagWatch {
  #largest: Lag = { records: 0, bytes: 0, ms: 0 };
  #isStopped = false;
  readonly #running: Promise<unknown>;

  constructor(remotes: readonly Remote[]) {
    this.#running = Promise.all(remotes.map((remote) => this.#watch(remote)));
  }

  get largest(): Lag {
    return this.#largest;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #watch(remote: Remote): Promise<void> {
    while (!this.#isStopped) {
      try {
        const { link, replicas } = await remote.json('GET', '/status');
        for (const peer of [link, ...(Array.isArray(replicas) ? replicas : [])]) this.#note(peer);
      } catch {
        // A node that is down has no lag to tell; the demo itself notices that it is down.
      }
      await sleep(everyMs);
    }
  }

  #note(peer: unknown): void {
    const { lag } = (peer ?? {}) as { readonly lag?: Lag | null };
    if (lag === undefined || lag === null) return;
    const { records, bytes, ms } = this.#largest;
    this.#largest = {
      records: Math.max(records, lag.records),
      bytes: Math.max(bytes, lag.bytes),
      ms: Math.max(ms, lag.ms),
    };
  }
}

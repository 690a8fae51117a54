/**
 * Events of a database, typed. The names and fields are those of the interfaces' section 16, as `serve` prints them.
 * A listener that throws does not disturb the database: its error becomes an uncaught exception, as with any emitter.
 */
import { EventEmitter } from 'node:events';
import type { Clock } from './base/clock.js';
import { suggest } from './options.js';
import type { Position } from './position.js';
import type { ReplicationEvent } from './replication/ports.js';

export interface TailCut {
  readonly from: Position;
  readonly bytes: number;
  readonly validRecords: number;
}
interface Trouble<N extends string> {
  readonly event: N;
  readonly code: string;
  readonly message: string;
  readonly file: string | null;
}
export type LocalEvent =
  | {
      readonly event: 'recovery';
      readonly outcome: string;
      readonly reason: string;
      readonly gap: string;
      readonly ms: number;
      readonly position: Position;
      readonly cut: TailCut | null;
    }
  | { readonly event: 'tail_cut'; readonly file: string; readonly offset: number; readonly bytes: number }
  | Trouble<'poisoned'>
  | Trouble<'no_space'>
  | Trouble<'space_back'>
  | {
      readonly event: 'snapshot';
      readonly path: string;
      readonly position: Position;
      readonly bytes: number;
      readonly ms: number;
    }
  | {
      readonly event: 'epoch';
      readonly epoch: string;
      readonly position: Position;
      readonly cause: string;
      readonly nodeId: string;
    }
  | { readonly event: 'closed'; readonly position: Position };

/** Every name, once: the compiler knows when one is missing. */
const eventNames: Readonly<Record<EventName, true>> = {
  recovery: true,
  tail_cut: true,
  poisoned: true,
  no_space: true,
  space_back: true,
  snapshot: true,
  epoch: true,
  closed: true,
  link: true,
  resync: true,
  sync_start: true,
  sync_flow: true,
  progress: true,
  sync_barrier: true,
  sync_done: true,
  sync_failed: true,
  streaming: true,
  switched: true,
  divergence: true,
  role: true,
  fenced: true,
  replica: true,
  degraded: true,
  degraded_end: true,
  needs_operator: true,
  cleared: true,
};

export type AnyEvent = LocalEvent | ReplicationEvent;
export type EventName = AnyEvent['event'];
/** What a listener gets: the fields of the event and its time in Unix milliseconds. */
export type EventOf<N extends EventName> = Extract<AnyEvent, { readonly event: N }> & { readonly time: number };

/** Throws a TypeError: a listener of a name that no event has would wait for ever. */
function checkName(name: unknown): void {
  if (typeof name === 'string' && Object.hasOwn(eventNames, name)) return;
  const known = Object.keys(eventNames);
  const near = typeof name === 'string' ? suggest(name, known) : undefined;
  const hint = near === undefined ? `the events are ${known.join(', ')}` : `did you mean "${near}"?`;
  throw new TypeError(`"${String(name)}" is no event; ${hint}`);
}

export class Events {
  readonly #emitter = new EventEmitter();
  readonly #clock: Clock;
  /** Epochs begin once, whoever reports them first. */
  #epoch = '';

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#emitter.setMaxListeners(0);
  }

  on<N extends EventName>(name: N, listener: (event: EventOf<N>) => void): void {
    checkName(name);
    this.#emitter.on(name, listener);
  }
  off<N extends EventName>(name: N, listener: (event: EventOf<N>) => void): void {
    checkName(name);
    this.#emitter.off(name, listener);
  }
  onAny(listener: (event: EventOf<EventName>) => void): void {
    this.#emitter.on('*', listener);
  }

  /** Never throws. */
  emit(event: AnyEvent): void {
    if (event.event === 'epoch') {
      if (this.#epoch === event.epoch) return;
      this.#epoch = event.epoch;
    }
    const timed = { ...event, time: this.#clock.now() };
    for (const name of [event.event, '*']) {
      for (const listener of this.#emitter.listeners(name)) {
        try {
          listener.call(undefined, timed);
        } catch (error) {
          process.nextTick(() => {
            throw error;
          });
        }
      }
    }
  }
}

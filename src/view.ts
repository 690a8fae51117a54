/**
 * A read view: all its reads see the state at one position, whatever is written meanwhile. Holds memory until it is
 * closed or reaches `viewMaxAgeMs` (`VIEW_EXPIRED`). The thread that opened the store.
 */
import { type Digest, digestOfView } from './digest.js';
import { createError } from './errors.js';
import type { Position } from './position.js';
import { Range, type RangeOptions } from './range.js';
import { type Entry, type ReadHost, Reads } from './reads.js';
import type { Bytes } from './scratch.js';

/** What a view needs of its database. */
export interface ViewHost extends ReadHost {
  /** Throws CLOSED when the database is closing or closed. */
  readonly check: () => void;
}

export class View {
  /** What this view shows. */
  readonly position: Position;
  readonly #host: ViewHost;
  readonly #number: number;
  readonly #reads: Reads;
  #isClosed = false;

  /** @internal */
  constructor(host: ViewHost) {
    host.check();
    const { view, position } = host.store.openView();
    this.#host = host;
    this.#number = view;
    this.position = position;
    this.#reads = new Reads(host, view);
  }

  /** The value, or undefined. */
  get(key: Bytes): Buffer | undefined {
    this.#check();
    return this.#reads.get(key);
  }

  /** Copies the value to `into`, from byte `at` on, if it fits, and returns its length; undefined: there is none. */
  getInto(key: Bytes, into: Uint8Array, at = 0): number | undefined {
    this.#check();
    return this.#reads.getInto(key, into, at);
  }

  /** The value with the version of its last write, or undefined. */
  getEntry(key: Bytes): Entry | undefined {
    this.#check();
    return this.#reads.getEntry(key);
  }

  getMany(keys: readonly Bytes[]): (Buffer | undefined)[] {
    this.#check();
    return this.#reads.getMany(keys);
  }

  has(key: Bytes): boolean {
    this.#check();
    return this.#reads.has(key);
  }

  /** Entries in key order, at this view's position. */
  range(options: RangeOptions = {}): Range {
    this.#check();
    return new Range({ store: this.#host.store, check: () => this.#check(), view: this.#number }, options);
  }

  /** Digest of all live entries at this view's position. Keep the view open until it resolves. */
  digest(): Promise<Digest> {
    this.#check();
    return digestOfView(this.#host.store, this.#number, this.position);
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      this.#host.check();
    } catch {
      return; // The database is closed, and all its views with it.
    }
    this.#host.store.releaseView(this.#number);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #check(): void {
    this.#host.check();
    if (this.#isClosed) throw createError('CLOSED', 'the view is closed');
  }
}

/**
 * Operations that are committed together or not at all. They take effect in order; checks are judged against the state
 * before the batch. A batch commits once.
 */
import { type KeyRange, toBounds } from './bounds.js';
import type { Commit, WriteOptions } from './commit.js';
import type { OperationEncoder } from './encoder.js';
import { toVersion, type Version } from './position.js';
import type { Bytes } from './scratch.js';

/** What a batch needs of its database. */
export interface BatchHost {
  takeEncoder(): OperationEncoder;
  giveEncoder(encoder: OperationEncoder): void;
  commit(encoder: OperationEncoder, options: WriteOptions | undefined): Promise<Commit>;
  commitSync(encoder: OperationEncoder, options: WriteOptions | undefined): Commit;
}

export class Batch {
  readonly #host: BatchHost;
  #encoder: OperationEncoder | undefined;

  /** @internal */
  constructor(host: BatchHost) {
    this.#host = host;
    this.#encoder = host.takeEncoder();
  }

  put(key: Bytes, value: Bytes): this {
    this.#open().put(key, value);
    return this;
  }

  del(key: Bytes): this {
    this.#open().del(key);
    return this;
  }

  /** Deletes the keys of a range: earlier puts of this batch too, later ones not. */
  delRange(range: KeyRange): this {
    this.#open().delRange(toBounds(range));
    return this;
  }

  /** Adds to a counter: a decimal number as text, absent counts as 0. */
  increment(key: Bytes, by: bigint | number = 1n): this {
    this.#open().increment(key, by);
    return this;
  }

  /** Makes the batch fail with CONFLICT unless the key has exactly this version; null: unless it is absent. */
  check(key: Bytes, version: Version | string | null): this {
    this.#open().check(key, version === null ? null : toVersion(version));
    return this;
  }

  /** Operations so far. */
  get size(): number {
    return this.#open().operations;
  }

  commit(options?: WriteOptions): Promise<Commit> {
    try {
      return this.#once((encoder) => this.#host.commit(encoder, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Blocks this thread until the batch is acknowledged. */
  commitSync(options?: WriteOptions): Commit {
    return this.#once((encoder) => this.#host.commitSync(encoder, options));
  }

  #once<T>(submit: (encoder: OperationEncoder) => T): T {
    const encoder = this.#open();
    this.#encoder = undefined;
    try {
      return submit(encoder);
    } finally {
      this.#host.giveEncoder(encoder);
    }
  }

  #open(): OperationEncoder {
    if (this.#encoder === undefined) throw new TypeError('a batch commits once: this one was committed already');
    return this.#encoder;
  }
}

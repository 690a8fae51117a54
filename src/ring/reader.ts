/**
 * Reads log bytes out of the ring: copy first, judge afterwards. Any thread that was given the SharedArrayBuffer; one
 * reader object a thread. Stores nothing. What comes out is a candidate: the caller verifies every record's CRCs.
 *
 * Nothing in shared memory is trusted: every index is masked with the capacity that the buffer's own size gives.
 */
import { ringBytes, ringCapacityMin, ringLayout, ringMagic } from './layout.js';

export type RingRead =
  /** `bytes` bytes were copied, a multiple of 8. */
  | { readonly outcome: 'ok'; readonly bytes: number }
  /** Nothing to ship there yet. */
  | { readonly outcome: 'nothing' }
  /** Gone, or overwritten meanwhile: read the segments. What was copied is not valid. */
  | { readonly outcome: 'overtaken' }
  /** The ring ended, or another generation began: ask for the present one. */
  | { readonly outcome: 'ended' };

export interface RingState {
  readonly capacity: number;
  readonly generation: bigint;
  readonly oldest: bigint;
  readonly next: bigint;
  readonly shipping: bigint;
  readonly durable: bigint;
  readonly applied: bigint;
  readonly epoch: string;
}

const word = (at: number): number => at / 8;

export class RingReader {
  readonly capacity: number;
  readonly #words: BigUint64Array;
  readonly #data: Uint8Array;
  readonly #mask: bigint;

  /** Throws a RangeError if the buffer's size cannot be that of a ring. */
  constructor(buffer: SharedArrayBuffer) {
    const capacity = buffer.byteLength - ringLayout.data;
    if (capacity < ringCapacityMin || !Number.isInteger(Math.log2(capacity))) {
      throw new RangeError(`a ring cannot have ${buffer.byteLength} bytes`);
    }
    this.capacity = capacity;
    this.#words = new BigUint64Array(buffer, 0, word(ringLayout.data));
    this.#data = new Uint8Array(buffer, ringLayout.data, capacity);
    this.#mask = BigInt(capacity - 1);
  }

  /** The present generation; 0n while there is no ring in this memory. */
  generation(): bigint {
    if (!this.isFormatted()) return 0n;
    return Atomics.load(this.#words, word(ringLayout.generation));
  }

  isFormatted(): boolean {
    const magic = Buffer.alloc(8);
    magic.writeBigUInt64LE(Atomics.load(this.#words, word(ringLayout.magic)));
    return magic.toString('latin1') === ringMagic;
  }

  /** Copies from `offset` into `into`, never beyond the shipping end. Requires: `into` holds 8 bytes or more. */
  read(generation: bigint, offset: bigint, into: Uint8Array): RingRead {
    const words = this.#words;
    if (generation === 0n || Atomics.load(words, word(ringLayout.generation)) !== generation) {
      return { outcome: 'ended' };
    }
    const shipping = Atomics.load(words, word(ringLayout.shipping));
    const next = Atomics.load(words, word(ringLayout.next));
    const end = shipping < next ? shipping : next;
    const isAligned = offset % 8n === 0n;
    const isWhole = offset >= Atomics.load(words, word(ringLayout.oldest));
    const count = isAligned && isWhole && offset < end ? this.#copy(offset, end, into) : 0;
    const oldest = Atomics.load(words, word(ringLayout.oldest));
    if (Atomics.load(words, word(ringLayout.generation)) !== generation) return { outcome: 'ended' };
    if (!isAligned || offset < oldest) return { outcome: 'overtaken' };
    return count === 0 ? { outcome: 'nothing' } : { outcome: 'ok', bytes: count };
  }

  /** All header words, each loaded by itself: for status, not for decisions that need them together. */
  state(): RingState {
    const load = (at: number): bigint => Atomics.load(this.#words, word(at));
    const epoch = load(ringLayout.epoch);
    return {
      capacity: this.capacity,
      generation: this.generation(),
      oldest: load(ringLayout.oldest),
      next: load(ringLayout.next),
      shipping: load(ringLayout.shipping),
      durable: load(ringLayout.durable),
      applied: load(ringLayout.applied),
      epoch: `${epoch >> 32n}.${epoch & 0xffff_ffffn}`,
    };
  }

  #copy(offset: bigint, end: bigint, into: Uint8Array): number {
    const there = end - offset < BigInt(this.capacity) ? Number(end - offset) : this.capacity;
    const room = Math.min(there, into.length);
    const count = room - (room % 8);
    const at = Number(offset & this.#mask);
    const first = Math.min(count, this.capacity - at);
    into.set(this.#data.subarray(at, at + first), 0);
    if (count > first) into.set(this.#data.subarray(0, count - first), first);
    return count;
  }
}

/** Zeroed shared memory for a ring of `capacity` bytes; the addon formats it. Throws a RangeError. */
export function allocateRing(capacity: number): SharedArrayBuffer {
  if (capacity < ringCapacityMin || !Number.isInteger(Math.log2(capacity))) {
    throw new RangeError(`the capacity of a ring must be a power of two, not ${capacity}`);
  }
  return new SharedArrayBuffer(ringBytes(capacity));
}

/**
 * One look at how far a node has come, decoded from the words that the addon fills. One object a handle, on its thread:
 * it is read once a wake, and nothing here grows with the number of waiters or replicas.
 */

import { decodePosition, type Position } from '../position.js';
import { type NativeStore, progressFlags, progressWords } from './contract.js';

export class Progress {
  readonly #store: Pick<NativeStore, 'progress'>;
  readonly #words = new BigUint64Array(progressWords.count);
  readonly #view = new DataView(this.#words.buffer);

  constructor(store: Pick<NativeStore, 'progress'>) {
    this.#store = store;
    this.refresh();
  }

  refresh(): void {
    this.#store.progress(this.#words);
  }

  get visible(): Position {
    return decodePosition(this.#view, progressWords.visible * 8);
  }
  get written(): Position {
    return decodePosition(this.#view, progressWords.written * 8);
  }
  get durable(): Position {
    return decodePosition(this.#view, progressWords.durable * 8);
  }
  get shippingEnd(): Position {
    return decodePosition(this.#view, progressWords.shipping * 8);
  }
  get visibleSeq(): bigint {
    return this.#word(progressWords.visible + 1);
  }
  get visibleOffset(): bigint {
    return this.#word(progressWords.visible + 2);
  }
  get writtenOffset(): bigint {
    return this.#word(progressWords.written + 2);
  }
  get durableOffset(): bigint {
    return this.#word(progressWords.durable + 2);
  }
  get shippingOffset(): bigint {
    return this.#word(progressWords.shipping + 2);
  }
  get generation(): bigint {
    return this.#word(progressWords.generation);
  }
  /** Rises with every stop of acknowledging, and stays when a change of role ends it. */
  get stops(): bigint {
    return this.#word(progressWords.stops);
  }
  /** The first word of a position of `ownEpoch`. */
  get ownEpochWord(): bigint {
    return this.#word(progressWords.ownEpoch);
  }
  /** "term.run" of the epoch that this node began last. */
  get ownEpoch(): string {
    const word = this.ownEpochWord;
    return `${word & 0xffff_ffffn}.${word >> 32n}`;
  }
  get isAcknowledging(): boolean {
    return this.#has(progressFlags.acknowledging);
  }
  get isNoSpace(): boolean {
    return this.#has(progressFlags.noSpace);
  }
  get hasCompletions(): boolean {
    return this.#has(progressFlags.completions);
  }
  get isFenced(): boolean {
    return this.#has(progressFlags.fenced);
  }
  get isPrimary(): boolean {
    return this.#has(progressFlags.primary);
  }
  /** False: a replica whose first full sync is unfinished. */
  get isComplete(): boolean {
    return this.#has(progressFlags.complete);
  }
  /** True: a repaired replica that has not reached again what it once had durable. */
  get isBelowFormerMark(): boolean {
    return this.#has(progressFlags.belowFormerMark);
  }

  #word(index: number): bigint {
    return this.#words[index] ?? 0n;
  }
  #has(flag: bigint): boolean {
    return (this.#word(progressWords.flags) & flag) !== 0n;
  }
}

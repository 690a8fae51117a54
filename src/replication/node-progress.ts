/**
 * What the engine said at its last wake, read once for all sessions: nothing here grows with the number of replicas.
 * One object a controller, on its thread.
 */
import { progressFlags, progressWords } from '../binding/contract.js';
import { createPosition, formatChain, type Position } from '../position.js';
import type { NodeFacts } from './ports.js';

export class NodeProgress {
  readonly #facts: NodeFacts;
  readonly #words = new BigUint64Array(progressWords.count);

  constructor(facts: NodeFacts) {
    this.#facts = facts;
    this.refresh();
  }

  refresh(): void {
    this.#facts.progress(this.#words);
  }

  get visible(): Position {
    return this.#position(progressWords.visible);
  }
  get written(): Position {
    return this.#position(progressWords.written);
  }
  get durable(): Position {
    return this.#position(progressWords.durable);
  }
  get shipping(): Position {
    return this.#position(progressWords.shipping);
  }
  /** The offsets alone, without building a position. */
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
  get ownEpoch(): string {
    return epochText(this.#word(progressWords.ownEpoch));
  }
  get isAcknowledging(): boolean {
    return this.#has(progressFlags.acknowledging);
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

  #word(at: number): bigint {
    return this.#words[at] ?? 0n;
  }

  #has(flag: bigint): boolean {
    return (this.#word(progressWords.flags) & flag) !== 0n;
  }

  #position(at: number): Position {
    const [epoch, seq, offset, chain] = [this.#word(at), this.#word(at + 1), this.#word(at + 2), this.#word(at + 3)];
    return createPosition(epochText(epoch), seq, offset, formatChain(chain));
  }
}

/** "term.run" of a word that holds term | run << 32. */
function epochText(word: bigint): string {
  return `${word & 0xffff_ffffn}.${word >> 32n}`;
}

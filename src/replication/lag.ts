/**
 * How far behind somebody is: records, bytes, and the age of the oldest record that is missing. Ages come from samples
 * of the end (at most `samplesMax`), not from timestamps of another machine. Pure but for the clock it is given.
 */
import type { Position } from '../position.js';
import type { Lag } from './ports.js';

const samplesMax = 256;

interface Sample {
  readonly offset: bigint;
  readonly at: number;
}

export class LagMeter {
  #samples: Sample[] = [];
  readonly #everyMs: number;

  constructor(everyMs = 20) {
    this.#everyMs = everyMs;
  }

  /** The end of what there is to have was at `offset` at time `now`. */
  sawEnd(offset: bigint, now: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && (offset <= last.offset || now - last.at < this.#everyMs)) return;
    if (this.#samples.length === samplesMax) this.#samples = this.#samples.filter((_, index) => index % 2 === 0);
    this.#samples.push({ offset, at: now });
  }

  measure(end: Position, have: Position, now: number): Lag {
    if (have.offset >= end.offset) {
      this.#samples = [];
      return { records: 0, bytes: 0, ms: 0 };
    }
    // The first sample beyond what they have: since then, at the latest, something is missing.
    const first = this.#samples.findIndex(({ offset }) => offset > have.offset);
    if (first > 0) this.#samples.splice(0, first);
    const since = this.#samples[0];
    const records = Number(end.seq > have.seq ? end.seq - have.seq : 0n);
    const ms = since === undefined || first < 0 ? 0 : Math.max(0, Math.round(now - since.at));
    return { records, bytes: Number(end.offset - have.offset), ms };
  }
}

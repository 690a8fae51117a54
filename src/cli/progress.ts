/** Progress of long commands on stderr: at most one line a second. */
import type { Context } from './command.js';

const everyMs = 1000;

export class Progress {
  readonly #context: Pick<Context, 'clock' | 'output'>;
  #nextAt: number;

  constructor(context: Pick<Context, 'clock' | 'output'>) {
    this.#context = context;
    this.#nextAt = context.clock.monotonic() + everyMs;
  }

  /** A listener that prints what `describe` says, when it is time again. */
  note<T>(describe: (value: T) => string): (value: T) => void {
    return (value) => {
      const now = this.#context.clock.monotonic();
      if (now < this.#nextAt) return;
      this.#nextAt = now + everyMs;
      this.#context.output.note(describe(value));
    };
  }
}

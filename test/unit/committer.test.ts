/** What a commit that waits resolves with, whatever the engine did before its thread looked. */
import { describe, expect, test } from 'vitest';
import {
  type NativeStore,
  progressFlags,
  progressWords,
  submitStates,
  submitWords,
} from '../../dist/binding/contract.js';
import { Progress } from '../../dist/binding/progress.js';
import { Committer } from '../../dist/committer.js';
import { OperationEncoder } from '../../dist/encoder.js';
import { createError } from '../../dist/errors.js';
import { KeepAlive } from '../../dist/waits.js';

const { acknowledging, primary, fenced } = progressFlags;

/** An engine of which only progress matters; each write ends 100 bytes behind the one before it. */
class Engine {
  flags = acknowledging | primary;
  term = 1n;
  stops = 0n;
  durable = 0n;
  end = 0n;
  readonly store = {
    progress: (out: BigUint64Array) => {
      out[progressWords.flags] = this.flags;
      out[progressWords.ownEpoch] = this.term;
      out[progressWords.stops] = this.stops;
      out[progressWords.written + 2] = this.durable;
      out[progressWords.durable + 2] = this.durable;
    },
    submit: (...args: readonly unknown[]) => {
      const out = args.at(-1) as BigUint64Array;
      this.end += 100n;
      out.set([this.term, this.end / 100n, this.end, 0n], submitWords.position);
      out[submitWords.results] = 0n;
      return submitStates.sequenced;
    },
    state: () => ({ stop: createError('POISONED', 'the log failed') }),
    setPending: () => undefined,
    takeCompletions: () => [],
  } as unknown as NativeStore;
  readonly progress = new Progress(this.store);
  readonly committer = new Committer(this.store, 'sync', new KeepAlive(this.store), 0n, () => undefined);

  write(): Promise<string> {
    const told = (error: { code: string; details: { position?: unknown } }): string =>
      `${error.code} ${error.details.position === undefined ? 'without' : 'at'} a position`;
    return this.committer.commit(new OperationEncoder(), undefined).then(() => 'acknowledged', told);
  }
  look(): void {
    this.progress.refresh();
    this.committer.progressed(this.progress);
  }
}

describe('a stop that was over before the thread looked', () => {
  test('by a demotion: nothing that waited is acknowledged, though it is durable', async () => {
    const engine = new Engine();
    const written = engine.write();
    Object.assign(engine, { flags: acknowledging, stops: 1n, durable: engine.end });
    engine.look();
    expect(await written).toBe('FENCED at a position');
    expect(engine.committer.pending).toBe(0);
  });
  test('by a promotion: what the new epoch wrote goes on, and only that', async () => {
    const engine = new Engine();
    const before = engine.write();
    Object.assign(engine, { stops: 1n, term: 3n });
    const after = engine.write();
    engine.durable = engine.end;
    engine.look();
    expect(await before).toBe('FENCED at a position');
    expect(await after).toBe('acknowledged');
  });
  test('and a poisoning behind it: in doubt, too; what a poisoning alone found durable is acknowledged', async () => {
    for (const [stops, expected] of [
      [1n, 'acknowledged'],
      [2n, 'POISONED at a position'],
    ] as const) {
      const engine = new Engine();
      const written = engine.write();
      Object.assign(engine, { flags: 0n, stops, durable: engine.end });
      engine.look();
      expect(await written).toBe(expected);
    }
  });
  test('a fence that lasts acknowledges nothing; the counter at rest changes nothing', async () => {
    const engine = new Engine();
    const first = engine.write();
    engine.durable = engine.end;
    engine.look();
    expect(await first).toBe('acknowledged');
    const second = engine.write();
    Object.assign(engine, { flags: primary | fenced, stops: 1n, durable: engine.end });
    engine.look();
    expect(await second).toBe('POISONED at a position');
  });
});

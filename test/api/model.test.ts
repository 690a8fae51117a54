// Random sequences of operations against a Map: same answers, same order, same digest after reopening.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Database } from '../../dist/index.js';
import { temporary } from './temporary.js';

const temp = temporary();
const runs = Number(process.env['GAPLESS_MODEL_RUNS'] ?? 40);

type Step =
  | { readonly op: 'put'; readonly key: string; readonly value: string }
  | { readonly op: 'del'; readonly key: string }
  | { readonly op: 'delRange'; readonly gte: string; readonly lt: string }
  | { readonly op: 'increment'; readonly key: string; readonly by: number };
interface Round {
  readonly steps: readonly Step[];
  readonly reopen: boolean;
}

const key = fc.constantFrom('', 'a', 'ab', 'b', 'ba', 'c', '\u00ff', 'z');
const counter = fc.constantFrom('n1', 'n2');
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constant('put' as const), key, value: fc.string({ maxLength: 20 }) }),
  fc.record({ op: fc.constant('del' as const), key }),
  fc.record({ op: fc.constant('delRange' as const), gte: key, lt: key }),
  fc.record({ op: fc.constant('increment' as const), key: counter, by: fc.integer({ min: -9, max: 9 }) }),
);
const round: fc.Arbitrary<Round> = fc.record({ steps: fc.array(step, { maxLength: 8 }), reopen: fc.boolean() });

const order = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

function applyToModel(model: Map<string, string>, next: Step): void {
  if (next.op === 'put') model.set(next.key, next.value);
  else if (next.op === 'del') model.delete(next.key);
  else if (next.op === 'increment') model.set(next.key, `${Number(model.get(next.key) ?? 0) + next.by}`);
  else for (const at of [...model.keys()]) if (order(at, next.gte) >= 0 && order(at, next.lt) < 0) model.delete(at);
}

function commit(db: Database, steps: readonly Step[]): Promise<unknown> {
  const batch = db.batch();
  for (const next of steps) {
    if (next.op === 'put') batch.put(next.key, next.value);
    else if (next.op === 'del') batch.del(next.key);
    else if (next.op === 'increment') batch.increment(next.key, next.by);
    else batch.delRange({ gte: next.gte, lt: next.lt });
  }
  return batch.commit();
}

function compare(db: Database, model: ReadonlyMap<string, string>): void {
  const expected = [...model].sort(([a], [b]) => order(a, b));
  expect([...db.range()].map(([at, value]) => [at.toString(), value.toString()])).toEqual(expected);
  const backward = [...db.range({ reverse: true })].map(([at]) => at.toString());
  expect(backward).toEqual(expected.map(([at]) => at).reverse());
  const keys = ['', 'a', 'ab', 'b', 'ba', 'c', '\u00ff', 'z', 'n1', 'n2'];
  expect(db.getMany(keys).map((value) => value?.toString())).toEqual(keys.map((at) => model.get(at)));
  for (const at of keys) expect(db.has(at)).toBe(model.has(at));
}

test('a store behaves like a sorted map, also after it was reopened', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 6 }), async (rounds) => {
      const path = temp.path();
      const model = new Map<string, string>();
      let db = await temp.open({ durability: 'memory' }, path);
      for (const { steps, reopen } of rounds) {
        await commit(db, steps);
        for (const next of steps) applyToModel(model, next);
        compare(db, model);
        if (!reopen) continue;
        const digest = await db.digest();
        await db.close();
        db = await temp.open({}, path);
        expect(await db.digest()).toEqual(digest);
        compare(db, model);
      }
      await db.close();
    }),
    { numRuns: runs },
  );
});

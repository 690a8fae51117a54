// Long random sequences with flushes, merges, views, crashes and reopening, against a sorted map. Runs for
// GAPLESS_MODEL_MS (default 15 s; `npm run test:model`: 5 minutes) and tells how much it did; fast-check prints
// the seed of a failure.
import { cpSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Database, View } from '../../dist/index.js';
import { temporary } from './temporary.js';

const temp = temporary();
const limitMs = Number(process.env['GAPLESS_MODEL_MS'] ?? 15_000);
const viewsMax = 3;

type Model = ReadonlyMap<string, string>;
type Change =
  | { readonly op: 'put'; readonly key: string; readonly value: string }
  | { readonly op: 'del'; readonly key: string }
  | { readonly op: 'delRange'; readonly gte: string; readonly lt: string }
  | { readonly op: 'increment'; readonly key: string; readonly by: number };
type Read = Pick<Database, 'range' | 'getMany' | 'has'>;
type Command =
  | { readonly do: 'write'; readonly changes: readonly Change[]; readonly checked: boolean }
  | { readonly do: 'compact'; readonly gte: string; readonly lt: string; readonly all: boolean }
  | { readonly do: 'view' | 'end' | 'reopen' | 'crash' }
  | {
      readonly do: 'read';
      readonly gte: string;
      readonly lt: string;
      readonly limit: number;
      readonly reverse: boolean;
    };

const names = Array.from({ length: 48 }, (_, index) => `k${index.toString(7)}`);
const keys = [...names, '', '\u00ff', 'k'.repeat(300)];
const counters = ['n1', 'n2'];
const key = fc.constantFrom(...keys);
const value = fc.oneof(fc.string({ maxLength: 20 }), fc.constant('v'.repeat(5000)));
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('put' as const), key, value }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('del' as const), key }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('delRange' as const), gte: key, lt: key }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('increment' as const),
      key: fc.constantFrom(...counters),
      by: fc.integer({ min: -9, max: 9 }),
    }),
  },
);
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      changes: fc.array(change, { minLength: 1, maxLength: 8 }),
      checked: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('compact' as const), gte: key, lt: key, all: fc.boolean() }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('view' as const, 'end' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('reopen' as const, 'crash' as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      gte: key,
      lt: key,
      limit: fc.integer({ min: 1, max: 60 }),
      reverse: fc.boolean(),
    }),
  },
);

const order = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
const sorted = (model: Model): [string, string][] => [...model].sort(([a], [b]) => order(a, b));
const within = (at: string, gte: string, lt: string): boolean => order(at, gte) >= 0 && order(at, lt) < 0;

function change1(model: Map<string, string>, next: Change): void {
  if (next.op === 'put') model.set(next.key, next.value);
  else if (next.op === 'del') model.delete(next.key);
  else if (next.op === 'increment') model.set(next.key, `${Number(model.get(next.key) ?? 0) + next.by}`);
  else for (const at of [...model.keys()]) if (within(at, next.gte, next.lt)) model.delete(at);
}

/** Bytewise, as `rows` says; the values too. */
function compareAll(read: Read, model: Model): void {
  const rows = sorted(model);
  expect([...read.range({})].map(([at, stored]) => [at.toString(), stored.toString()])).toEqual(rows);
  const backward = [...read.range({ reverse: true })].map(([at]) => at.toString());
  expect(backward).toEqual(rows.map(([at]) => at).reverse());
  const all = [...keys, ...counters];
  expect(read.getMany(all).map((stored) => stored?.toString())).toEqual(all.map((at) => model.get(at)));
}

function comparePart(read: Read, model: Model, { gte, lt, limit, reverse }: Command & { do: 'read' }): void {
  const rows = sorted(model).filter(([at]) => within(at, gte, lt));
  if (reverse) rows.reverse();
  const got = [...read.range({ gte, lt, limit, reverse })].map(([at, stored]) => [at.toString(), stored.toString()]);
  expect(got).toEqual(rows.slice(0, limit));
  expect(read.has(gte)).toBe(model.has(gte));
}

/** A store, the map that it must equal, and views with the maps that these must equal. */
class Session {
  readonly #path = temp.path();
  readonly #model = new Map<string, string>();
  readonly #views: { readonly view: View; readonly model: Model }[] = [];
  #db: Database | undefined;

  async #open(): Promise<Database> {
    this.#db ??= await temp.open({ durability: 'os', memtableBytes: 262_144, cacheBytes: 65_536 }, this.#path);
    return this.#db;
  }

  async run(next: Command): Promise<void> {
    const db = await this.#open();
    if (next.do === 'write') await this.#write(db, next);
    else if (next.do === 'compact')
      await db.compact(next.all || order(next.gte, next.lt) >= 0 ? {} : { gte: next.gte, lt: next.lt });
    else if (next.do === 'view' && this.#views.length < viewsMax) {
      this.#views.push({ view: db.view(), model: new Map(this.#model) });
    } else if (next.do === 'end') this.#endView();
    else if (next.do === 'reopen') await this.close();
    else if (next.do === 'crash') await this.#crash(db);
    else if (next.do === 'read') {
      comparePart(db, this.#model, next);
      for (const { view, model } of this.#views) comparePart(view, model, next);
    }
  }

  async #write(db: Database, { changes, checked }: Command & { do: 'write' }): Promise<void> {
    const batch = db.batch();
    for (const next of changes) {
      if (next.op === 'put') batch.put(next.key, next.value);
      else if (next.op === 'del') batch.del(next.key);
      else if (next.op === 'increment') batch.increment(next.key, next.by);
      else batch.delRange({ gte: next.gte, lt: next.lt });
    }
    const [first] = changes;
    const at = first !== undefined && 'key' in first ? first.key : 'k1';
    if (checked) batch.check(at, db.getEntry(at)?.version ?? null);
    await batch.commit();
    for (const next of changes) change1(this.#model, next);
  }

  #endView(): void {
    const [ended] = this.#views.splice(0, 1);
    if (ended === undefined) return;
    compareAll(ended.view, ended.model);
    ended.view.close();
  }

  /** What a kill would leave: the files as they are now, opened as another store. */
  async #crash(db: Database): Promise<void> {
    const copy = await this.#copy(db);
    const again = await temp.open({ durability: 'os' }, copy);
    compareAll(again, this.#model);
    expect((await again.digest()).digest).toBe((await db.digest()).digest);
    await again.close();
  }

  /** A kill stops everything at one moment: a copy counts only if no flush or merge ended while it was made. */
  async #copy(db: Database): Promise<string> {
    const work = (): string => {
      const { flushes, merges, moves } = db.stats().background;
      return `${flushes} ${merges} ${moves}`;
    };
    for (let attempt = 0; attempt < 100; attempt += 1) {
      const copy = temp.path();
      const before = work();
      try {
        cpSync(this.#path, copy, { recursive: true });
        await new Promise((resolve) => setTimeout(resolve, 10));
        if (work() === before) return copy;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error('merging does not come to rest');
  }

  async close(): Promise<void> {
    while (this.#views.length > 0) this.#endView();
    if (this.#db === undefined) return;
    compareAll(this.#db, this.#model);
    await this.#db.close();
    this.#db = undefined;
  }

  async end(): Promise<void> {
    await this.close();
    compareAll(await this.#open(), this.#model);
    await this.close();
  }
}

test('flushes, merges, views and crashes change nothing that a reader sees', {
  timeout: limitMs + 120_000,
}, async () => {
  let commands = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 20, maxLength: 150, size: 'max' }), async (sequence) => {
      const session = new Session();
      for (const next of sequence) {
        await session.run(next);
        commands += 1;
      }
      await session.end();
    }),
    {
      numRuns: 1_000_000,
      interruptAfterTimeLimit: limitMs,
      markInterruptAsFailure: false,
      endOnFailure: limitMs > 60_000,
    },
  );
  process.stdout.write(`model: ${commands} commands\n`);
  expect(commands).toBeGreaterThan(100);
});

/**
 * What does a point read cost, in nanoseconds? Once from memtables, once from runs behind a cache that holds them.
 *
 * Keys come in random order over the whole data set, so at the full size most reads miss the processor's caches, as
 * they do in use. `has` and a miss copy no value and make no Buffer: the difference to `get` is what the result costs.
 */
import { open } from 'gaplessdb';
import { fill, keyAt, keysUpTo, valueBytes } from '../data.js';
import { micro, type Task } from '../micro.js';
import type { Outcome, Trial, Workload } from '../workload.js';

const round = 500;

/** Each round takes the next keys of a long list. */
function rounds<K>(keys: readonly K[], read: (key: K) => void): () => void {
  let next = 0;
  return () => {
    if (next + round > keys.length) next = 0;
    for (const end = next + round; next < end; next += 1) read(keys[next] as K);
  };
}

const memoryBytes = 512 * 1024 * 1024;

async function run({ dir, sizes }: Trial, areInRuns: boolean): Promise<Outcome[]> {
  const options = { durability: 'os', memtableBytes: memoryBytes, cacheBytes: memoryBytes } as const;
  let db = await open(dir, options);
  await fill(db, sizes.keys);
  if (areInRuns) {
    await db.compact();
    await db.close();
    db = await open(dir, options);
  }
  const into = Buffer.alloc(valueBytes);
  const texts = keysUpTo(sizes.keys).sort();
  const shuffled = texts.map((_, index) => texts[(index * 7919) % texts.length] ?? '');
  const buffers = shuffled.map((key) => Buffer.from(key));
  const missing = shuffled.map((_, index) => keyAt(0x8000_0000 + index));
  const hundreds = Array.from({ length: 500 }, (_, index) => shuffled.slice(index * 100, index * 100 + 100));
  const view = db.view();
  let turn = 0;
  const tasks: Task[] = [
    { what: 'get, string key', run: rounds(shuffled, (key) => db.get(key)), unit: 'gets', round },
    { what: 'get, Buffer key', run: rounds(buffers, (key) => db.get(key)), unit: 'gets', round },
    { what: 'getInto, string key', run: rounds(shuffled, (key) => db.getInto(key, into)), unit: 'gets', round },
    { what: 'get of a view', run: rounds(shuffled, (key) => view.get(key)), unit: 'gets', round },
    { what: 'getEntry', run: rounds(shuffled, (key) => db.getEntry(key)), unit: 'gets', round },
    { what: 'has', run: rounds(shuffled, (key) => db.has(key)), unit: 'gets', round },
    { what: 'get, missing key', run: rounds(missing, (key) => db.get(key)), unit: 'gets', round },
    {
      what: 'getMany of 100',
      run: () => {
        turn = (turn + 1) % hundreds.length;
        db.getMany(hundreds[turn] ?? []);
      },
      unit: 'keys',
      round: 100,
    },
  ];
  const outcomes = await micro(tasks, sizes.microMs);
  view.close();
  await db.close();
  return outcomes;
}

export const read: Workload = {
  name: 'read',
  question: 'point reads in random order: found, missing, many at once',
  cases: [
    { name: 'memtables', run: (trial) => run(trial, false) },
    { name: 'runs', run: (trial) => run(trial, true) },
  ],
};

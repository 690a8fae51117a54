/**
 * How many single puts a second, and how long does one take, for each durability?
 *
 * One put is one record, so this measures what a record costs: the promise, the call, the header, and for 'sync' the
 * disk. One at a time shows latency; 64 in flight show whether a group of commits shares one fdatasync.
 */
import { type Durability, open } from 'gaplessdb';
import { keyAt, valueAt, values } from '../data.js';
import { blocking, inFlight } from '../drivers.js';
import type { Case, Outcome, Trial, Workload } from '../workload.js';

const width = 64;

function putCase(durability: Durability): Case {
  return {
    name: durability,
    run: async ({ dir, sizes }: Trial): Promise<Outcome[]> => {
      const db = await open(dir, { durability });
      const pool = values();
      const isSync = durability === 'sync';
      const count = isSync ? sizes.durableWrites : sizes.writes;
      const warmUp = count / 10;
      const many = isSync ? count * 10 : count;
      const put = (index: number): Promise<unknown> => db.put(keyAt(index), valueAt(pool, index));
      const outcomes = [
        await inFlight({ what: 'await put, one at a time', unit: 'puts', count, warmUp }, 1, put),
        blocking({ what: 'putSync', unit: 'puts', count, warmUp }, (index) => {
          db.putSync(keyAt(index), valueAt(pool, index));
        }),
      ];
      const before = db.stats().log.fdatasyncs;
      const wide = await inFlight({ what: `put, ${width} in flight`, unit: 'puts', count: many, warmUp }, width, put);
      const syncs = Math.max(1, db.stats().log.fdatasyncs - before);
      outcomes.push({ ...wide, facts: { 'puts per fdatasync': (many + warmUp) / syncs } });
      await db.close();
      return outcomes;
    },
  };
}

export const put: Workload = {
  name: 'put',
  question: 'single puts for each durability, one at a time and 64 in flight',
  cases: [putCase('sync'), putCase('os'), putCase('memory')],
};

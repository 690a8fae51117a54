/**
 * How many keys a second go in, 1000 a batch, for each durability?
 *
 * The bulk path: encoding in JavaScript, one call, one record, the CRC, the memtable. What a record or a promise costs
 * vanishes; what a key costs remains. Two batches are on their way at a time, so that the disk and this thread overlap.
 */
import { type Durability, open } from 'gaplessdb';
import { keysUpTo, valueAt, values } from '../data.js';
import { inFlight } from '../drivers.js';
import type { Case, Outcome, Trial, Workload } from '../workload.js';

const batchKeys = 1000;

function batchCase(durability: Durability): Case {
  return {
    name: durability,
    run: async ({ dir, sizes }: Trial): Promise<Outcome[]> => {
      const db = await open(dir, { durability });
      const pool = values();
      const keys = keysUpTo(sizes.keys * 1.1);
      const count = sizes.keys / batchKeys;
      const put = (number: number): Promise<unknown> => {
        const batch = db.batch();
        for (let index = number * batchKeys; index < (number + 1) * batchKeys; index += 1) {
          batch.put(keys[index] ?? '', valueAt(pool, index));
        }
        return batch.commit();
      };
      const work = { what: 'batch of 1000 new keys', unit: 'keys', count, warmUp: count / 10, each: batchKeys };
      const outcome = await inFlight(work, 2, put);
      await db.close();
      return [outcome];
    },
  };
}

export const batch: Workload = {
  name: 'batch',
  question: 'keys put in batches of 1000 for each durability',
  cases: [batchCase('sync'), batchCase('os'), batchCase('memory')],
};

/**
 * How many entries a second does a range give, in either direction?
 *
 * One native call fetches a chunk of at most 64 KiB, so this measures the ordered index, the copy, and the two Buffers
 * that JavaScript makes for each entry. Short ranges show what beginning one costs: a view, a first small chunk.
 */
import { open } from 'gaplessdb';
import { fill, keysUpTo } from '../data.js';
import { blocking, now } from '../drivers.js';
import type { Outcome, Trial, Workload } from '../workload.js';

const shortLimit = 10;

async function run({ dir, sizes }: Trial): Promise<Outcome[]> {
  const db = await open(dir, { durability: 'os' });
  await fill(db, sizes.keys);
  const whole = (reverse: boolean): Outcome => {
    let bytes = 0;
    let entries = 0;
    const walk = (limit: number): void => {
      for (const [key, value] of db.range({ reverse, limit })) {
        bytes += key.length + value.length;
        entries += 1;
      }
    };
    walk(sizes.keys / 4);
    entries = 0;
    const begun = now();
    walk(sizes.keys);
    const perSecond = (entries * 1e9) / (now() - begun);
    if (entries !== sizes.keys || bytes === 0) throw new Error(`the range gave ${entries} entries`);
    return { what: reverse ? 'whole, backward' : 'whole, forward', unit: 'entries', perSecond };
  };
  const outcomes = [whole(false), whole(true)];
  const keys = keysUpTo(10_000);
  const count = 5000;
  const work = { what: `${shortLimit} entries from a random key`, unit: 'ranges', count, warmUp: count / 10 };
  outcomes.push(
    blocking(work, (index) => {
      const entries = db.range({ gte: keys[index % keys.length], limit: shortLimit });
      entries.next(shortLimit);
      entries.close();
    }),
  );
  await db.close();
  return outcomes;
}

export const range: Workload = {
  name: 'range',
  question: 'range scans forward and backward, whole and short',
  cases: [{ name: 'all keys', run }],
};

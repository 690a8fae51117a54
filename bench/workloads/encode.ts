/**
 * What does the JavaScript half of a write cost?
 *
 * A batch is encoded as its operations are added, before anything native is called; on the bulk path this is most of
 * the time of this thread. String keys are written as UTF-8, Buffer keys are copied.
 */
import { open } from 'gaplessdb';
import { keysUpTo, valueAt, values } from '../data.js';
import { micro } from '../micro.js';
import type { Outcome, Trial, Workload } from '../workload.js';

const round = 1000;

async function run({ dir, sizes }: Trial): Promise<Outcome[]> {
  const db = await open(dir, { durability: 'memory' });
  const texts = keysUpTo(round);
  const buffers = texts.map((key) => Buffer.from(key));
  const pool = values();
  const encode = (keys: readonly (string | Buffer)[]): void => {
    const batch = db.batch();
    for (let index = 0; index < round; index += 1) batch.put(keys[index] ?? '', valueAt(pool, index));
  };
  const outcomes = await micro(
    [
      { what: 'batch.put, string key', run: () => encode(texts), unit: 'puts', round },
      { what: 'batch.put, Buffer key', run: () => encode(buffers), unit: 'puts', round },
    ],
    sizes.microMs,
  );
  await db.close();
  return outcomes;
}

export const encode: Workload = {
  name: 'encode',
  question: 'encoding of operations in JavaScript, nothing committed',
  cases: [{ name: 'batch of 1000', run }],
};

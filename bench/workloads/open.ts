/**
 * How long does opening take, and how much memory does an open store have, empty and full?
 *
 * Each store is filled, compacted and closed; then it is opened and closed again and again, each time until the first
 * value is there. The files are in the page cache. What a full store costs above an empty one is what depends on its
 * size: the manifest and the ends of the runs.
 */
import { join } from 'node:path';
import { open } from 'gaplessdb';
import { fill, keyAt } from '../data.js';
import { latencyOf, newHistogram, now, record } from '../drivers.js';
import type { Outcome, Trial, Workload } from '../workload.js';

const times = 20;

async function openings(dir: string, keys: number, what: string): Promise<Outcome> {
  const first = await open(dir, { durability: 'os' });
  await fill(first, keys);
  if (keys > 0) await first.compact();
  await first.close();
  const histogram = newHistogram();
  let total = 0;
  let runs = 0;
  for (let time = 0; time < times; time += 1) {
    const begun = now();
    const db = await open(dir);
    const isThere = db.has(keyAt(0));
    const ns = now() - begun;
    if (isThere !== keys > 0) throw new Error('the first key is not as it was left');
    record(histogram, ns);
    total += ns;
    runs = db.stats().runs.count;
    await db.close();
  }
  const latency = latencyOf(histogram);
  const perSecond = (times * 1e9) / total;
  return { what, unit: 'opens', perSecond, latency, facts: { 'p50 ms': latency.p50 / 1000, runs } };
}

async function run({ dir, sizes }: Trial): Promise<Outcome[]> {
  return [
    await openings(join(dir, 'empty'), 0, 'an empty store'),
    await openings(join(dir, 'full'), sizes.keys, 'a full store, closed clean'),
  ];
}

export const opening: Workload = {
  name: 'open',
  question: 'opening a store that was closed clean, empty and full',
  cases: [{ name: 'clean', run }],
};

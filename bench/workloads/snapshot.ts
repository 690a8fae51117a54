/**
 * How many keys a second does a snapshot write, and what does the digest of everything cost?
 *
 * The snapshot is written by one worker a flow and synced; the digest reads the same state without writing it, so the
 * difference is encoding and disk.
 */
import { join } from 'node:path';
import { open } from 'gaplessdb';
import { fill } from '../data.js';
import { now } from '../drivers.js';
import type { Outcome, Trial, Workload } from '../workload.js';

async function run({ dir, sizes }: Trial): Promise<Outcome[]> {
  const db = await open(join(dir, 'store'), { durability: 'os' });
  await fill(db, sizes.keys);
  const timed = async (what: string, work: () => Promise<unknown>): Promise<Outcome> => {
    const begun = now();
    await work();
    return { what, unit: 'keys', perSecond: (sizes.keys * 1e9) / (now() - begun) };
  };
  // The first snapshot also starts the worker threads, as it does for a user.
  const outcomes = [
    await timed('first snapshot', () => db.snapshot(join(dir, 'first'))),
    await timed('next snapshot', () => db.snapshot(join(dir, 'next'))),
    await timed('next snapshot, lz4', () => db.snapshot(join(dir, 'lz4'), { compression: 'lz4' })),
    await timed('digest', () => db.digest()),
  ];
  await db.close();
  return outcomes;
}

export const snapshot: Workload = {
  name: 'snapshot',
  question: 'writing a snapshot of all keys',
  cases: [{ name: 'all keys', run }],
};

/**
 * How many puts a second does a replica keep up with, and how old is what it shows?
 *
 * Flat out: as fast as the primary acknowledges, until the replica shows the last put. At a fixed rate: the lag of
 * every burst, from the moment it was due at the primary to the moment at which a reader of the replica sees it. The
 * replica looks every millisecond, so figures below that are not resolved.
 */
import { join } from 'node:path';
import { type Database, open } from 'gaplessdb';
import { keyAt, valueAt, values } from '../data.js';
import { inFlight, now } from '../drivers.js';
import { Helper } from '../processes.js';
import { type Stamp, stampKey } from '../stamps.js';
import type { Case, Latency, Outcome, Trial, Workload } from '../workload.js';

const rate = 20_000;
const batchKeys = 100;

interface Report {
  readonly latency: Latency;
  readonly bursts: number;
}

interface Pair {
  readonly db: Database;
  readonly replica: Helper;
}

async function joined(dir: string): Promise<Pair> {
  const db = await open(join(dir, 'primary'), { durability: 'os' });
  await db.put('first', 'key');
  const { host, port } = await db.replication.listen({ host: '127.0.0.1', port: 0 });
  const replica = new Helper('replica.js', [join(dir, 'replica'), host, `${port}`, 'os']);
  await replica.message();
  return { db, replica };
}

async function flatOut({ dir, sizes }: Trial): Promise<Outcome[]> {
  const { db, replica } = await joined(dir);
  const pool = values();
  const timed = async (what: string, count: number, each: number, put: (i: number) => Promise<unknown>) => {
    const begun = now();
    const done = await inFlight({ what, unit: 'puts', count, warmUp: count / 10, each }, 64, put);
    await db.replication.waitFor(db.position, { level: 'applied', timeoutMs: 60_000 });
    const perSecond = (count * 1.1 * each * 1e9) / (now() - begun);
    return { ...done, perSecond, facts: { 'acknowledged a second': done.perSecond } };
  };
  const single = (index: number): Promise<unknown> => db.put(keyAt(index), valueAt(pool, index));
  const many = (number: number): Promise<unknown> => {
    const batch = db.batch();
    for (let index = number * batchKeys; index < (number + 1) * batchKeys; index += 1) {
      batch.put(keyAt(index), valueAt(pool, index));
    }
    return batch.commit();
  };
  const outcomes = [
    await timed('single puts, 64 in flight', sizes.writes * 5, 1, single),
    await timed(`batches of ${batchKeys}, 64 in flight`, (sizes.keys * 2) / batchKeys, batchKeys, many),
  ];
  await replica.kill();
  await db.close();
  return outcomes;
}

/** Every millisecond the puts that are due, and behind them the stamp. */
async function fixedRate({ dir, sizes }: Trial): Promise<Outcome[]> {
  const { db, replica } = await joined(dir);
  const pool = values();
  const everyNs = 1e6;
  const perBurst = rate / 1000;
  const bursts = sizes.streamSeconds * 1000;
  replica.send({ watch: true });
  const begunNs = now() + 50e6;
  let last: Promise<unknown> = Promise.resolve();
  for (let number = 0; number < bursts; ) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const due = Math.min(bursts, Math.floor((now() - begunNs) / everyNs) + 1);
    for (; number < due; number += 1) {
      for (let index = 0; index < perBurst - 1; index += 1) {
        db.put(keyAt(number * perBurst + index), valueAt(pool, index)).catch(failed);
      }
      const stamp: Stamp = { number, begunNs, everyNs };
      last = db.put(stampKey, JSON.stringify(stamp));
      last.catch(failed);
    }
  }
  const elapsed = now() - begunNs;
  await last;
  await db.replication.waitFor(db.position, { level: 'applied', timeoutMs: 60_000 });
  replica.send({ report: true });
  const report = await replica.message<Report>();
  if (report.bursts !== bursts) throw new Error(`the replica saw ${report.bursts} of ${bursts} bursts`);
  await replica.kill();
  await db.close();
  const perSecond = (bursts * perBurst * 1e9) / elapsed;
  return [{ what: 'lag until a reader sees it', unit: 'puts', perSecond, latency: report.latency }];
}

function failed(error: unknown): never {
  throw error;
}

const cases: Case[] = [
  { name: 'flat out', run: flatOut },
  { name: `${rate / 1000} k/s`, run: fixedRate },
];

export const stream: Workload = {
  name: 'stream',
  question: 'a replica that follows live writes',
  cases,
};

/**
 * How many keys a second does a full sync bring to a new replica, and what do writers feel of it?
 *
 * Primary and replica are processes on loopback. The clock runs from starting to follow to the replica's first live
 * moment: handshake, snapshot, transfer, loading, log. A second replica joins while puts arrive at a fixed rate; their
 * p99 is compared with the p99 before it came.
 */
import { join } from 'node:path';
import { type Database, open } from 'gaplessdb';
import { fill, keyAt, valueAt, values } from '../data.js';
import { atRate, latencyOf, newHistogram, now, record } from '../drivers.js';
import { Helper } from '../processes.js';
import type { Latency, Outcome, Trial, Workload } from '../workload.js';

const rate = 2000;

interface Joined {
  readonly streamingNs: number;
  readonly syncMs: number | null;
}

async function paced(db: Database, seconds: number, from: number): Promise<Latency> {
  const pool = values();
  const histogram = newHistogram();
  const waiting: Promise<unknown>[] = [];
  await atRate(rate, seconds, (index, dueNs) => {
    waiting.push(db.put(keyAt(from + index), valueAt(pool, index)).then(() => record(histogram, now() - dueNs)));
  });
  await Promise.all(waiting);
  return latencyOf(histogram);
}

async function run({ dir, sizes }: Trial): Promise<Outcome[]> {
  const db = await open(join(dir, 'primary'), { durability: 'os' });
  await fill(db, sizes.keys);
  const { host, port } = await db.replication.listen({ host: '127.0.0.1', port: 0 });
  const replicas: Helper[] = [];
  const join_ = async (name: string): Promise<Outcome> => {
    const begun = now();
    const replica = new Helper('replica.js', [join(dir, name), host, `${port}`, 'os']);
    replicas.push(replica);
    const { streamingNs, syncMs } = await replica.message<Joined>();
    const elapsed = streamingNs - begun;
    const facts = { 'sync ms': syncMs ?? Number.NaN, 'with start of the process ms': elapsed / 1e6 };
    return { what: `full sync, ${name}`, unit: 'keys', perSecond: (sizes.keys * 1000) / (syncMs ?? Number.NaN), facts };
  };
  const quiet = await join_('idle primary');
  const idle = await paced(db, sizes.streamSeconds, 0);
  const joining = join_('primary under puts');
  let isJoined = false;
  const done = joining.finally(() => {
    isJoined = true;
  });
  const under: Latency[] = [];
  for (let from = 0; !isJoined; from += rate) under.push(await paced(db, 0.5, from));
  const busy = await done;
  const worst = under.reduce((a, b) => (b.p99 > a.p99 ? b : a), under[0] ?? idle);
  for (const replica of replicas) await replica.kill();
  await db.close();
  const puts = (what: string, latency: Latency): Outcome => ({ what, unit: 'puts', perSecond: rate, latency });
  return [quiet, busy, puts('puts beside an idle replica', idle), puts('puts during the full sync', worst)];
}

export const fullSync: Workload = {
  name: 'full-sync',
  question: 'a new replica gets everything, with and without writers',
  cases: [{ name: 'loopback', run }],
};

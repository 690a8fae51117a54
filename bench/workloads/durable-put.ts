/**
 * What does a durable put cost above the bare disk?
 *
 * The yardstick is pwrite and fdatasync of as many bytes, from the same process on the same file system, in turns with
 * puts, so that both see the same disk. Three kinds of file: one that grows, one whose blocks exist but were never
 * written, and one that was written before (the cheapest that a log could have).
 */

import { spawnSync } from 'node:child_process';
import { closeSync, fdatasyncSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'gaplessdb';
import { keyAt, valueAt, values } from '../data.js';
import { latencyOf, newHistogram, now, record } from '../drivers.js';
import { median, type Outcome, type Trial, type Workload } from '../workload.js';

/** Header 56, operation 8, key 16, value 100, rounded up to 8; a mark of the log. */
const recordBytes = 184 + 40;
const turns = 10;

interface Contender {
  readonly what: string;
  readonly write: (index: number) => void;
}

function bare(path: string, kind: 'growing' | 'allocated' | 'written', bytes: number): Contender & { close(): void } {
  const fd = openSync(path, 'w');
  if (kind === 'allocated') {
    const made = spawnSync('fallocate', ['-l', `${bytes}`, path]);
    if (made.status !== 0) ftruncateSync(fd, bytes);
  }
  if (kind === 'written') writeSync(fd, Buffer.alloc(bytes));
  fsyncSync(fd);
  const record = Buffer.alloc(recordBytes, 7);
  const write = (index: number): void => {
    writeSync(fd, record, 0, recordBytes, index * recordBytes);
    fdatasyncSync(fd);
  };
  return { what: `bare pwrite+fdatasync, ${kind} file`, write, close: () => closeSync(fd) };
}

async function run({ dir, sizes }: Trial): Promise<Outcome[]> {
  const each = Math.max(20, Math.floor(sizes.durableWrites / turns));
  const bytes = (each * turns + each) * recordBytes;
  const files = (['growing', 'allocated', 'written'] as const).map((kind) => bare(join(dir, kind), kind, bytes));
  const db = await open(join(dir, 'store'), { durability: 'sync' });
  const pool = values();
  const put = (index: number): void => {
    db.putSync(keyAt(index), valueAt(pool, index));
  };
  const contenders: Contender[] = [...files, { what: 'putSync', write: put }];
  const rows = contenders.map((contender) => ({ ...contender, next: 0, ns: 0, histogram: newHistogram() }));
  for (let turn = 0; turn <= turns; turn += 1) {
    for (const row of rows) {
      const begun = now();
      let before = begun;
      for (const end = row.next + each; row.next < end; row.next += 1) {
        row.write(row.next);
        const after = now();
        if (turn > 0) record(row.histogram, after - before);
        before = after;
      }
      // The first turn warms up.
      if (turn > 0) row.ns += before - begun;
    }
  }
  await db.close();
  for (const file of files) file.close();
  const medians = rows.map((row) => median([row.histogram.percentile(50)]));
  const putNs = medians.at(-1) ?? Number.NaN;
  return rows.map((row, index) => ({
    what: row.what,
    unit: 'writes',
    perSecond: (each * turns * 1e9) / row.ns,
    latency: latencyOf(row.histogram),
    facts: row.what === 'putSync' ? {} : { 'speed of putSync against this': (medians[index] ?? Number.NaN) / putNs },
  }));
}

export const durablePut: Workload = {
  name: 'durable-put',
  question: 'one durable put at a time beside bare pwrite and fdatasync, in turns',
  cases: [{ name: 'one at a time', run }],
};

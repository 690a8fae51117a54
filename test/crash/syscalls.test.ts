/**
 * SIGKILL at the boundaries of file calls (before, behind, in the middle of a write), then again while the store
 * recovers and goes on, through the LD_PRELOAD shim. A sample by default; GAPLESS_KILLS=200 and more take more points.
 */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import type { OpenOptions } from '../../dist/index.js';
import { type Life, live, Oracle, seeded, temporaryRoot, withStore } from './harness.js';
import { buildShim, type ShimSettings, shimEnvironment } from './shim.js';

const points = Number(process.env['GAPLESS_KILLS'] ?? 20);
const seed = Number(process.env['GAPLESS_SEED'] ?? 1);
const library = buildShim();
const root = temporaryRoot();
afterAll(() => root.remove());

const options: OpenOptions = { durability: 'sync', segmentBytes: 64 * 1024, shards: 2 };
const writes = 160;

async function shimmedLife(path: string, lifeSeed: number, count: number, settings: ShimSettings): Promise<Life> {
  if (library === null) throw new Error('there is no shim');
  const job = { path, seed: lifeSeed, writes: count, inFlight: 2, pauseMs: 0, options };
  return await live(job, () => {}, shimEnvironment(library, path, settings));
}

test.skipIf(library === null)(
  'a kill at any file call loses nothing that was acknowledged',
  { timeout: 1_200_000 },
  async () => {
    const counted = root.path('count');
    const whole = await shimmedLife(root.path('whole'), seed, writes, { count: counted });
    expect(whole, whole.stderr).toMatchObject({ closed: true, code: 0, refused: [] });
    const calls = Number(readFileSync(counted, 'utf8'));
    // Rotation, marks, syncs, the files of a creation: a workload with fewer calls shows too little.
    expect(calls).toBeGreaterThan(150);

    const random = seeded(seed);
    const moments = ['before', 'after', 'torn'] as const;
    const sum = { points: 0, calls, acknowledged: 0, survived: 0, recoveriesKilled: 0 };
    for (let point = 0; point < points; point += 1) {
      const path = root.path(`point-${point}`);
      // The first third of the points takes the calls of creation and of the first writes one by one.
      const at = point * 3 < points ? 1 + point : 1 + random(calls);
      const moment = moments[point % 3] ?? 'before';
      const first = await shimmedLife(path, 1000 + point, writes, { kill: at, moment });
      expect([first.signal, first.closed], `${at} ${moment} ${first.stderr}`).toContainEqual(
        first.closed ? null : 'SIGKILL',
      );
      // Once more, while it recovers or writes its first records.
      const second = await shimmedLife(path, 500_000 + point, 4, {
        kill: 1 + random(30),
        moment: moments[random(3)] ?? 'after',
      });
      if (!second.opened && second.signal === 'SIGKILL') sum.recoveriesKilled += 1;
      expect(second.refused).toEqual([]);
      expect([0, null], second.stderr).toContain(second.code);
      const survived = await withStore(path, options, (db) => new Oracle().judge(db, [first, second], () => true));
      sum.points += 1;
      sum.acknowledged += first.acknowledged.length + second.acknowledged.length;
      sum.survived += survived;
    }
    process.stdout.write(`file calls: ${JSON.stringify(sum)}\n`);
    expect(sum.acknowledged).toBeGreaterThan(points);
    expect(existsSync(counted)).toBe(true);
  },
);

// fdatasync and pwritev of the log: the store stops, nothing more is acknowledged, a reopen has all acknowledged.
const faults = [
  ...[3, 5, 6, 8, 12].map((n) => ({ call: 'fdatasync', n, errno: 5 })),
  ...[4, 9].map((n) => ({ call: 'pwritev', n, errno: 5 })),
];
test.skipIf(library === null).each(faults)(
  '$call failing once, the $n-th time, ends acknowledging',
  { timeout: 60_000 },
  async (fail) => {
    const path = root.path(`fault-${fail.call}-${fail.n}`);
    const life = await shimmedLife(path, 7000 + fail.n, writes, { fail });
    expect(life.signal).toBe(null);
    if (life.opened) {
      expect(life.refused.length).toBeGreaterThan(0);
      const firstRefused = Math.min(...life.refused.map(({ write }) => write));
      // Commits are acknowledged in order: none behind the first that was refused.
      expect(Math.max(-1, ...life.acknowledged.map(({ write }) => write))).toBeLessThan(firstRefused);
      const codes = new Set(life.refused.map(({ code }) => code));
      expect([...codes].filter((code) => code !== 'POISONED' && code !== 'IO')).toEqual([]);
      // What had its place is in doubt and says where.
      if (life.acknowledged.length > 0) {
        expect(codes).toContain('POISONED');
        expect(life.refused.some(({ code, seq }) => code === 'POISONED' && /^[0-9]+$/.test(seq))).toBe(true);
      }
    } else expect(life.stderr).toMatch(/code: '(IO|POISONED)'/);
    const survived = await withStore(path, options, (db) => new Oracle().judge(db, [life], () => true));
    expect(survived).toBeGreaterThanOrEqual(life.acknowledged.length);
  },
);

test.skipIf(library === null)(
  'no space for a new segment refuses before a place is given, and stays retryable',
  { timeout: 60_000 },
  async () => {
    const path = root.path('no-space');
    const full = { call: 'fallocate', n: 0, errno: 28 };
    await withStore(path, options, async (db) => void (await db.put('k000', 'x')));
    const life = await shimmedLife(path, 9000, writes, { fail: full });
    expect(life.signal, life.stderr).toBe(null);
    expect(new Set(life.refused.map(({ code }) => code))).toEqual(new Set(['NO_SPACE']));
    expect(new Set(life.refused.map(({ seq }) => seq))).toEqual(new Set(['-']));
  },
);

/**
 * Real SIGKILLs: a process writes, dies at any moment, and the store is judged by what it had said through a pipe. One
 * test per cell of the `kill -9` column of docs/GUARANTEES.md. GAPLESS_KILLS sets the number of kills of all of them.
 *
 * The page cache survives a kill, so nothing here proves an fdatasync: that is test/native/engine/crash_test.cc.
 */
import { afterAll, expect, test } from 'vitest';
import type { OpenOptions } from '../../dist/index.js';
import { type Acknowledged, kill, type Life, live, Oracle, seeded, temporaryRoot, withStore } from './harness.js';

const kills = Number(process.env['GAPLESS_KILLS'] ?? 20);
const seed = Number(process.env['GAPLESS_SEED'] ?? 1);
const root = temporaryRoot();
afterAll(() => root.remove());

const flushIntervalMs = 50;
/** How late a flusher thread may run on a machine that does other things, too. */
const scheduleSlackMs = 250;
/** Lives on one directory before a new one: the log is read as a whole at each open. */
const livesPerStore = 10;

const small = { segmentBytes: 64 * 1024, shards: 2, flushIntervalMs } as const satisfies OpenOptions;

interface Cell {
  readonly durability: 'sync' | 'os' | 'memory';
  readonly share: number;
  readonly mustHave: (ack: Acknowledged, life: Life) => boolean;
}
const cells: readonly Cell[] = [
  { durability: 'sync', share: 0.5, mustHave: () => true },
  { durability: 'os', share: 0.25, mustHave: () => true },
  {
    durability: 'memory',
    share: 0.25,
    mustHave: (ack, life) => ack.at < life.killedAt - BigInt(flushIntervalMs + scheduleSlackMs) * 1_000_000n,
  },
];

test.each(cells)(
  'kill -9 under durability $durability keeps what it promises',
  { timeout: 1_200_000 },
  async (cell) => {
    const { durability, mustHave } = cell;
    const options: OpenOptions = { ...small, durability };
    const rounds = Math.max(3, Math.round(kills * cell.share));
    const random = seeded(seed * 31 + durability.length);
    let oracle = new Oracle();
    let path = '';
    const sum = { kills: 0, acknowledged: 0, survived: 0, asked: 0, secondCrashes: 0 };
    for (let round = 0; round < rounds; round += 1) {
      if (round % livesPerStore === 0) {
        oracle = new Oracle();
        path = root.path(`${durability}-${round}`);
      }
      const life = await killedLife(path, options, seed * 1000 + round, random);
      expect(life.signal, life.stderr).toBe('SIGKILL');
      expect(life.refused).toEqual([]);
      // Crash again, while the store recovers, in two lives of three.
      if (random(3) > 0) sum.secondCrashes += await killedOpens(path, options, 1 + random(2), random);
      const survived = await withStore(path, options, (db) => oracle.judge(db, [life], (ack) => mustHave(ack, life)));
      expect(survived).toBeLessThanOrEqual(life.intents);
      sum.kills += 1;
      sum.acknowledged += life.acknowledged.length;
      sum.survived += survived;
      sum.asked += life.intents;
    }
    process.stdout.write(`${durability}: ${JSON.stringify(sum)}\n`);
    // A run in which nothing was acknowledged before the kills has shown nothing.
    expect(sum.acknowledged).toBeGreaterThan(rounds * 10);
  },
);

/** One life that is killed a while after its first acknowledgements, at a random moment or acknowledgement. */
function killedLife(
  path: string,
  options: OpenOptions,
  lifeSeed: number,
  random: (below: number) => number,
): Promise<Life> {
  const slow = options.durability === 'memory';
  const job = { path, seed: lifeSeed, writes: 1_000_000, inFlight: 1 + random(48), pauseMs: slow ? 1 : 0, options };
  const byCount = random(2) === 0;
  const after = slow ? 400 + random(300) : byCount ? 1 + random(400) : random(150);
  let isArmed = false;
  return live(job, (line, life, child) => {
    if (!line.startsWith('a ')) return;
    if (byCount && !slow) {
      if (life.acknowledged.length >= after) kill(life, child);
      return;
    }
    if (isArmed) return;
    isArmed = true;
    setTimeout(() => kill(life, child), after);
  });
}

/** Opens that are killed while they recover. Returns how many died before they had opened. */
async function killedOpens(
  path: string,
  options: OpenOptions,
  times: number,
  random: (below: number) => number,
): Promise<number> {
  let early = 0;
  for (let i = 0; i < times; i += 1) {
    const job = { path, seed: 0, writes: 0, inFlight: 1, pauseMs: 0, options };
    const delay = random(12);
    const life = await live(job, (line, current, child) => {
      if (line === 'open') setTimeout(() => kill(current, child), delay);
    });
    expect([life.signal, life.code]).toContainEqual(life.signal === null ? 0 : 'SIGKILL');
    if (!life.opened) early += 1;
  }
  return early;
}

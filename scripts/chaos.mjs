// `npm run test:chaos`: the replication suites with their full sizes, then nodes as processes that are killed,
// frozen, cut off, synced again and promoted at random, until the time is over. Ends with the figures; exit 1 on any
// failure.
//
// GAPLESS_CHAOS_MS: time for all of it (default 10 minutes). GAPLESS_SEED: repeats a run's choices (not its timing).
// GAPLESS_CHAOS_ONLY=suites|nodes: one half. A run with too few faults counts as void, which is a failure.
import { spawn, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { root } from './sources.mjs';

const require = createRequire(import.meta.url);
const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs');
const totalMs = Number(process.env.GAPLESS_CHAOS_MS ?? 600_000);
const only = process.env.GAPLESS_CHAOS_ONLY ?? 'all';
const seed = Number(process.env.GAPLESS_SEED ?? Math.floor(performance.timeOrigin) % 1_000_000);
const began = performance.now();

const say = (line) => process.stdout.write(`${line}\n`);

/** Full sizes; more time than is left ends the suites, as a failure. */
const full = {
  GAPLESS_FIGURES: '1',
  GAPLESS_SEED: `${seed}`,
  GAPLESS_SYNCS: '50',
  GAPLESS_CUTS: 'all',
  GAPLESS_FLIPS: '60',
  GAPLESS_SHARD_PAIRS: 'all',
  GAPLESS_ROUNDS: '2',
  GAPLESS_STALLED_BYTES: `${512 * 1024 * 1024}`,
};

function runSuites() {
  const suites = ['boundary', 'link', 'terms', 'readers', 'limits'].map((name) => `test/replication/${name}.test.ts`);
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [vitest, 'run', ...suites], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...full },
    });
    const timer = setTimeout(() => {
      say(`the suites did not end within ${Math.round(totalMs / 1000)} s`);
      child.kill('SIGTERM');
    }, totalMs);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve(code === 0);
    });
  });
}

function build() {
  const built = spawnSync(process.execPath, ['scripts/build.mjs'], { cwd: root, stdio: 'inherit' });
  return built.status === 0;
}

say(`chaos: seed ${seed}, ${Math.round(totalMs / 1000)} s`);
let isGood = build();
if (isGood && only !== 'nodes') {
  isGood = await runSuites();
  say(`chaos: suites ${isGood ? 'ok' : 'FAILED'} after ${Math.round((performance.now() - began) / 1000)} s`);
}
if (only !== 'suites' && (isGood || only === 'nodes')) {
  const { runChaos } = await import('../test/chaos/run.mjs');
  const ms = Math.max(30_000, totalMs - (performance.now() - began));
  const { failures, figures } = await runChaos({ seed, ms, say });
  for (const [name, figure] of Object.entries(figures)) say(`figure: ${name}: ${figure}`);
  for (const failure of failures) say(`FAILED ${failure}`);
  isGood &&= failures.length === 0;
}
say(`chaos: ${isGood ? 'ok' : 'FAILED'}, seed ${seed}`);
process.exitCode = isGood ? 0 : 1;

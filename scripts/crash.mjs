// `npm run test:crash:full`: the crash and storm suites in full size, against what is built now. 200 kills and as many
// file-call boundaries, storms of a minute, 100 processes that leave in mid-commit. What the environment names stays.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { root } from './sources.mjs';

const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
const sizes = { GAPLESS_KILLS: '200', GAPLESS_STORM_S: '60', GAPLESS_LEAVES: '100', GAPLESS_DAMAGE: 'many' };
const suites = process.argv.length > 2 ? process.argv.slice(2) : ['test/crash', 'test/storm'];

const built = spawnSync(process.execPath, ['scripts/build.mjs'], { cwd: root, stdio: 'inherit' });
if (built.status !== 0) process.exit(1);
const result = spawnSync(process.execPath, [vitest, 'run', ...suites], {
  cwd: root,
  stdio: 'inherit',
  env: { ...sizes, ...process.env },
});
process.exitCode = result.status ?? 1;

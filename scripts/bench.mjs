// `npm run bench`: builds what the benchmarks need (the addon, dist/, build/bench/) and runs them with its arguments.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { root } from './sources.mjs';

const require = createRequire(import.meta.url);

/** Output of a build goes to stderr: stdout holds the figures only. */
function run(args, stdout) {
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', stdout, 'inherit'] });
  if (result.error !== undefined) throw result.error;
  return result.status ?? 1;
}

const isBuilt =
  run(['scripts/build.mjs'], 2) === 0 &&
  run([require.resolve('typescript/bin/tsc'), '-p', 'bench/tsconfig.json'], 2) === 0;
const entry = process.argv.includes('--capacity') ? 'build/bench/capacity.js' : 'build/bench/main.js';
process.exitCode = isBuilt ? run([entry, ...process.argv.slice(2)], 'inherit') : 1;

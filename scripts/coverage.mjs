// `npm run coverage`: line coverage of native/ (gcov over the native tests) and of the compiled src/ (vitest).
// Prints one table row per native file; the numbers come from this run only.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { filesBelow, root } from './sources.mjs';

const require = createRequire(import.meta.url);
const objects = 'build-native/cov';

function runNode(args) {
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (result.error !== undefined) throw result.error;
  return result.status === 0;
}

/** Merged over all objects: file -> line -> times executed. */
function nativeCounts() {
  const files = new Map();
  for (const data of filesBelow(objects, '.gcda')) {
    const gcov = process.env.GCOV ?? 'gcov';
    const result = spawnSync(gcov, ['--json-format', '--stdout', data], {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 256 << 20,
    });
    if (result.error !== undefined || result.status !== 0) throw new Error(`gcov: ${result.stderr ?? result.error}`);
    for (const text of result.stdout.split('\n').filter((line) => line !== '')) {
      for (const { file, lines } of JSON.parse(text).files) {
        if (!file.startsWith('native/')) continue;
        const counts = files.get(file) ?? new Map();
        for (const line of lines) {
          counts.set(line.line_number, (counts.get(line.line_number) ?? 0) + line.count);
        }
        files.set(file, counts);
      }
    }
  }
  return files;
}

function row(name, counts) {
  const executed = counts.filter((count) => count > 0).length;
  const share = counts.length === 0 ? '' : `${((100 * executed) / counts.length).toFixed(1)} %`;
  process.stdout.write(`${name.padEnd(44)} ${share.padStart(8)}  ${executed} of ${counts.length} lines\n`);
}

function printNative() {
  const files = [...nativeCounts()].sort(([a], [b]) => (a < b ? -1 : 1));
  const rooms = new Map();
  process.stdout.write('\nline coverage of native/\n');
  for (const [file, lines] of files) {
    row(file, [...lines.values()]);
    const room = dirname(file);
    rooms.set(room, [...(rooms.get(room) ?? []), ...lines.values()]);
  }
  for (const [room, lines] of rooms) row(`all of ${room}`, lines);
}

const built = runNode(['scripts/build.mjs']);
for (const data of filesBelow(objects, '.gcda')) rmSync(join(root, data));
const native = runNode(['scripts/native.mjs', 'test', '--san', 'cov']);
printNative();
const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs');
const typescript = runNode([vitest, 'run', '--coverage']);
process.exitCode = built && native && typescript ? 0 : 1;

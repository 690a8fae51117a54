// `npm run coverage`: line coverage of native/ (gcov over the native tests) and of src/ (vitest, with the worker
// threads and helper processes that the tests start). Prints each file, each room, and the parts of the system that
// lose data when they are wrong; ends with 1 when one of those is below its floor. Numbers come from this run only.
//   --native | --ts    one half only; the floors are then not judged
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { filesBelow, root } from './sources.mjs';
import { linesRun } from './v8-lines.mjs';

const require = createRequire(import.meta.url);
const objects = 'build-native/cov';
const raw = 'coverage/raw';

/** Floors in percent, a little below what is reached. native/napi has no native tests and is not counted. */
const parts = [
  {
    name: 'recovery',
    floor: 93,
    files:
      /^native\/(log\/(recovery|recovery_tail|frame_reader|segment)|engine\/(recovery|generation|offline\w*))\.cc$/,
  },
  {
    name: 'start-up, native',
    floor: 94,
    files: /^native\/(engine\/(registry|directory|current|manifest|identity|state_file)|io\/posix_lock)\.cc$/,
  },
  {
    name: 'start-up, TypeScript',
    floor: 94,
    files: /^src\/(open|node|options|binding\/load)\.ts$/,
  },
  {
    name: 'replication, native',
    floor: 93,
    files: /^native\/(engine\/(replica_stream|received|terms|generation_builder)|ring\/\w+|snapshot\/\w+)\.cc$/,
  },
  {
    name: 'replication, TypeScript',
    floor: 92,
    files: /^src\/(replication|wire|ring|workers)\/.*\.ts$/,
  },
];

function runNode(args, env = {}) {
  const result = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
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

/** The same of src/: statements by vitest, and on top the lines that other threads and processes ran. */
function sourceCounts() {
  const files = new Map();
  const elsewhere = linesRun(raw);
  const report = JSON.parse(readFileSync(join(root, 'coverage/coverage-final.json'), 'utf8'));
  for (const [path, { statementMap, s }] of Object.entries(report)) {
    const file = relative(root, path);
    const counts = new Map();
    for (const [id, { start }] of Object.entries(statementMap)) {
      counts.set(start.line, (counts.get(start.line) ?? 0) + s[id]);
    }
    for (const line of elsewhere.get(file) ?? []) if (counts.has(line)) counts.set(line, counts.get(line) + 1);
    if (counts.size > 0) files.set(file, counts);
  }
  return files;
}

function share(counts) {
  return counts.length === 0 ? 0 : (100 * counts.filter((count) => count > 0).length) / counts.length;
}

function row(name, counts, remark = '') {
  const executed = counts.filter((count) => count > 0).length;
  const percent = `${share(counts).toFixed(1)} %`;
  process.stdout.write(`${name.padEnd(48)} ${percent.padStart(8)}  ${executed} of ${counts.length} lines${remark}\n`);
}

function print(title, files) {
  const rooms = new Map();
  process.stdout.write(`\nline coverage of ${title}\n`);
  for (const [file, lines] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    row(file, [...lines.values()]);
    const room = dirname(file);
    rooms.set(room, [...(rooms.get(room) ?? []), ...lines.values()]);
  }
  for (const [room, lines] of rooms) row(`all of ${room}`, lines);
}

/** False if a part is below its floor. */
function judge(files) {
  let ok = true;
  process.stdout.write('\nparts that lose data when they are wrong\n');
  for (const { name, floor, files: wanted } of parts) {
    const lines = [...files].filter(([file]) => wanted.test(file)).flatMap(([, counts]) => [...counts.values()]);
    const isLow = share(lines) < floor;
    ok &&= !isLow;
    row(name, lines, isLow ? `  BELOW THE FLOOR of ${floor} %` : `  (floor ${floor} %)`);
  }
  return ok;
}

function coverNative() {
  for (const data of filesBelow(objects, '.gcda')) rmSync(join(root, data));
  const ok = runNode(['scripts/native.mjs', 'test', '--san', 'cov']);
  const files = nativeCounts();
  print('native/', files);
  return { ok, files };
}

function coverSources() {
  rmSync(join(root, raw), { recursive: true, force: true });
  const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs');
  const reporters = ['--coverage.reporter=json', '--coverage.clean=false'];
  const ok = runNode([vitest, 'run', '--coverage', ...reporters], { NODE_V8_COVERAGE: join(root, raw) });
  const files = sourceCounts();
  print('src/', files);
  return { ok, files };
}

const only = process.argv[2];
if (only !== undefined && only !== '--native' && only !== '--ts') {
  process.stderr.write('Try: node scripts/coverage.mjs [--native | --ts]\n');
  process.exit(2);
}
const built = runNode(['scripts/build.mjs']);
const halves = [];
if (only !== '--ts') halves.push(coverNative());
if (only !== '--native') halves.push(coverSources());
const reached = only !== undefined || judge(new Map(halves.flatMap(({ files }) => [...files])));
process.exitCode = built && reached && halves.every(({ ok }) => ok) ? 0 : 1;

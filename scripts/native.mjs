// Builds and runs the native unit tests without Node: one executable per room, linked with the rooms it uses.
//   node scripts/native.mjs test  [room ...] [--san asan|ubsan|tsan|cov] [--define NAME[=VALUE] ...] [--filter text]
//   node scripts/native.mjs build [room ...] [same options]      builds only and prints the executables' paths
// Objects live in build-native/<san or plain>[-defines]/; make and depfiles keep it incremental.
// A room that does not compile counts as one failure and never hides the results of the other rooms.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from './lock.mjs';
import { filesBelow, nativeSources, rooms, root } from './sources.mjs';

const sanitizers = {
  plain: { flags: ['-O2'], env: {} },
  asan: {
    flags: ['-O1', '-fsanitize=address', '-fno-omit-frame-pointer', '-Wno-error=maybe-uninitialized'],
    env: { ASAN_OPTIONS: 'detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1' },
  },
  ubsan: {
    flags: ['-O1', '-fsanitize=undefined', '-fno-sanitize=vptr', '-fno-sanitize-recover=all', '-Wno-error'],
    env: { UBSAN_OPTIONS: 'print_stacktrace=1' },
  },
  cov: { flags: ['-O0', '--coverage', '-fprofile-update=atomic'], env: {} },
  tsan: {
    flags: ['-O1', '-fsanitize=thread', '-fno-omit-frame-pointer', '-Wno-error=maybe-uninitialized', '-Wno-error=tsan'],
    env: { TSAN_OPTIONS: 'halt_on_error=1:second_deadlock_stack=1' },
  },
};
const warnings = ['-Wall', '-Wextra', '-Wpedantic', '-Wshadow', '-Wconversion', '-Werror'];
const language = ['-std=c++20', '-fno-exceptions', '-fno-rtti', '-fvisibility=hidden', '-pthread', '-g'];

function usage(message) {
  process.stderr.write(`${message}\nTry: node scripts/native.mjs test [room ...] [--san asan|ubsan|tsan|cov]`);
  process.stderr.write(' [--define NAME] [--filter text] [--verbose]\n');
  process.exit(2);
}

function parseOptions(argv) {
  const options = { verb: argv[0], rooms: [], san: 'plain', defines: [], filter: '', verbose: false };
  if (options.verb !== 'test' && options.verb !== 'build') usage(`unknown command: ${options.verb ?? '(none)'}`);
  for (let i = 1; i < argv.length; i++) {
    const value = () => argv[++i] ?? usage(`${argv[i - 1]} needs a value`);
    if (argv[i] === '--san') options.san = value();
    else if (argv[i] === '--define') options.defines.push(value());
    else if (argv[i] === '--filter') options.filter = value();
    else if (argv[i] === '--verbose') options.verbose = true;
    else if (rooms.includes(argv[i])) options.rooms.push(argv[i]);
    else usage(`unknown room or option: ${argv[i]}`);
  }
  if (sanitizers[options.san] === undefined) usage(`unknown sanitizer: ${options.san}`);
  if (options.rooms.length === 0) options.rooms = rooms.filter((room) => testSources(room).length > 0);
  return options;
}

const testSources = (room) => filesBelow(`test/native/${room}`, '.cc');

/** The rooms whose code a room's tests need, found from the includes: an unused half-written room is left out. */
function linkedRooms(room) {
  const linked = new Set();
  const visit = (name, folders) => {
    linked.add(name);
    const files = folders.flatMap((folder) => [...filesBelow(folder, '.cc'), ...filesBelow(folder, '.h')]);
    for (const file of files) {
      for (const [, other] of readFileSync(join(root, file), 'utf8').matchAll(/^\s*#\s*include\s+"([a-z]+)\//gm)) {
        if (rooms.includes(other) && !linked.has(other)) visit(other, [`native/${other}`]);
      }
    }
  };
  visit(room, [`native/${room}`, `test/native/${room}`]);
  return rooms.filter((name) => linked.has(name));
}

function outputDir(options) {
  const suffix = options.defines.map((define) => `-${define.replace(/[^A-Za-z0-9_]/g, '_')}`).join('');
  return `build-native/${options.san}${suffix}`;
}

/** One Makefile for all rooms; `archive` order puts users before what they use, as the linker wants it. */
function makefile(options, out) {
  const cxx = process.env.CXX ?? 'g++';
  const defines = options.defines.map((define) => `-D${define}`);
  const flags = [...language, ...warnings, ...sanitizers[options.san].flags, ...defines, '-Inative', '-Itest/native'];
  const object = (source) => `${out}/${source.replace(/\.cc$/, '.o')}`;
  const lines = [`CXX := ${cxx}`, `CXXFLAGS := ${flags.join(' ')}`, '.DELETE_ON_ERROR:', ''];
  lines.push(`${out}/%.o: %.cc ${out}/flags`, '\t@mkdir -p $(@D)', '\t@$(CXX) $(CXXFLAGS) -MMD -MP -c $< -o $@', '');
  const objects = new Set();
  for (const room of rooms) {
    if (testSources(room).length === 0) continue;
    const native = linkedRooms(room).flatMap((name) => nativeSources(name));
    const needed = [...testSources(room), 'test/native/main.cc', ...native].map(object);
    for (const path of needed) objects.add(path);
    lines.push(`${out}/${room}_test: ${needed.join(' ')} ${out}/${room}.list`);
    lines.push(`\t@$(CXX) $(CXXFLAGS) $(filter %.o,$^) -o $@`, '');
    writeIfChanged(join(root, out, `${room}.list`), needed.join('\n'));
  }
  writeIfChanged(join(root, out, 'flags'), [cxx, ...flags].join(' '));
  lines.push(`-include ${[...objects].map((path) => path.replace(/\.o$/, '.d')).join(' ')}`, '');
  return lines.join('\n');
}

function writeIfChanged(path, text) {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  writeFileSync(path, text);
}

function compile(options, out) {
  mkdirSync(join(root, out), { recursive: true });
  return withLock(join(root, out, '.lock'), () => {
    writeFileSync(join(root, out, 'Makefile'), makefile(options, out));
    const built = new Map();
    const make = (jobs, goals) =>
      spawnSync('make', ['-k', '-s', `-j${jobs}`, '-f', `${out}/Makefile`, ...goals], {
        cwd: root,
        stdio: ['ignore', 2, 2],
        env: { ...process.env, MAKEFLAGS: '', LC_ALL: 'C' },
      });
    const goals = options.rooms.filter((room) => testSources(room).length > 0).map((room) => `${out}/${room}_test`);
    if (goals.length === 0) return built;
    const all = make(2, goals);
    if (all.error !== undefined) throw all.error;
    for (const goal of goals) {
      const room = goal.slice(out.length + 1, -'_test'.length);
      const upToDate =
        all.status === 0 || spawnSync('make', ['-q', '-f', `${out}/Makefile`, goal], { cwd: root }).status === 0;
      built.set(room, upToDate);
    }
    return built;
  });
}

/** Splits a test executable's output into what a person wants to see and the counts. */
function readOutput(output, result) {
  const shown = [];
  let last = '(no test)';
  let ran = 0;
  let ok = 0;
  let total;
  for (const line of output.split('\n')) {
    const counts = line.match(/^(\d+) passed, (\d+) failed$/);
    if (line.startsWith('[ RUN  ] ')) last = line.slice(9);
    else if (line.startsWith('[ OK   ] ')) ok++;
    else if (counts !== null) total = { passed: Number(counts[1]), failed: Number(counts[2]) };
    else if (line !== '') shown.push(line);
    if (line.startsWith('[ RUN  ] ')) ran++;
  }
  const ended = result.signal === null && (result.status === 0 || result.status === 1) && total !== undefined;
  if (ended && (result.status === 0) === (total.failed === 0)) return { shown, ...total };
  shown.push(`died in "${last}" (${result.signal ?? `exit code ${result.status}`})`);
  return { shown, passed: ok, failed: Math.max(1, ran - ok) };
}

function runRoom(room, options, out) {
  const seconds = Number(process.env.GAPLESS_NATIVE_TIMEOUT_S ?? (options.san === 'plain' ? 600 : 1800));
  const result = spawnSync(
    join(root, out, `${room}_test`),
    ['--trace', ...(options.filter === '' ? [] : ['--filter', options.filter])],
    {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: seconds * 1000,
      killSignal: 'SIGKILL',
      maxBuffer: 256 << 20,
      env: { ...process.env, ...sanitizers[options.san].env },
    },
  );
  const counts = readOutput(`${result.stdout ?? ''}\n${result.stderr ?? ''}`, result);
  if (options.verbose) process.stderr.write(result.stdout ?? '');
  for (const line of counts.shown) process.stderr.write(`${line}\n`);
  return counts;
}

const options = parseOptions(process.argv.slice(2));
const out = outputDir(options);
const built = compile(options, out);
const total = { passed: 0, failed: 0 };
for (const room of options.rooms) {
  if (!built.has(room)) {
    process.stderr.write(`${room}: no tests\n`);
    continue;
  }
  if (options.verb === 'build') {
    process.stdout.write(`${out}/${room}_test\n`);
    total.failed += built.get(room) ? 0 : 1;
    continue;
  }
  const counts = built.get(room) ? runRoom(room, options, out) : { passed: 0, failed: 1 };
  const remark = built.get(room) ? '' : ' (does not compile)';
  total.passed += counts.passed;
  total.failed += counts.failed;
  process.stdout.write(`${room}: ${counts.passed} passed, ${counts.failed} failed${remark}\n`);
}
if (options.verb === 'test')
  process.stdout.write(`native (${options.san}): ${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed === 0 ? 0 : 1;

// `npm run fuzz`: builds the native parsers with ASan, UBSan and place coverage, and fuzzes each target of test/fuzz.
//   node scripts/fuzz.mjs [target ...] [--seconds N] [--seed N] [--build] [--plain]
// A committed input below test/fuzz/corpus/<target>/ is replayed first: each once found a bug. An input that fails
// is kept in build-native/fuzz/. With clang++ on the machine its libFuzzer runs instead of our own mutator.
// --plain: no sanitizers and no coverage, linked with the objects of the native tests: quick, for each test run.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from './lock.mjs';
import { filesBelow, nativeSources, root } from './sources.mjs';

const isPlain = process.argv.includes('--plain');
const out = isPlain ? 'build-native/fuzz-plain' : 'build-native/fuzz';
const rooms = ['base', 'io', 'log', 'table', 'snapshot'];
// Of the engine only codecs and the judge of commits: nothing here opens a store.
const engineFiles = ['current', 'identity', 'manifest', 'state_file', 'write_request'];
const flags = [
  ...['-std=c++20', '-fno-exceptions', '-fno-rtti', '-pthread', '-g', '-O1', '-Inative', '-Itest/fuzz'],
  ...['-fsanitize=address,undefined', '-fno-sanitize=vptr', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'],
];
const hasClang =
  !isPlain && process.env.GAPLESS_FUZZ_OWN === undefined && spawnSync('clang++', ['--version']).status === 0;
const compiler = hasClang ? 'clang++' : (process.env.CXX ?? 'g++');
const coverage = hasClang ? '-fsanitize=fuzzer-no-link -DGAPLESS_LIBFUZZER' : '-fsanitize-coverage=trace-pc';

function parseOptions(argv) {
  const options = { targets: [], seconds: 30, seed: Math.floor(Math.random() * 2 ** 31), buildOnly: false };
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--seconds') options.seconds = Number(argv[++i]);
    else if (argv[i] === '--seed') options.seed = Number(argv[++i]);
    else if (argv[i] === '--build') options.buildOnly = true;
    else if (argv[i] === '--plain') continue;
    else options.targets.push(argv[i]);
  }
  return options;
}

/** The flags and objects of the plain native tests, which are built first. */
function plainMakefile() {
  const native = spawnSync(process.execPath, ['scripts/native.mjs', 'build', 'engine'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (native.status !== 0) return undefined;
  const plain = 'build-native/plain';
  const objects = readFileSync(join(root, plain, 'engine.list'), 'utf8').split('\n');
  const words = readFileSync(join(root, plain, 'flags'), 'utf8');
  const sources = filesBelow('test/fuzz', '.cc').map((path) => `${out}/${path.replace(/\.cc$/, '.o')}`);
  return [
    `COMPILE := ${words} -Itest/fuzz`,
    '.DELETE_ON_ERROR:',
    `${out}/fuzz: ${[...sources, ...objects.filter((path) => path.startsWith(`${plain}/native/`))].join(' ')}`,
    '\t@$(COMPILE) $^ -o $@',
    `${out}/%.o: %.cc ${out}/flags`,
    '\t@mkdir -p $(@D) && $(COMPILE) -MMD -MP -c $< -o $@',
    `-include ${sources.map((path) => path.replace(/\.o$/, '.d')).join(' ')}`,
    '',
  ].join('\n');
}

function makefile() {
  const sources = [
    ...rooms.flatMap((room) => nativeSources(room)),
    ...engineFiles.map((name) => `native/engine/${name}.cc`),
    ...filesBelow('test/fuzz', '.cc'),
  ];
  const object = (source) => `${out}/${source.replace(/\.cc$/, '.o')}`;
  const objects = sources.map(object);
  const driver = object('test/fuzz/driver.cc');
  const link = hasClang ? '-fsanitize=fuzzer' : '';
  return [
    `FLAGS := ${flags.join(' ')}`,
    '.DELETE_ON_ERROR:',
    `${out}/fuzz: ${objects.join(' ')}`,
    `\t@${compiler} $(FLAGS) ${link} $^ -o $@`,
    `${driver}: test/fuzz/driver.cc ${out}/flags`,
    `\t@mkdir -p $(@D) && ${compiler} $(FLAGS) ${hasClang ? '-DGAPLESS_LIBFUZZER' : ''} -MMD -MP -c $< -o $@`,
    `${out}/%.o: %.cc ${out}/flags`,
    `\t@mkdir -p $(@D) && ${compiler} $(FLAGS) ${coverage} -MMD -MP -c $< -o $@`,
    `-include ${objects.map((path) => path.replace(/\.o$/, '.d')).join(' ')}`,
    '',
  ].join('\n');
}

function build() {
  mkdirSync(join(root, out), { recursive: true });
  return withLock(join(root, out, '.lock'), () => {
    const text = isPlain ? plainMakefile() : makefile();
    if (text === undefined) return false;
    const stamp = join(root, out, 'flags');
    const words = [compiler, coverage, ...flags].join(' ');
    let known = '';
    try {
      known = readFileSync(stamp, 'utf8');
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
    if (known !== words) writeFileSync(stamp, words);
    writeFileSync(join(root, out, 'Makefile'), text);
    const made = spawnSync('make', ['-s', '-j2', '-f', `${out}/Makefile`, `${out}/fuzz`], {
      cwd: root,
      stdio: ['ignore', 2, 2],
      env: { ...process.env, MAKEFLAGS: '', LC_ALL: 'C' },
    });
    return made.status === 0;
  });
}

function targetsOf() {
  const text = filesBelow('test/fuzz', '.cc')
    .map((path) => readFileSync(join(root, path), 'utf8'))
    .join('\n');
  return [...text.matchAll(/Registration k\w+\(\{"(\w+)"/g)].map(([, name]) => name).sort();
}

function runTarget(target, options) {
  const corpus = filesBelow(`test/fuzz/corpus/${target}`, '');
  const artifact = `${out}/failed-${target}`;
  const seeds = join(root, out, 'seeds', target);
  rmSync(seeds, { recursive: true, force: true });
  mkdirSync(seeds, { recursive: true });
  for (const [index, path] of corpus.entries()) copyFileSync(join(root, path), join(seeds, `corpus-${index}`));
  const args = hasClang
    ? [`-max_total_time=${options.seconds}`, `-seed=${options.seed}`, `-artifact_prefix=${artifact}-`, seeds]
    : [target, '--seconds', String(options.seconds), '--seed', String(options.seed), '--artifact', artifact, ...corpus];
  const result = spawnSync(join(root, out, 'fuzz'), args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 << 20,
    env: {
      ...process.env,
      GAPLESS_FUZZ_TARGET: target,
      GAPLESS_FUZZ_SEEDS: seeds,
      ASAN_OPTIONS:
        'detect_leaks=1:allocator_may_return_null=0:max_allocation_size_mb=512:handle_abort=0:handle_segv=0',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
  });
  const ok = result.status === 0;
  const last = `${result.stdout}${hasClang ? result.stderr : ''}`.trim().split('\n').at(-1) ?? '';
  process.stdout.write(
    ok
      ? `${hasClang ? `${target}: ` : ''}${last} ok\n`
      : `${target}: FAILED, seed ${options.seed}, input in ${artifact}\n`,
  );
  if (!ok) process.stderr.write(`${result.stderr}\n`);
  return ok;
}

const options = parseOptions(process.argv.slice(2));
const known = targetsOf();
const unknown = options.targets.filter((name) => !known.includes(name));
if (unknown.length > 0 || !(options.seconds >= 0) || !Number.isInteger(options.seed)) {
  process.stderr.write(`usage: node scripts/fuzz.mjs [${known.join('|')}] [--seconds N] [--seed N] [--build]\n`);
  process.exit(2);
}
if (!build()) {
  process.stderr.write('the fuzz targets do not compile\n');
  process.exit(1);
}
if (!options.buildOnly) {
  const chosen = options.targets.length > 0 ? options.targets : known;
  const failed = chosen.filter((target) => !runTarget(target, options));
  process.stdout.write(`fuzz: ${chosen.length - failed.length} passed, ${failed.length} failed\n`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}

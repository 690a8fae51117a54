// `npm run test:seeded`: proves that the native suites catch bugs. Each `GAPLESS_BUG_<NAME>` in native/ switches one
// bug on, in test builds only; for each of them the suites are built with it and one of them must fail.
//   node scripts/seeded-bugs.mjs [NAME ...] [--list]
// Only the files that name the bug are compiled again; everything else is linked from the plain build. Prints which
// test caught which bug; exit code 1 if a bug was not caught.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { filesBelow, rooms, root } from './sources.mjs';

const plain = 'build-native/plain';
const secondsPerSuite = Number(process.env.GAPLESS_SEEDED_TIMEOUT_S ?? 240);

/** Bug name -> the source files that hold it. A bug in a header would need more than one file compiled again. */
function seededBugs() {
  const bugs = new Map();
  for (const path of [...filesBelow('native', '.cc'), ...filesBelow('native', '.h')]) {
    const text = readFileSync(join(root, path), 'utf8');
    for (const name of new Set([...text.matchAll(/\bGAPLESS_BUG_([A-Z0-9_]+)\b/g)].map((match) => match[1]))) {
      if (path.endsWith('.h')) throw new Error(`${path}: a seeded bug belongs into a .cc file`);
      bugs.set(name, [...(bugs.get(name) ?? []), path]);
    }
  }
  return new Map([...bugs].sort());
}

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  if (result.error !== undefined) throw result.error;
  return result;
}

const builtRooms = new Set();

/** Brings the plain test executable of a room, and what it links, up to date: once a run, when it is first needed. */
function buildPlain(room) {
  if (builtRooms.has(room)) return;
  const result = spawnSync(process.execPath, ['scripts/native.mjs', 'build', room], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (result.status !== 0) throw new Error(`the native suite of ${room} does not compile`);
  builtRooms.add(room);
}

/** The object files of a room's plain test executable. */
const objectsOf = (room) => readFileSync(join(root, plain, `${room}.list`), 'utf8').split('\n');

function compileBug(name, sources) {
  const [cxx, ...flags] = readFileSync(join(root, plain, 'flags'), 'utf8').split(' ');
  const out = `build-native/bugs/${name}`;
  mkdirSync(join(root, out), { recursive: true });
  const replaced = new Map();
  for (const source of sources) {
    const object = `${out}/${basename(source, '.cc')}.o`;
    const quiet = [
      '-Wno-unused-function',
      '-Wno-unused-variable',
      '-Wno-unused-parameter',
      '-Wno-unused-lambda-capture',
    ];
    const made = run(cxx, [...flags, ...quiet, '-Wno-error', `-DGAPLESS_BUG_${name}`, '-c', source, '-o', object]);
    if (made.status !== 0) throw new Error(`GAPLESS_BUG_${name} does not compile:\n${made.stderr}`);
    replaced.set(`${plain}/${source.replace(/\.cc$/, '.o')}`, object);
  }
  return { out, replaced, cxx, flags };
}

/** The room's test executable with the bug, or null if the room does not use the code. */
function link(room, { out, replaced, cxx, flags }) {
  if (!objectsOf(room).some((object) => replaced.has(object))) return null;
  const objects = objectsOf(room).map((object) => replaced.get(object) ?? object);
  const program = `${out}/${room}_test`;
  const made = run(cxx, [...flags, ...objects, '-o', program]);
  if (made.status !== 0) throw new Error(`${program}: ${made.stderr}`);
  return program;
}

/** Runs until the first test fails; resolves with its name, or with null if the suite passes. */
function firstFailure(program) {
  return new Promise((resolve, reject) => {
    const child = spawn(join(root, program), ['--trace'], { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] });
    let running = '(start)';
    let found;
    let rest = '';
    const end = (text) => {
      if (found !== undefined) return;
      found = text;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => end(`${running} (hangs)`), secondsPerSuite * 1000);
    child.stdout.setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith('[ RUN  ] ')) running = line.slice(9);
        else if (line.startsWith('[ FAIL ] ')) end(line.slice(9));
      }
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve(found ?? (code === 0 ? null : `${running} (${signal ?? `exit code ${code}`})`));
    });
  });
}

/** The rooms that have tests, from the lowest one that holds a file of this bug upwards. */
function suitesFor(sources) {
  const lowest = Math.min(...sources.map((source) => rooms.indexOf(source.split('/')[1])));
  return rooms.slice(lowest).filter((room) => filesBelow(`test/native/${room}`, '.cc').length > 0);
}

async function whoCatches(name, sources) {
  let build;
  for (const room of suitesFor(sources)) {
    buildPlain(room);
    build ??= compileBug(name, sources);
    const program = link(room, build);
    const test = program === null ? null : await firstFailure(program);
    if (test !== null) return `${room}: ${test}`;
  }
  return null;
}

const bugs = seededBugs();
const wanted = process.argv.slice(2);
if (wanted.includes('--list')) {
  process.stdout.write(`${[...bugs.keys()].join('\n')}\n`);
  process.exit(0);
}
const unknown = wanted.filter((name) => !bugs.has(name));
if (unknown.length > 0) {
  process.stderr.write(`unknown: ${unknown.join(', ')}\nusage: node scripts/seeded-bugs.mjs [NAME ...] [--list]\n`);
  process.exit(2);
}
const chosen = wanted.length > 0 ? wanted : [...bugs.keys()];
let caught = 0;
for (const name of chosen) {
  const test = await whoCatches(name, bugs.get(name));
  if (test !== null) caught += 1;
  process.stdout.write(`${name.padEnd(28)} ${test === null ? 'NOT CAUGHT' : `caught by ${test}`}\n`);
}
process.stdout.write(`seeded bugs: ${caught} caught, ${chosen.length - caught} not caught\n`);
process.exitCode = caught === chosen.length ? 0 : 1;

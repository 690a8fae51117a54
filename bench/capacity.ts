/**
 * `npm run bench:capacity -- [--keys N] [--cache BYTES] [--memtable BYTES] [--rounds N] [--json]`
 *
 * A store that is larger than its memory: fills it, opens it anew, overwrites everything in random order, and waits
 * until merging rests. Each step runs in a process of its own, whose memory is sampled ten times a second and compared
 * with that of a process that only sleeps. Exit code 1 if a bound of the design does not hold.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { open } from 'gaplessdb';
import { keyAt, valueAt, values } from './data.js';
import { describeEnvironment, makeDirectory } from './environment.js';

const mib = 1024 * 1024;
const slackBytes = 64 * mib;
const openMsMax = 50;
const spaceMax = 1.6;
const idlePollMs = 500;
const idleMsMax = 30 * 60 * 1000;

interface Step {
  readonly name: 'bare' | 'fill' | 'open' | 'overwrite';
  readonly dir: string;
  readonly keys: number;
  readonly rounds: number;
  readonly cacheBytes: number;
  readonly memtableBytes: number;
}

interface Outcome {
  readonly peakRss: number;
  readonly seconds: number;
  readonly figures: Figures;
}

interface Figures {
  openMs?: number;
  putsPerSecond?: number;
  spaceAmplification?: number;
  writeAmplification?: number;
  stalls?: number;
  stallMs?: number;
  runs?: number;
}

/** Peak resident memory in bytes, as the kernel kept it. */
function sampler(): () => number {
  let peak = process.memoryUsage.rss();
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 100);
  return () => {
    clearInterval(timer);
    return Math.max(peak, process.memoryUsage.rss());
  };
}

type Store = Awaited<ReturnType<typeof open>>;

/** Puts every key once, 1000 a batch, a few batches in flight; `seed` decides the order. */
async function putAll(db: Store, keys: number, seed: number): Promise<void> {
  const pool = values();
  const inFlight: Promise<unknown>[] = [];
  // A step that shares no factor with the number of keys visits each once.
  let stride = Math.floor(keys * 0.618) | 1;
  while (gcd(stride, keys) !== 1) stride += 2;
  for (let done = 0, at = seed % keys; done < keys; ) {
    const batch = db.batch();
    for (const end = Math.min(keys, done + 1000); done < end; done += 1) {
      batch.put(keyAt(at), valueAt(pool, at + seed));
      at = (at + stride) % keys;
    }
    inFlight.push(batch.commit());
    if (inFlight.length === 8) await inFlight.shift();
  }
  await Promise.all(inFlight);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** Until nothing was flushed or merged for two seconds. */
async function rest(db: Store): Promise<void> {
  let last = '';
  for (let waited = 0, quiet = 0; quiet < 2000; waited += idlePollMs) {
    if (waited > idleMsMax) throw new Error('merging does not come to rest');
    await new Promise((resolve) => setTimeout(resolve, idlePollMs));
    const { background } = db.stats();
    const now = `${background.flushWrittenBytes} ${background.mergeWrittenBytes} ${background.mergeReadBytes}`;
    quiet = now === last ? quiet + idlePollMs : 0;
    last = now;
  }
}

async function runStep(step: Step): Promise<Figures> {
  const { dir, keys, cacheBytes, memtableBytes } = step;
  if (step.name === 'bare') {
    await new Promise((resolve) => setTimeout(resolve, 500));
    return {};
  }
  const began = performance.now();
  const db = await open(dir, { durability: 'os', cacheBytes, memtableBytes });
  const openMs = performance.now() - began;
  const figures: Figures = { openMs };
  if (step.name === 'open') {
    for (let index = 0; index < 1000; index += 1) {
      if (db.get(keyAt((index * 7919) % keys)) === undefined) throw new Error('a key is missing');
    }
  } else {
    const rounds = step.name === 'fill' ? 1 : step.rounds;
    const started = performance.now();
    for (let round = 0; round < rounds; round += 1) await putAll(db, keys, round * 31 + 1);
    figures.putsPerSecond = (rounds * keys * 1000) / (performance.now() - started);
    await rest(db);
    const stats = db.stats();
    figures.spaceAmplification = stats.runs.bytes / (keys * (16 + 100));
    figures.writeAmplification = stats.writeAmplification ?? 0;
    figures.stalls = stats.stalls.count;
    figures.stallMs = stats.stalls.ms;
    figures.runs = stats.runs.count;
  }
  await db.close();
  return figures;
}

async function child(step: Step): Promise<void> {
  const peak = sampler();
  const began = performance.now();
  const figures = await runStep(step);
  const outcome: Outcome = { peakRss: peak(), seconds: (performance.now() - began) / 1000, figures };
  process.send?.(outcome);
  process.disconnect?.();
}

async function inProcess(step: Step): Promise<Outcome> {
  process.stderr.write(`${step.name} `);
  const running = fork(fileURLToPath(import.meta.url), [JSON.stringify(step)], { serialization: 'advanced' });
  let outcome: Outcome | undefined;
  running.on('message', (message) => {
    outcome = message as Outcome;
  });
  const [code, signal] = await once(running, 'exit');
  if (code !== 0 || outcome === undefined) throw new Error(`${step.name} ended with ${code ?? signal}`);
  process.stderr.write(`${outcome.seconds.toFixed(1)} s\n`);
  return outcome;
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      capacity: { type: 'boolean' },
      keys: { type: 'string', default: '1000000' },
      cache: { type: 'string', default: String(64 * mib) },
      memtable: { type: 'string', default: String(64 * mib) },
      rounds: { type: 'string', default: '3' },
      json: { type: 'boolean', default: false },
    },
  });
  const dir = makeDirectory();
  const environment = describeEnvironment(dir, loadavg()[0] ?? 0);
  const common = {
    dir,
    keys: Number(flags.keys),
    rounds: Number(flags.rounds),
    cacheBytes: Number(flags.cache),
    memtableBytes: Number(flags.memtable),
  };
  try {
    const bare = await inProcess({ name: 'bare', ...common });
    const bound = bare.peakRss + common.cacheBytes + common.memtableBytes + slackBytes;
    const steps: Record<string, Outcome> = {};
    for (const name of ['fill', 'open', 'overwrite'] as const) steps[name] = await inProcess({ name, ...common });
    const missed: string[] = [];
    for (const [name, { peakRss, figures }] of Object.entries(steps)) {
      if (peakRss > bound) missed.push(`${name}: ${mib1(peakRss)} MiB of memory, at most ${mib1(bound)}`);
      if ((figures.openMs ?? 0) > openMsMax && name !== 'fill') missed.push(`${name}: open ${figures.openMs} ms`);
      if ((figures.spaceAmplification ?? 0) > spaceMax) missed.push(`${name}: space ${figures.spaceAmplification}`);
    }
    const report = { environment, keys: common.keys, bareRss: bare.peakRss, boundRss: bound, steps, missed };
    process.stdout.write(flags.json ? `${JSON.stringify(report)}\n` : text(report));
    if (missed.length > 0) process.exitCode = 1;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function mib1(bytes: number): string {
  return (bytes / mib).toFixed(1);
}

interface Report {
  readonly environment: object;
  readonly keys: number;
  readonly bareRss: number;
  readonly boundRss: number;
  readonly steps: Readonly<Record<string, Outcome>>;
  readonly missed: readonly string[];
}

function text(report: Report): string {
  const lines = [
    JSON.stringify(report.environment),
    `${report.keys} keys of 16 B with 100 B; bare ${mib1(report.bareRss)} MiB, bound ${mib1(report.boundRss)} MiB`,
  ];
  for (const [name, { peakRss, seconds, figures }] of Object.entries(report.steps)) {
    const shown = Object.entries(figures).map(([figure, value]) => `${figure} ${Number((value as number).toFixed(2))}`);
    lines.push(`${name}: ${seconds.toFixed(1)} s, peak ${mib1(peakRss)} MiB, ${shown.join(', ')}`);
  }
  lines.push(report.missed.length === 0 ? 'every bound holds' : `missed: ${report.missed.join('; ')}`);
  return `${lines.join('\n')}\n`;
}

const [argument] = process.argv.slice(2);
if (process.send !== undefined && argument !== undefined) await child(JSON.parse(argument) as Step);
else await main();

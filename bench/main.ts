/**
 * `npm run bench -- [workload ...] [--full] [--trials N] [--json] [--markdown] [--save NAME] [--list]`
 * `npm run bench -- --compare [--full | --huge] [--values 16,100] [--peers lmdb,rocksdb] [--cache SIZE] [...]`
 *
 * Runs each trial of each case in a process of its own, one after the other, and prints one table on stdout; progress
 * goes to stderr. --json and --markdown change the form of the answer, --save also writes bench/results/NAME.json.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type ComparePlan, compare, compareSizes, peerNames } from './compare/compare.js';
import { compareMarkdown, compareTable } from './compare/report.js';
import { describeEnvironment, makeDirectory } from './environment.js';
import { markdown, type Report, type Row, rowsOf, table } from './report.js';
import { type Case, fullSizes, type Outcome, type Sizes, smallSizes, type Workload } from './workload.js';
import { microWorkloads, workloads } from './workloads.js';

const trialPath = fileURLToPath(new URL('./trial.js', import.meta.url));
const results = fileURLToPath(new URL('../../bench/results/', import.meta.url));

async function runTrial(workload: Workload, { name }: Case, sizes: Sizes): Promise<readonly Outcome[]> {
  const dir = makeDirectory();
  try {
    const args = [workload.name, name, JSON.stringify(sizes), dir];
    const child = fork(trialPath, args, { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    let outcomes: readonly Outcome[] | undefined;
    child.on('message', (message) => {
      outcomes = message as readonly Outcome[];
    });
    const [code, signal] = await once(child, 'exit');
    if (code !== 0 || outcomes === undefined) {
      throw new Error(`${workload.name} / ${name} ended with ${code ?? signal} and no answer`);
    }
    return outcomes;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function runAll(
  chosen: readonly Workload[],
  sizes: Sizes,
  trials: number,
): Promise<{ rows: Row[]; ok: boolean }> {
  const rows: Row[] = [];
  let ok = true;
  for (const workload of chosen) {
    for (const each of workload.cases) {
      process.stderr.write(`${workload.name} / ${each.name} `);
      try {
        const outcomes: (readonly Outcome[])[] = [];
        for (let trial = 0; trial < trials; trial += 1) {
          outcomes.push(await runTrial(workload, each, sizes));
          process.stderr.write('.');
        }
        rows.push(...rowsOf(workload.name, each.name, outcomes));
        process.stderr.write('\n');
      } catch (error) {
        // One broken case must not cost the figures of the others; the exit code tells.
        process.stderr.write(` failed: ${error instanceof Error ? error.message : error}\n`);
        ok = false;
      }
    }
  }
  return { rows, ok };
}

function usage(message: string): never {
  process.stderr.write(`${message}\nWorkloads:\n`);
  for (const { name, question } of workloads) process.stderr.write(`  ${name.padEnd(12)} ${question}\n`);
  process.exit(2);
}

function choose(names: readonly string[], isMicro: boolean): readonly Workload[] {
  const wanted = isMicro ? microWorkloads : names;
  for (const name of wanted) {
    if (!workloads.some((workload) => workload.name === name)) usage(`no workload "${name}"`);
  }
  return wanted.length === 0 ? workloads : workloads.filter(({ name }) => wanted.includes(name));
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    full: { type: 'boolean', default: false },
    huge: { type: 'boolean', default: false },
    micro: { type: 'boolean', default: false },
    compare: { type: 'boolean', default: false },
    values: { type: 'string', default: '100,16,1024,65536' },
    peers: { type: 'string', default: peerNames.join(',') },
    cache: { type: 'string', default: '64m' },
    trials: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
    save: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
});

function wholeNumber(text: string, what: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) usage(`${what} must be a whole number of at least 1`);
  return number;
}

const memtableBytes = 64 * 1024 * 1024;

function comparePlan(trials: number): ComparePlan {
  const wanted = values.peers.split(',').filter((name) => name !== '');
  for (const name of wanted) {
    if (!peerNames.includes(name)) usage(`no peer "${name}" (there are ${peerNames.join(', ')})`);
  }
  const cache = /^(\d+)m$/.exec(values.cache)?.[1];
  if (cache === undefined) usage('--cache takes MiB, like 64m');
  return {
    sizes: compareSizes[values.huge ? 'huge' : values.full ? 'full' : 'default'],
    trials,
    valueBytes: values.values.split(',').map((text) => wholeNumber(text, '--values')),
    cacheBytes: Number(cache) * 1024 * 1024,
    memtableBytes,
    peers: wanted,
  };
}

/** What is printed, in all three forms, and whether everything of ours worked. */
interface Answer {
  readonly report: object;
  readonly table: () => string;
  readonly markdown: () => string;
  readonly ok: boolean;
}

async function compareAll(trials: number): Promise<Answer> {
  const plan = comparePlan(trials);
  const result = await compare(plan);
  const report = { environment, plan, seconds: (performance.now() - begun) / 1000, ...result };
  return { report, table: () => compareTable(report), markdown: () => compareMarkdown(report), ok: result.ok };
}

async function ownWorkloads(trials: number): Promise<Answer> {
  const sizes = values.full ? fullSizes : smallSizes;
  const { rows, ok } = await runAll(choose(positionals, values.micro), sizes, trials);
  const report: Report = { environment, sizes, seconds: (performance.now() - begun) / 1000, rows };
  return { report, table: () => table(report), markdown: () => markdown(report), ok };
}

if (values.list) usage('Nothing is run with --list.');
const trials = wholeNumber(values.trials, '--trials');
if (values.save !== undefined && !/^[\w.-]+$/.test(values.save)) usage('--save must be a plain name');
if (values.huge && !values.compare) usage('--huge belongs to --compare');

const load = loadavg()[0] ?? 0;
const begun = performance.now();
const probe = makeDirectory();
const environment = describeEnvironment(probe, load);
rmSync(probe, { recursive: true });
const answer = await (values.compare ? compareAll(trials) : ownWorkloads(trials));
const json = `${JSON.stringify(answer.report, null, 2)}\n`;
process.stdout.write(values.json ? json : values.markdown ? answer.markdown() : answer.table());
if (values.save !== undefined) {
  mkdirSync(results, { recursive: true });
  writeFileSync(new URL(`./${values.save}.json`, `file://${results}`), json);
  writeFileSync(new URL(`./${values.save}.md`, `file://${results}`), answer.markdown());
}
process.exitCode = answer.ok ? 0 : 1;

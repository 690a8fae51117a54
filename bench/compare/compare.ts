/**
 * The comparison: every step of every engine in a process of its own, the engines in turns, so that a machine that
 * changes its speed changes it for all. Each trial begins with another engine. A peer that fails is left out with its
 * reason; a failure of ours is told by `ok`.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { makeDirectory } from '../environment.js';
import { ours, peers } from './engines.js';
import { installFiles, isInstalled, runInstallScript, versionOf } from './peers.js';
import { type CompareRow, rowsOf, type Trials } from './rows.js';
import type { Job, Measure, StepName } from './steps.js';
import type { Engine } from './store.js';

export interface CompareSizes {
  readonly name: 'default' | 'full' | 'huge';
  readonly keys: number;
  /** Keys and values of one data set: larger values mean fewer keys. */
  readonly dataBytesMax: number;
  readonly durableWrites: number;
  readonly readMs: number;
  readonly settleMs: number;
}

const mib = 1024 * 1024;
export const compareSizes: Readonly<Record<CompareSizes['name'], CompareSizes>> = {
  default: {
    name: 'default',
    keys: 100_000,
    dataBytesMax: 128 * mib,
    durableWrites: 300,
    readMs: 300,
    settleMs: 300,
  },
  full: {
    name: 'full',
    keys: 1_000_000,
    dataBytesMax: 1024 * mib,
    durableWrites: 2000,
    readMs: 2000,
    settleMs: 3000,
  },
  huge: {
    name: 'huge',
    keys: 10_000_000,
    dataBytesMax: 2048 * mib,
    durableWrites: 2000,
    readMs: 3000,
    settleMs: 10_000,
  },
};

export interface ComparePlan {
  readonly sizes: CompareSizes;
  readonly trials: number;
  readonly valueBytes: readonly number[];
  readonly cacheBytes: number;
  readonly memtableBytes: number;
  /** Names of the peers that are wanted. */
  readonly peers: readonly string[];
}

export interface CompareResult {
  readonly versions: Readonly<Record<string, string>>;
  readonly leftOut: readonly { readonly engine: string; readonly reason: string }[];
  readonly rows: readonly CompareRow[];
  readonly ok: boolean;
}

export const peerNames: readonly string[] = peers.map(({ name }) => name);
const stepPath = fileURLToPath(new URL('./step-process.js', import.meta.url));

type Left = { engine: string; reason: string }[];

/** Keys of a data set with values of so many bytes. */
export function keysFor({ keys, dataBytesMax }: CompareSizes, valueBytes: number): number {
  return Math.max(1, Math.min(keys, Math.floor(dataBytesMax / (16 + valueBytes))));
}

async function runStep(job: Job): Promise<Measure[]> {
  const child = fork(stepPath, [JSON.stringify(job)], { stdio: ['ignore', 2, 'inherit', 'ipc'] });
  let measures: Measure[] | undefined;
  child.on('message', (message) => {
    measures = message as Measure[];
  });
  const [code, signal] = await once(child, 'exit');
  if (code !== 0 || measures === undefined) throw new Error(`its step "${job.step}" ended with ${code ?? signal}`);
  return measures;
}

async function withDirectory<T>(action: (dir: string) => Promise<T>): Promise<T> {
  const dir = makeDirectory();
  try {
    return await action(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function jobOf(engine: Engine, step: StepName, dir: string, plan: ComparePlan, valueBytes: number): Job {
  const { sizes, cacheBytes, memtableBytes } = plan;
  const { durableWrites, readMs, settleMs } = sizes;
  const settings = { cacheBytes, memtableBytes, valueBytes };
  return {
    engine: engine.name,
    step,
    dir,
    keys: keysFor(sizes, valueBytes),
    durableWrites,
    readMs,
    settleMs,
    settings,
  };
}

/** The peers that are there and work, installed if they were not. */
async function availablePeers(plan: ComparePlan, left: Left): Promise<Engine[]> {
  const wanted = peers.filter(({ name }) => plan.peers.includes(name));
  if (wanted.some(({ packageName }) => !isInstalled(packageName))) installFiles();
  const available: Engine[] = [];
  for (const peer of wanted) {
    const probe = (): Promise<unknown> => withDirectory((dir) => runStep(jobOf(peer, 'probe', dir, plan, 100)));
    try {
      if (!isInstalled(peer.packageName)) throw new Error('its files could not be installed');
      // Most come with a binary that fits; a script is only run where that is not so.
      await probe().catch(() => {
        if (!runInstallScript(peer.packageName)) throw new Error('no binary of it fits, and it could not be compiled');
        return probe();
      });
      available.push(peer);
    } catch (error) {
      leaveOut(left, peer, error);
    }
  }
  return available;
}

function leaveOut(left: Left, { name }: Engine, error: unknown): void {
  const reason = error instanceof Error ? error.message : `${error}`;
  process.stderr.write(`\n${name} is left out: ${reason}\n`);
  left.push({ engine: name, reason });
}

/** One trial of one engine at one size of values. */
async function runTrial(engine: Engine, plan: ComparePlan, valueBytes: number): Promise<Measure[]> {
  const step = (name: StepName, dir: string): Promise<Measure[]> => runStep(jobOf(engine, name, dir, plan, valueBytes));
  const onOne = await withDirectory(async (dir) => [...(await step('load', dir)), ...(await step('reads', dir))]);
  return [...onOne, ...(await withDirectory((dir) => step('sync', dir)))];
}

/** Every engine first once, then the other way round. */
function orderOf<T>(engines: readonly T[], trial: number): T[] {
  const by = trial % engines.length;
  const turned = [...engines.slice(by), ...engines.slice(0, by)];
  return trial % 2 === 0 ? turned : turned.reverse();
}

export async function compare(plan: ComparePlan): Promise<CompareResult> {
  const left: Left = [];
  const engines = [ours, ...(await availablePeers(plan, left))];
  const rows: CompareRow[] = [];
  let ok = true;
  for (const valueBytes of plan.valueBytes) {
    const trials: Trials[] = [];
    for (let trial = 0; trial < plan.trials; trial += 1) {
      const measured: Trials = new Map();
      process.stderr.write(`values of ${valueBytes} bytes, trial ${trial + 1}:`);
      for (const engine of orderOf(engines, trial)) {
        process.stderr.write(` ${engine.name}`);
        try {
          measured.set(engine.name, await runTrial(engine, plan, valueBytes));
        } catch (error) {
          if (engine === ours) ok = false;
          leaveOut(left, engine, error);
        }
      }
      process.stderr.write('\n');
      trials.push(measured);
    }
    rows.push(...rowsOf(ours.name, trials, { valueBytes, keys: keysFor(plan.sizes, valueBytes) }));
  }
  const versions = Object.fromEntries(engines.map(({ name, packageName }) => [name, versionOf(packageName)]));
  return { versions, leftOut: left, rows, ok };
}

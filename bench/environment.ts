/** Where figures come from: the machine, the commit, and a place on a real file system. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, statfsSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Environment {
  readonly date: string;
  readonly commit: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  readonly fileSystem: string;
  /** One-minute load before the run, when nothing of it had begun. */
  readonly load: number;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const tmpfsMagic = 0x0102_1994;
const ramfsMagic = 0x8584_58f6;

function isInMemory(path: string): boolean {
  return [tmpfsMagic, ramfsMagic].includes(statfsSync(path).type);
}

/** An empty directory: below the system's temporary one, or below build/ where that lives in memory. */
export function makeDirectory(): string {
  let parent = tmpdir();
  if (isInMemory(parent)) {
    parent = join(root, 'build/bench-data');
    mkdirSync(parent, { recursive: true });
    if (isInMemory(parent)) throw new Error('no directory on a real file system: set TMPDIR to one');
  }
  return mkdtempSync(join(parent, 'gapless-bench-'));
}

function commit(): string {
  const git = (...args: string[]): string => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no', '--', 'src', 'native', 'bench') !== '';
    return `${git('rev-parse', '--short=12', 'HEAD')}${changed ? ' with changes' : ''}`;
  } catch {
    return 'unknown';
  }
}

/** Type of the file system that holds `path`, as the kernel lists it. */
function fileSystemOf(path: string): string {
  try {
    const mounts = readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' '));
    const holding = mounts.filter(([, at = '/none']) => at === '/' || path === at || path.startsWith(`${at}/`));
    return holding.sort(([, a = ''], [, b = '']) => a.length - b.length).at(-1)?.[2] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

export function describeEnvironment(directory: string, load: number): Environment {
  return {
    date: new Date().toISOString(),
    commit: commit(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    fileSystem: fileSystemOf(directory),
    load,
  };
}

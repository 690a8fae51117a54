/**
 * Builds test/crash/shim.c and says how to use it. Without a C compiler the tests that need it are skipped, loudly.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('./shim.c', import.meta.url));
const folder = fileURLToPath(new URL('../../build-native/shim/', import.meta.url));
const library = join(folder, 'shim.so');

/** The path of the library, or null where it cannot be built. */
export function buildShim(): string | null {
  if (process.platform !== 'linux') return skipped('it is for Linux only');
  if (existsSync(library) && statSync(library).mtimeMs > statSync(source).mtimeMs) return library;
  mkdirSync(folder, { recursive: true });
  const made = join(folder, `shim-${process.pid}.so`);
  const args = ['-shared', '-fPIC', '-O1', '-Wall', '-Wextra', '-Werror', '-o', made, source, '-ldl'];
  const result = spawnSync(process.env['CC'] ?? 'cc', args, { encoding: 'utf8' });
  if (result.error !== undefined) return skipped(`there is no C compiler: ${result.error.message}`);
  if (result.status !== 0) throw new Error(`the shim does not compile:\n${result.stderr}`);
  renameSync(made, library);
  return library;
}

function skipped(why: string): null {
  process.stderr.write(`SKIPPED: tests that need the LD_PRELOAD shim: ${why}\n`);
  return null;
}

export interface ShimSettings {
  /** SIGKILL at this call (from 1): before it, behind it, or in the middle of a write. */
  readonly kill?: number;
  readonly moment?: 'before' | 'after' | 'torn';
  /** The n-th call of that name fails (0: every one). */
  readonly fail?: { readonly call: string; readonly n: number; readonly errno: number };
  /** The number of calls is written there at exit. */
  readonly count?: string;
}

/** The environment of a process whose calls below `directory` the shim sees. */
export function shimEnvironment(library: string, directory: string, settings: ShimSettings): NodeJS.ProcessEnv {
  const { kill, moment, fail, count } = settings;
  return {
    LD_PRELOAD: library,
    GAPLESS_SHIM_DIR: directory,
    ...(kill === undefined ? {} : { GAPLESS_SHIM_KILL: `${kill}` }),
    ...(moment === 'after' ? { GAPLESS_SHIM_AFTER: '1' } : {}),
    ...(moment === 'torn' ? { GAPLESS_SHIM_TORN: '1' } : {}),
    ...(fail === undefined ? {} : { GAPLESS_SHIM_FAIL: `${fail.call}:${fail.n}:${fail.errno}` }),
    ...(count === undefined ? {} : { GAPLESS_SHIM_COUNT: count }),
  };
}

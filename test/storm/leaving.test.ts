/**
 * Processes that leave in mid-commit, by process.exit, by an error that nobody catches, while closing, with and without
 * writing threads: an exit code and no signal, in time, and all acknowledged is found. GAPLESS_LEAVES sets the runs.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { seeded, temporaryRoot, withStore } from '../crash/harness.js';

const runs = Number(process.env['GAPLESS_LEAVES'] ?? 30);
const random = seeded(Number(process.env['GAPLESS_SEED'] ?? 1));
const root = temporaryRoot();
afterAll(() => root.remove());

const ways = [
  { how: 'exit', code: 7 },
  { how: 'exit with workers', code: 7 },
  { how: 'throw', code: 1 },
  { how: 'throw with workers', code: 1 },
  { how: 'reject', code: 1 },
  { how: 'timer', code: 7 },
  { how: 'close', code: 7 },
];

async function leave(path: string, how: string, count: number) {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('./leaver.mjs', import.meta.url)), path, how, `${count}`],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let out = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  clearTimeout(timer);
  return { code, signal, errors, keys: out.split('\n').filter((line) => line !== '') };
}

test.each(ways)(
  'a process that leaves by $how ends with $code and loses nothing',
  { timeout: runs * 10_000 },
  async ({ how, code }) => {
    const rounds = Math.max(1, Math.round(runs / ways.length));
    let path = root.path(`${how.replaceAll(' ', '-')}-0`);
    for (let round = 0; round < rounds; round += 1) {
      // The same store twice in a row: the second one opens what the first one left.
      if (round % 2 === 0) path = root.path(`${how.replaceAll(' ', '-')}-${round}`);
      const left = await leave(path, how, 1 + random(200));
      expect({ code: left.code, signal: left.signal }, left.errors).toEqual({ code, signal: null });
      if (code === 7) expect(left.errors).toBe('');
      else expect(left.errors).toContain('meant to be thrown');
      expect(left.keys.length).toBeGreaterThan(0);
      await withStore(path, {}, async (db) => {
        const wrong = left.keys.filter((key) => db.get(key)?.toString().startsWith(`${key}.`) !== true);
        expect(wrong).toEqual([]);
      });
    }
  },
);

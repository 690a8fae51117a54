// Threads that end at any moment, processes that exit in mid-commit: no signal, no hang, every acknowledgement true.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { temporary } from './temporary.js';

const temp = temporary();
const seconds = Number(process.env['GAPLESS_STORM_SECONDS'] ?? 12);
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly lines: string[];
  readonly errors: string;
}

/** Kills what hangs; a kill shows as a signal. */
async function run(args: readonly string[], limitMs = 30_000): Promise<Ended> {
  const child = spawn(process.execPath, [...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
  let out = '';
  let errors = '';
  child.stdout.on('data', (text) => (out += text));
  child.stderr.on('data', (text) => (errors += text));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(timer);
  return { code, signal, lines: out.split('\n').filter((line) => line !== ''), errors };
}

test('a storm of terminated threads loses nothing that was acknowledged', { timeout: 120_000 }, async () => {
  const path = temp.path();
  const acknowledged: string[] = [];
  const until = performance.now() + seconds * 1000;
  const failures: unknown[] = [];
  let ended = 0;
  const worker = async (round: number): Promise<void> => {
    const thread = new Worker(here('./storm-worker.mjs'), { workerData: { path, round } });
    thread.on('message', (key: string) => acknowledged.push(key));
    thread.on('error', (error) => failures.push(error));
    // Every third one while it still loads and opens, the others in the middle of their work.
    if (round % 3 !== 0) await Promise.race([once(thread, 'message'), once(thread, 'exit')]);
    await new Promise((resolve) => setTimeout(resolve, (round * 37) % 160));
    await thread.terminate();
    ended += 1;
  };
  // With and without the main thread in the game: then the last thread closes the engine.
  for (let round = 0; performance.now() < until; round += 3) {
    const db = round % 2 === 0 ? await temp.open({}, path) : undefined;
    await Promise.all([worker(round), worker(round + 1), worker(round + 2)]);
    await db?.close();
  }
  const db = await temp.open({}, path);
  const missing = acknowledged.filter((key) => !db.has(key));
  expect(failures).toEqual([]);
  expect(missing).toEqual([]);
  expect(ended).toBeGreaterThan(10);
  expect(acknowledged.length).toBeGreaterThan(50);
});

test.each(['alone', 'with workers'])('process.exit in mid-commit, %s', { timeout: 60_000 }, async (how) => {
  const path = temp.path();
  const { code, signal, lines, errors } = await run([here('./exit-child.mjs'), path, how]);
  expect({ code, signal, errors }).toEqual({ code: 7, signal: null, errors: '' });
  const db = await temp.open({}, path);
  expect(lines).toHaveLength(300);
  expect(lines.filter((key) => db.get(key)?.toString() !== key)).toEqual([]);
});

test('a process ends by itself with an open store, but not while a commit waits', async () => {
  const path = temp.path();
  const script = `
    import { open } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
    const db = await open(${JSON.stringify(path)});
    db.put('a', '1').then(() => process.stdout.write('acknowledged\\n'));
    db.view(); db.changes()[Symbol.asyncIterator]();
  `;
  const { code, signal, lines } = await run(['--input-type=module', '-e', script], 20_000);
  expect({ code, signal, lines }).toEqual({ code: 0, signal: null, lines: ['acknowledged'] });
});

test('opening and closing again and again leaves nothing open', async () => {
  const path = temp.path();
  for (let i = 0; i < 30; i += 1) {
    const db = await temp.open({}, path);
    await db.put(`k${i}`, 'v');
    await db.close();
  }
  const db = await temp.open({}, path);
  expect([...db.range()]).toHaveLength(30);
  expect(db.stats().store.openViews).toBeLessThanOrEqual(1);
});

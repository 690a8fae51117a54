/** The judge of the crash tests can say no: to a lost acknowledgement, a hole, an invention, a changed state. */
import { cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { open } from '../../dist/index.js';
import { type Life, Oracle, temporaryRoot, withStore } from './harness.js';
import { submit } from './workload.mjs';

const root = temporaryRoot();
afterAll(() => root.remove());
const writes = 40;
let life: Life;

beforeAll(async () => {
  life = {
    seed: 77,
    intents: writes,
    acknowledged: [],
    refused: [],
    opened: true,
    closed: true,
    killedAt: 0n,
    code: 0,
    signal: null,
    stderr: '',
  };
  await withStore(root.path('true'), {}, async (db) => {
    for (let write = 0; write < writes; write += 1) {
      const { position } = await submit(db, life.seed, write);
      life.acknowledged.push({ write, seq: position.seq, at: 0n });
    }
  });
});

/** Judges a copy of the store by a life that may not be its own. */
async function judged(by: Partial<Life>, change: (path: string) => Promise<void> = async () => {}): Promise<number> {
  const path = root.path('judged');
  rmSync(path, { recursive: true, force: true });
  cpSync(root.path('true'), path, { recursive: true });
  await change(path);
  return await withStore(path, {}, (db) => new Oracle().judge(db, [{ ...life, ...by }], () => true));
}

test('what is as it was said passes', async () => {
  expect(await judged({})).toBe(writes);
});

test('an acknowledged write that is not there, or stands elsewhere, is found', async () => {
  const lost = { write: writes, seq: 1000n, at: 0n };
  await expect(judged({ intents: writes + 1, acknowledged: [...life.acknowledged, lost] })).rejects.toThrow(/is lost/);
  const moved = life.acknowledged.map((ack) => (ack.write === 7 ? { ...ack, seq: ack.seq + 1n } : ack));
  await expect(judged({ acknowledged: moved })).rejects.toThrow(/found at/);
});

test('a write that nobody asked for, and one out of turn, is found', async () => {
  await expect(judged({ intents: writes - 1, acknowledged: [] })).rejects.toThrow(/is no write in its turn/);
  await expect(judged({ seed: 78, acknowledged: [] })).rejects.toThrow(/is no write in its turn/);
  const stray = (path: string): Promise<void> =>
    withStore(path, {}, async (db) => void (await db.put('k001', 'stray')));
  await expect(judged({}, stray)).rejects.toThrow(/is no write in its turn/);
});

test('a value that holds the bytes of a log harms nothing, whole or torn', { timeout: 60_000 }, async () => {
  const path = root.path('nested');
  const image = root.path('nested-image');
  const options = { segmentBytes: 4 * 1024 * 1024 } as const;
  const db = await open(path, options);
  const log = 'gen-000001/log/00000000000000000000.log';
  const values: Buffer[] = [];
  try {
    for (let i = 0; i < 5; i += 1) {
      // Headers, marks and records of this very store, each time one level deeper.
      const bytes = readFileSync(join(path, log));
      values.push(bytes.subarray(0, Math.min(bytes.length, bytes.lastIndexOf('GMRK') + 32)));
      await db.put(`n${i}`, values[i] ?? '');
    }
    // What the disk holds while the process lives is what a crash leaves.
    cpSync(path, image, { recursive: true });
  } finally {
    await db.close();
  }
  expect(readdirSync(join(image, 'gen-000001/log'))).toContain('00000000000000000000.log');
  const whole = readFileSync(join(image, log));
  const last = values.at(-1)?.length ?? 0;
  const end = whole.lastIndexOf('GMRK');
  expect(end).toBeGreaterThan(last);
  expect(statSync(join(image, log)).size).toBe(whole.length);
  for (const cut of [0, 1, 8, 100, last >> 2, last >> 1, last]) {
    const torn = root.path('nested-torn');
    rmSync(torn, { recursive: true, force: true });
    cpSync(image, torn, { recursive: true });
    if (cut > 0) truncateSync(join(torn, log), end - cut);
    await withStore(torn, options, async (reopened) => {
      const found = values.map((_, i) => reopened.get(`n${i}`));
      const wanted = cut === 0 ? values : values.slice(0, -1);
      expect(found.filter((value) => value !== undefined).length, `cut ${cut}`).toBe(wanted.length);
      for (const [i, value] of wanted.entries()) expect(found[i]?.equals(value)).toBe(true);
      await reopened.put('behind', 'x');
    });
    await withStore(torn, options, async (again) => expect(again.get('behind')?.toString()).toBe('x'));
  }
});

/**
 * Damage and wrong directories, seen through the public API and the command line: each is a typed error that names file
 * and place, nothing on disk changes, and nothing ends the process. Sampled places;
 * GAPLESS_DAMAGE=many takes 2000 of each file, GAPLESS_DAMAGE=all every byte.
 */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buf as crc32c } from 'crc-32/crc32c.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GaplessError, open } from '../../dist/index.js';
import { hashTree, live, seeded, temporaryRoot, withStore } from './harness.js';

const samples = { all: Number.POSITIVE_INFINITY, many: 2000 }[process.env['GAPLESS_DAMAGE'] ?? ''] ?? 40;
const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const root = temporaryRoot();
afterAll(() => root.remove());

// Larger than one interval of the sidecar index, small enough for several segments.
const options = { segmentBytes: 192 * 1024, shards: 2 } as const;
const sound = root.path('sound');
const snapshot = root.path('snapshot');
let files: string[] = [];
let keys = 0;
const gen = 'gen-000001';
const logFiles = (): string[] => files.filter((name) => name.endsWith('.log'));

beforeAll(async () => {
  await withStore(sound, options, async (db) => {
    for (let i = 0; i < 200; i += 1) await db.put(`k${i}`, `${i}.`.padEnd(3000, 'v'));
    keys = 200;
    await db.snapshot(snapshot);
  });
  files = [...hashTree(sound).keys()].filter((name) => !name.endsWith('/') && name !== 'LOCK');
  expect(logFiles().length).toBeGreaterThan(2);
});

/** A copy of the sound store to damage. */
function copy(): string {
  const path = root.path('damaged');
  rmSync(path, { recursive: true, force: true });
  cpSync(sound, path, { recursive: true });
  return path;
}

/** What differs between two trees, LOCK aside: whoever opens writes its pid there. */
function changed(before: Map<string, string>, after: Map<string, string>): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => name !== 'LOCK' && before.get(name) !== after.get(name));
}

/** Opening must fail; the tree must stay as it is. */
async function refusal(path: string): Promise<GaplessError> {
  const before = hashTree(path);
  const error: unknown = await open(path, options).then(
    async (db) => {
      await db.close();
      return new Error('the store opened');
    },
    (reason: unknown) => reason,
  );
  if (!(error instanceof GaplessError)) throw error;
  expect(changed(before, hashTree(path))).toEqual([]);
  return error;
}

/** The command line on the same directory: [exit code, last line of stdout or stderr as JSON]. */
function gapless(...args: string[]): { readonly code: number | null; readonly answer: Record<string, unknown> } {
  const result = spawnSync(process.execPath, [cli, ...args, '--json'], { encoding: 'utf8' });
  expect(result.signal).toBe(null);
  const lines = (result.stdout.trim() === '' ? result.stderr : result.stdout).trim().split('\n');
  return { code: result.status, answer: JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown> };
}

function placesOf(size: number, seed: number): number[] {
  if (size <= samples) return Array.from({ length: size }, (_, at) => at);
  const random = seeded(seed);
  const places = new Set([0, 8, size - 1, size >> 1]);
  while (places.size < samples) places.add(random(size));
  return [...places].sort((a, b) => a - b);
}

/** The file that an error names must be the damaged one, the offset a place in it. */
function expectPlace(error: GaplessError, name: string, what: string): void {
  expect(error.code, what).toBe('CORRUPT');
  expect(error.details.file, what).toMatch(new RegExp(`${name.replace(/[.]/g, '\\.')}$`));
  expect(error.details.offset, what).toBeTypeOf('number');
}

// STATE keeps its content twice: damage of one copy is no loss. The files of a log are judged as one.
const single = ['IDENTITY', 'CURRENT', `${gen}/MANIFEST-000001`];
test.each(single)(
  'every flipped bit and every truncation of %s is refused with its place',
  { timeout: 120_000 },
  async (name) => {
    const path = copy();
    const whole = readFileSync(join(path, name));
    for (const at of placesOf(whole.length, 1)) {
      const bytes = Buffer.from(whole);
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << (at % 8)), at);
      writeFileSync(join(path, name), bytes);
      expectPlace(await refusal(path), name, `flip at ${at}`);
      writeFileSync(join(path, name), whole.subarray(0, at));
      expectPlace(await refusal(path), name, `cut to ${at}`);
    }
  },
);

test('every flipped bit and every truncation of a closed log is refused with its place', {
  timeout: 600_000,
}, async () => {
  for (const [index, name] of logFiles().entries()) {
    const path = copy();
    const whole = readFileSync(join(path, name));
    for (const at of placesOf(whole.length, 2 + index)) {
      const bytes = Buffer.from(whole);
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << (at % 8)), at);
      writeFileSync(join(path, name), bytes);
      const flipped = await refusal(path);
      expectPlace(flipped, name, `flip at ${at} of ${name}`);
      expect(flipped.details.offset).toBeLessThanOrEqual(at);
      writeFileSync(join(path, name), whole);
      truncateSync(join(path, name), at);
      expectPlace(await refusal(path), name, `cut of ${name} to ${at}`);
      writeFileSync(join(path, name), whole);
    }
  }
});

test('damage of one copy of STATE changes nothing, damage of both is refused', { timeout: 60_000 }, async () => {
  const path = copy();
  const whole = readFileSync(join(path, 'STATE'));
  for (const slot of [0, 4096]) {
    const bytes = Buffer.from(whole);
    bytes.writeUInt8(bytes.readUInt8(slot + 40) ^ 1, slot + 40);
    writeFileSync(join(path, 'STATE'), bytes);
    expect(await withStore(path, { ...options, readOnly: true }, async (db) => [...db.range()].length)).toBe(keys);
  }
  const bytes = Buffer.from(whole);
  for (const slot of [0, 4096]) bytes.writeUInt8(bytes.readUInt8(slot + 40) ^ 1, slot + 40);
  writeFileSync(join(path, 'STATE'), bytes);
  expectPlace(await refusal(path), 'STATE', 'both copies');
});

test('a missing file of the store is refused by its name', { timeout: 60_000 }, async () => {
  for (const name of files) {
    if (name.endsWith('.idx')) continue;
    const path = copy();
    rmSync(join(path, name));
    const error = await refusal(path);
    expect(['CORRUPT', 'NOT_A_STORE'], `${name}: ${error.message}`).toContain(error.code);
    if (error.code === 'CORRUPT')
      expect(String(error.details.file), name).toContain(name.split('/').at(-1)?.replace(/-.*$/, ''));
  }
});

test('a sidecar index that is missing or wrong is rebuilt, not trusted', { timeout: 60_000 }, async () => {
  const indexes = files.filter((name) => name.endsWith('.idx'));
  expect(indexes.length).toBeGreaterThan(0);
  for (const ruin of ['missing', 'flipped', 'cut']) {
    const path = copy();
    for (const name of indexes) {
      const whole = readFileSync(join(path, name));
      if (ruin === 'missing') rmSync(join(path, name));
      if (ruin === 'flipped') writeFileSync(join(path, name), Buffer.from(whole).fill(7, 34, 44));
      if (ruin === 'cut') truncateSync(join(path, name), whole.length - 5);
    }
    await withStore(path, options, async (db) => {
      expect([...db.range()].length).toBe(keys);
      const seen: bigint[] = [];
      for await (const change of db.changes({ from: 'oldest' })) {
        seen.push(change.firstSeq);
        if (change.position.seq >= db.position.seq) break;
      }
      expect(seen.length).toBe(keys);
    });
  }
});

test('the command line says the same about damage: verify names it, open verbs refuse', { timeout: 120_000 }, () => {
  const [first = ''] = logFiles();
  for (const [name, kind] of [
    [first, 'log'],
    ['IDENTITY', 'identity'],
    ['CURRENT', 'current'],
    [`${gen}/MANIFEST-000001`, 'manifest'],
  ] as const) {
    const path = copy();
    const bytes = readFileSync(join(path, name));
    bytes.writeUInt8(bytes.readUInt8(20) ^ 4, 20);
    writeFileSync(join(path, name), bytes);
    const before = hashTree(path);
    const verified = gapless('verify', path);
    expect(verified.code).toBe(1);
    expect(verified.answer).toMatchObject({ ok: false, damage: [{ kind, file: name }] });
    const got = gapless('get', path, 'k1');
    expect(got.code).toBe(1);
    expect(got.answer).toMatchObject({ error: { code: 'CORRUPT', retryable: false } });
    expect(changed(before, hashTree(path))).toEqual([]);
  }
});

test('damage of a snapshot is named by snapshot verify', { timeout: 120_000 }, () => {
  for (const name of readdirSync(snapshot)) {
    const path = root.path('damaged-snapshot');
    rmSync(path, { recursive: true, force: true });
    cpSync(snapshot, path, { recursive: true });
    const bytes = readFileSync(join(path, name));
    bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
    writeFileSync(join(path, name), bytes);
    const { code, answer } = gapless('snapshot', 'verify', path);
    expect(code).toBe(1);
    expect(JSON.stringify(answer)).toContain(name);
    const target = root.path('restored');
    expect(gapless('snapshot', 'restore', path, target).answer).toMatchObject({ error: { code: 'CORRUPT' } });
    expect(() => readdirSync(target)).toThrow();
  }
});

test('a directory of another program is refused and left as it is', { timeout: 60_000 }, async () => {
  const strangers: Readonly<Record<string, string>>[] = [
    { 'data.mdb': 'some other database', 'lock.mdb': '' },
    { 'package.json': '{}', 'src/index.js': 'text' },
    { CURRENT: 'MANIFEST-000005\n', 'MANIFEST-000005': 'of another store', '000003.log': 'x', LOCK: '' },
    { STATE: 'of somebody else', 'notes.txt': 'x' },
  ];
  for (const [index, stranger] of strangers.entries()) {
    const path = root.path(`stranger-${index}`);
    for (const [name, text] of Object.entries(stranger)) {
      mkdirSync(join(path, name, '..'), { recursive: true });
      writeFileSync(join(path, name), text);
    }
    const before = hashTree(path);
    const error: unknown = await open(path).catch((reason: unknown) => reason);
    expect(error, JSON.stringify(stranger)).toMatchObject({ code: expect.stringMatching(/^(NOT_A_STORE|CORRUPT)$/) });
    expect(hashTree(path)).toEqual(before);
    for (const args of [
      ['put', path, 'a', 'b'],
      ['stat', path],
    ]) {
      expect(gapless(...args)).toMatchObject({
        code: 1,
        answer: { error: { code: expect.stringMatching(/^(NOT_A_STORE|CORRUPT)$/) } },
      });
    }
    expect(hashTree(path)).toEqual(before);
  }
});

/** Sets a version and makes the checksum right again. */
function reversion(bytes: Buffer, at: number, crcAt: number): Buffer {
  bytes.writeUInt32LE(2, at);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, crcAt), 0) >>> 0, crcAt);
  return bytes;
}

test('a newer format is refused as such and left as it is', { timeout: 60_000 }, async () => {
  const newer: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
    IDENTITY: (bytes) => reversion(bytes, 8, 124),
    STATE: (bytes) => {
      for (const slot of [0, 4096]) reversion(bytes.subarray(slot, slot + 4096), 8, 4092);
      return bytes;
    },
    CURRENT: () => {
      const text = `gaplessdb 2 ${gen}`;
      return Buffer.from(`${text} ${(crc32c(Buffer.from(text), 0) >>> 0).toString(16).padStart(8, '0')}\n`);
    },
    [`${gen}/MANIFEST-000001`]: (bytes) => reversion(bytes, 8, bytes.length - 4),
    [logFiles()[0] ?? '']: (bytes) => reversion(bytes, 8, 124),
  };
  for (const [name, change] of Object.entries(newer)) {
    const path = copy();
    writeFileSync(join(path, name), change(readFileSync(join(path, name))));
    const error = await refusal(path);
    expect(error.code, `${name}: ${error.message}`).toBe('FORMAT_UNSUPPORTED');
    expect(String(error.details.file)).toContain(name.split('/').at(-1));
    expect(gapless('get', path, 'k1')).toMatchObject({ code: 1, answer: { error: { code: 'FORMAT_UNSUPPORTED' } } });
  }
});

test('a directory that another process holds is LOCKED, with its pid', { timeout: 60_000 }, async () => {
  const path = copy();
  let holder: ChildProcess | undefined;
  let isReady: () => void = () => {};
  const ready = new Promise<void>((resolve) => {
    isReady = resolve;
  });
  const job = { path, seed: 1, writes: 1_000_000, inFlight: 1, pauseMs: 5, options };
  const life = live(job, (line, _, child) => {
    holder = child;
    if (line.startsWith('a ')) isReady();
  });
  await ready;
  try {
    const error: unknown = await open(path, options).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'LOCKED', retryable: false, details: { pid: holder?.pid } });
    for (const verb of [['stat'], ['digest'], ['verify'], ['put', 'a', 'b']]) {
      const [name = '', ...rest] = verb;
      expect(gapless(name, path, ...rest)).toMatchObject({
        code: 1,
        answer: { error: { code: 'LOCKED', details: { pid: holder?.pid } } },
      });
    }
  } finally {
    holder?.kill('SIGKILL');
  }
  expect((await life).refused).toEqual([]);
  // The lock went with its holder.
  await withStore(path, options, async (db) => expect([...db.range({ prefix: 'k' })].length).toBeGreaterThan(0));
});

/** Every command on directories: the fields of its JSON, its text, its exit code, its errors. */
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../dist/base/clock.js';
import { type CliResult, cli, type Json, place, stopAll } from './harness.js';

afterAll(stopAll);

const positionFields = ['epoch', 'seq', 'offset', 'chain'];
const emptyPosition = { epoch: '0.0', seq: '0', offset: '0', chain: '0000000000000000' };

function expectPosition(value: unknown): void {
  expect(Object.keys(value as Json)).toEqual(positionFields);
  const { epoch, seq, offset, chain } = value as Record<string, string>;
  expect(epoch).toMatch(/^\d+\.\d+$/);
  expect(seq).toMatch(/^\d+$/);
  expect(offset).toMatch(/^\d+$/);
  expect(chain).toMatch(/^[0-9a-f]{16}$/);
}

/** The one JSON line of a command that answers once. */
function only({ lines, stderr }: CliResult): Json {
  expect(lines.length, stderr).toBe(1);
  return lines[0] ?? {};
}

async function json(...words: string[]): Promise<Json> {
  const result = await cli([...words, '--json']);
  expect(result.code, result.stderr).toBe(0);
  expect(result.stderr).toBe('');
  return only(result);
}

/** Every file of a directory with its bytes. */
function contents(root: string): string {
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();
  return names
    .map((name) => {
      const path = join(root, name);
      return statSync(path).isFile() ? `${name} ${readFileSync(path).toString('base64')}` : name;
    })
    .join('\n');
}

describe('entries', () => {
  let store: string;
  beforeAll(async () => {
    store = place('store');
    await cli(['put', store, 'a', '1']);
  });

  test('put answers with position and version', async () => {
    const answer = await json('put', store, 'b', '2');
    expect(Object.keys(answer)).toEqual(['position', 'version']);
    expectPosition(answer['position']);
    const { epoch, seq } = answer['position'] as Json;
    expect(answer['version']).toEqual({ epoch, seq });
  });
  test('put takes values from stdin, and base64', async () => {
    expect((await cli(['put', store, 'big', '-'], { stdin: Buffer.alloc(100_000, 7) })).code).toBe(0);
    expect((await cli(['get', store, 'big'])).stdout.equals(Buffer.alloc(100_000, 7))).toBe(true);
    await json('put', store, '/w==', 'gA==', '--base64');
    expect(await json('get', store, '/w==', '--base64')).toMatchObject({ key64: '/w==', found: true, value64: 'gA==' });
    expect((await cli(['get', store, '/w==', '--base64'])).stdout.toString()).toBe('gA==\n');
  });
  test('get gives the raw value, or JSON', async () => {
    const plain = await cli(['get', store, 'a']);
    expect([plain.code, plain.stdout.toString()]).toEqual([0, '1']);
    const answer = await json('get', store, 'a');
    expect(Object.keys(answer)).toEqual(['key', 'found', 'value', 'version', 'position']);
    expect(answer).toMatchObject({ key: 'a', found: true, value: '1' });
  });
  test('a missing key is exit 1 and nothing on stdout, or found: false', async () => {
    const plain = await cli(['get', store, 'none']);
    expect([plain.code, plain.stdout.length, plain.stderr]).toEqual([1, 0, '']);
    const missing = await cli(['get', store, 'none', '--json']);
    expect(missing.code).toBe(1);
    expect(Object.keys(only(missing))).toEqual(['key', 'found', 'position']);
  });
  test('del answers with the position, for a missing key too', async () => {
    await json('put', store, 'gone', 'x');
    expect(Object.keys(await json('del', store, 'gone'))).toEqual(['position']);
    expectPosition((await json('del', store, 'gone'))['position']);
    expect((await cli(['get', store, 'gone'])).code).toBe(1);
  });
  test('the empty key and the empty value are entries', async () => {
    await json('put', store, '', '');
    const found = await cli(['get', store, '']);
    expect([found.code, found.stdout.length]).toEqual([0, 0]);
    await json('del', store, '');
  });
});

describe('batch', () => {
  test('commits its operations as one', async () => {
    const store = place('store');
    const stdin = [
      '{"op":"put","key":"a","value":"1"}',
      '{"op":"increment","key":"n","by":"5"}',
      '{"op":"check","key":"c","version":null}',
      '{"op":"delRange","prefix":"x"}',
    ].join('\n');
    const { code, lines } = await cli(['batch', store, '--json'], { stdin });
    expect(code).toBe(0);
    expect(Object.keys(lines[0] ?? {})).toEqual(['position', 'firstSeq', 'operations', 'results']);
    expect(lines[0]).toMatchObject({ firstSeq: '2', operations: 3, results: ['5'] });
    expect(lines[0]).toMatchObject({ position: { seq: '4' } });
    const file = place('operations.ndjson');
    writeFileSync(file, '{"op":"increment","key":"n","by":-7}\n');
    expect((await json('batch', store, file))['results']).toEqual(['-2']);
  });
  test('writes nothing when a check fails or a line is wrong', async () => {
    const store = place('store');
    await cli(['put', store, 'a', '1']);
    const conflict = await cli(['batch', store, '--json'], {
      stdin: '{"op":"put","key":"b","value":"1"}\n{"op":"check","key":"a","version":null}',
    });
    expect([conflict.code, conflict.error['code']]).toEqual([1, 'CONFLICT']);
    expect(conflict.error['details']).toEqual({ key: 'a', expected: null, actual: '1.0:2' });
    const wrong = await cli(['batch', store, '--json'], { stdin: '{"op":"put","key":"b","value":"1"}\n{"op":"x"}' });
    expect([wrong.code, wrong.error['code']]).toEqual([2, 'USAGE']);
    expect(wrong.error['message']).toContain('line 2');
    expect(wrong.error['details']).toEqual({ line: 2 });
    const far = await cli(['batch', store, '--json'], {
      stdin: '{"op":"increment","key":"n","by":"9223372036854775808"}',
    });
    expect([far.code, far.error['details']]).toEqual([2, { line: 1 }]);
    const half = await cli(['batch', store, '--json'], { stdin: '{"op":"put","key":"a\\ud800","value":"1"}' });
    expect([half.code, half.error['message']]).toEqual([
      2,
      'line 1: "key" holds half of a surrogate pair; give the bytes as "key64"',
    ]);
    expect((await cli(['batch', store], { stdin: '\n' })).code).toBe(2);
    expect((await cli(['scan', store])).stdout.toString()).toBe('a\t1\n');
  });
});

describe('scan', () => {
  let store: string;
  beforeAll(async () => {
    store = place('store');
    const puts = ['a', 'b1', 'b2', 'c\t'].map((key) => JSON.stringify({ op: 'put', key, value: `${key}%` }));
    await cli(['batch', store], { stdin: [...puts, '{"op":"put","key64":"/w==","value64":"/w=="}'].join('\n') });
  });
  const keys = async (...words: string[]): Promise<string> =>
    (await cli(['scan', store, '--keys', ...words])).stdout.toString().trimEnd().replaceAll('\n', ' ');

  test('gives lines in key order', async () => {
    expect((await cli(['scan', store])).stdout.toString()).toBe(
      'a\ta%25\nb1\tb1%25\nb2\tb2%25\nc%09\tc%09%25\n%FF\t%FF\n',
    );
  });
  test('knows prefix, bounds, limit and direction', async () => {
    expect(await keys('--prefix', 'b')).toBe('b1 b2');
    expect(await keys('--from', 'b1', '--to', 'c')).toBe('b1 b2');
    expect(await keys('--from', 'b2')).toBe('b2 c%09 %FF');
    expect(await keys('--limit', '2')).toBe('a b1');
    expect(await keys('--limit', '0')).toBe('');
    expect(await keys('--reverse', '--limit', '2')).toBe('%FF c%09');
    expect(await keys('--to', '/w==', '--base64', '--limit', '1')).toBe('YQ==');
  });
  test('gives one object a line with --json', async () => {
    const { lines } = await cli(['scan', store, '--json']);
    expect(lines.length).toBe(5);
    expect(Object.keys(lines[0] ?? {})).toEqual(['key', 'value', 'version']);
    expect(lines[4]).toMatchObject({ key64: '/w==', value64: '/w==' });
    expect((await cli(['scan', store, '--json', '--keys'])).lines[0]).not.toHaveProperty('value');
  });
  test('refuses two ways to say where', async () => {
    expect((await cli(['scan', store, '--prefix', 'b', '--to', 'c'])).code).toBe(2);
    expect((await cli(['scan', store, '--limit', 'x'])).code).toBe(2);
  });
});

describe('a directory', () => {
  let store: string;
  beforeAll(async () => {
    store = place('store');
    await cli(['batch', store], { stdin: '{"op":"put","key":"a","value":"1"}\n{"op":"put","key":"b","value":"22"}' });
    await cli(['batch', store], { stdin: '{"op":"del","key":"a"}\n{"op":"delRange","gt":"x","lt":"y"}' });
  });

  test('stat tells what it holds', async () => {
    const answer = await json('stat', store);
    expect(Object.keys(answer)).toEqual([
      'format',
      'clusterId',
      'nodeId',
      'role',
      'shards',
      'position',
      'checkpoint',
      'epochs',
      'log',
      'runs',
      'keysEstimate',
      'bytes',
      'spaceAmplification',
      'snapshots',
      'holds',
      'cursors',
      'lost',
      'inconsistent',
    ]);
    expect(answer).toMatchObject({
      format: 1,
      role: 'primary',
      shards: 4,
      keysEstimate: 1,
      lost: 0,
      inconsistent: null,
    });
    expect(answer['clusterId']).toMatch(/^[0-9a-f]{32}$/);
    expect(answer['checkpoint']).toEqual(emptyPosition);
    const epochs = answer['epochs'] as Json[];
    expect(epochs.map(({ epoch }) => epoch)).toEqual(['1.0', '1.1']);
    expect(Object.keys(epochs[0] ?? {})).toEqual(['epoch', 'from', 'chain', 'nodeId', 'cause', 'time']);
    expect(answer['log']).toMatchObject({ floor: '0', end: (answer['position'] as Json)['offset'], segments: 1 });
    expect((answer['bytes'] as Json)['live']).toBe(3);
    expect((await cli(['stat', store])).stdout.toString()).toContain('role: primary\n');
  });
  test('stat names runs by level, and compact merges them', async () => {
    const large = place('large');
    const line = (index: number, letter: string): string =>
      JSON.stringify({ op: 'put', key: `k${`${index}`.padStart(6, '0')}`, value: letter.repeat(1000) });
    for (const letter of ['a', 'b', 'c']) {
      const stdin = Array.from({ length: 5000 }, (_, index) => line(index, letter)).join('\n');
      expect((await cli(['batch', large], { stdin })).code).toBe(0);
    }
    const before = await json('stat', large);
    const { count, bytes, levels } = before['runs'] as { count: number; bytes: number; levels: Json[] };
    expect(count).toBeGreaterThan(0);
    expect(levels.reduce((total, level) => total + Number(level['bytes']), 0)).toBe(bytes);
    expect(Object.keys(levels[0] ?? {})).toEqual(['level', 'runs', 'bytes']);
    expect(before['checkpoint']).not.toEqual(emptyPosition);
    const answer = await json('compact', large);
    expect(Object.keys(answer)).toEqual(['bytesBefore', 'bytesAfter']);
    expect(answer['bytesAfter']).toBeLessThan(5000 * 1007 * 1.1);
    const after = await json('stat', large);
    expect((after['runs'] as Json)['bytes']).toBe(answer['bytesAfter']);
    expect((after['bytes'] as Json)['live']).toBe(5000 * 1007);
    expect(after['keysEstimate']).toBe(5000);
    const text = await cli(['compact', large]);
    expect(text.stdout.toString()).toMatch(/^\d+ -> \d+ bytes\n$/);
    expect(await json('verify', large, '--deep')).toMatchObject({ ok: true, deep: true });
  });
  test('repair says what mends a run, which no cut of the log does', async () => {
    const damaged = place('damaged');
    expect((await cli(['put', damaged, 'k', 'v'.repeat(3000)])).code).toBe(0);
    await json('compact', damaged);
    const runs = join(damaged, 'gen-000001', 'runs');
    const [name = ''] = readdirSync(runs);
    const bytes = readFileSync(join(runs, name));
    const flip = (at: number): void => {
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      writeFileSync(join(runs, name), bytes);
    };
    flip(200);
    const found = { kind: 'run', file: `gen-000001/runs/${name}` };
    const deep = await cli(['verify', damaged, '--deep', '--json']);
    expect([deep.code, deep.lines[0]]).toEqual([
      1,
      { ok: false, deep: true, damage: [{ ...found, offset: expect.any(Number), what: 'body_crc' }] },
    ]);
    const read = await cli(['get', damaged, 'k', '--json']);
    expect([read.code, read.error['code']]).toEqual([1, 'CORRUPT']);
    expect(read.error['details']).toMatchObject({ file: expect.stringContaining(name), offset: expect.any(Number) });
    flip(bytes.length - 3);
    const { code, lines } = await cli(['repair', damaged, '--json']);
    expect(code).toBe(1);
    expect(lines[0]).toMatchObject({ wouldDrop: null, command: null, advice: expect.stringContaining('snapshot') });
    expect(lines[0]?.['damage']).toEqual([expect.objectContaining(found)]);
  });
  test('compact refuses a directory that holds no store', async () => {
    const missing = await cli(['compact', place('nothing'), '--json']);
    expect([missing.code, missing.error['code']]).toEqual([1, 'NOT_A_STORE']);
    expect((await cli(['compact'])).code).toBe(2);
  });
  test('digest gives the digest at the end and at earlier records', async () => {
    const end = await json('digest', store);
    expect(Object.keys(end)).toEqual(['position', 'keys', 'bytes', 'digest']);
    expect(end).toMatchObject({ keys: 1, bytes: 3 });
    expect(end['digest']).toMatch(/^[0-9a-f]{32}$/);
    expect(await json('digest', store, '--at', '3')).toMatchObject({ keys: 2, bytes: 5, position: { seq: '3' } });
    const { epoch, seq, offset, chain } = end['position'] as Record<string, string>;
    const text = (await cli(['digest', store])).stdout.toString();
    expect(text).toBe(`${end['digest']} 1 3 ${epoch}:${seq}:${offset}:${chain}\n`);
  });
  test('digest --at inside a batch or beyond the end is exit 1', async () => {
    expect((await cli(['digest', store, '--at', '2', '--json'])).error['code']).toBe('NOT_A_RECORD_END');
    const beyond = await cli(['digest', store, '--at', '99', '--json']);
    expect([beyond.code, beyond.error['code']]).toEqual([1, 'POSITION_UNAVAILABLE']);
  });
  test('verify says ok, deep or not', async () => {
    for (const [words, deep] of [
      [[], false],
      [['--deep'], true],
    ] as const) {
      const answer = await json('verify', store, ...words);
      expect(Object.keys(answer)).toEqual(['ok', 'deep', 'files', 'bytes', 'position']);
      expect(answer).toMatchObject({ ok: true, deep });
      expectPosition(answer['position']);
    }
  });
  test('log gives records with their operations, and control records with their fields', async () => {
    const { lines, code } = await cli(['log', store, '--json', '--values']);
    expect(code).toBe(0);
    expect(lines.map(({ kind }) => kind)).toEqual(['epoch', 'batch', 'epoch', 'batch']);
    const common = ['offset', 'bytes', 'kind', 'epoch', 'firstSeq', 'lastSeq', 'time', 'counter', 'chain'];
    expect(Object.keys(lines[0] ?? {})).toEqual([...common, 'nodeId', 'random', 'cause', 'before']);
    expect(lines[0]).toMatchObject({ offset: '0', cause: 'open', before: emptyPosition });
    const ageMs = systemClock().now() - Number(lines[0]?.['time']);
    expect(ageMs).toBeGreaterThanOrEqual(0);
    expect(ageMs).toBeLessThan(10 * 60_000);
    expect(lines[0]?.['counter']).toBeLessThan(65_536);
    expect(Object.keys(lines[1] ?? {})).toEqual([...common, 'operations']);
    expect(lines[1]).toMatchObject({ offset: '120', firstSeq: '2', lastSeq: '3' });
    expect(lines[1]?.['operations']).toEqual([
      { op: 'put', key: 'a', valueBytes: 1, value: '1', seq: '2' },
      { op: 'put', key: 'b', valueBytes: 2, value: '22', seq: '3' },
    ]);
    expect(lines[3]?.['operations']).toEqual([
      { op: 'del', key: 'a', seq: '5' },
      { op: 'delRange', gte: 'x\0', lt: 'y', seq: '6' },
    ]);
    const ends = lines.map(({ offset, bytes }) => `${BigInt(String(offset)) + BigInt(Number(bytes))}`);
    expect(lines.slice(1).map(({ offset }) => offset)).toEqual(ends.slice(0, -1));
  });
  test('log begins with the record that holds a sequence, and ends at its limit', async () => {
    expect((await cli(['log', store, '--json', '--from', '3', '--limit', '1'])).lines).toMatchObject([
      { firstSeq: '2' },
    ]);
    expect((await cli(['log', store, '--json', '--from', '4'])).lines.map(({ firstSeq }) => firstSeq)).toEqual([
      '4',
      '5',
    ]);
    expect((await cli(['log', store, '--limit', '0'])).stdout.length).toBe(0);
    expect((await cli(['log', store])).stdout.toString()).toContain('\n  2 put a\t1 bytes\n');
  });
  test('repair has nothing to do', async () => {
    const answer = await json('repair', store);
    expect(answer).toEqual({ damage: [], wouldDrop: null, dropped: null, saved: null, command: null });
  });
  test('repair cuts only when both flags are there', async () => {
    expect((await cli(['repair', store, '--truncate-at', '0'])).code).toBe(2);
    expect((await cli(['repair', store, '--yes'])).code).toBe(2);
  });
  test('reading commands change no byte', async () => {
    const before = contents(store);
    for (const words of [
      ['get', store, 'b'],
      ['scan', store],
      ['stat', store],
      ['digest', store],
      ['verify', store],
    ]) {
      expect((await cli(words)).code).toBe(0);
    }
    for (const words of [
      ['log', store],
      ['repair', store],
    ])
      expect((await cli(words)).code).toBe(0);
    expect(contents(store)).toBe(before);
  });
});

describe('damage', () => {
  test('is listed by verify, and repaired by the command that repair prints', async () => {
    const store = place('store');
    for (const key of ['a', 'b', 'c']) await cli(['put', store, key, 'some value']);
    const log = join(store, 'gen-000001/log/00000000000000000000.log');
    const bytes = readFileSync(log);
    const at = bytes.lastIndexOf('some value');
    bytes[at] = 0x53;
    writeFileSync(log, bytes);
    const verified = await cli(['verify', store, '--json']);
    expect(verified.code).toBe(1);
    const answer = only(verified);
    expect(Object.keys(answer)).toEqual(['ok', 'deep', 'damage']);
    const [damage] = answer['damage'] as Json[];
    expect(Object.keys(damage ?? {})).toEqual(['kind', 'file', 'offset', 'logOffset', 'what', 'seq']);
    expect(damage).toMatchObject({ kind: 'log', file: 'gen-000001/log/00000000000000000000.log', what: 'body_crc' });
    const reported = await cli(['repair', store, '--json']);
    expect(reported.code).toBe(1);
    const plan = only(reported);
    expect(Object.keys(plan['wouldDrop'] as Json)).toEqual(['from', 'records', 'operations', 'bytes']);
    expect(plan).toMatchObject({ dropped: null, saved: null });
    const words = String(plan['command']).split(' ');
    expect(words.slice(0, 2)).toEqual(['gapless', 'repair']);
    const repaired = await json(...words.slice(1));
    expect(repaired['saved']).toMatch(/^lost\//);
    expect(existsSync(join(store, String(repaired['saved'])))).toBe(true);
    expect((await cli(['verify', store])).code).toBe(0);
    expect((await cli(['scan', store, '--keys'])).stdout.toString()).toBe('a\nb\n');
  });
});

describe('snapshots', () => {
  let store: string;
  let snapshot: string;
  beforeAll(async () => {
    store = place('store');
    await cli(['batch', store], { stdin: '{"op":"put","key":"a","value":"1"}\n{"op":"put","key":"b","value":"22"}' });
    snapshot = place('snapshot');
  });
  test('are created, described, verified and restored', async () => {
    const created = await json('snapshot', 'create', store, snapshot);
    expect(Object.keys(created)).toEqual(['path', 'position', 'flows', 'keys', 'bytes', 'ms']);
    expect(created).toMatchObject({ path: snapshot, flows: 4, keys: 2 });
    const info = await json('snapshot', 'info', snapshot);
    expect(Object.keys(info)).toEqual(['position', 'clusterId', 'time', 'compression', 'flows', 'epochs', 'cursors']);
    expect(info).toMatchObject({ position: created['position'], compression: 'none' });
    const [flow] = info['flows'] as Json[];
    expect(Object.keys(flow ?? {})).toEqual(['flow', 'file', 'bytes', 'entries', 'crc']);
    expect(flow).toMatchObject({ flow: 0, file: 'flow-00000', crc: expect.stringMatching(/^[0-9a-f]{8}$/) });
    expect(await json('snapshot', 'verify', snapshot)).toMatchObject({ ok: true, position: created['position'] });
    const target = place('restored');
    const restored = await json('snapshot', 'restore', snapshot, target, '--shards', '2');
    expect(Object.keys(restored)).toEqual(['position', 'keys', 'bytes', 'ms']);
    expect(restored).toMatchObject({ position: created['position'], keys: 2 });
    expect((await json('digest', target))['digest']).toBe((await json('digest', store))['digest']);
    const [ours, theirs] = [await json('stat', store), await json('stat', target)];
    expect(theirs['clusterId']).toBe(ours['clusterId']);
    expect(theirs['nodeId']).not.toBe(ours['nodeId']);
    expect(theirs['shards']).toBe(2);
  });
  test('are never written over anything', async () => {
    const again = await cli(['snapshot', 'create', store, snapshot, '--json']);
    expect([again.code, again.error['code']]).toEqual([1, 'EXISTS']);
    const full = await cli(['snapshot', 'restore', snapshot, store, '--json']);
    expect([full.code, full.error['code']]).toEqual([1, 'EXISTS']);
  });
  test('that are damaged are found out', async () => {
    const bad = place('bad');
    await cli(['snapshot', 'create', store, bad]);
    const file = join(bad, 'flow-00001');
    const bytes = readFileSync(file);
    bytes[140] = (bytes[140] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const { code, lines } = await cli(['snapshot', 'verify', bad, '--json']);
    expect(code).toBe(1);
    expect(lines[0]).toMatchObject({ ok: false, damage: [{ kind: 'snapshot', file: 'flow-00001' }] });
    const [report = {}] = lines;
    const [damage = {}] = report['damage'] as Json[];
    expect(Object.keys(damage)).toEqual(['kind', 'file', 'offset', 'what']);
    expect((await cli(['snapshot', 'restore', bad, place('target')])).code).toBe(1);
    rmSync(join(bad, 'SNAPSHOT'));
    expect((await cli(['snapshot', 'info', bad, '--json'])).error['code']).toBe('NOT_A_STORE');
  });
  test('have a cluster of their own when asked', async () => {
    const target = place('restored');
    await json('snapshot', 'restore', snapshot, target, '--new-cluster');
    expect((await json('stat', target))['clusterId']).not.toBe((await json('stat', store))['clusterId']);
  });
});

describe('import', () => {
  test('answers with its counts and logs acknowledgements', async () => {
    const store = place('store');
    const acks = place('acks.tsv');
    const stdin = ['a', 'b\t', 'c'].map((key) => JSON.stringify({ key, value: `${key}!` })).join('\n');
    const words = ['import', store, '-', '--batch', '2', '--prefix', 'p/', '--ack-log', acks, '--json'];
    const { code, lines } = await cli(words, { stdin });
    expect(code).toBe(0);
    expect(Object.keys(lines[0] ?? {})).toEqual(['entries', 'bytes', 'batches', 'skipped', 'ms', 'position']);
    expect(lines[0]).toMatchObject({ entries: 3, bytes: 17, batches: 2, skipped: 0, position: { seq: '4' } });
    expect(readFileSync(acks, 'utf8')).toBe('2\tp/a\n3\tp/b%09\n4\tp/c\n');
    expect((await cli(['scan', store])).stdout.toString()).toBe('p/a\ta!\np/b%09\tb%09!\np/c\tc!\n');
  });
  test('of nothing is no error', async () => {
    const { code, lines } = await cli(['import', place('store'), '-', '--json']);
    expect(code).toBe(0);
    expect(lines[0]).toMatchObject({ entries: 0, batches: 0, position: emptyPosition });
  });
  test('that fails behind its first batch is no usage error', async () => {
    const lines = { stdin: '{"key":"a","value":"1"}\n{"key":"b"}\n' };
    const later = await cli(['import', place('store'), '-', '--json'], lines);
    expect([later.code, later.error['code'], later.error['details']]).toEqual([1, 'IO', { entries: 1 }]);
    const first = await cli(['import', place('store'), '-', '--json'], { stdin: '{"key":"b"}\n' });
    expect([first.code, first.error['code']]).toEqual([2, 'USAGE']);
  });
  test('names the place of an error in its text', async () => {
    const nowhere = place('nowhere');
    expect((await cli(['get', nowhere, 'a'])).stderr).toContain(nowhere);
  });
  test('refuses bad flags before it touches anything', async () => {
    const store = place('store');
    for (const words of [
      ['--batch', '0'],
      ['--durability', 'never'],
      ['--from', 'level'],
    ]) {
      expect((await cli(['import', store, '-', ...words])).code).toBe(2);
    }
    expect(existsSync(store)).toBe(false);
  });
});

describe('errors', () => {
  test('a directory without a store is NOT_A_STORE, and is left as it is', async () => {
    const folder = place('none');
    for (const words of [
      ['get', folder, 'a'],
      ['scan', folder],
      ['stat', folder],
      ['verify', folder],
      ['digest', folder],
    ]) {
      const { code, error } = await cli([...words, '--json']);
      expect([code, error['code']], words[0]).toEqual([1, 'NOT_A_STORE']);
    }
    expect(existsSync(folder)).toBe(false);
  });
  test('limits are typed', async () => {
    const store = place('store');
    const { code, error } = await cli(['put', store, 'k'.repeat(40_000), '1', '--json']);
    expect([code, error['code']]).toEqual([1, 'KEY_TOO_LARGE']);
  });
  test('commands for nodes want a URL, commands for directories a directory', async () => {
    for (const name of ['status', 'promote', 'demote', 'resync', 'replica list']) {
      expect((await cli([...name.split(' '), './data'])).code, name).toBe(2);
    }
    expect((await cli(['wait', './data', '--seq', '1'])).code).toBe(2);
    for (const name of ['stat', 'verify', 'log', 'repair']) {
      expect((await cli([name, 'http://127.0.0.1:1'])).code, name).toBe(2);
    }
    expect((await cli(['put', './data', 'a', '1', '--replicas', '1'])).code).toBe(2);
  });
  test('a node that is not there is IO', async () => {
    const { code, error } = await cli(['status', 'http://127.0.0.1:1', '--json']);
    expect([code, error['code'], error['retryable']]).toEqual([1, 'IO', false]);
  });
  test('token prints what a secret gives', async () => {
    const file = place('secret');
    writeFileSync(file, '0123456789abcdef\n');
    const { code, stdout } = await cli(['token', '--secret-file', file]);
    expect(code).toBe(0);
    // HMAC-SHA256 of "gaplessdb status v1" under that secret, computed with another tool.
    expect(stdout.toString()).toBe('da167ed59255711d3bc491621d1837a28caf313534f501494e220259d44c2652\n');
    const fromEnv = await cli(['token', '--json'], { env: { GAPLESS_SECRET_FILE: file } });
    expect(fromEnv.lines[0]).toEqual({ token: stdout.toString().trim() });
    writeFileSync(file, 'short');
    expect((await cli(['token', '--secret-file', file])).code).toBe(2);
    expect((await cli(['token'])).code).toBe(2);
  });
});

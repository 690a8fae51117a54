/** What import reads: trees, NDJSON, CSV, TSV, with all that may go wrong in them. */
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openImportSource, type SourceEntry } from '../../dist/cli/import-source.js';
import { batches } from '../../dist/cli/importer.js';
import { cli, place, stopAll } from './harness.js';

afterAll(stopAll);

async function* pieces(...list: (string | Buffer)[]): AsyncGenerator<Uint8Array> {
  for (const piece of list) yield Buffer.from(piece);
}

async function read(source: string, stdin = pieces()): Promise<[string, string][]> {
  const entries: [string, string][] = [];
  for await (const { key, value } of (await openImportSource(source, stdin)).entries) {
    entries.push([key.toString('utf8'), value.toString('utf8')]);
  }
  return entries;
}

async function readText(ending: string, text: string): Promise<[string, string][]> {
  const path = place(`source${ending}`);
  writeFileSync(path, text);
  return await read(path);
}

describe('a tree', () => {
  test('gives regular files in bytewise order of their paths, and counts the rest', async () => {
    const root = place('tree');
    for (const folder of ['', 'a', 'a/b', 'z']) mkdirSync(join(root, folder), { recursive: true });
    for (const file of ['a/x', 'a/b/y', 'a.txt', 'a-b', 'B', 'z/1', 'empty']) writeFileSync(join(root, file), file);
    writeFileSync(join(root, 'empty'), '');
    writeFileSync(Buffer.concat([Buffer.from(`${root}/z/`), Buffer.from([0xff])]), 'raw name');
    symlinkSync('a.txt', join(root, 'link'));
    const source = await openImportSource(root, pieces());
    const keys: Buffer[] = [];
    for await (const { key } of source.entries) keys.push(key);
    expect(keys).toEqual([...keys].sort(Buffer.compare));
    expect(keys.map((key) => key.toString('latin1'))).toEqual([
      'B',
      'a-b',
      'a.txt',
      'a/b/y',
      'a/x',
      'empty',
      'z/1',
      'z/\xff',
    ]);
    expect(source.skipped()).toBe(1);
  });
  test('stops before a file beyond the limit of a value; what came before it is imported', async () => {
    const root = place('tree');
    mkdirSync(root);
    writeFileSync(join(root, 'a'), '1');
    writeFileSync(join(root, 'b'), '');
    truncateSync(join(root, 'b'), 64 * 1024 * 1024 + 1);
    writeFileSync(join(root, 'c'), '3');
    const store = place('store');
    const { code, error } = await cli(['import', store, root, '--json']);
    expect(code).toBe(1);
    expect(error).toMatchObject({ code: 'VALUE_TOO_LARGE', details: { file: join(root, 'b') } });
    expect((await cli(['scan', store])).stdout.toString()).toBe('a\t1\n');
  });
});

describe('NDJSON', () => {
  test('has text, base64 and other JSON as values', async () => {
    const text = '{"key":"a","value":"1"}\n\n{"key64":"Yg==","value64":"Mg=="}\n{"key":"c","value":{"x":[1]}}';
    expect(await readText('.ndjson', text)).toEqual([
      ['a', '1'],
      ['b', '2'],
      ['c', '{"x":[1]}'],
    ]);
  });
  test('may be cut anywhere on its way, in characters too', async () => {
    const raw = Buffer.from('{"key":"gr\u00fc\u00df","value":"\u{1f600}"}\n{"key":"b","value":"2"}\n');
    const bytes = [...raw].map((byte) => Buffer.from([byte]));
    expect(await read('-', pieces(...bytes))).toEqual([
      ['gr\u00fc\u00df', '\u{1f600}'],
      ['b', '2'],
    ]);
  });
  test.each([
    ['{"key":"a"}', 'line 1 has no "value"'],
    ['{"value":"a"}', 'line 1 has no "key"'],
    ['{"key":"a","value":"1"}\nnonsense', 'line 2 is no JSON'],
    ['[1]', 'line 1 is no JSON object'],
    ['{"key64":"?","value":"1"}', 'not standard base64'],
  ])('%j is refused', async (text, message) => {
    await expect(readText('.ndjson', text)).rejects.toThrow(message);
  });
});

describe('CSV and TSV', () => {
  test('take the columns key and value', async () => {
    expect(await readText('.csv', 'value,key\r\n1,a\r\n2,b\r\n')).toEqual([
      ['a', '1'],
      ['b', '2'],
    ]);
  });
  test('take the first column as key and the others as JSON', async () => {
    expect(await readText('.tsv', 'id\tname\tage\n7\tAda\t36')).toEqual([['7', '{"name":"Ada","age":"36"}']]);
  });
  test('know quotes: separators, line breaks and doubled quotes inside', async () => {
    const text = 'key,value\n"a,1","line 1\nline ""2"""\r\n"b",""\n"c","1\r"\r\n"",d"e';
    expect(await readText('.csv', text)).toEqual([
      ['a,1', 'line 1\nline "2"'],
      ['b', ''],
      ['c', '1\r'],
      ['', 'd"e'],
    ]);
  });
  test('keep empty fields and spaces, and pass over empty lines', async () => {
    expect(await readText('.csv', 'key,value\n\n , x \na,\n')).toEqual([
      [' ', ' x '],
      ['a', ''],
    ]);
  });
  test('have nothing to give when only the header is there', async () => {
    expect(await readText('.csv', 'key,value\n')).toEqual([]);
    expect(await readText('.csv', '')).toEqual([]);
  });
  test.each([
    ['key,value\na\n', 'row 2 has 1 fields, the header has 2'],
    ['key,value\na,1,2\n', 'row 2 has 3 fields'],
    ['key,value\n"a,1\n', 'ends inside a quoted field'],
    ['key,value\n"a"b,1\n', 'behind a closing quote'],
  ])('%j is refused', async (text, message) => {
    await expect(readText('.csv', text)).rejects.toThrow(message);
  });
});

describe('a source', () => {
  test('of an unknown kind is a usage error, one that is missing an IO error', async () => {
    const path = place('data.xml');
    writeFileSync(path, '<a/>');
    const unknown = await cli(['import', place('s'), path, '--json']);
    expect([unknown.code, unknown.error['code']]).toEqual([2, 'USAGE']);
    const missing = await cli(['import', place('s'), place('none'), '--json']);
    expect([missing.code, missing.error['code']]).toEqual([1, 'IO']);
  });
});

describe('batches', () => {
  const entry = (key: string, bytes = 1): SourceEntry => ({ key: Buffer.from(key), value: Buffer.alloc(bytes) });
  const sizes = async (entries: AsyncIterable<SourceEntry>, most: number): Promise<number[]> => {
    const found: number[] = [];
    for await (const batch of batches(entries, most)) found.push(batch.length);
    return found;
  };
  async function* from(...list: SourceEntry[]): AsyncGenerator<SourceEntry> {
    yield* list;
  }
  test('have at most so many entries', async () => {
    expect(await sizes(from(entry('a'), entry('b'), entry('c')), 2)).toEqual([2, 1]);
    expect(await sizes(from(), 2)).toEqual([]);
  });
  test('end early rather than become large; a large entry is alone', async () => {
    const mib = 1024 * 1024;
    const list = [entry('a', 5 * mib), entry('b', 5 * mib), entry('c', 20 * mib), entry('d'), entry('e')];
    expect(await sizes(from(...list), 100)).toEqual([1, 1, 1, 2]);
  });
  test('give what came before a failure of the source', async () => {
    async function* failing(): AsyncGenerator<SourceEntry> {
      yield entry('a');
      throw new Error('the source broke');
    }
    const found: number[] = [];
    await expect(async () => {
      for await (const batch of batches(failing(), 10)) found.push(batch.length);
    }).rejects.toThrow('the source broke');
    expect(found).toEqual([1]);
  });
});

/**
 * Where `gapless import` reads from: a directory tree, NDJSON, CSV, TSV, or stdin. Each source is a stream of entries
 * in its own order; nothing is held in memory beyond one entry (a file's content, a line, a row).
 */
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { createError } from '../errors.js';
import { decodeBase64, textBytes } from './text.js';
import { UsageError } from './usage.js';

export interface SourceEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface ImportSource {
  readonly entries: AsyncIterable<SourceEntry>;
  /** Links and special files passed over so far. */
  skipped(): number;
}

/** The limit of a value; a larger file ends the import before it is read. */
export const valueBytesMax: number = 64 * 1024 * 1024;

/** Chooses by what SOURCE is: `-`, a directory, or a file by its ending. */
export async function openImportSource(source: string, stdin: AsyncIterable<Uint8Array>): Promise<ImportSource> {
  const plain = (entries: AsyncIterable<SourceEntry>): ImportSource => ({ entries, skipped: () => 0 });
  if (source === '-') return plain(ndjson(stdin, 'stdin'));
  const info = await stat(source);
  if (info.isDirectory()) return directory(source);
  if (source.endsWith('.ndjson')) return plain(ndjson(createReadStream(source), source));
  if (source.endsWith('.csv')) return plain(rowsToEntries(delimited(createReadStream(source), ',', source), source));
  if (source.endsWith('.tsv')) return plain(rowsToEntries(delimited(createReadStream(source), '\t', source), source));
  throw new UsageError(`import: ${source} is neither a directory nor a .ndjson, .csv or .tsv file`);
}

/** Regular files, recursively, in bytewise order of the relative path with `/`. */
function directory(root: string): ImportSource {
  let skipped = 0;
  async function* walk(relative: Buffer): AsyncGenerator<SourceEntry> {
    const here = Buffer.concat([Buffer.from(`${root}/`), relative]);
    const names = await readdir(here, { encoding: 'buffer', withFileTypes: true });
    // A directory sorts as its name with the slash, as the paths below it do.
    const items = names.map((item) => ({ item, path: Buffer.concat([relative, Buffer.from(item.name)]) }));
    const order = (entry: (typeof items)[number]): Buffer =>
      entry.item.isDirectory() ? Buffer.concat([entry.path, Buffer.from('/')]) : entry.path;
    items.sort((a, b) => Buffer.compare(order(a), order(b)));
    for (const entry of items) {
      if (entry.item.isDirectory()) yield* walk(order(entry));
      else if (entry.item.isFile()) yield { key: entry.path, value: await readValue(root, entry.path) };
      else skipped += 1;
    }
  }
  return { entries: walk(Buffer.alloc(0)), skipped: () => skipped };
}

async function readValue(root: string, relative: Buffer): Promise<Buffer> {
  const path = Buffer.concat([Buffer.from(`${root}/`), relative]);
  const { size } = await stat(path);
  if (size > valueBytesMax) {
    const message = `${relative.toString()} has ${size} bytes, more than the ${valueBytesMax} that a value may have`;
    throw createError('VALUE_TOO_LARGE', message, { details: { file: join(root, relative.toString()), bytes: size } });
  }
  return await readFile(path);
}

async function* lines(input: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of input) {
    rest += decoder.write(Buffer.from(chunk));
    const complete = rest.split('\n');
    rest = complete.pop() ?? '';
    yield* complete;
  }
  rest += decoder.end();
  if (rest !== '') yield rest;
}

async function* ndjson(input: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<SourceEntry> {
  let number = 0;
  for await (const line of lines(input)) {
    number += 1;
    if (line.trim() === '') continue;
    const object = parseLine(line, `${name} line ${number}`);
    yield { key: field(object, 'key', number), value: field(object, 'value', number) };
  }
}

function parseLine(line: string, where: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (cause) {
    throw new UsageError(`${where} is no JSON`, { cause });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new UsageError(`${where} is no JSON object`);
  }
  return Object.fromEntries(Object.entries(parsed));
}

function field(object: Record<string, unknown>, name: string, line: number): Buffer {
  const text = object[name];
  if (typeof text === 'string') return textBytes(text, `line ${line}: "${name}"`);
  const base64 = object[`${name}64`];
  if (typeof base64 === 'string') return decodeBase64(base64, `line ${line}: ${name}64`);
  if (name === 'value' && text !== undefined) return Buffer.from(JSON.stringify(text), 'utf8');
  throw new UsageError(`line ${line} has no "${name}"`);
}

/** RFC 4180 rows, character by character; quotes may hold separators, line breaks and doubled quotes. */
class RowReader {
  readonly #separator: string;
  readonly #name: string;
  #row: string[] = [];
  #cell = '';
  /** `plain`; `quoted`: inside quotes; `closed`: behind the quote that may be the closing one. */
  #state: 'plain' | 'quoted' | 'closed' = 'plain';

  constructor(separator: string, name: string) {
    this.#separator = separator;
    this.#name = name;
  }

  /** Takes one character; gives the row that it ends. Empty lines are no rows. */
  push(char: string): readonly string[] | undefined {
    if (this.#state === 'quoted') {
      if (char === '"') this.#state = 'closed';
      else this.#cell += char;
      return undefined;
    }
    if (char === '"' && this.#state === 'closed') {
      this.#cell += '"';
      this.#state = 'quoted';
    } else if (char === '"' && this.#cell === '') {
      this.#state = 'quoted';
    } else if (char === this.#separator) {
      this.#endCell();
    } else if (char === '\n') {
      return this.#endRow();
    } else if (this.#state === 'plain') {
      this.#cell += char;
    } else if (char !== '\r') {
      throw new UsageError(`${this.#name} has text behind a closing quote`);
    }
    return undefined;
  }

  /** The row that the end of the text ends. */
  end(): readonly string[] | undefined {
    if (this.#state === 'quoted') throw new UsageError(`${this.#name} ends inside a quoted field`);
    return this.#endRow();
  }

  #endRow(): readonly string[] | undefined {
    if (this.#state === 'plain' && this.#cell.endsWith('\r')) this.#cell = this.#cell.slice(0, -1);
    const isEmpty = this.#row.length === 0 && this.#cell === '' && this.#state === 'plain';
    this.#endCell();
    const row = this.#row;
    this.#row = [];
    return isEmpty ? undefined : row;
  }

  #endCell(): void {
    this.#row.push(this.#cell);
    this.#cell = '';
    this.#state = 'plain';
  }
}

async function* delimited(
  input: AsyncIterable<Uint8Array>,
  separator: string,
  name: string,
): AsyncGenerator<readonly string[]> {
  const decoder = new StringDecoder('utf8');
  const reader = new RowReader(separator, name);
  for await (const chunk of input) {
    for (const char of decoder.write(Buffer.from(chunk))) {
      const row = reader.push(char);
      if (row !== undefined) yield row;
    }
  }
  const last = reader.end();
  if (last !== undefined) yield last;
}

/** Key: column `key`, else the first; value: column `value`, else the JSON object of the other columns. */
async function* rowsToEntries(rows: AsyncIterable<readonly string[]>, name: string): AsyncGenerator<SourceEntry> {
  let header: readonly string[] | undefined;
  let number = 0;
  for await (const row of rows) {
    number += 1;
    if (header === undefined) {
      header = row;
      continue;
    }
    if (row.length !== header.length) {
      throw new UsageError(`${name} row ${number} has ${row.length} fields, the header has ${header.length}`);
    }
    yield rowEntry(header, row);
  }
}

function rowEntry(header: readonly string[], row: readonly string[]): SourceEntry {
  const named = header.indexOf('key');
  const keyAt = named < 0 ? 0 : named;
  const valueAt = header.indexOf('value');
  const others = header.flatMap((column, at) => (at === keyAt ? [] : [[column, row[at] ?? ''] as const]));
  const value = valueAt < 0 || valueAt === keyAt ? JSON.stringify(Object.fromEntries(others)) : (row[valueAt] ?? '');
  return { key: Buffer.from(row[keyAt] ?? '', 'utf8'), value: Buffer.from(value, 'utf8') };
}

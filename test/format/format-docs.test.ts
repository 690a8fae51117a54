/**
 * The tables of docs/FORMAT.md against what native code writes and what TypeScript encodes: the tables are parsed, and
 * then used, with nothing else, to read real files. CRCs, chain and marks are computed here once more, in JavaScript.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buf as crc32c } from 'crc-32/crc32c.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Database, open, type Position, parsePosition, restoreSnapshot, snapshotInfo } from '../../dist/index.js';
import { encodePosition, positionBytes } from '../../dist/position.js';
import { murmur3Low } from './murmur.js';

interface Field {
  readonly at: number;
  readonly bytes: number;
}
type Layout = ReadonlyMap<string, Field>;

/** The first table below a heading, by field name; rows must follow each other without a gap or overlap. */
function layoutOf(heading: string): Layout {
  const text = readFileSync(new URL('../../docs/FORMAT.md', import.meta.url), 'utf8');
  const at = text.search(new RegExp(`^#+ ${heading}$`, 'm'));
  expect(at, heading).toBeGreaterThanOrEqual(0);
  const fields = new Map<string, Field>();
  let next = 0;
  for (const line of text.slice(at).split('\n').slice(1)) {
    if (/^#/.test(line)) break;
    const row = /^\| (\d+) \| (\d+) \| (\w+) \| (\w+) \|/.exec(line);
    if (row === null) {
      if (fields.size > 0) break;
      continue;
    }
    const field = { at: Number(row[1]), bytes: Number(row[2]) };
    expect(field.at, `${heading}: ${row[4]}`).toBe(next);
    next = field.at + field.bytes;
    fields.set(row[4] ?? '', field);
  }
  return fields;
}

/** Reads the fields of one structure out of a file. */
class Struct {
  readonly #layout: Layout;
  readonly #bytes: Buffer;

  constructor(heading: string, file: Buffer, at = 0) {
    this.#layout = layoutOf(heading);
    const last = [...this.#layout.values()].at(-1) ?? { at: 0, bytes: 0 };
    this.#bytes = file.subarray(at, at + last.at + last.bytes);
    expect(this.#bytes.length).toBe(last.at + last.bytes);
  }

  get length(): number {
    return this.#bytes.length;
  }
  field(name: string): Buffer {
    const field = this.#layout.get(name);
    if (field === undefined) throw new Error(`the table has no field ${name}`);
    return this.#bytes.subarray(field.at, field.at + field.bytes);
  }
  at(name: string): number {
    return this.#layout.get(name)?.at ?? -1;
  }
  text(name: string): string {
    return this.field(name).toString('latin1');
  }
  hex(name: string): string {
    return this.field(name).toString('hex');
  }
  u8(name: string): number {
    return this.field(name).readUInt8();
  }
  u32(name: string): number {
    return this.field(name).readUInt32LE();
  }
  u64(name: string): bigint {
    return this.field(name).readBigUInt64LE();
  }
  position(name: string): string {
    return positionAt(this.field(name), 0);
  }
  bytes(from: number, to: number): Buffer {
    return this.#bytes.subarray(from, to);
  }
}

function positionAt(file: Buffer, at: number): string {
  const fields = new Struct('Position', file, at);
  const chain = fields.u64('chain').toString(16).padStart(16, '0');
  return `${fields.u32('term')}.${fields.u32('run')}:${fields.u64('seq')}:${fields.u64('offset')}:${chain}`;
}

const crc = (...parts: readonly Buffer[]): number => crc32c(Buffer.concat(parts)) >>> 0;
const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
};

const root = mkdtempSync(join(tmpdir(), 'gapless-format-'));
const dir = join(root, 'store');
const snapshot = join(root, 'snapshot');
let end: Position;
let ids: { readonly clusterId: string; readonly nodeId: string };
const read = (...names: readonly string[]): Buffer => readFileSync(join(dir, ...names));

beforeAll(async () => {
  const db: Database = await open(dir, { shards: 3 });
  await db.batch().put('a', 'one').del('b').delRange({ gte: 'c', lt: 'd' }).delRange({ gte: 'x' }).commit();
  await db.put('key', Buffer.alloc(37, 'v'));
  await db.snapshot(snapshot);
  await db.put('later', '');
  const { clusterId, nodeId } = db.status();
  ids = { clusterId: clusterId ?? '', nodeId };
  end = db.position;
  await db.close();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('files of a directory', () => {
  test('IDENTITY is what its table says', () => {
    const identity = new Struct('IDENTITY', read('IDENTITY'));
    expect(identity.length).toBe(read('IDENTITY').length);
    expect([identity.text('magic'), identity.u32('version'), identity.u32('shards')]).toEqual(['GPLSIDN1', 1, 3]);
    expect([identity.hex('clusterId'), identity.hex('nodeId')]).toEqual([ids.clusterId, ids.nodeId]);
    expect(identity.u32('crc')).toBe(crc(identity.bytes(0, identity.at('crc'))));
  });

  test('STATE holds the same content twice, and the mark of a clean close', () => {
    const file = read('STATE');
    expect(file.length).toBe(8192);
    for (const at of [0, 4096]) {
      const state = new Struct('STATE', file, at);
      expect([state.text('magic'), state.u32('version'), state.u32('role')]).toEqual(['GPLSSTA1', 1, 1]);
      expect(`${state.u32('ownTerm')}.${state.u32('ownRun')}`).toBe(end.epoch);
      expect([state.u32('highestTerm'), state.u32('intent'), state.u32('paddedCount')]).toEqual([1, 0, 0]);
      expect(state.u64('durableMark')).toBe(end.offset);
      expect(state.u32('crc')).toBe(crc(state.bytes(0, state.at('crc'))));
    }
  });

  test('CURRENT is one line with its checksum', () => {
    const [, head, sum] = /^(gaplessdb 1 gen-\d{6}) ([0-9a-f]{8})\n$/.exec(read('CURRENT').toString()) ?? [];
    expect(sum).toBe(
      crc(Buffer.from(head ?? ''))
        .toString(16)
        .padStart(8, '0'),
    );
  });

  test('a manifest begins and ends as described', () => {
    const name = readdirSync(join(dir, 'gen-000001')).find((entry) => entry.startsWith('MANIFEST-')) ?? '';
    const file = read('gen-000001', name);
    expect(file.toString('latin1', 0, 8)).toBe('GPLSMAN1');
    expect([file.readUInt32LE(8), file.readUInt32LE(12)]).toEqual([1, file.length]);
    expect(file.readBigUInt64LE(16)).toBe(1n);
    expect(file.toString('hex', 32, 48)).toBe(ids.clusterId);
    expect(file.readUInt32LE(file.length - 4)).toBe(crc(file.subarray(0, -4)));
  });

  test('a manifest names its runs as its table says, and the files are there', async () => {
    const restored = join(root, 'restored');
    await restoreSnapshot(snapshot, restored);
    const generation = join(restored, 'gen-000001');
    const file = readFileSync(join(generation, 'MANIFEST-000001'));
    expect([file.readBigUInt64LE(80), file.readBigUInt64LE(88)]).toEqual([0n, BigInt(file.readUInt32LE(96)) + 1n]);
    let at = 100;
    let cells = 0;
    for (let i = 0; i < file.readUInt32LE(96); i += 1) {
      const run = new Struct('MANIFEST', file, at);
      expect([run.u32('level'), run.u32('runFlags')]).toEqual([6, 0]);
      const name = `run-${String(run.u64('number')).padStart(6, '0')}`;
      expect(BigInt(statSync(join(generation, 'runs', name)).size)).toBe(run.u64('fileBytes'));
      expect(run.u64('minSeq')).toBeLessThanOrEqual(run.u64('maxSeq'));
      cells += Number(run.u64('cells'));
      at += run.length + run.u32('lowerBytes') + run.u32('upperBytes');
    }
    expect(cells).toBe(2);
  });
});

describe('the log', () => {
  const name = '00000000000000000000.log';
  const log = (): Buffer => read('gen-000001', 'log', name);

  test('a segment header, marks and records stand where the tables put them, and prove themselves', () => {
    const file = log();
    const header = new Struct('Segment', file);
    expect([header.text('magic'), header.u32('version'), header.u32('segmentFlags')]).toEqual(['GPLSLOG1', 1, 0]);
    expect([header.hex('clusterId'), header.position('start')]).toEqual([ids.clusterId, '0.0:0:0:0000000000000000']);
    expect(header.u32('crc')).toBe(crc(header.bytes(0, header.at('crc'))));
    const walked = walk(file, header.length);
    expect(walked.position).toBe(end.toString());
    expect(walked.kinds).toEqual([2, 1, 1, 1]);
    expect(walked.marks).toBeGreaterThan(0);
  });

  /** Every structure of the segment in turn; whatever does not verify fails the test. */
  function walk(file: Buffer, from: number): { position: string; kinds: number[]; marks: number } {
    const secret = new Struct('IDENTITY', read('IDENTITY')).field('secret');
    const kinds: number[] = [];
    let position = parsePosition('0.0:0:0:0000000000000000');
    let marks = 0;
    for (let at = from; at < file.length; ) {
      if (file.readUInt32LE(at) === 0x4b524d47) {
        const mark = new Struct('Mark', file, at);
        const proof = murmur3Low(Buffer.concat([secret, u64(0n), u64(BigInt(at)), mark.bytes(0, mark.at('hash'))]));
        expect([mark.u64('offset'), mark.u64('hash')]).toEqual([position.offset, proof]);
        expect(mark.u64('durable')).toBeLessThanOrEqual(position.offset);
        marks += 1;
        at += mark.length;
        continue;
      }
      const record = new Struct('Record', file, at);
      const body = file.subarray(at + record.length, at + record.length + record.u32('bodyBytes'));
      const cluster = Buffer.from(ids.clusterId, 'hex');
      expect(record.u32('bodyCrc')).toBe(crc(body));
      expect(record.u32('headerCrc')).toBe(crc(cluster, u64(position.offset), record.bytes(4, record.length)));
      const before = u64(BigInt(`0x${position.chain}`));
      const chain = murmur3Low(Buffer.concat([before, record.bytes(8, 48), record.field('bodyCrc')]));
      expect(record.u64('chain')).toBe(chain);
      expect(record.u64('firstSeq')).toBe(position.seq + 1n);
      kinds.push(record.u8('kind'));
      const bytes = Math.ceil((record.length + body.length) / 8) * 8;
      const seq = position.seq + BigInt(Math.max(1, record.u32('operations')));
      const offset = position.offset + BigInt(bytes);
      const text = chain.toString(16).padStart(16, '0');
      position = parsePosition(`${record.u32('term')}.${record.u32('run')}:${seq}:${offset}:${text}`);
      at += bytes;
    }
    return { position: position.toString(), kinds, marks };
  }

  test('operations are encoded by TypeScript as the table of the batch body says', () => {
    const file = log();
    const body = Buffer.from('a');
    const at = file.indexOf(Buffer.concat([Buffer.from([1, 0, 1, 0, 3, 0, 0, 0]), body, Buffer.from('one')]));
    expect(at).toBeGreaterThan(0);
    const put = new Struct('Batch body', file, at);
    expect([put.u8('op'), put.u8('opFlags'), put.field('keyBytes').readUInt16LE(), put.u32('valueBytes')]).toEqual([
      1, 0, 1, 3,
    ]);
    const rest = [
      [2, 0, 1, 0],
      [3, 0, 1, 1],
      [3, 2, 1, 0],
    ];
    let next = at + 8 + 4;
    for (const [op, flags, keyBytes, valueBytes] of rest) {
      const found = new Struct('Batch body', file, next);
      const sizes = [found.field('keyBytes').readUInt16LE(), found.u32('valueBytes')];
      expect([found.u8('op'), found.u8('opFlags'), ...sizes]).toEqual([op, flags, keyBytes, valueBytes]);
      next += 8 + (keyBytes ?? 0) + (valueBytes ?? 0);
    }
  });
});

describe('a snapshot', () => {
  test('its token and flows are what their tables say', async () => {
    const info = await snapshotInfo(snapshot);
    const token = readFileSync(join(snapshot, 'SNAPSHOT'));
    expect([token.toString('latin1', 0, 8), token.readUInt32LE(8)]).toEqual(['GPLSSNP1', 1]);
    expect([token.readUInt32LE(12), token.toString('hex', 16, 32)]).toEqual([token.length, ids.clusterId]);
    expect(token.readUInt32LE(token.length - 4)).toBe(crc(token.subarray(0, -4)));
    let entries = 0;
    for (const flow of info.flows) {
      const file = readFileSync(join(snapshot, `flow-${String(flow.flow).padStart(5, '0')}`));
      const header = new Struct('Flow', file);
      expect([header.text('magic'), header.u32('version'), header.u32('flow'), header.u32('flows')]).toEqual([
        'GPLSFLW1',
        1,
        flow.flow,
        3,
      ]);
      expect(header.position('position')).toBe(info.meta.position.toString());
      expect(header.u32('crc')).toBe(crc(header.bytes(0, header.at('crc'))));
      let at = header.length;
      while (file.readUInt32LE(at) === 0x4b4e4843) {
        const chunk = new Struct('Chunk', file, at);
        const stored = file.subarray(at + chunk.length, at + chunk.length + chunk.u32('storedBytes'));
        expect(chunk.u32('crc')).toBe(crc(chunk.bytes(0, chunk.at('crc'))));
        expect(chunk.u32('storedCrc')).toBe(crc(stored));
        entries += chunk.u32('entries');
        at += chunk.length + stored.length;
      }
      const footer = new Struct('Footer', file, at);
      expect([footer.u32('magic'), footer.text('end')]).toEqual([0x444e4546, 'GPLSEND1']);
      expect(footer.u32('flowCrc')).toBe(crc(file.subarray(0, at)));
      expect(footer.u32('crc')).toBe(crc(footer.bytes(0, footer.at('crc'))));
      expect([at + footer.length, crc(file)]).toEqual([file.length, flow.crc]);
    }
    expect(entries).toBe(2);
  });
});

test('TypeScript encodes a position as its table says', () => {
  const bytes = Buffer.alloc(positionBytes);
  const text = '3.1:42:4096:9f3c0a5e11d27b60';
  encodePosition(parsePosition(text), new DataView(bytes.buffer, bytes.byteOffset), 0);
  expect(positionAt(bytes, 0)).toBe(text);
});

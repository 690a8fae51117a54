/** Importing into nodes, and the acknowledgement log where it matters: pipes, FIFOs, a node that dies. */
import { execFileSync, spawn } from 'node:child_process';
import { createReadStream, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AckLog } from '../../dist/cli/ack-log.js';
import { cli, mainPath, place, serve, stopAll } from './harness.js';

afterAll(stopAll);

let tree: string;
const files = 120;
beforeAll(() => {
  tree = place('tree');
  for (let i = 0; i < files; i += 1) {
    const folder = join(tree, `d${i % 7}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `f${i}.bin`), Buffer.alloc((i * 37) % 3000, i));
  }
});

/** Keys of the log with their sequences; each line checked for its form. */
function parseAcks(text: string): Map<string, bigint> {
  expect(text === '' || text.endsWith('\n')).toBe(true);
  const acks = new Map<string, bigint>();
  for (const line of text.split('\n').slice(0, -1)) {
    const [, seq = '', key = ''] = /^(\d+)\t([^\t\n]*)$/.exec(line) ?? [];
    expect(seq, line).not.toBe('');
    acks.set(key, BigInt(seq));
  }
  return acks;
}

describe('import into a node', () => {
  test('gives what the import into a directory gives', async () => {
    const [dir, acks] = [place('store'), place('acks')];
    const node = await serve([place('node')]);
    const local = await cli(['import', dir, tree, '--json']);
    const remote = await cli(['import', node.url, tree, '--json', '--ack-log', acks, '--batch', '7']);
    expect(remote.code, remote.stderr).toBe(0);
    expect(remote.lines[0]).toMatchObject({ entries: files, batches: Math.ceil(files / 7), skipped: 0 });
    expect(remote.lines[0]?.['bytes']).toBe(local.lines[0]?.['bytes']);
    const [ours, theirs] = [await cli(['digest', dir]), await cli(['digest', node.url])];
    expect(theirs.stdout.toString().split(' ').slice(0, 3)).toEqual(ours.stdout.toString().split(' ').slice(0, 3));
    const acked = parseAcks(readFileSync(acks, 'utf8'));
    expect(acked.size).toBe(files);
    const scanned = await cli(['scan', node.url, '--json', '--keys']);
    for (const { key, version } of scanned.lines) {
      expect(`${acked.get(String(key))}`).toBe((version as { seq: string }).seq);
    }
  });
  test('acknowledges nothing that a killed node has lost', async () => {
    const dir = place('node');
    const node = await serve([dir]);
    const acks = place('acks');
    const importing = cli(['import', node.url, tree, '--json', '--ack-log', acks, '--batch', '2']);
    while (!isThere(acks) || statSync(acks).size < 200) await new Promise((resolve) => setTimeout(resolve, 2));
    node.signal('SIGKILL');
    await node.exit;
    const { code, error } = await importing;
    expect([code, error['code']]).toEqual([1, 'IO']);
    const acked = parseAcks(readFileSync(acks, 'utf8'));
    expect(acked.size).toBeGreaterThan(0);
    expect(acked.size).toBeLessThan(files);
    for (const key of acked.keys()) {
      const { stdout } = await cli(['get', dir, key]);
      expect(stdout.equals(readFileSync(join(tree, key))), key).toBe(true);
    }
  });
});

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

describe('the acknowledgement log', () => {
  test('goes through a FIFO, one write a batch', async () => {
    const fifo = place('fifo');
    execFileSync('mkfifo', [fifo]);
    const child = spawn(process.execPath, [
      mainPath,
      'import',
      place('store'),
      tree,
      '--batch',
      '10',
      '--ack-log',
      fifo,
    ]);
    const chunks: string[] = [];
    for await (const chunk of createReadStream(fifo)) chunks.push(Buffer.from(chunk).toString('utf8'));
    await new Promise((resolve) => child.once('close', resolve));
    const acked = parseAcks(chunks.join(''));
    expect(acked.size).toBe(files);
    expect([...acked.keys()]).toEqual([...acked.keys()].sort());
  });
  test('goes through a pipe that is slow and does not block', async () => {
    const dir = place('store');
    // More than any pipe holds: the import has to wait for its reader, and so has not ended when that begins.
    const lines = Array.from({ length: 20_000 }, (_, i) =>
      JSON.stringify({ key: `key-${'x'.repeat(40)}-${i}`, value: '1' }),
    );
    const source = place('source.ndjson');
    writeFileSync(source, lines.join('\n'));
    const words = [
      mainPath,
      'import',
      dir,
      source,
      '--batch',
      '1000',
      '--ack-log',
      '/dev/fd/3',
      '--durability',
      'memory',
    ];
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    const stderr = textOf(child.stderr ?? Readable.from([]));
    const pipe = child.stdio[3] as unknown as NodeJS.ReadableStream;
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(parseAcks(await textOf(pipe)).size, await stderr).toBe(20_000);
  });
  test('has every line written when acknowledge returns', async () => {
    const path = place('acks');
    const log = new AckLog(path);
    await log.acknowledge(5n, [Buffer.from('a'), Buffer.from('b')]);
    expect(readFileSync(path, 'utf8')).toBe('5\ta\n6\tb\n');
    log.close();
    const more = new AckLog(path);
    await more.acknowledge(7n, [Buffer.from('c')]);
    more.close();
    expect(readFileSync(path, 'utf8')).toBe('5\ta\n6\tb\n7\tc\n');
  });
  test('that cannot be opened or written is IO', async () => {
    const nowhere = await cli(['import', place('store'), tree, '--json', '--ack-log', join(place('none'), 'acks')]);
    expect([nowhere.code, nowhere.error['code']]).toEqual([1, 'IO']);
    const full = await cli(['import', place('store'), tree, '--json', '--ack-log', '/dev/full']);
    expect([full.code, full.error['code']]).toEqual([1, 'IO']);
    expect(full.error['message']).toContain('acknowledgement log');
  });
});

/** The demo on a small generated tree: everything that it promises, and that it leaves nothing behind. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkEntries, valueHash } from '../../dist/cli/demo-feed.js';
import type { Target } from '../../dist/cli/target.js';
import { cli, type Json, mainPath, place, stopAll } from './harness.js';

afterAll(stopAll);

let tree: string;
const files = 300;
beforeAll(() => {
  tree = place('tree');
  for (let i = 0; i < files; i += 1) {
    const folder = join(tree, `d${i % 5}`, `e${i % 3}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `f${i}`), Buffer.alloc(500 + ((i * 977) % 20_000), `${i} `));
  }
});

describe('the demo', () => {
  test('proves both nodes equal after cuts and a kill', async () => {
    const keep = place('kept');
    const { code, lines, stderr } = await cli(['demo', tree, '--keep', keep, '--json']);
    expect(code, stderr).toBe(0);
    const [report = {}] = lines;
    expect(Object.keys(report)).toEqual([
      'ok',
      'files',
      'bytes',
      'seconds',
      'writesPerSecond',
      'fullSync',
      'resyncs',
      'maxLag',
      'position',
      'digest',
      'acknowledged',
      'missing',
      'different',
    ]);
    expect(report).toMatchObject({ ok: true, files, acknowledged: files, missing: 0, different: 0 });
    expect(report['resyncs']).toMatchObject({ full: 1, rewind: 0, padding: 0 });
    // The short cut is the ring's, the long one the segments'; behind the primary's restart it is the ring's if the
    // replica had everything, otherwise the segments'.
    const { ring, wal } = report['resyncs'] as { readonly ring: number; readonly wal: number };
    expect([ring >= 1, wal >= 1, ring + wal >= 3]).toEqual([true, true, true]);
    expect((report['fullSync'] as Json)['keys']).toBeGreaterThan(0);
    const digests = report['digest'] as Json;
    expect(digests['primary']).toBe(digests['replica']);
    for (const name of ['primary', 'replica']) {
      const { stdout } = await cli(['digest', join(keep, name), '--json']);
      expect(JSON.parse(stdout.toString())).toMatchObject({ digest: digests['primary'], keys: files });
      expect((await cli(['verify', join(keep, name), '--deep'])).code).toBe(0);
    }
  }, 120_000);
  test('refuses a source without files and a directory that exists', async () => {
    const empty = place('empty');
    mkdirSync(empty);
    expect((await cli(['demo', empty])).code).toBe(2);
    const { code, error } = await cli(['demo', tree, '--keep', empty, '--json']);
    expect([code, error['code']]).toEqual([1, 'IO']);
  });
  test('stops its processes and removes its files when it is interrupted', async () => {
    const temporary = place('tmp');
    mkdirSync(temporary);
    const env = { ...process.env, TMPDIR: temporary };
    const child = spawn(process.execPath, [mainPath, 'demo', tree], { stdio: ['ignore', 'ignore', 'pipe'], env });
    let stderr = '';
    const joined = new Promise<void>((resolve) => {
      child.stderr.on('data', (data: Buffer) => {
        stderr += data.toString();
        if (stderr.includes('a replica joins')) resolve();
      });
    });
    await joined;
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect(code, stderr).toBe(1);
    expect(stderr).toContain('interrupted');
    expect(readdirSync(temporary)).toEqual([]);
    const processes = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
    expect(processes).not.toContain(temporary);
  }, 60_000);
});

describe('the check of the demo', () => {
  const target = (rows: readonly (readonly [string, string])[]): Target => {
    async function* scan(): AsyncGenerator<{ key: Buffer; value: Buffer; version: never }> {
      for (const [key, value] of rows)
        yield { key: Buffer.from(key), value: Buffer.from(value), version: undefined as never };
    }
    return { scan } as unknown as Target;
  };
  test('counts what is missing and what is different', async () => {
    const acknowledged = new Map(['a', 'b', 'c'].map((key) => [key, valueHash(Buffer.from(`${key}!`))]));
    const rows = [
      ['a', 'a!'],
      ['b', 'b?'],
      ['x', 'x'],
    ] as const;
    expect(await checkEntries(target(rows), acknowledged)).toEqual({ missing: 1, different: 1 });
    expect(await checkEntries(target([]), acknowledged)).toEqual({ missing: 3, different: 0 });
  });
});

/**
 * A full disk for real: a tmpfs of a fixed size. Needs root for mount(8); skipped loudly where that is not to be had.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { GaplessError, open } from '../../dist/index.js';
import { temporaryRoot } from './harness.js';

const root = temporaryRoot();
const mounted: string[] = [];
afterAll(() => {
  for (const path of mounted) spawnSync('umount', [path]);
  root.remove();
});

function mountSmall(name: string, size: string): string | null {
  const path = root.path(name);
  mkdirSync(path);
  const result = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'gapless-test', path], { encoding: 'utf8' });
  if (result.status !== 0) {
    process.stderr.write(`SKIPPED: a full disk: no tmpfs can be mounted: ${result.stderr ?? result.error?.message}\n`);
    return null;
  }
  mounted.push(path);
  return path;
}

const disk = mountSmall('disk', '3m');

test.skipIf(disk === null)(
  'a full disk refuses writes before their place, and they go on when there is room',
  { timeout: 60_000 },
  async () => {
    if (disk === null) return;
    const filler = join(disk, 'filler');
    writeFileSync(filler, Buffer.alloc(1 << 20));
    const path = join(disk, 'store');
    const options = { segmentBytes: 64 * 1024, shards: 1 } as const;
    let db = await open(path, options);
    const events: string[] = [];
    db.on('no_space', () => events.push('no_space'));
    db.on('space_back', () => events.push('space_back'));
    const acknowledged = new Map<string, string>();
    const write = async (i: number): Promise<unknown> => {
      const value = `${i}.`.padEnd(4000, 'x');
      try {
        await db.put(`k${i}`, value);
        acknowledged.set(`k${i}`, value);
        return undefined;
      } catch (error) {
        return error;
      }
    };

    let next = 0;
    let error: unknown;
    while (error === undefined && next < 2000) {
      error = await write(next);
      next += 1;
    }
    expect(error).toBeInstanceOf(GaplessError);
    expect(error).toMatchObject({ code: 'NO_SPACE', retryable: true, inDoubt: false });
    expect((error as GaplessError).details.position).toBe(undefined);
    // The refused write has no sequence: the store stands where the last acknowledged one left it.
    const standing = db.position;
    expect(db.get(`k${next - 1}`)).toBe(undefined);
    expect(acknowledged.size).toBeGreaterThan(100);
    for (const [key, value] of acknowledged) expect(db.get(key)?.toString()).toBe(value);
    expect(await write(next)).toMatchObject({ code: 'NO_SPACE' });
    expect(db.position).toEqual(standing);

    rmSync(filler);
    const deadline = Date.now() + 15_000;
    do {
      error = await write(next);
      if (error !== undefined) await new Promise((resolve) => setTimeout(resolve, 100));
    } while (error !== undefined && Date.now() < deadline);
    expect(error).toBe(undefined);
    expect(events).toEqual(['no_space', 'space_back']);

    // Full again, and closed so: nothing that was acknowledged depends on room at the end.
    for (error = undefined; error === undefined; next += 1) error = await write(next);
    expect(error).toMatchObject({ code: 'NO_SPACE' });
    await db.close();
    db = await open(path, options);
    try {
      for (const [key, value] of acknowledged) expect(db.get(key)?.toString()).toBe(value);
      expect([...db.range({ prefix: 'k' })].length).toBe(acknowledged.size);
    } finally {
      await db.close();
    }
  },
);

/**
 * The native suites catch bugs: two of the seeded ones in each run, all of them with `npm run test:seeded`.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const script = fileURLToPath(new URL('../../scripts/seeded-bugs.mjs', import.meta.url));
const run = (...args: string[]) => spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });

test('there are at least five seeded bugs, and an unknown one is refused', () => {
  expect(run('--list').stdout.trim().split('\n').length).toBeGreaterThanOrEqual(5);
  expect(run('NO_SUCH_BUG').status).toBe(2);
});

test('two seeded bugs are caught, each by a test that is named', { timeout: 600_000 }, () => {
  const { stdout, stderr, status } = run('CHUNK_CRC_NOT_CHECKED', 'PADDING_NOT_CHECKED');
  expect(stdout, stderr).toMatch(/^CHUNK_CRC_NOT_CHECKED +caught by \w+: .+$/m);
  expect(stdout).toMatch(/^PADDING_NOT_CHECKED +caught by \w+: .+$/m);
  expect(status).toBe(0);
});

/**
 * A short run of every fuzz target without sanitizers, behind the inputs that once failed. The long one, with ASan and
 * UBSan: `npm run fuzz`.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const script = fileURLToPath(new URL('../../scripts/fuzz.mjs', import.meta.url));

test('no target fails within two seconds', { timeout: 600_000 }, () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [script, '--plain', '--seconds', '2'], {
    encoding: 'utf8',
  });
  expect(stdout, stderr).toMatch(/^fuzz: [1-9][0-9]* passed, 0 failed$/m);
  expect(status).toBe(0);
});

/**
 * Proves that the native test harness (test/native/check.h) can fail: a planted test file is compiled and run, and
 * its counts, failure lines and exit code are read back.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const planted = `#include "check.h"
#include <cstddef>
struct Answer {
  bool good;
  bool ok() const { return good; }
  std::string ToString() const { return good ? "OK" : "IO: torn"; }
};
TEST("sound checks pass") {
  gapless::check::TempDir dir;
  CHECK(!dir.path().empty());
  CHECK_EQ(size_t{3}, 3);
  CHECK_LT(-1, 1u);
  CHECK_NE(std::string("a"), "b");
  CHECK_OK(Answer{true});
}
TEST("a wrong comparison fails") { CHECK_EQ(std::string("a\\n"), "b"); }
TEST("a bad status fails") { CHECK_OK(Answer{false}); }
TEST("a requirement leaves the test") {
  REQUIRE_EQ(1, 2);
  CHECK(sizeof(int) == 0);
}
TEST("a signed value is below every unsigned one") { CHECK_GE(-1, 1u); }
`;

let scratch = '';
const run = (...args: string[]) => spawnSync(join(scratch, 'planted'), args, { encoding: 'utf8' });

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'gaplessdb-harness-'));
  writeFileSync(join(scratch, 'planted.cc'), planted);
  const flags = [
    '-std=c++20',
    '-fno-exceptions',
    '-fno-rtti',
    '-Wall',
    '-Wextra',
    '-Wshadow',
    '-Wconversion',
    '-Werror',
  ];
  const sources = [join(scratch, 'planted.cc'), join(root, 'test/native/main.cc')];
  const compiler = process.env['CXX'] ?? 'g++';
  const include = `-I${join(root, 'test/native')}`;
  const built = spawnSync(compiler, [...flags, include, ...sources, '-o', join(scratch, 'planted')], {
    encoding: 'utf8',
  });
  expect(built.stderr).toBe('');
});
afterAll(() => rmSync(scratch, { recursive: true }));

test('failed checks are counted, told with both values, and end in exit code 1', () => {
  const result = run();
  expect(result.stdout.trimEnd().split('\n').at(-1)).toBe('1 passed, 4 failed');
  expect(result.status).toBe(1);
  expect(result.stderr).toContain('"a\\x0a" and "b"');
  expect(result.stderr).toContain('is not OK: IO: torn');
  expect(result.stderr).toContain('planted.cc:16: [a wrong comparison fails]');
  expect(result.stderr).not.toContain('sizeof(int)');
});

test('a filter keeps the tests whose name contains it', () => {
  const result = run('--filter', 'sound');
  expect(result.stdout).toBe('1 passed, 0 failed\n');
  expect(result.status).toBe(0);
});

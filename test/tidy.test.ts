/**
 * Holds the house rules over the whole checkout: doors between rooms, sizes, words. Each rule is also shown to fire
 * on a planted bad sample, so that a rule that stopped working is seen. To change a door, change tidy-rules.ts.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import * as rules from './tidy-rules.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const codeEndings = /\.(ts|mjs|cc|h)$/;

function filesBelow(dir: string): string[] {
  const found: string[] = [];
  for (const entry of readdirSync(join(root, dir), { withFileTypes: true })) {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory() && entry.name !== 'node_modules') found.push(...filesBelow(path));
    else if (entry.isFile()) found.push(path);
  }
  return found;
}

const folders = new Set(readdirSync(root));
const all = new Map<string, string>();
for (const dir of ['src', 'native', 'test', 'bench', 'scripts', 'docs'].filter((name) => folders.has(name))) {
  for (const path of filesBelow(dir)) {
    if (codeEndings.test(path) || path.endsWith('.md')) all.set(path, readFileSync(join(root, path), 'utf8'));
  }
}

function complaints(rule: rules.Rule, wanted: RegExp): string[] {
  const chosen = [...all].filter(([path]) => wanted.test(path));
  return chosen.flatMap(([path, text]) => rule(path, text));
}

describe('the checkout', () => {
  test('has the files that the rules are about', () => {
    expect(all.has('src/index.ts')).toBe(true);
    expect(all.has('native/binding.cc')).toBe(true);
  });
  test('keeps the doors between the rooms of src', () => {
    expect(complaints(rules.sourceDirection, /^src\/.*\.ts$/)).toEqual([]);
  });
  test('keeps the doors between the rooms of native', () => {
    expect(complaints(rules.nativeDirection, /^native\/.*\.(cc|h)$/)).toEqual([]);
  });
  test('imports piscina in src/workers only', () => {
    expect(complaints(rules.piscinaDoor, /^src\/.*\.ts$/)).toEqual([]);
  });
  test('includes Node-API in native/napi and binding.cc only', () => {
    expect(complaints(rules.napiDoor, /^(native|test\/native)\/.*\.(cc|h)$/)).toEqual([]);
  });
  test('loads the addon in src/binding only', () => {
    expect(complaints(rules.addonDoor, /^src\/.*\.ts$/)).toEqual([]);
  });
  test('keeps its lines short', () => {
    expect(complaints(rules.columns, codeEndings)).toEqual([]);
  });
  test('keeps its files below 700 lines', () => {
    expect(complaints(rules.fileSize, codeEndings)).toEqual([]);
  });
  test('keeps its C++ functions within 70 lines', () => {
    expect(complaints(rules.functionSize, /\.(cc|h)$/)).toEqual([]);
  });
  test('is ASCII', () => {
    expect(complaints(rules.asciiOnly, /./)).toEqual([]);
  });
  test('holds no banned word', () => {
    expect(complaints(rules.bannedWords, /./)).toEqual([]);
  });
  test('holds no source file that nothing imports', () => {
    const sources = new Map([...all].filter(([path]) => /^(src|bench|scripts)\//.test(path)));
    expect(rules.neverImported(sources, ['src/index.ts', 'src/cli/main.ts'])).toEqual([]);
  });
});

describe('a rule fires on', () => {
  test('a lower room of src that imports a higher one', () => {
    expect(rules.sourceDirection('src/wire/frame.ts', "import { x } from '../replication/primary.js';")).toHaveLength(
      1,
    );
    expect(rules.sourceDirection('src/replication/a.ts', "import type { D } from '../database.js';")).toHaveLength(1);
    expect(rules.sourceDirection('src/errors.ts', "export { x } from './database.js';")).toHaveLength(1);
    expect(rules.sourceDirection('src/wire/frame.ts', "const x = await import('../ring/reader.js');")).toHaveLength(1);
    expect(rules.sourceDirection('src/wire/frame.ts', "import '../errors.js';")).toEqual([]);
  });
  test('a room that is not in the matrix', () => {
    expect(rules.sourceDirection('src/helpers/a.ts', '')).toHaveLength(1);
    expect(rules.nativeDirection('native/misc/a.h', '')).toHaveLength(1);
  });
  test('a lower room of native that includes a higher one', () => {
    expect(rules.nativeDirection('native/log/a.cc', '#include "table/memtable.h"')).toHaveLength(1);
    expect(rules.nativeDirection('native/ring/a.cc', '#include "engine/engine.h"')).toHaveLength(1);
    expect(rules.nativeDirection('native/snapshot/a.cc', '  # include "engine/engine.h"')).toHaveLength(1);
    expect(rules.nativeDirection('native/io/a.cc', '#include "file.h"')).toHaveLength(1);
    expect(rules.nativeDirection('native/io/a.cc', '#include "base/status.h"\n#include <vector>')).toEqual([]);
  });
  test('piscina outside the workers', () => {
    expect(rules.piscinaDoor('src/database.ts', "import { Piscina } from 'piscina';")).toHaveLength(1);
    expect(rules.piscinaDoor('src/workers/pool.ts', "import { Piscina } from 'piscina';")).toEqual([]);
  });
  test('Node-API below native/napi', () => {
    expect(rules.napiDoor('native/engine/a.cc', '#include <napi.h>')).toHaveLength(1);
    expect(rules.napiDoor('native/engine/a.cc', '#include <node_api.h>')).toHaveLength(1);
    expect(rules.napiDoor('native/napi/a.cc', '#include <napi.h>')).toEqual([]);
  });
  test('the addon loaded outside src/binding', () => {
    expect(rules.addonDoor('src/database.ts', "require('../build/Release/gaplessdb.node')")).toHaveLength(1);
    expect(rules.addonDoor('src/database.ts', 'process.versions.node')).toEqual([]);
  });
  test('a long line', () => {
    expect(rules.columns('native/io/a.cc', 'x'.repeat(101))).toHaveLength(1);
    expect(rules.columns('native/io/a.cc', 'x'.repeat(100))).toEqual([]);
    expect(rules.columns('src/a.ts', `a\n${'x'.repeat(121)}`)).toEqual(['src/a.ts:2: 121 columns']);
  });
  test('a long file', () => {
    expect(rules.fileSize('src/a.ts', '\n'.repeat(701))).toHaveLength(1);
    expect(rules.fileSize('src/a.ts', '\n'.repeat(700))).toEqual([]);
  });
  test('a character outside ASCII', () => {
    expect(rules.asciiOnly('src/a.ts', `a\nb ${String.fromCharCode(0x2192)}`)).toEqual(['src/a.ts:2: not ASCII']);
  });
  test('a banned word', () => {
    const words = [
      ['FIX', 'ME'],
      ['TO', 'DO'],
      ['x as ', 'any;'],
      ['@ts-', 'ignore'],
    ].map((pieces) => pieces.join(''));
    for (const word of words) expect(rules.bannedWords('native/io/a.cc', `// ${word} later`)).toHaveLength(1);
    for (const word of ['console.log(1)', 'Math.random()', 'Date.now()']) {
      expect(rules.bannedWords('src/database.ts', word)).toHaveLength(1);
      expect(rules.bannedWords('test/a.test.ts', word)).toEqual([]);
    }
    expect(rules.bannedWords('src/base/clock.ts', 'Date.now()')).toEqual([]);
    expect(rules.bannedWords('docs/A.md', ['see /', 'work/x'].join(''))).toHaveLength(1);
  });
  test('a source file that nothing imports', () => {
    const files = new Map([
      ['src/index.ts', "export { a } from './a.js';\nnew URL('./worker.js', import.meta.url);"],
      ['src/a.ts', ''],
      ['src/worker.ts', ''],
      ['src/lost.ts', ''],
    ]);
    expect(rules.neverImported(files, ['src/index.ts'])).toEqual(['src/lost.ts']);
  });
});

describe('the C++ function counter', () => {
  const body = (lines: number): string => '  x();\n'.repeat(lines);
  test('fires on a function of 71 lines and not on one of 70', () => {
    const wrap = (lines: number): string => `namespace a {\nint f(int b) const {\n${body(lines - 2)}}\n}\n`;
    expect(rules.functionSize('native/io/a.cc', wrap(71))).toEqual(['native/io/a.cc:2: a function of 71 lines']);
    expect(rules.functionSize('native/io/a.cc', wrap(70))).toEqual([]);
  });
  test('sees methods inside classes, constructors with initialisers, and tests', () => {
    const method = `class A final : public B {\n A() : x_(1), y_{2} {\n${body(80)} }\n};`;
    expect(rules.functionSize('a.h', method)).toHaveLength(1);
    expect(rules.functionSize('a.cc', `TEST("a { b") {\n${body(80)}}`)).toHaveLength(1);
    expect(rules.functionSize('a.cc', `auto f() -> std::vector<int> {\n${body(80)}}`)).toHaveLength(1);
  });
  test('is not misled by namespaces, tables, braces in text, or digit separators', () => {
    const table = `constexpr int kTable[] = {\n${'  1,\n'.repeat(90)}};`;
    expect(rules.functionLengths(`namespace a {\n${table}\n}`)).toEqual([]);
    const text = `int f() {\n  auto a = "}"; char b = '}'; int c = 1'000; // }\n  auto d = R"(})";\n}\nint g() {\n}\n`;
    expect(rules.functionLengths(text).map(({ length }) => length)).toEqual([4, 2]);
  });
});

describe('biome', () => {
  const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome');
  const scratch = mkdtempSync(join(tmpdir(), 'gaplessdb-tidy-'));
  afterAll(() => rmSync(scratch, { recursive: true }));
  mkdirSync(join(scratch, 'src'));
  copyFileSync(join(root, 'biome.json'), join(scratch, 'biome.json'));
  const lint = (files: Record<string, string>): string => {
    for (const [name, code] of Object.entries(files)) writeFileSync(join(scratch, 'src', name), code);
    const result = spawnSync(process.execPath, [biome, 'lint', 'src'], { cwd: scratch, encoding: 'utf8' });
    for (const name of Object.keys(files)) rmSync(join(scratch, 'src', name));
    return `${result.stdout}${result.stderr}`;
  };
  test('fires on a floating promise and on an import cycle', () => {
    const floats = 'async function f(): Promise<void> {}\nexport function g(): void {\n  f();\n}\n';
    expect(lint({ 'a.ts': floats })).toContain('noFloatingPromises');
    const cycle = (name: string, other: string): string =>
      `import { ${other} } from './${other}.js';\nexport const ${name} = (): unknown => ${other};\n`;
    expect(lint({ 'a.ts': cycle('a', 'b'), 'b.ts': cycle('b', 'a') })).toContain('noImportCycles');
  });
  test('fires on console, any and a non-null assertion in src', () => {
    expect(lint({ 'a.ts': 'console.log(1);\n' })).toContain('noConsole');
    expect(lint({ 'a.ts': 'export const f = (x: any): void => x();\n' })).toContain('noExplicitAny');
    expect(lint({ 'a.ts': 'export const f = (x?: string): string => x!;\n' })).toContain('noNonNullAssertion');
  });
});

test('the lock file and the npm settings hold no index address', () => {
  const lock: unknown = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  expect(JSON.stringify(lock)).not.toContain('"resolved"');
  expect(readFileSync(join(root, '.npmrc'), 'utf8')).not.toMatch(/:\/\//);
});

test('the addon needs no newer system libraries than it promises', () => {
  const symbols = execFileSync('objdump', ['-T', join(root, 'build/Release/gaplessdb.node')], { encoding: 'utf8' });
  const newest = (name: string): number[] => {
    const versions = [...symbols.matchAll(new RegExp(`\\b${name}_([0-9.]+)`, 'g'))].map((match) => match[1] ?? '0');
    const numbers = versions.map((version) => version.split('.').map(Number));
    numbers.sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0) || (a[1] ?? 0) - (b[1] ?? 0) || (a[2] ?? 0) - (b[2] ?? 0));
    return numbers.at(-1) ?? [];
  };
  const glibc = newest('GLIBC');
  expect(glibc[0]).toBe(2);
  expect(glibc[1]).toBeLessThanOrEqual(34);
  expect(newest('GLIBCXX')[2] ?? 0).toBeLessThanOrEqual(29);
});

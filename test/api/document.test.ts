// docs/API.md is true: its blocks run as they stand, and it names every option, event and method there is.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { optionTable, replicationOptionTable } from '../../dist/index.js';
import { temporary } from './temporary.js';

const temp = temporary();
const page = readFileSync(new URL('../../docs/API.md', import.meta.url), 'utf8');
const front = new URL('../../dist/index.js', import.meta.url).href;

/** The blocks as one module; `expression; // => value` becomes an assertion. */
function program(): { readonly text: string; readonly claims: number } {
  let claims = 0;
  const lines = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].flatMap(([, block = '']) => block.split('\n'));
  const text = lines.map((line) => {
    const claim = /^(\s*)(.*); \/\/ => (.*)$/.exec(line);
    if (claim === null) return line.replace("'gaplessdb'", `'${front}'`);
    claims += 1;
    return `${claim[1]}deepStrictEqual(${claim[2]}, ${claim[3]}, ${JSON.stringify(line.trim())});`;
  });
  return { text: ["import { deepStrictEqual } from 'node:assert';", ...text].join('\n'), claims };
}

test('the blocks of docs/API.md are a program whose every claim holds', { timeout: 60_000 }, () => {
  const place = mkdtempSync(join(tmpdir(), 'gapless-page-'));
  try {
    const { text, claims } = program();
    expect(claims).toBeGreaterThan(30);
    writeFileSync(join(place, 'page.mjs'), text);
    execFileSync(process.execPath, ['page.mjs'], { cwd: place, stdio: ['ignore', 'pipe', 'pipe'], timeout: 50_000 });
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
});

test('docs/API.md names every option, method and event', async () => {
  const db = await temp.open();
  const unnamed = (names: readonly string[]): string[] =>
    names.filter((name) => !new RegExp(`\\b${name}\\b`).test(page));
  expect(unnamed([...Object.keys(optionTable), ...Object.keys(replicationOptionTable)])).toEqual([]);
  const view = db.view();
  for (const object of [db, db.batch(), view, db.range()]) {
    const names = Object.getOwnPropertyNames(Object.getPrototypeOf(object));
    expect(unnamed(names.filter((name) => name !== 'constructor'))).toEqual([]);
  }
  view.close();
  let events = '';
  try {
    db.on('' as 'closed', () => undefined);
  } catch (error) {
    events = error instanceof Error ? error.message : '';
  }
  const names = events.split('the events are ')[1]?.split(', ') ?? [];
  expect(names.length).toBeGreaterThan(20);
  expect(unnamed(names)).toEqual([]);
});

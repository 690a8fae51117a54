/**
 * The tables of a run in docs/FORMAT.md against the constants that native code writes and reads with: every row that
 * has a constant stands at its offset, rows follow each other, and sizes are those of the constants.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const docs = read('docs/FORMAT.md');
const header = read('native/table/run_format.h');

interface Row {
  readonly at: number;
  readonly bytes: number;
  readonly name: string;
}

function rowsOf(heading: string): Row[] {
  const at = docs.search(new RegExp(`^#+ ${heading}$`, 'm'));
  expect(at, heading).toBeGreaterThanOrEqual(0);
  const section = docs.slice(at).split('\n').slice(1);
  const end = section.findIndex((line) => line.startsWith('#'));
  return section.slice(0, end).flatMap((line) => {
    const [, offset, bytes, name] = /^\| (\d+) \| (\d+) \| \w+ \| (\w+) \|/.exec(line) ?? [];
    return name === undefined ? [] : [{ at: Number(offset), bytes: Number(bytes), name }];
  });
}

const constants = new Map(
  [...header.matchAll(/constexpr \w+ (k\w+) = (\d+);/g)].map(([, name, value]) => [name ?? '', Number(value)]),
);

test.each([
  ['Run', 'kRunHeader', 'kRunHeaderBytes'],
  ['Run block', 'kBlock', 'kBlockHeaderBytes'],
  ['Run data block', 'kData', 'kDataHeadBytes'],
  ['Run index block', 'kIndex', 'kIndexHeadBytes'],
  ['Value reference', 'kValueRef', 'kValueRefBytes'],
  ['Value file', 'kValuesHeader', 'kValuesHeaderBytes'],
  ['Run footer', 'kRunFooter', 'kRunFooterBytes'],
])('the table "%s" is what native code holds', (heading, prefix, size) => {
  const rows = rowsOf(heading);
  let next = 0;
  let named = 0;
  for (const { at, bytes, name } of rows) {
    expect(at, name).toBe(next);
    next += bytes;
    const constant = constants.get(prefix + name.charAt(0).toUpperCase() + name.slice(1));
    if (constant === undefined) continue;
    expect(constant, name).toBe(at);
    named += 1;
  }
  expect(constants.get(size)).toBe(next);
  // A magic at offset 0 needs no constant.
  expect(named).toBeGreaterThanOrEqual(rows.length - 1);
});

test('magics and limits of runs are those of the text', () => {
  for (const magic of ['GPLSRUN1', 'GPLSRNE1', 'GPLSVAL1']) {
    expect(header).toContain(`"${magic}"`);
    expect(docs).toContain(`\`${magic}\``);
  }
  const megabytes = (name: string): number => {
    const [, product = ''] = new RegExp(`${name} = ([\\d* ]+);`).exec(header) ?? [];
    return product.split('*').reduce((all, factor) => all * Number(factor), 1);
  };
  const [, least] = /Values of at least (\d+) bytes/.exec(docs) ?? [];
  const [, kibibytes] = /kValueFileBytesMin = (\d+) \* 1024;/.exec(read('native/table/run.h')) ?? [];
  expect(Number(least)).toBe(Number(kibibytes) * 1024);
  const [, data, page, others] = /data at most (\d+), page at most (\d+), others (\d+)/.exec(docs) ?? [];
  expect(Number(data)).toBe(megabytes('kDataRawBytesMax'));
  expect(Number(page)).toBe(megabytes('kPageRawBytesMax'));
  expect(Number(others)).toBe(megabytes('kOtherRawBytesMax'));
});

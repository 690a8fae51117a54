/** docs/PROTOCOL.md and the codec's constants are one. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { kinds } from '../../../dist/wire/fields.js';
import { frameHeaderBytes, frames } from '../../../dist/wire/frames.js';
import { helloBytes, helloLayout, helloMagic, protocolVersion } from '../../../dist/wire/hello.js';
import { compressions, fullReasons, reasons, stopReasons, tiers, verdicts } from '../../../dist/wire/names.js';

const docs = readFileSync(new URL('../../../docs/PROTOCOL.md', import.meta.url), 'utf8');

/** Rows of the first table behind a piece of text, as cells. */
function tableBehind(text: string): string[][] {
  const lines = docs.slice(docs.indexOf(text)).split('\n');
  const first = lines.findIndex((line) => line.startsWith('|---'));
  const rows: string[][] = [];
  for (const line of lines.slice(first + 1)) {
    if (!line.startsWith('|')) break;
    const cells = line.split('|').slice(1, -1);
    rows.push(cells.map((cell) => cell.trim()));
  }
  return rows;
}

describe('docs/PROTOCOL.md has', () => {
  test('the layout of the hello', () => {
    const rows = tableBehind('## Before authentication');
    expect(Object.fromEntries(rows.map((row) => [row[3], Number(row[0])]))).toEqual(helloLayout);
    expect(rows.reduce((sum, row) => sum + Number(row[1]), 0)).toBe(helloBytes);
    expect(rows[0]?.[4]).toBe(`\`${helloMagic}\``);
    expect(rows[1]?.[4]).toBe(String(protocolVersion));
  });
  test('the frame header', () => {
    const rows = tableBehind('## Frame\n');
    expect(rows.reduce((sum, row) => sum + Number(row[1]), 0)).toBe(frameHeaderBytes);
    expect(rows.map((row) => row[3])).toEqual([
      'bytes',
      'type',
      'flags',
      'reserved',
      'term',
      'run',
      'payloadCrc',
      'headerCrc',
    ]);
  });
  test('every kind of field', () => {
    const named = tableBehind('Kinds of fields').flatMap((row) => (row[0] ?? '').split(', '));
    expect(named.sort()).toEqual(Object.keys(kinds).sort());
  });
  test('every frame with its number, sender, connection, limit and fields', () => {
    const headings = [...docs.matchAll(/^### (\w+) \((\d+)\)$/gm)].map((match) => [match[1], Number(match[2])]);
    expect(headings).toEqual(Object.entries(frames).map(([name, { type }]) => [name, type]));
    for (const [name, { type, from, on, limit, fields }] of Object.entries(frames)) {
      const section = docs.slice(docs.indexOf(`### ${name} (${type})`));
      const sender = from === 'both' ? 'either side' : `the ${from}`;
      const connection = on === 'both' ? 'any' : `a ${on}`;
      expect(section.split('\n')[2]).toContain(`From ${sender}, on ${connection} connection, at most ${limit} bytes.`);
      const rows = tableBehind(`### ${name} (${type})`);
      expect(rows.map((row) => [row[0], row[1]])).toEqual(Object.entries(fields));
    }
  });
  test('every word that travels as a number', () => {
    const numbered = (heading: string): unknown[] => tableBehind(heading).map((row) => [Number(row[0]), row[1]]);
    const from = (words: readonly string[], first = 0): unknown[] => words.map((word, i) => [i + first, word]);
    expect(numbered('| number | tier |\n')).toEqual(from(tiers));
    expect(numbered('| number | verdict |')).toEqual(from(verdicts));
    expect(numbered('| number | compression |')).toEqual(from(compressions));
    expect(numbered('| number | reason |')).toEqual(from(reasons, 1));
    for (const [, reason = '', tier] of tableBehind('| number | reason |')) {
      const isFull = fullReasons.some((other) => other === reason);
      const isStop = stopReasons.some((other) => other === reason);
      expect(tier).toBe(isFull ? 'full' : isStop ? 'stop' : 'link');
    }
  });
});

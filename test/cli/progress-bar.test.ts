// The bar of a full sync on stderr: drawn on a terminal only, wiped when the sync ends.
import { EventEmitter } from 'node:events';
import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { Output } from '../../dist/cli/output.js';
import { barText, showFullSyncs } from '../../dist/cli/progress-bar.js';
import type { Database } from '../../dist/index.js';

const mib = 1024 * 1024;
const half = { done: 5 * mib, total: 10 * mib, etaMs: 1500 };

function shown(isTTY: boolean, ...events: readonly string[]): string {
  let text = '';
  const stderr = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const output = new Output({ stdout: stderr, stderr: Object.assign(stderr, isTTY ? { isTTY } : {}) }, true);
  const database = new EventEmitter();
  showFullSyncs(database as unknown as Database, output);
  for (const event of events) database.emit(event, half);
  return text;
}

test('a full sync is shown as a bar with its size and what is left', () => {
  expect(barText('full sync', half)).toBe('full sync [###############---------------] 50 %, 5.0 of 10.0 MiB, 2 s left');
  expect(barText('full sync', { done: 0, total: 0, etaMs: null })).toContain('[------------------------------] 0 %');
  expect(barText('full sync', { done: 12, total: 10, etaMs: 0 })).toContain('100 %');
});

test('a terminal gets the bar on one line, which goes when the sync ends', () => {
  const text = shown(true, 'progress', 'progress', 'sync_done', 'sync_done');
  expect(text.split('\r\u001b[K').map((part) => part.slice(0, 9))).toEqual(['', 'full sync', 'full sync', '']);
  expect(text).not.toContain('\n');
});

test('what is no terminal gets nothing', () => {
  expect(shown(false, 'progress', 'sync_done')).toBe('');
});

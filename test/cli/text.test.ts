/** Bytes, sizes, addresses and lines as text. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ackLines } from '../../dist/cli/ack-log.js';
import { operationLine, parseOperations } from '../../dist/cli/operations.js';
import {
  argumentBytes,
  bytesField,
  decodeBase64,
  escapeBytes,
  formatHostPort,
  isSnapshotName,
  parseCount,
  parseHostPort,
  parseSize,
  parseU64,
  unescapeBytes,
} from '../../dist/cli/text.js';

const bytes = fc.uint8Array({ maxLength: 64 }).map((list) => Buffer.from(list));

describe('escaped bytes', () => {
  test.each([
    ['plain text', 'plain text'],
    ['a\tb\nc', 'a%09b%0Ac'],
    ['100%', '100%25'],
    ['\x7f', '%7F'],
    ['gr\u00fc\u00df \u{1f600}', 'gr\u00fc\u00df \u{1f600}'],
  ])('%j is %j', (text, wanted) => {
    expect(escapeBytes(Buffer.from(text))).toBe(wanted);
  });
  test('write bytes that are no UTF-8 one by one', () => {
    expect(escapeBytes(Buffer.from([0x61, 0xff, 0xc3, 0x28, 0xe2, 0x82]))).toBe('a%FF%C3(%E2%82');
  });
  test('come back as they were, without control characters', () => {
    fc.assert(
      fc.property(bytes, (raw) => {
        const text = escapeBytes(raw);
        expect([...text].every((char) => char >= ' ' && char !== '\x7f')).toBe(true);
        expect(unescapeBytes(text).equals(raw)).toBe(true);
      }),
    );
  });
  test('refuse a % without digits', () => {
    expect(() => unescapeBytes('a%2')).toThrow('no two hex digits');
  });
});

describe('fields of bytes', () => {
  test('hold text, or base64 where the bytes are no UTF-8', () => {
    expect(bytesField('key', Buffer.from('\u00fc'))).toEqual({ key: '\u00fc' });
    expect(bytesField('value', Buffer.from([0xff]))).toEqual({ value64: '/w==' });
  });
  test('base64 is read strictly', () => {
    expect(decodeBase64('/w==', 'x')).toEqual(Buffer.from([0xff]));
    expect(decodeBase64('', 'x').length).toBe(0);
    for (const bad of ['/w=', '/w', '_w==', ' /w==', '/x==', 'a'])
      expect(() => decodeBase64(bad, 'x')).toThrow('base64');
    expect(decodeBase64(Buffer.alloc(9 << 20).toString('base64'), 'x').length).toBe(9 << 20);
  });
  test('arguments are UTF-8, or base64 when asked', () => {
    expect(argumentBytes('YQ==', true, 'KEY').toString()).toBe('a');
    expect(argumentBytes('YQ==', false, 'KEY').toString()).toBe('YQ==');
  });
});

describe('numbers and addresses', () => {
  test('sizes know their suffixes', () => {
    expect([parseSize('4096', 's'), parseSize('64k', 's'), parseSize('1M', 's'), parseSize('2g', 's')]).toEqual([
      4096,
      65536,
      1 << 20,
      2 * 1024 ** 3,
    ]);
    for (const bad of ['', 'k', '1t', '-1', '1.5m', '1 k']) expect(() => parseSize(bad, 's')).toThrow('must be a size');
  });
  test('counts keep their limits', () => {
    expect(parseCount('7', 'n', 1, 7)).toBe(7);
    for (const bad of ['0', '8', '', 'x', '1.0', '-1'])
      expect(() => parseCount(bad, 'n', 1, 7)).toThrow('whole number');
  });
  test('sequences are 64 bits wide', () => {
    expect(parseU64('18446744073709551615', 'n')).toBe(2n ** 64n - 1n);
    for (const bad of ['18446744073709551616', '-1', '', '1e3']) expect(() => parseU64(bad, 'n')).toThrow('decimal');
  });
  test('addresses are HOST:PORT', () => {
    expect(parseHostPort('[::1]:0', 'a')).toEqual({ host: '::1', port: 0 });
    expect(formatHostPort({ host: '::1', port: 5 })).toBe('[::1]:5');
    expect(parseHostPort('localhost:65535', 'a')).toEqual({ host: 'localhost', port: 65535 });
    for (const bad of ['1.2.3.4', ':1', '::1:5', 'h:65536', 'h:x', '']) expect(() => parseHostPort(bad, 'a')).toThrow();
  });
  test('snapshot names stay inside their folder', () => {
    expect(isSnapshotName('nightly-1.0_a')).toBe(true);
    for (const bad of ['', '.', '..', 'a/b', 'a b', 'x'.repeat(65)]) expect(isSnapshotName(bad)).toBe(false);
  });
});

describe('lines of the acknowledgement log', () => {
  test('are sequence, tab, escaped key', () => {
    const keys = [Buffer.from('a'), Buffer.from('b\tc'), Buffer.from([0xff])];
    expect(ackLines(41n, keys)).toBe('41\ta\n42\tb%09c\n43\t%FF\n');
  });
});

describe('lines of a batch', () => {
  test('are read as they are written', () => {
    fc.assert(
      fc.property(bytes, bytes, fc.bigInt(-(2n ** 62n), 2n ** 62n), (key, value, by) => {
        const text = [
          operationLine({ op: 'put', key, value }),
          operationLine({ op: 'del', key }),
          operationLine({ op: 'delRange', range: { gt: key, lte: value } }),
          operationLine({ op: 'increment', key, by }),
          operationLine({ op: 'check', key, version: null }),
        ].join('\n');
        const read = parseOperations(text);
        expect(read[0]).toEqual({ op: 'put', key, value });
        expect(read[1]).toEqual({ op: 'del', key });
        expect(read[2]).toEqual({ op: 'delRange', range: { gt: key, lte: value } });
        expect(read[3]).toEqual({ op: 'increment', key, by });
        expect(read[4]).toEqual({ op: 'check', key, version: null });
      }),
    );
  });
  test('know versions, and ranges without a bound', () => {
    const [check, all] = parseOperations('{"op":"check","key":"a","version":"1.1:42"}\n\n{"op":"delRange"}\n');
    expect(`${check?.op === 'check' ? check.version : ''}`).toBe('1.1:42');
    expect(all).toEqual({ op: 'delRange', range: {} });
  });
  test.each([
    ['{"op":"put","key":"a"}', 'needs "value"'],
    ['{"op":"put","key":"a","key64":"YQ==","value":"1"}', 'has both "key" and "key64"'],
    ['{"op":"put","key":1,"value":"1"}', '"key" must be a string'],
    ['{"op":"put","key":"a","value":"1","ttl":5}', 'unknown field "ttl"'],
    ['{"op":"toString","key":"a"}', 'unknown op'],
    ['{"op":"del"}', 'needs "key"'],
    ['{"op":"increment","key":"a","by":1.5}', '"by" must be'],
    ['{"op":"check","key":"a","version":"x"}', 'not a version'],
    ['{"op":"check","key":"a"}', '"version" must be'],
    ['[]', 'is no JSON object'],
    ['{', 'is no JSON'],
  ])('%s is refused with its line', (line, message) => {
    const text = `{"op":"del","key":"a"}\n${line}`;
    expect(() => parseOperations(text)).toThrow(`line 2: ${message}`);
  });
});

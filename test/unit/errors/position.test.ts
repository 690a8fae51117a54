/** Positions and versions: text, JSON and the 32 bytes of docs/FORMAT.md. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compareEpochs,
  createPosition,
  createVersion,
  decodePosition,
  emptyPosition,
  encodePosition,
  isEmptyPosition,
  type Position,
  parseEpoch,
  parsePosition,
  parseVersion,
  positionBytes,
  positionsEqual,
  toPosition,
  toSeq,
  toVersion,
} from '../../../dist/position.js';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const positions = fc
  .tuple(u32, u32, u64, u64, u64)
  .map(([term, run, seq, offset, chain]) =>
    createPosition(`${term}.${run}`, seq, offset, chain.toString(16).padStart(16, '0')),
  );

function bytesOf(position: Position): Uint8Array {
  const bytes = new Uint8Array(positionBytes);
  encodePosition(position, new DataView(bytes.buffer), 0);
  return bytes;
}

describe('a position', () => {
  test('survives text, JSON and bytes', () => {
    fc.assert(
      fc.property(positions, (position) => {
        expect(positionsEqual(parsePosition(`${position}`), position)).toBe(true);
        expect(positionsEqual(toPosition(JSON.parse(JSON.stringify(position))), position)).toBe(true);
        expect(positionsEqual(decodePosition(new DataView(bytesOf(position).buffer), 0), position)).toBe(true);
      }),
    );
  });
  test('has the bytes of the table in docs/FORMAT.md', () => {
    const position = parsePosition('3.1:42:4096:9f3c0a5e11d27b60');
    const hex = '03000000' + '01000000' + '2a00000000000000' + '0010000000000000' + '607bd2115e0a3c9f';
    expect(Buffer.from(bytesOf(position)).toString('hex')).toBe(hex);
  });
  test('that is empty is 32 zero bytes and the written empty form', () => {
    expect(bytesOf(emptyPosition()).every((byte) => byte === 0)).toBe(true);
    expect(`${emptyPosition()}`).toBe('0.0:0:0:0000000000000000');
    expect(isEmptyPosition(emptyPosition())).toBe(true);
  });
  test('in a malformed form is refused', () => {
    const bad = [
      '',
      '1.1:42:4096',
      '1.1:42:4096:9F3C0A5E11D27B60',
      '1.1:042:0:0000000000000000',
      '1:1:1:0000000000000000',
    ];
    bad.push(
      '1.1:-1:0:0000000000000000',
      '1.1:18446744073709551616:0:0000000000000000',
      '4294967296.0:1:1:0000000000000000',
    );
    bad.push('1.1:1:1:0000000000000000:');
    for (const text of bad) expect(() => parsePosition(text), text).toThrow(RangeError);
    expect(() => toPosition(null)).toThrow(TypeError);
    expect(() => toPosition({ epoch: '1.1', seq: 1.5, offset: 0, chain: '0000000000000000' })).toThrow(TypeError);
    expect(() => createPosition('1.1', -1n, 0n, '0000000000000000')).toThrow(RangeError);
  });
});

test('epochs are compared term first, as numbers', () => {
  expect(compareEpochs('2.0', '10.0')).toBeLessThan(0);
  expect(compareEpochs('2.9', '2.10')).toBeLessThan(0);
  expect(compareEpochs('3.0', '2.4000000000')).toBeGreaterThan(0);
  expect(compareEpochs('7.7', '7.7')).toBe(0);
  for (const text of ['1', '1.', '.1', '01.0', '1.0.0', '1.x', '-1.0'])
    expect(() => parseEpoch(text)).toThrow(RangeError);
});

test('versions survive text and JSON', () => {
  const version = createVersion('1.1', 42n);
  expect(`${version}`).toBe('1.1:42');
  expect(`${toVersion(JSON.parse(JSON.stringify(version)))}`).toBe('1.1:42');
  expect(parseVersion('1.1:42').seq).toBe(42n);
  for (const text of ['1.1', '1.1:', '1.1:4:2', ':1']) expect(() => parseVersion(text)).toThrow(RangeError);
});

test('a sequence is a bigint, a decimal string or a safe integer', () => {
  expect([toSeq(5n), toSeq('5'), toSeq(5)]).toEqual([5n, 5n, 5n]);
  for (const bad of [2 ** 53, -1, 1.5, null, undefined, {}]) expect(() => toSeq(bad)).toThrow(TypeError);
  expect(() => toSeq('0x5')).toThrow(RangeError);
});

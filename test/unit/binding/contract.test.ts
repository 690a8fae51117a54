// The boundary's numbers: native code, TypeScript and the error table name the same things.
import { describe, expect, test } from 'vitest';
import { durabilityCodes, holdKinds, recordKinds } from '../../../dist/binding/contract.js';
import { loadAddon } from '../../../dist/binding/load.js';
import { bodyBytesMax, operationsMax } from '../../../dist/encoder.js';
import { errorTable } from '../../../dist/errors.js';
import { recordHeaderBytes } from '../../../dist/operations.js';
import { createPosition, emptyPosition } from '../../../dist/position.js';
import { ringLayout } from '../../../dist/ring/layout.js';
import { keyBytesMax, valueBytesMax } from '../../../dist/scratch.js';

const addon = loadAddon();
const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);
const clusterId = '00112233445566778899aabbccddeeff';

describe('constants', () => {
  test.each([
    ['kind', recordKinds],
    ['durability', durabilityCodes],
    ['hold', holdKinds],
  ])('of %s are native ones', (prefix, table) => {
    for (const [name, value] of Object.entries(table)) expect(addon.constants[prefix + capital(name)]).toBe(value);
  });

  test('of the ring are native ones', () => {
    for (const [name, at] of Object.entries(ringLayout)) expect(addon.constants[`ring${capital(name)}At`]).toBe(at);
  });

  test('of limits are native ones', () => {
    const { constants } = addon;
    expect(constants).toMatchObject({ keyBytesMax, valueBytesMax, bodyBytesMax, operationsMax, recordHeaderBytes });
  });

  test('error codes are those of the error table', () => {
    expect(new Set([...addon.codes, 'ABORTED'])).toEqual(new Set(Object.keys(errorTable)));
  });
});

describe('pure functions', () => {
  test('crc32c gives the check value and continues', () => {
    expect(addon.crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(addon.crc32c(Buffer.from('6789'), addon.crc32c(Buffer.from('12345')))).toBe(0xe3069283);
  });

  test('shared memory is refused', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(8));
    expect(() => addon.crc32c(shared)).toThrow(TypeError);
    expect(() => addon.checkRecords(shared, emptyPosition(), 0n, clusterId)).toThrow(TypeError);
  });

  test('wrong arguments are refused, whatever they are', () => {
    const wrong = [undefined, null, 1, 'x', {}, [], new Uint16Array(4), new ArrayBuffer(8)] as unknown[];
    for (const value of wrong) {
      expect(() => addon.crc32c(value as Uint8Array)).toThrow(TypeError);
      expect(() => addon.decodeToken(value as Uint8Array, 'x')).toThrow(TypeError);
    }
    expect(() => addon.attachStore(99_999n, () => undefined)).toThrow(expect.objectContaining({ code: 'NOT_OPEN' }));
    expect(() => addon.attachStore(1 as unknown as bigint, () => undefined)).toThrow(TypeError);
  });

  test('garbage is no record', () => {
    const checked = addon.checkRecords(Buffer.alloc(128, 7), emptyPosition(), 0n, clusterId);
    expect(checked).toMatchObject({ bytes: 0, records: 0, stopped: 'header_crc' });
    const none = addon.checkRecords(Buffer.alloc(0), emptyPosition(), 0n, clusterId);
    expect(none).toMatchObject({ bytes: 0, records: 0, stopped: null });
  });

  test('a token survives encoding, and damage is found', () => {
    const position = createPosition('3.1', 42n, 4096n, '9f3c0a5e11d27b60');
    const before = createPosition('2.0', 40n, 4000n, '0000000000000001');
    const meta = {
      features: 0n,
      clock: 123_456_789n,
      position,
      epochs: [
        { epoch: '3.1', before, chain: '00000000000000aa', nodeId: clusterId, time: 1_763_700_000_000, cause: 'open' },
      ],
      cursors: [{ name: 'indexer', position: before }],
      slots: [{ nodeId: clusterId, createdAt: 4000n }],
      padded: [],
    } as const;
    const flows = [{ flow: 0, entries: 3, bytes: 10, fileBytes: 300, crc: 0xfedcba98 }];
    const token = { clusterId, createdMs: 1_763_700_000_001, compression: 'none', flows, meta } as const;
    const bytes = addon.encodeToken(token);
    expect(addon.decodeToken(bytes, 'SNAPSHOT')).toEqual(token);
    expect(addon.decodeMetaState(addon.encodeMetaState(meta), 'meta')).toEqual(meta);
    for (let at = 0; at < bytes.length; at += 1) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      expect(() => addon.decodeToken(damaged, 'SNAPSHOT')).toThrow(/./);
    }
  });
});

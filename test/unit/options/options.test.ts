// The option table: defaults, limits, one sentence for every mistake.
import { describe, expect, test } from 'vitest';
import { optionTable, replicationOptionTable, resolveOptions, suggest } from '../../../dist/options.js';

const mib = 1024 * 1024;
const resolve = (options: object): unknown => resolveOptions(options);

describe('resolveOptions', () => {
  test('gives every option its default and freezes the result', () => {
    const options = resolveOptions();
    expect(options.durability).toBe('sync');
    expect(options.pendingBytes).toBe(64 * mib);
    expect(options.replication.heartbeatMs).toBe(1000);
    expect(Object.isFrozen(options)).toBe(true);
    expect(Object.isFrozen(options.replication)).toBe(true);
    expect(Object.keys(options).sort()).toEqual([...Object.keys(optionTable), 'replication'].sort());
    expect(Object.keys(options.replication).sort()).toEqual(Object.keys(replicationOptionTable).sort());
  });

  test('takes undefined for absent', () => {
    expect(resolveOptions({ shards: undefined, replication: undefined }).shards).toBe(4);
  });

  test('says which option was meant', () => {
    expect(() => resolve({ durabilty: 'os' })).toThrow(
      new TypeError('option "durabilty" is unknown; did you mean "durability"?'),
    );
    expect(() => resolve({ replication: { hearbeatMs: 1 } })).toThrow(/did you mean "replication.heartbeatMs"\?/);
    expect(() => resolve({ completelyDifferent: 1 })).toThrow(new TypeError('option "completelyDifferent" is unknown'));
  });

  test.each([
    [{ shards: '4' }, TypeError, 'option "shards" must be a whole number from 1 to 64, not "4"'],
    [{ shards: 0 }, RangeError, 'option "shards" must be a whole number from 1 to 64, not 0'],
    [{ shards: 1.5 }, RangeError, 'option "shards" must be a whole number from 1 to 64, not 1.5'],
    [{ ringBytes: 100_000 }, RangeError, /"ringBytes" must be a power of two/],
    [{ durability: 'fsync' }, RangeError, 'option "durability" must be one of "sync", "os", "memory", not "fsync"'],
    [{ durability: 1 }, TypeError, /must be one of "sync", "os", "memory", not 1/],
    [{ readOnly: 1 }, TypeError, 'option "readOnly" must be true or false, not 1'],
    [{ signal: {} }, TypeError, 'option "signal" must be an AbortSignal, not an object'],
    [{ replication: { secret: 'short' } }, RangeError, /must be 16 to 1024 bytes, not "5 bytes"/],
    [{ replication: [] }, TypeError, 'option "replication" must be an object, not an array'],
  ])('refuses %j', (options, kind, message) => {
    expect(() => resolve(options)).toThrow(kind);
    expect(() => resolve(options)).toThrow(message);
  });

  test('takes the limits themselves', () => {
    for (const [name, spec] of Object.entries(optionTable)) {
      if (spec.type !== 'count') continue;
      expect(() => resolve({ [name]: spec.least })).not.toThrow();
      expect(() => resolve({ [name]: spec.most })).not.toThrow();
      expect(() => resolve({ [name]: spec.least - 1 })).toThrow(RangeError);
      expect(() => resolve({ [name]: spec.most + 1 })).toThrow(RangeError);
    }
  });

  test('copies a secret', () => {
    const secret = Buffer.alloc(16, 7);
    const options = resolveOptions({ replication: { secret } });
    secret.fill(0);
    expect(options.replication.secret?.[0]).toBe(7);
  });
});

test('suggest finds near words only', () => {
  expect(suggest('SHARDS', ['shards', 'other'])).toBe('shards');
  expect(suggest('xyz', ['shards'])).toBeUndefined();
});

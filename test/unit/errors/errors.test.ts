/** The error table, docs/ERRORS.md and the native list are one; errors are built and shown as the interfaces say. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  AbortError,
  abortError,
  createError,
  describeError,
  type ErrorCode,
  errorFromStatus,
  errorTable,
  GaplessError,
  LimitError,
  ReplicationError,
  StateError,
  StorageError,
} from '../../../dist/errors.js';
import { parsePosition } from '../../../dist/position.js';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const codes = Object.keys(errorTable);

describe('the error table', () => {
  test('holds the codes of the native list, and ABORTED', () => {
    const native = [...read('native/base/status.h').matchAll(/X\(k\w+, "([A-Z_]+)"\)/g)].map((match) => match[1]);
    expect(native.length).toBeGreaterThan(40);
    expect([...codes, 'OK'].sort()).toEqual([...native, 'ABORTED'].sort());
  });
  test('has one heading a code in docs/ERRORS.md, with cause, remedy and the same facts', () => {
    const sections = read('docs/ERRORS.md').split(/^## /m).slice(1);
    expect(sections.map((section) => section.split('\n')[0])).toEqual(codes);
    for (const section of sections) {
      const code = section.split('\n')[0] as keyof typeof errorTable;
      const [family, status, retryable] = errorTable[code];
      expect(section).toContain(`\n${family}, HTTP ${status}, retryable: ${retryable ? 'yes' : 'no'}.\n`);
      expect(section).toMatch(/\nCause: \S/);
      expect(section).toMatch(/\nRemedy: \S/);
    }
  });
  test('makes an error of the right family for every code', () => {
    const classes = { StateError, LimitError, StorageError, ReplicationError, AbortError };
    for (const code of codes.filter((name) => name !== 'USAGE') as ErrorCode[]) {
      const error = createError(code, 'why');
      const [family, status, retryable] = errorTable[code];
      expect(error).toBeInstanceOf(GaplessError);
      expect(error).toBeInstanceOf(classes[family as keyof typeof classes]);
      expect(error).toMatchObject({ code, status, retryable, name: family, message: 'why', details: {} });
    }
  });
});

describe('an error', () => {
  test('built from a native status carries errno, file and offset in its details', () => {
    const status = { code: 'CORRUPT', message: 'bad', file: 'a.log', offset: 8192, details: { segment: 3 } };
    const error = errorFromStatus(status, new Error('under it'));
    expect(error).toBeInstanceOf(StorageError);
    expect(error).toMatchObject({ code: 'CORRUPT', details: { file: 'a.log', offset: 8192, segment: 3 } });
    expect(error.cause).toMatchObject({ message: 'under it' });
    const io = errorFromStatus({ code: 'IO', message: 'x', errno: 5, file: '', offset: -1 });
    expect((io as GaplessError).details).toEqual({ errno: 5 });
  });
  test('of a malformed native call is a TypeError without a code', () => {
    const error = errorFromStatus({ code: 'USAGE', message: 'no' });
    expect(error).toBeInstanceOf(TypeError);
    expect(error).not.toHaveProperty('code');
  });
  test('is never made of a code that the table lacks', () => {
    expect(() => errorFromStatus({ code: 'toString', message: 'no' })).toThrow(/unknown native status/);
  });
  test('shows positions and sequences as JSON has them', () => {
    const position = parsePosition('1.1:42:4096:9f3c0a5e11d27b60');
    const body = createError('IN_DOUBT', 'm', { details: { position, seq: 42n } });
    expect(JSON.parse(JSON.stringify(body))).toEqual({
      code: 'IN_DOUBT',
      message: 'm',
      retryable: false,
      details: { position: { epoch: '1.1', seq: '42', offset: '4096', chain: '9f3c0a5e11d27b60' }, seq: '42' },
    });
  });
  test('says when it leaves the write in doubt', () => {
    expect(createError('POISONED', 'm').inDoubt).toBe(true);
    expect(createError('FENCED', 'm').inDoubt).toBe(false);
    expect(
      createError('FENCED', 'm', { details: { position: parsePosition('1.0:1:1:0000000000000000') } }).inDoubt,
    ).toBe(true);
    expect(createError('TIMEOUT', 'm').inDoubt).toBe(false);
  });
  test('is described with its HTTP status, whatever was thrown', () => {
    expect(describeError(createError('EVICTED', 'm')).status).toBe(410);
    expect(describeError(new RangeError('r'))).toMatchObject({ status: 400, body: { code: 'USAGE', message: 'r' } });
    expect(describeError('text')).toMatchObject({ status: 500, body: { code: 'IO', message: 'text' } });
  });
  test('of an abort has the name that the web uses and the reason as cause', () => {
    const error = abortError(AbortSignal.abort('enough'));
    expect(error).toMatchObject({ name: 'AbortError', code: 'ABORTED', cause: 'enough' });
  });
});

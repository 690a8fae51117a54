/**
 * Every frame survives the wire however it is cut; nothing malformed passes, and nothing but typed errors comes out.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GaplessError } from '../../../dist/errors.js';
import { emptyPosition, parsePosition } from '../../../dist/position.js';
import { portableChecksum } from '../../../dist/wire/checksum.js';
import { FrameDecoder, FrameEncoder } from '../../../dist/wire/frame-codec.js';
import { type Frame, frameHeaderBytes, frames } from '../../../dist/wire/frames.js';
import { anyFrame, frameNames, frameOf } from './arbitraries.js';

const checksum = portableChecksum();
const encoder = new FrameEncoder(checksum);
const encode = (frame: Frame, epoch = '3.1'): Uint8Array => Buffer.concat(encoder.encode(frame, epoch));

function decoderFor(name: Frame['type'], limits = {}): FrameDecoder {
  const { from, on } = frames[name];
  return new FrameDecoder({
    from: from === 'both' ? 'replica' : from,
    on: on === 'both' ? 'control' : on,
    checksum,
    limits,
  });
}

function decodeAll(decoder: FrameDecoder, bytes: Uint8Array): Frame[] {
  decoder.push(bytes);
  const found: Frame[] = [];
  for (let next = decoder.next(); next !== undefined; next = decoder.next()) found.push(next.frame);
  return found;
}

/** The rule that a byte string breaks, or the frames that it holds. */
function verdict(name: Frame['type'], bytes: Uint8Array): unknown {
  try {
    return decodeAll(decoderFor(name), bytes);
  } catch (error) {
    if (!(error instanceof GaplessError) || error.code !== 'PROTOCOL') throw error;
    return error.details['rule'];
  }
}

/** Header fields changed, checksums mended: what only a peer with a secret could send. */
function forge(bytes: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const view = new DataView(copy.buffer);
  change(view);
  view.setUint32(16, checksum(0, copy.subarray(frameHeaderBytes)), true);
  view.setUint32(20, checksum(0, copy.subarray(0, 20)), true);
  return copy;
}

/** Values as vitest compares them best: bytes as hex, whatever class holds them. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

const ping: Frame = { type: 'PING', time: 5n, echo: null };
const log: Frame = { type: 'LOG', before: emptyPosition(), records: new Uint8Array(64).fill(9) };

describe('a frame', () => {
  test.each(frameNames)('%s survives the wire', (name) => {
    fc.assert(
      fc.property(frameOf(name), (frame) => {
        const decoder = decoderFor(name);
        decoder.push(encode(frame, '4000000000.7'));
        const decoded = decoder.next();
        expect(plain(decoded?.frame)).toEqual(plain(frame));
        expect(decoded?.epoch).toBe('4000000000.7');
        expect(decoder.isBetweenFrames).toBe(true);
      }),
      { numRuns: 40 },
    );
  });
  test('arrives whole however the stream is cut', () => {
    const stream = fc.array(frameOf('LOG'), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(stream, fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }), (list, cuts) => {
        const bytes = Buffer.concat(list.map((frame) => encode(frame)));
        const decoder = decoderFor('LOG');
        const found: Frame[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const cut = cuts[i % cuts.length] ?? 1;
          found.push(...decodeAll(decoder, bytes.subarray(at, at + cut)));
          at += cut;
        }
        expect(found.map(plain)).toEqual(list.map(plain));
        expect(decoder.buffered).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
  test('has exactly the bytes that docs/PROTOCOL.md says', () => {
    const bytes = Buffer.from(encode({ type: 'FLOW_CREDIT', flow: 3, credit: 258n }));
    expect(bytes.toString('hex', 0, 16)).toBe('0c000000' + '0c' + '00' + '0000' + '03000000' + '01000000');
    expect(bytes.readUInt32LE(16)).toBe(checksum(0, bytes.subarray(24)));
    expect(bytes.readUInt32LE(20)).toBe(checksum(0, bytes.subarray(0, 20)));
    expect(bytes.toString('hex', 24)).toBe('03000000' + '0201000000000000');
    expect(checksum(0, Buffer.from('123456789'))).toBe(0xe3069283);
    expect(checksum(checksum(0, Buffer.from('1234')), Buffer.from('56789'))).toBe(0xe3069283);
  });
  test('does not copy the records that it sends', () => {
    const [, rest] = encoder.encode(log, '1.0');
    expect(rest).toBe((log as { records: Uint8Array }).records);
  });
  test('that no peer would accept is not sent', () => {
    const flow = { type: 'FLOW_DATA', flow: 0, offset: 0n, last: false, bytes: new Uint8Array(2_097_152) } as const;
    expect(() => encode(flow)).toThrow(RangeError);
    expect(() => encode({ type: 'JOIN', syncId: 'zz', connection: 0 })).toThrow(RangeError);
  });
  test('with a text that is too long carries its beginning', () => {
    const long = `${'a'.repeat(1023)}${String.fromCodePoint(0x20ac)}tail`;
    const [error] = decodeAll(
      decoderFor('ERROR'),
      encode({ type: 'ERROR', code: 'TIMEOUT', reason: null, message: long, retryAfterMs: 0 }),
    );
    expect(error).toMatchObject({ message: `${'a'.repeat(1023)} ` });
  });
});

describe('a decoder refuses', () => {
  test('a header or a payload that fails its checksum, and stays closed', () => {
    const bytes = encode(ping);
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Uint8Array.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 0x40;
      expect(verdict('PING', damaged)).toBe(at < frameHeaderBytes ? 'header_crc' : 'payload_crc');
    }
    const decoder = decoderFor('PING');
    decoder.push(new Uint8Array(frameHeaderBytes));
    expect(() => decoder.next()).toThrow(/checksum/);
    decoder.push(bytes);
    expect(() => decoder.next()).toThrow(/checksum/);
    expect(decoder.buffered).toBe(0);
  });
  test('a length beyond the limit before any of the payload came', () => {
    const header = forge(encode(ping), (view) => view.setUint32(0, 33, true)).subarray(0, frameHeaderBytes);
    expect(verdict('PING', header)).toBe('limit');
    const huge = forge(encode(log), (view) => view.setUint32(0, 0xffff_ffff, true)).subarray(0, frameHeaderBytes);
    expect(verdict('LOG', huge)).toBe('limit');
    const decoder = decoderFor('LOG', { LOG: 95 });
    decoder.push(encode(log));
    expect(() => decoder.next()).toThrow(/at most 95/);
  });
  test('a frame from the wrong side or on the wrong connection, and unknown types and flags', () => {
    expect(verdict('ACK', encode(log))).toBe('direction');
    expect(verdict('FLOW_DATA', encode(log))).toBe('direction');
    expect(
      verdict(
        'PING',
        forge(encode(ping), (view) => view.setUint8(4, 99)),
      ),
    ).toBe('type');
    expect(
      verdict(
        'PING',
        forge(encode(ping), (view) => view.setUint8(4, 0)),
      ),
    ).toBe('type');
    expect(
      verdict(
        'PING',
        forge(encode(ping), (view) => view.setUint8(5, 1)),
      ),
    ).toBe('reserved');
    expect(
      verdict(
        'PING',
        forge(encode(ping), (view) => view.setUint16(6, 1, true)),
      ),
    ).toBe('reserved');
  });
  test('fields that do not fill the payload, or go beyond it', () => {
    const short = forge(encode(ping).subarray(0, -1), (view) => view.setUint32(0, 8, true));
    expect(verdict('PING', short)).toBe('length');
    const long = forge(Buffer.concat([encode(ping), Buffer.of(0)]), (view) => view.setUint32(0, 10, true));
    expect(verdict('PING', long)).toBe('length');
  });
  test('words, flags and counts that do not exist', () => {
    const decision: Frame = {
      type: 'DECISION',
      tier: 'ring',
      reason: null,
      from: emptyPosition(),
      common: null,
      lossBytes: null,
      lossSeqs: null,
      to: null,
      details: '',
    };
    const at = frameHeaderBytes;
    expect(
      verdict(
        'DECISION',
        forge(encode(decision), (view) => view.setUint8(at, 6)),
      ),
    ).toBe('enum');
    expect(
      verdict(
        'DECISION',
        forge(encode(decision), (view) => view.setUint8(at + 1, 200)),
      ),
    ).toBe('enum');
    expect(
      verdict(
        'DECISION',
        forge(encode(decision), (view) => view.setUint8(at + 34, 2)),
      ),
    ).toBe('flag');
    expect(verdict('DECISION', encode({ ...decision, tier: 'full' }))).toBe('enum');
    expect(verdict('DECISION', encode({ ...decision, reason: 'fenced' }))).toBe('enum');
    expect(
      verdict(
        'DECISION',
        forge(encode(decision), (view) => view.setUint16(at + 38, 9, true)),
      ),
    ).toBe('length');
    expect(verdict('LOG', encode({ ...log, records: new Uint8Array(48) }))).toBe('length');
    expect(verdict('LOG', encode({ ...log, records: new Uint8Array(60) }))).toBe('length');
    const data: Frame = { type: 'FLOW_DATA', flow: 0, offset: 0n, last: false, bytes: new Uint8Array(0) };
    expect(verdict('FLOW_DATA', encode(data))).toBe('length');
    expect(verdict('FLOW_DATA', encode({ ...data, last: true }))).toHaveLength(1);
  });
  test('lists that are longer than they may be, and epoch lists that do not rise', () => {
    const position = parsePosition('1.0:1:64:00000000000000aa');
    const [sample] = fc.sample(frameOf('HANDSHAKE'), 1);
    const handshake = {
      ...(sample as Extract<Frame, { type: 'HANDSHAKE' }>),
      resume: null,
      checkpoints: [],
      epochs: [],
    };
    expect(verdict('HANDSHAKE', encode({ ...handshake, asksFull: 'fenced' }))).toBe('enum');
    expect(() => encode({ ...handshake, checkpoints: new Array(65).fill(position) })).toThrow(RangeError);
    const tail = 4 + 4 + 2 + Buffer.byteLength(handshake.version);
    const many = (view: DataView): void => view.setUint32(view.byteLength - tail, 0xffff_ffff, true);
    expect(verdict('HANDSHAKE', forge(encode(handshake), many))).toBe('count');
    const fact = (epoch: string, offset: bigint) => ({
      epoch,
      before: { ...position, offset },
      chain: '0000000000000000',
    });
    for (const epochs of [
      [fact('2.0', 0n), fact('1.0', 64n)],
      [fact('1.0', 64n), fact('2.0', 64n)],
      [fact('1.0', 0n), fact('1.0', 64n)],
    ]) {
      expect(verdict('HANDSHAKE', encode({ ...handshake, epochs }))).toBe('order');
    }
  });
  test('random and mutated bytes with typed errors only', () => {
    const mutation = fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }), mend: fc.boolean() });
    fc.assert(
      fc.property(anyFrame, fc.array(mutation, { minLength: 1, maxLength: 8 }), (frame, mutations) => {
        let bytes = encode(frame);
        for (const { at, to, mend } of mutations) {
          const place = at % bytes.length;
          const change = (view: DataView): void => view.setUint8(place, to);
          if (mend) bytes = forge(bytes, change);
          else bytes[place] = to;
        }
        verdict(frame.type, bytes);
      }),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...frameNames), (payload, name) => {
        const bytes = Buffer.concat([new Uint8Array(frameHeaderBytes), payload]);
        const framed = forge(bytes, (view) => {
          view.setUint32(0, payload.length, true);
          view.setUint8(4, frames[name].type);
        });
        verdict(name, framed);
        verdict(name, payload);
      }),
      { numRuns: 3000 },
    );
  });
});

/** What happens before authentication: fixed sizes, mutual proofs, nothing that can be reflected or moved. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GaplessError } from '../../../dist/errors.js';
import { portableChecksum } from '../../../dist/wire/checksum.js';
import {
  checkProof,
  checkSecrets,
  decodeHello,
  encodeHello,
  type Hello,
  helloBytes,
  helloLayout,
  nonceBytes,
  proofBytes,
  proofOf,
} from '../../../dist/wire/hello.js';

const checksum = portableChecksum();
const secret = Buffer.from('a secret of some length');
const helloOf = (side: Hello['side'], fill: number, hasSecret = true): Hello => ({
  purpose: 'control',
  side,
  hasSecret,
  nodeId: Buffer.alloc(16, fill).toString('hex'),
  clusterId: Buffer.alloc(16, 0xcc).toString('hex'),
  nonce: new Uint8Array(nonceBytes).fill(fill),
});
const encode = (hello: Hello): Uint8Array => encodeHello(hello, checksum);
const pairOf = (replica: Hello, primary: Hello) => ({ replica: encode(replica), primary: encode(primary) });
const pair = pairOf(helloOf('replica', 1), helloOf('primary', 2));

function ruleOf(act: () => unknown): unknown {
  try {
    act();
    return 'accepted';
  } catch (error) {
    if (!(error instanceof GaplessError)) throw error;
    return error.code === 'PROTOCOL' ? error.details['rule'] : error.code;
  }
}

/** One byte changed and the CRC mended. */
function forge(bytes: Uint8Array, at: number, to: number): Uint8Array {
  const copy = Buffer.from(bytes);
  copy[at] = to;
  copy.writeUInt32LE(checksum(0, copy.subarray(0, helloLayout.crc)), helloLayout.crc);
  return copy;
}

describe('a hello', () => {
  test('survives the wire in 128 bytes', () => {
    for (const purpose of ['control', 'data'] as const) {
      const hello = { ...helloOf('replica', 7), purpose };
      const bytes = encode(hello);
      expect(bytes).toHaveLength(helloBytes);
      expect(decodeHello(bytes, 'replica', checksum)).toEqual(hello);
    }
    expect(helloBytes + proofBytes).toBeLessThanOrEqual(256);
  });
  test('that is not exactly right is refused', () => {
    const bytes = encode(helloOf('replica', 7));
    const rule = (changed: Uint8Array): unknown => ruleOf(() => decodeHello(changed, 'replica', checksum));
    expect(rule(bytes)).toBe('accepted');
    expect(rule(bytes.subarray(1))).toBe('length');
    expect(rule(forge(bytes, 0, 0x47 ^ 1))).toBe('magic');
    expect(rule(forge(bytes, helloLayout.version, 2))).toBe('version');
    expect(rule(forge(bytes, helloLayout.purpose, 3))).toBe('enum');
    expect(rule(forge(bytes, helloLayout.purpose, 0))).toBe('enum');
    expect(rule(forge(bytes, helloLayout.side, 2))).toBe('side');
    expect(rule(forge(bytes, helloLayout.flags, 2))).toBe('reserved');
    expect(rule(forge(bytes, helloLayout.reserved, 1))).toBe('reserved');
    const damaged = Uint8Array.from(bytes);
    damaged[helloLayout.nonce] = 8;
    expect(rule(damaged)).toBe('hello_crc');
  });
  test('of random bytes gives typed errors only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 200 }), (bytes) => {
        expect(ruleOf(() => decodeHello(bytes, 'primary', checksum))).not.toBe('accepted');
      }),
    );
    fc.assert(
      fc.property(fc.nat({ max: helloBytes - 1 }), fc.integer({ min: 0, max: 255 }), (at, to) => {
        ruleOf(() => decodeHello(forge(encode(helloOf('primary', 1)), at, to), 'primary', checksum));
      }),
    );
  });
});

describe('a proof', () => {
  const check = (proof: Uint8Array, side: Hello['side'], at = pair, key: Uint8Array | undefined = secret): unknown =>
    ruleOf(() => checkProof(proof, side, at, key));

  test('of the right side with the right secret is accepted', () => {
    expect(check(proofOf('replica', pair, secret), 'replica')).toBe('accepted');
    expect(check(proofOf('primary', pair, secret), 'primary')).toBe('accepted');
  });
  test('cannot be reflected, moved to another connection, or made with another secret', () => {
    const proof = proofOf('replica', pair, secret);
    expect(check(proof, 'primary')).toBe('AUTH_FAILED');
    const others = [
      pairOf({ ...helloOf('replica', 1), nonce: new Uint8Array(32) }, helloOf('primary', 2)),
      pairOf(helloOf('replica', 1), { ...helloOf('primary', 2), nonce: new Uint8Array(32) }),
      pairOf({ ...helloOf('replica', 1), nodeId: '0'.repeat(32) }, helloOf('primary', 2)),
      pairOf(helloOf('replica', 1), { ...helloOf('primary', 2), nodeId: '0'.repeat(32) }),
      pairOf({ ...helloOf('replica', 1), purpose: 'data' }, helloOf('primary', 2)),
    ];
    for (const other of others) expect(check(proof, 'replica', other)).toBe('AUTH_FAILED');
    expect(check(proof, 'replica', pair, Buffer.from('another secret'))).toBe('AUTH_FAILED');
    expect(check(proof.subarray(1), 'replica')).toBe('AUTH_FAILED');
    expect(check(new Uint8Array(proofBytes), 'replica')).toBe('AUTH_FAILED');
  });
  test('without a secret is zeros, and both sides must have none', () => {
    expect(proofOf('replica', pair, undefined)).toEqual(new Uint8Array(proofBytes));
    expect(ruleOf(() => checkProof(new Uint8Array(proofBytes), 'replica', pair, undefined))).toBe('accepted');
    expect(ruleOf(() => checkProof(proofOf('replica', pair, secret), 'replica', pair, undefined))).toBe('AUTH_FAILED');
    const both = (ours: boolean, theirs: boolean): unknown =>
      ruleOf(() => checkSecrets(helloOf('primary', 1, ours), helloOf('replica', 2, theirs)));
    expect([both(true, true), both(false, false)]).toEqual(['accepted', 'accepted']);
    expect([both(true, false), both(false, true)]).toEqual(['AUTH_FAILED', 'AUTH_FAILED']);
  });
});

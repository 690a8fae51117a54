/**
 * What happens before any frame: one hello of fixed size each way, then one proof each way. Pure; any thread. Layout
 * and order: docs/PROTOCOL.md. Nothing of a peer is looked at beyond these bytes before its proof was verified.
 *
 * The proofs cover both hellos whole, so node ids, nonces, purpose and versions, and a label that names the side: a
 * proof cannot be reflected, replayed or moved to another connection.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createError } from '../errors.js';
import type { Checksum } from './checksum.js';
import { protocolError } from './fields.js';
import type { Purpose, Side } from './frames.js';

export const helloMagic = 'GPLSNET1';
export const protocolVersion = 1;

/** Offsets in the hello, as in docs/PROTOCOL.md. */
export const helloLayout = {
  magic: 0,
  version: 8,
  purpose: 10,
  side: 11,
  flags: 12,
  nodeId: 16,
  clusterId: 32,
  nonce: 48,
  reserved: 80,
  crc: 124,
} as const;
export const helloBytes = 128;
export const proofBytes = 32;
export const nonceBytes = 32;

const purposes: readonly Purpose[] = ['control', 'data'];
const sides: readonly Side[] = ['replica', 'primary'];
const labels: Readonly<Record<Side, string>> = {
  replica: 'gaplessdb net v1 replica',
  primary: 'gaplessdb net v1 primary',
};
const flagSecret = 1;

export interface Hello {
  readonly purpose: Purpose;
  readonly side: Side;
  readonly hasSecret: boolean;
  readonly nodeId: string;
  /** 32 zeros: none yet. */
  readonly clusterId: string;
  readonly nonce: Uint8Array;
}

export function encodeHello(hello: Hello, checksum: Checksum): Uint8Array {
  if (hello.nonce.length !== nonceBytes) throw new RangeError(`a nonce of ${hello.nonce.length} bytes`);
  const bytes = Buffer.alloc(helloBytes);
  bytes.write(helloMagic, helloLayout.magic, 'latin1');
  bytes.writeUInt16LE(protocolVersion, helloLayout.version);
  bytes.writeUInt8(purposes.indexOf(hello.purpose) + 1, helloLayout.purpose);
  bytes.writeUInt8(sides.indexOf(hello.side) + 1, helloLayout.side);
  bytes.writeUInt32LE(hello.hasSecret ? flagSecret : 0, helloLayout.flags);
  bytes.set(idBytes(hello.nodeId), helloLayout.nodeId);
  bytes.set(idBytes(hello.clusterId), helloLayout.clusterId);
  bytes.set(hello.nonce, helloLayout.nonce);
  bytes.writeUInt32LE(checksum(0, bytes.subarray(0, helloLayout.crc)), helloLayout.crc);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, helloBytes);
}

/** Requires: exactly `helloBytes`. Throws PROTOCOL for anything but a hello of this version from `side`. */
export function decodeHello(bytes: Uint8Array, side: Side, checksum: Checksum): Hello {
  if (bytes.length !== helloBytes) throw protocolError('length', `a hello of ${bytes.length} bytes`);
  const hello = Buffer.from(bytes);
  if (hello.toString('latin1', 0, helloLayout.version) !== helloMagic) {
    throw protocolError('magic', 'the peer does not speak this protocol');
  }
  const version = hello.readUInt16LE(helloLayout.version);
  if (version !== protocolVersion)
    throw protocolError('version', `protocol version ${version}, not ${protocolVersion}`);
  if (checksum(0, hello.subarray(0, helloLayout.crc)) !== hello.readUInt32LE(helloLayout.crc)) {
    throw protocolError('hello_crc', 'a hello that fails its checksum');
  }
  const purpose = purposes[hello.readUInt8(helloLayout.purpose) - 1];
  if (purpose === undefined) throw protocolError('enum', 'a hello with an unknown purpose');
  if (sides[hello.readUInt8(helloLayout.side) - 1] !== side)
    throw protocolError('side', `a hello that is no ${side}'s`);
  const flags = hello.readUInt32LE(helloLayout.flags);
  if (flags > flagSecret || hello.subarray(helloLayout.reserved, helloLayout.crc).some((byte) => byte !== 0)) {
    throw protocolError('reserved', 'a hello with unknown flags');
  }
  return {
    purpose,
    side,
    hasSecret: flags === flagSecret,
    nodeId: hello.toString('hex', helloLayout.nodeId, helloLayout.clusterId),
    clusterId: hello.toString('hex', helloLayout.clusterId, helloLayout.nonce),
    nonce: new Uint8Array(hello.subarray(helloLayout.nonce, helloLayout.reserved)),
  };
}

/** Both hellos of one connection, as they were on the wire. */
export interface HelloPair {
  readonly replica: Uint8Array;
  readonly primary: Uint8Array;
}

/** The proof that `side` sends: HMAC-SHA256 over its label and both hellos; zeros without a secret. */
export function proofOf(side: Side, pair: HelloPair, secret: Uint8Array | undefined): Uint8Array {
  if (secret === undefined) return new Uint8Array(proofBytes);
  const hmac = createHmac('sha256', secret);
  hmac.update(labels[side], 'latin1').update(pair.replica).update(pair.primary);
  return new Uint8Array(hmac.digest());
}

/** Throws AUTH_FAILED unless `proof` is the one that `side` must send. In constant time. */
export function checkProof(proof: Uint8Array, side: Side, pair: HelloPair, secret: Uint8Array | undefined): void {
  const expected = proofOf(side, pair, secret);
  if (proof.length !== expected.length || !timingSafeEqual(proof, expected)) throw authFailed('the proof is wrong');
}

/** Throws AUTH_FAILED unless both sides have a secret or both have none. */
export function checkSecrets(ours: Hello, theirs: Hello): void {
  if (ours.hasSecret !== theirs.hasSecret) {
    throw authFailed(ours.hasSecret ? 'the peer has no secret' : 'the peer has a secret and this node has none');
  }
}

function authFailed(message: string): Error {
  return createError('AUTH_FAILED', message, { details: { reason: 'auth' } });
}

function idBytes(id: string): Uint8Array {
  if (!/^[0-9a-f]{32}$/.test(id)) throw new RangeError(`not an id: "${id}"`);
  return Buffer.from(id, 'hex');
}

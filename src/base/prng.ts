/**
 * Randomness, passed in: nonces and ids from the system, everything in tests and simulations from a seed. The seeded
 * generator is for jitter and simulation, never for secrets. One object a node; called on the thread that owns it.
 */
import { randomBytes, randomInt } from 'node:crypto';

export interface Random {
  /** Fresh random bytes. */
  bytes(count: number): Uint8Array;
  /** An integer in [0, limit). Requires: 1 <= limit <= 2^32. */
  below(limit: number): number;
}

export function systemRandom(): Random {
  return { bytes: (count) => new Uint8Array(randomBytes(count)), below: (limit) => randomInt(limit) };
}

/** The same numbers for the same seed, on every machine (splitmix64, upper half). */
export function seededRandom(seed: bigint | number): Random {
  let state = BigInt.asUintN(64, BigInt(seed));
  const next = (): number => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
    let mixed = BigInt.asUintN(64, (state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n);
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
    return Number((mixed ^ (mixed >> 31n)) >> 32n);
  };
  return {
    bytes: (count) => Uint8Array.from({ length: count }, () => next() & 0xff),
    below: (limit) => Math.floor((next() / 0x1_0000_0000) * limit),
  };
}

/** Keys and values as the figures name them: 16 bytes in no order, 100 bytes that do not compress. Deterministic. */
import type { Database } from 'gaplessdb';

export const valueBytes = 100;

/** Bijective on 32 bits, so that no two numbers give one key. */
function scramble(index: number): number {
  let x = index >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

const keyWords = Buffer.alloc(8);

/** In one piece: a string that is put together from two costs its first user the joining. */
export function keyAt(index: number): string {
  keyWords.writeUInt32BE(scramble(index), 0);
  keyWords.writeUInt32BE(~index >>> 0, 4);
  return keyWords.toString('hex');
}

export function keysUpTo(count: number): string[] {
  return Array.from({ length: count }, (_, index) => keyAt(index));
}

/** 64 values, taken in turn. */
export function values(bytes: number = valueBytes): Buffer[] {
  let state = 0x9e3779b9;
  return Array.from({ length: 64 }, () => {
    const value = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; at += 1) {
      state = scramble(state + 0x6d2b79f5);
      value[at] = state & 0xff;
    }
    return value;
  });
}

export function valueAt(pool: readonly Buffer[], index: number): Buffer {
  return pool[index & 63] ?? Buffer.alloc(0);
}

/** Puts `count` keys, 1000 a batch, as quickly as the store takes them; written when it resolves. */
export async function fill(db: Database, count: number): Promise<void> {
  const pool = values();
  let last: Promise<unknown> = Promise.resolve();
  for (let index = 0; index < count; ) {
    const batch = db.batch();
    for (const end = Math.min(count, index + 1000); index < end; index += 1) {
      batch.put(keyAt(index), valueAt(pool, index));
    }
    await last;
    last = batch.commit({ durability: 'os' });
  }
  await last;
}

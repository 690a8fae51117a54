// Keys of every short length in every form, and ranges and many keys at once over values of every size.
import { describe, expect, test } from 'vitest';
import { temporary } from './temporary.js';

const temp = temporary();
const code = (name: string): unknown => expect.objectContaining({ code: name });

describe('keys', () => {
  const letters = ['x', '\u00e9', '\u20ac', '\u{1f600}'];
  const words = Array.from({ length: 45 }, (_, size) => size).flatMap((size) =>
    letters.map(
      (letter) => `${letter.repeat(Math.min(1, size))}${'abcdefghij'.repeat(5).slice(0, Math.max(0, size - 1))}`,
    ),
  );

  test('are the same key as text, as a Buffer and as other bytes', async () => {
    const db = await temp.open({ durability: 'memory' });
    for (const word of words) await db.put(word, `<${word}>`);
    for (const word of words) {
      const bytes = Buffer.from(word);
      const inside = new Uint8Array(bytes.length + 5).subarray(3, 3 + bytes.length);
      inside.set(bytes);
      for (const key of [word, bytes, inside]) {
        expect(db.get(key)?.toString()).toBe(`<${word}>`);
        expect(db.has(key)).toBe(true);
        expect(db.getEntry(key)?.value.toString()).toBe(`<${word}>`);
      }
      expect(db.get(`${word}?`)).toBeUndefined();
      expect(db.has(Buffer.concat([bytes, Buffer.from([0])]))).toBe(false);
    }
    for (const half of ['\ud800', `${'a'.repeat(20)}\udc00`]) expect(() => db.get(half)).toThrow(TypeError);
  });

  test('put together from pieces, or cut out, are whole', async () => {
    const db = await temp.open({ durability: 'memory' });
    const joined = `${['user', 'one-hundred'].join(':')}${db.path.length}`;
    await db.put(joined, '1');
    expect(db.get(`--${joined}--`.slice(2, -2))?.toString()).toBe('1');
  });

  test('are refused behind close, whoever asks', async () => {
    const db = await temp.open();
    await db.put('k', 'v');
    const view = db.view();
    await db.close();
    for (const read of [() => db.get('k'), () => db.has('k'), () => view.get('k'), () => view.has('k')]) {
      expect(read).toThrow(code('CLOSED'));
    }
  });
});

describe('values of every size', () => {
  const sizes = [0, 1, 100, 4095, 4096, 5000, 65_535, 65_536, 200_000, 3, 900_000, 1_200_000, 7, 2_500_000, 60_000];
  const entries = Array.from({ length: 60 }, (_, index) => {
    const value = Buffer.alloc(sizes[index % sizes.length] ?? 0, index + 1);
    return [Buffer.from(`k${`${index}`.padStart(3, '0')}`), value] as const;
  });

  test.each(['memtables', 'runs'])('come whole and in order from %s', { timeout: 60_000 }, async (where) => {
    const db = await temp.open({ durability: 'memory' });
    for (const [key, value] of entries) await db.put(key, value);
    if (where === 'runs') await db.compact();
    for (const reverse of [false, true]) {
      const wanted = reverse ? [...entries].reverse() : entries;
      let at = 0;
      for (const [key, value] of db.range({ reverse })) {
        const [wantedKey, wantedValue] = wanted[at] ?? entries[0] ?? [];
        expect(key.equals(wantedKey ?? key.subarray(1)), `key ${at}`).toBe(true);
        expect(value.equals(wantedValue ?? value.subarray(1)), `value ${at}`).toBe(true);
        at += 1;
      }
      expect(at).toBe(entries.length);
    }
    for (const count of [1, 5, 60, 2, 60]) {
      const found = db.getMany(entries.slice(0, count).map(([key]) => key));
      expect(found.map((value, index) => value?.equals(entries[index]?.[1] ?? Buffer.alloc(0)))).toEqual(
        Array.from({ length: count }, () => true),
      );
    }
    expect(db.getMany([])).toEqual([]);
    expect(db.getMany(['nobody', 'k000'])).toEqual([undefined, Buffer.alloc(0)]);
  });
});

/** Ours. */
import { open } from 'gaplessdb';
import { type BenchStore, bytesOf, type Engine } from '../store.js';

export const gapless: Engine = {
  name: 'gaplessdb',
  packageName: '',
  async open(dir, { durability, cacheBytes, memtableBytes, valueBytes }): Promise<BenchStore> {
    const db = await open(dir, { durability, cacheBytes, memtableBytes });
    const into = Buffer.alloc(valueBytes);
    return {
      batch(keys, values) {
        const batch = db.batch();
        for (const [index, key] of keys.entries()) batch.put(key, values[index] ?? into);
        return batch.commit();
      },
      put: (key, value) => db.put(key, value),
      putSync: (key, value) => {
        db.putSync(key, value);
      },
      get: (key) => db.get(key),
      getInto: (key) => db.getInto(key, into) ?? -1,
      getMany: (keys) => bytesOf(db.getMany(keys)),
      scan: () => {
        let entries = 0;
        for (const [key] of db.range({})) entries += Math.min(1, key.length);
        return entries;
      },
      close: () => db.close(),
    };
  },
};

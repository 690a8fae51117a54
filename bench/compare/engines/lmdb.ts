/**
 * LMDB through lmdb-js. A memory-mapped B+tree: it has no cache of its own and no memtable, the page cache of the
 * system is both, whatever its size. `os`: noSync, the pages are written and not synced. `sync`: a promise resolves
 * behind the sync of its transaction; transactions of one turn of the event loop are one.
 */
import { join } from 'node:path';
import { requirePeer } from '../peers.js';
import type { BenchStore, Engine } from '../store.js';

interface Lmdb {
  put(key: string, value: Buffer): Promise<boolean>;
  putSync(key: string, value: Buffer): boolean;
  batch(action: () => void): Promise<boolean>;
  getBinary(key: string): Buffer | undefined;
  getBinaryFast(key: string): Buffer | undefined;
  getRange(options: object): Iterable<{ readonly key: string; readonly value: Buffer }>;
  close(): Promise<void>;
}

export const lmdb: Engine = {
  name: 'lmdb',
  packageName: 'lmdb',
  async open(dir, { durability }): Promise<BenchStore> {
    const { open } = requirePeer('lmdb') as { open(options: object): Lmdb };
    const db = open({
      path: join(dir, 'data.mdb'),
      encoding: 'binary',
      compression: false,
      ...(durability === 'os' ? { noSync: true } : { overlappingSync: false }),
    });
    return {
      batch: (keys, values) =>
        db.batch(() => {
          for (const [index, key] of keys.entries()) void db.put(key, values[index] ?? Buffer.alloc(0));
        }),
      put: (key, value) => db.put(key, value),
      putSync: (key, value) => {
        db.putSync(key, value);
      },
      get: (key) => db.getBinary(key),
      getInto: (key) => db.getBinaryFast(key)?.length ?? -1,
      getMany: (keys) => {
        // Its own getMany goes through another thread and is slower than this.
        let bytes = 0;
        for (const key of keys) bytes += db.getBinary(key)?.length ?? 0;
        return bytes;
      },
      scan: () => {
        let entries = 0;
        for (const { key } of db.getRange({})) entries += Math.min(1, key.length);
        return entries;
      },
      close: () => db.close(),
    };
  },
};

/**
 * LevelDB. Its write buffer is one memtable; a second one may be held while the first is written. Compression off, as
 * the values do not compress. Point reads by getSync, the only form that does not cross threads.
 */
import { requirePeer } from '../peers.js';
import { type BenchStore, bytesOf, type Engine } from '../store.js';

interface Level {
  open(): Promise<void>;
  put(key: string, value: Buffer, options: object): Promise<void>;
  batch(operations: readonly object[], options: object): Promise<void>;
  getSync(key: string): Buffer | undefined;
  getMany(keys: readonly string[]): Promise<(Buffer | undefined)[]>;
  iterator(options: object): { nextv(count: number): Promise<[string, Buffer][]>; close(): Promise<void> };
  close(): Promise<void>;
}

const chunkEntries = 1000;

export const classicLevel: Engine = {
  name: 'classic-level',
  packageName: 'classic-level',
  async open(dir, { durability, cacheBytes, memtableBytes, valueBytes }): Promise<BenchStore> {
    const { ClassicLevel } = requirePeer('classic-level') as {
      ClassicLevel: new (dir: string, options: object) => Level;
    };
    const db = new ClassicLevel(dir, {
      keyEncoding: 'utf8',
      valueEncoding: 'buffer',
      compression: false,
      cacheSize: cacheBytes,
      writeBufferSize: memtableBytes,
    });
    await db.open();
    const sync = { sync: durability === 'sync' };
    return {
      batch: (keys, values) =>
        db.batch(
          keys.map((key, index) => ({ type: 'put', key, value: values[index] })),
          sync,
        ),
      put: (key, value) => db.put(key, value, sync),
      get: (key) => db.getSync(key),
      getMany: async (keys) => bytesOf(await db.getMany(keys)),
      async scan() {
        const iterator = db.iterator({ highWaterMarkBytes: chunkEntries * (valueBytes + 32) });
        let entries = 0;
        for (let chunk = await iterator.nextv(chunkEntries); chunk.length > 0; ) {
          entries += chunk.length;
          chunk = await iterator.nextv(chunkEntries);
        }
        await iterator.close();
        return entries;
      },
      close: () => db.close(),
    };
  },
};

/**
 * RocksDB through @nxtedition/rocksdb. Its writes run on the calling thread, whatever the promise says, so 64 puts in
 * flight are 64 in a row. Point reads use `_getManySync`, which it does not document, because its public `get` crosses
 * threads and is several times slower. Compression off for files and log. Its defaults fit: a memtable of 64 MiB, bloom
 * filters; its option for memtables only works together with a style of merging that compresses.
 */
import { requirePeer } from '../peers.js';
import { type BenchStore, bytesOf, type Engine } from '../store.js';

interface Rocks {
  open(): Promise<void>;
  batch(operations: readonly object[], options: object): Promise<void>;
  _getManySync(keys: readonly string[]): (Buffer | undefined)[];
  iterator(options: object): { nextv(count: number): Promise<[string, Buffer][]>; close(): Promise<void> };
  close(): Promise<void>;
}

const chunkEntries = 1000;

export const rocksdb: Engine = {
  name: 'rocksdb',
  packageName: '@nxtedition/rocksdb',
  async open(dir, { durability, cacheBytes, valueBytes }): Promise<BenchStore> {
    const { RocksLevel } = requirePeer('@nxtedition/rocksdb') as {
      RocksLevel: new (dir: string, options: object) => Rocks;
    };
    const db = new RocksLevel(dir, {
      keyEncoding: 'utf8',
      valueEncoding: 'buffer',
      createIfMissing: true,
      compression: false,
      walCompression: false,
      cacheSize: cacheBytes,
    });
    await db.open();
    const sync = { sync: durability === 'sync' };
    return {
      batch: (keys, values) =>
        db.batch(
          keys.map((key, index) => ({ type: 'put', key, value: values[index] })),
          sync,
        ),
      // Its `put` does not hand `sync` on; a batch of one does.
      put: (key, value) => db.batch([{ type: 'put', key, value }], sync),
      get: (key) => db._getManySync([key])[0],
      getMany: (keys) => bytesOf(db._getManySync(keys)),
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

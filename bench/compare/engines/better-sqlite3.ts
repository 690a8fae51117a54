/**
 * SQLite through better-sqlite3, with its write-ahead log. Everything is synchronous, so 64 puts in flight are 64 in a
 * row. `os`: synchronous = NORMAL, which syncs at checkpoints only; `sync`: FULL. No memtable; the page cache has the
 * size of the others' caches. Small rows stand in the tree of the key, larger ones in a table of rows, as it advises.
 */
import { join } from 'node:path';
import { requirePeer } from '../peers.js';
import { type BenchStore, bytesOf, type Engine } from '../store.js';

interface Statement {
  run(...values: unknown[]): unknown;
  get(...values: unknown[]): unknown;
  all(...values: unknown[]): unknown[];
  pluck(): Statement;
  raw(): Statement;
}

interface Sqlite {
  exec(sql: string): void;
  pragma(text: string): unknown;
  prepare(sql: string): Statement;
  transaction<A extends unknown[]>(action: (...values: A) => void): (...values: A) => void;
  close(): void;
}

const chunkEntries = 1000;
const treeValueMax = 200;

export const betterSqlite3: Engine = {
  name: 'better-sqlite3',
  packageName: 'better-sqlite3',
  async open(dir, { durability, cacheBytes, valueBytes }): Promise<BenchStore> {
    const Database = requirePeer('better-sqlite3') as new (path: string) => Sqlite;
    const db = new Database(join(dir, 'data.sqlite'));
    db.pragma('journal_mode = WAL');
    db.pragma(`synchronous = ${durability === 'os' ? 'NORMAL' : 'FULL'}`);
    db.pragma(`cache_size = -${Math.round(cacheBytes / 1024)}`);
    const tail = valueBytes > treeValueMax ? '' : ' WITHOUT ROWID';
    db.exec(`CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL)${tail}`);
    const insert = db.prepare('INSERT OR REPLACE INTO entries VALUES (?, ?)');
    const select = db.prepare('SELECT value FROM entries WHERE key = ?').pluck();
    const next = db.prepare('SELECT key, value FROM entries WHERE key > ? ORDER BY key LIMIT ?').raw();
    const putAll = db.transaction((keys: readonly string[], values: readonly Buffer[]) => {
      for (const [index, key] of keys.entries()) insert.run(key, values[index]);
    });
    const put = (key: string, value: Buffer): undefined => {
      insert.run(key, value);
    };
    let many: (Buffer | undefined)[] = [];
    const getAll = db.transaction((keys: readonly string[]) => {
      many = keys.map((key) => select.get(key) as Buffer | undefined);
    });
    return {
      batch: (keys, values): undefined => putAll(keys, values) as undefined,
      put,
      putSync: put,
      get: (key) => select.get(key) as Buffer | undefined,
      getMany: (keys) => {
        getAll(keys);
        return bytesOf(many);
      },
      scan: () => {
        let entries = 0;
        for (let last = ''; ; ) {
          const rows = next.all(last, chunkEntries) as [string, Buffer][];
          entries += rows.length;
          if (rows.length < chunkEntries) return entries;
          last = rows.at(-1)?.[0] ?? '';
        }
      },
      close: (): undefined => db.close() as undefined,
    };
  },
};

/** Everything that can take part; ours first. */
import { betterSqlite3 } from './engines/better-sqlite3.js';
import { classicLevel } from './engines/classic-level.js';
import { gapless } from './engines/gapless.js';
import { lmdb } from './engines/lmdb.js';
import { rocksdb } from './engines/rocksdb.js';
import type { Engine } from './store.js';

export const ours: Engine = gapless;
export const peers: readonly Engine[] = [classicLevel, lmdb, betterSqlite3, rocksdb];
export const engines: readonly Engine[] = [ours, ...peers];

/** Opening a database: where the handle, the public class and replication come together. */
import { Database } from './database.js';
import { createError } from './errors.js';
import { Node, type ReplicationFactory } from './node.js';
import type { OpenOptions } from './options.js';

/**
 * Opens a directory, creating it if need be, or joins what this process has open on it.
 *
 * Rejects with LOCKED, NOT_A_STORE, EXISTS, CORRUPT, FORMAT_UNSUPPORTED, STORE_AHEAD_OF_LOG, OPTIONS_CONFLICT, IO, or a
 * TypeError or RangeError for its arguments.
 */
export async function open(path: string, options: OpenOptions = {}): Promise<Database> {
  return new Database(await Node.open(path, options, startReplication));
}

const startReplication: ReplicationFactory = () => {
  throw createError('NOT_READY', 'replication is not part of this build');
};

/** Opening a database: where the handle, the public class and replication come together. */
import { availableParallelism } from 'node:os';
import { systemRandom } from './base/prng.js';
import { durabilityCodes } from './binding/contract.js';
import { Database } from './database.js';
import { Node, type ReplicationFactory } from './node.js';
import type { OpenOptions } from './options.js';
import { ReplicationController } from './replication/controller.js';
import { tcpNetwork } from './replication/tcp-transport.js';
import { packageVersion } from './version.js';
import { replicationTasks } from './workers/replication-tasks.js';

/**
 * Opens a directory, creating it if need be, or joins what this process has open on it.
 *
 * Rejects with LOCKED, NOT_A_STORE, EXISTS, CORRUPT, FORMAT_UNSUPPORTED, STORE_AHEAD_OF_LOG, OPTIONS_CONFLICT, IO, or a
 * TypeError or RangeError for its arguments.
 */
export async function open(path: string, options: OpenOptions = {}): Promise<Database> {
  return new Database(await Node.open(path, options, startReplication));
}

const startReplication: ReplicationFactory = (node, { ring, emit }) => {
  const { options, store, addon, clock } = node;
  const { slotMaxBytes, compression } = options;
  return new ReplicationController({
    store,
    tools: addon,
    tasks: replicationTasks(Math.max(1, Math.min(4, store.identity().shards, availableParallelism()))),
    options: { ...options.replication, slotMaxBytes, compression },
    isSync: store.state().durability === durabilityCodes.sync,
    version: packageVersion(),
    clock,
    random: systemRandom(),
    network: tcpNetwork(),
    ring,
    asksFull: () => null,
    emit,
  });
};

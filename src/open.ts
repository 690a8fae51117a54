/** Opening a database: where the handle, the public class and replication come together. */
import { systemRandom } from './base/prng.js';
import { CheckedReplication } from './checked-replication.js';
import { Database } from './database.js';
import { requireInHistory } from './history.js';
import { Node, type ReplicationFactory } from './node.js';
import type { OpenOptions } from './options.js';
import { ReplicationController } from './replication/controller.js';
import { tcpNetwork } from './replication/tcp-transport.js';
import { tlsNetwork } from './replication/tls-transport.js';
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

const startReplication: ReplicationFactory = (node, ports) => {
  const { store, addon, options, clock } = node;
  const { slotMaxBytes, lostMaxBytes, snapshotHoldMs, compression } = options;
  const { tls } = options.replication;
  const controller = new ReplicationController({
    ...ports,
    store,
    clock,
    tools: addon,
    tasks: replicationTasks(store.identity().shards),
    options: { ...options.replication, slotMaxBytes, lostMaxBytes, snapshotHoldMs, compression },
    isSync: store.state().durability === 0,
    version: packageVersion(),
    random: systemRandom(),
    network: tls === undefined ? tcpNetwork() : tlsNetwork(tls),
    asksFull: () => null,
  });
  return new CheckedReplication(
    controller,
    () => store.state().role === 'primary',
    (position) => requireInHistory(store, node.progress, position),
  );
};

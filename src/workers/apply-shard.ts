/** Applies one shard of a received ticket. Runs in a worker thread, while other shards run in others. */
import { attachedStore } from './attached-store.js';
import type { ApplyTask } from './replication-tasks.js';

export function applyShard({ store, ticket, shard }: ApplyTask): void {
  attachedStore(store).applyTicketShard(ticket, shard);
}

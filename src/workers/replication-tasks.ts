/**
 * Replication's work for other threads: which tasks there are, and the pool that runs them. One object a store; called
 * on the thread that opened it. Each worker thread keeps one handle of the store until `close`, so a store's engine
 * ends only after its tasks were closed.
 */
import type { MessagePort } from 'node:worker_threads';
import type { CompressionName, NativeFlowSummary } from '../binding/contract.js';
import { lazyPool } from './pool.js';

export interface ReplicationTasks {
  /** ApplyTicketShard in a worker thread. */
  applyShard(store: bigint, ticket: bigint, shard: number): Promise<void>;
  /** Produces one flow of a pin into `port`, as FlowMessage says; resolves when it ended, however it ended. */
  streamFlow(task: FlowTask): Promise<void>;
  close(): Promise<void>;
}

export interface ApplyTask {
  readonly store: bigint;
  readonly ticket: bigint;
  readonly shard: number;
}

export interface FlowTask {
  readonly store: bigint;
  readonly pin: bigint;
  readonly flow: number;
  /** Bytes of the flow that the receiver has: they are made again, and not sent. */
  readonly offset: number;
  readonly compression: CompressionName;
  /** Bytes that may be produced at once; more by messages of FlowCredit. */
  readonly credit: number;
  /** Transferred. Messages to the task: FlowCredit. Messages from it: FlowMessage. Closing it ends the task. */
  readonly port: MessagePort;
}
export interface FlowCredit {
  readonly credit: number;
}
export type FlowMessage =
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  | { readonly kind: 'done'; readonly summary: NativeFlowSummary }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string };

/** Flow tasks mostly wait for credit, so many of them share a thread: one stalled joiner holds up nobody else. */
const tasksPerThread = 64;

/** Threads start with the first task. */
export function replicationTasks(threads: number): ReplicationTasks {
  const applyFile = new URL('./apply-shard.js', import.meta.url).href;
  const flowFile = new URL('./stream-flow.js', import.meta.url).href;
  const pool = lazyPool({ threads, tasksPerThread });
  return {
    async applyShard(store, ticket, shard) {
      const task: ApplyTask = { store, ticket, shard };
      await pool.run(applyFile, 'applyShard', task);
    },
    async streamFlow(task) {
      await pool.run(flowFile, 'streamFlow', task, { transfer: [task.port] });
    },
    close: () => pool.close(),
  };
}

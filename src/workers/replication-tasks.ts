/**
 * Replication's work for other threads: which tasks there are, and the pool that runs them. One object a store; called
 * on the thread that opened it. Each worker thread keeps one handle of the store until `close`, so a store's engine
 * ends only after its tasks were closed.
 */
import type { MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { CompressionName, NativeFlowSummary } from '../binding/contract.js';

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
const tasksPerWorker = 64;

/** A pool that starts with its first task. */
export function replicationTasks(threads: number): ReplicationTasks {
  const applyFile = new URL('./apply-shard.js', import.meta.url).href;
  const flowFile = new URL('./stream-flow.js', import.meta.url).href;
  let pool: Piscina | undefined;
  const started = (): Piscina => {
    pool ??= new Piscina({
      minThreads: 0,
      maxThreads: threads,
      concurrentTasksPerWorker: tasksPerWorker,
      idleTimeout: 30_000,
    });
    return pool;
  };
  return {
    async applyShard(store, ticket, shard) {
      const task: ApplyTask = { store, ticket, shard };
      await started().run(task, { filename: applyFile, name: 'applyShard' });
    },
    async streamFlow(task) {
      await started().run(task, { filename: flowFile, name: 'streamFlow', transferList: [task.port] });
    },
    async close() {
      await pool?.destroy();
      pool = undefined;
    },
  };
}

/**
 * A pool of worker threads that starts with its first task and ends its threads when they are idle: one a store and
 * kind of work, on the thread that opened it. Threads keep a handle of the store, so a store closes its pools first.
 */
import type { MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';

export interface PoolOptions {
  readonly threads: number;
  /** Tasks that one thread may run at a time. */
  readonly tasksPerThread: number;
}

export interface RunOptions {
  readonly signal?: AbortSignal;
  /** Ports in `task` that go to the thread. */
  readonly transfer?: readonly MessagePort[];
}

export interface Pool {
  /** Runs the function `name` of the module `file` (a file URL) with `task` in a thread. */
  run(file: string, name: string, task: unknown, options?: RunOptions): Promise<unknown>;
  /** Ends all threads, whatever they do. */
  close(): Promise<void>;
}

const idleMs = 5000;

export function lazyPool({ threads, tasksPerThread }: PoolOptions): Pool {
  let pool: Piscina | undefined;
  return {
    async run(file, name, task, { signal, transfer = [] } = {}) {
      pool ??= new Piscina({
        minThreads: 0,
        maxThreads: threads,
        concurrentTasksPerWorker: tasksPerThread,
        idleTimeout: idleMs,
        atomics: 'disabled',
      });
      const options = { filename: file, name, transferList: [...transfer] };
      return await pool.run(task, signal === undefined ? options : { ...options, signal });
    },
    async close() {
      const ending = pool;
      pool = undefined;
      await ending?.destroy();
    },
  };
}

/** The snapshot's work for other threads: one task a flow. One object a store; on the thread that opened it. */
import type { NativeFlowSummary } from '../binding/contract.js';
import { createError, isErrorCode } from '../errors.js';
import { lazyPool } from './pool.js';
import type { WriteFlowAnswer, WriteFlowTask } from './write-flow.js';

export interface SnapshotTasks {
  /** Rejects with the typed error of the flow. */
  writeFlow(task: WriteFlowTask): Promise<NativeFlowSummary>;
  close(): Promise<void>;
}

export function snapshotTasks(threads: number): SnapshotTasks {
  const file = new URL('./write-flow.js', import.meta.url).href;
  const pool = lazyPool({ threads, tasksPerThread: 1 });
  return {
    async writeFlow(task) {
      const answer = (await pool.run(file, 'writeFlow', task)) as WriteFlowAnswer;
      if ('summary' in answer) return answer.summary;
      const { code, message, details } = answer;
      throw createError(isErrorCode(code) && code !== 'USAGE' ? code : 'IO', message, { details });
    },
    close: () => pool.close(),
  };
}

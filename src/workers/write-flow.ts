/** Writes one flow of a pin to a file. Runs in a worker thread, which may be ended between two steps. */
import type { CompressionName, NativeFlowSummary } from '../binding/contract.js';
import { describeError } from '../errors.js';
import { attachedStore } from './attached-store.js';

export interface WriteFlowTask {
  readonly store: bigint;
  readonly pin: bigint;
  readonly flow: number;
  readonly compression: CompressionName;
  readonly path: string;
}

/** Errors travel as plain values: a thread boundary keeps no classes. */
export type WriteFlowAnswer =
  | { readonly summary: NativeFlowSummary }
  | { readonly code: string; readonly message: string; readonly details: Readonly<Record<string, unknown>> };

export function writeFlow(task: WriteFlowTask): WriteFlowAnswer {
  try {
    const file = attachedStore(task.store).openFlowFile(task.pin, task.flow, task.compression, task.path);
    try {
      while (file.step());
      return { summary: file.summary() };
    } finally {
      file.close();
    }
  } catch (error) {
    const { code, message, details } = describeError(error).body;
    return { code, message, details };
  }
}

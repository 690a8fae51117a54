/**
 * Produces one flow of a pin, piece by piece, as far as the receiver gave credit. Runs in a worker thread, many flows a
 * thread: between two pieces the event loop turns. The port decides its life: the task ends when the port closes.
 */
import type { MessagePort } from 'node:worker_threads';
import type { NativeFlow } from '../binding/contract.js';
import { createError, describeError } from '../errors.js';
import { attachedStore } from './attached-store.js';
import type { FlowCredit, FlowMessage, FlowTask } from './replication-tasks.js';

/** Resolves when the flow ended: given whole, failed, or no longer wanted. What happened is said through the port. */
export async function streamFlow(task: FlowTask): Promise<void> {
  const { port } = task;
  let flow: NativeFlow;
  try {
    flow = attachedStore(task.store).openFlow(task.pin, task.flow, task.compression);
  } catch (error) {
    fail(port, error);
    return;
  }
  await new Promise<void>((resolve) => produce(flow, task, resolve));
}

function produce(flow: NativeFlow, { port, credit, offset }: FlowTask, ended: () => void): void {
  let left = credit;
  let toSkip = offset;
  let isOver = false;
  let isScheduled = false;
  const finish = (): void => {
    if (isOver) return;
    isOver = true;
    flow.close();
    port.close();
    ended();
  };
  const schedule = (): void => {
    if (isScheduled || isOver || left <= 0) return;
    isScheduled = true;
    setImmediate(step);
  };
  const step = (): void => {
    isScheduled = false;
    if (isOver) return;
    try {
      const piece = flow.next();
      if (piece === null) {
        if (toSkip > 0) throw createError('PROTOCOL', `the flow ends ${toSkip} bytes before the offset asked for`);
        say(port, { kind: 'done', summary: flow.summary() });
        finish();
        return;
      }
      const skipped = Math.min(toSkip, piece.length);
      toSkip -= skipped;
      left -= piece.length - skipped;
      // The addon's buffer may share memory that must not move to another thread.
      const bytes = new Uint8Array(piece.subarray(skipped));
      if (bytes.length > 0) say(port, { kind: 'data', bytes }, bytes.buffer);
    } catch (error) {
      fail(port, error);
      finish();
      return;
    }
    schedule();
  };
  port.on('message', ({ credit: more }: FlowCredit) => {
    left += more;
    schedule();
  });
  port.on('close', finish);
  schedule();
}

function say(port: MessagePort, message: FlowMessage, transfer?: ArrayBuffer): void {
  port.postMessage(message, transfer === undefined ? [] : [transfer]);
}

function fail(port: MessagePort, error: unknown): void {
  const { code, message } = describeError(error).body;
  say(port, { kind: 'failed', code, message });
  port.close();
}

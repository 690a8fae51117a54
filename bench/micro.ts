/**
 * Micro benchmarks through tinybench. One iteration is a round of operations, because a clock call costs as much as one
 * of them: the latencies are therefore means over a round, and only the median of them says something.
 */
import { Bench } from 'tinybench';
import type { Outcome } from './workload.js';

export interface Task {
  readonly what: string;
  readonly unit: string;
  /** Operations of one round. */
  readonly round: number;
  run(): void;
}

export async function micro(tasks: readonly Task[], milliseconds: number): Promise<Outcome[]> {
  const bench = new Bench({ time: milliseconds, warmupTime: milliseconds / 3, warmup: true });
  for (const task of tasks) bench.add(task.what, () => task.run());
  await bench.run();
  return tasks.map((task, index) => {
    const result = bench.tasks[index]?.result;
    if (result === undefined || result.state !== 'completed') {
      throw new Error(`${task.what}: ${result?.state}`, {
        cause: result?.state === 'errored' ? result.error : undefined,
      });
    }
    const nsEach = (result.latency.p50 * 1e6) / task.round;
    return { what: task.what, unit: task.unit, perSecond: 1e9 / nsEach, facts: { 'ns each': nsEach } };
  });
}

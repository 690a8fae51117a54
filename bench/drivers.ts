/**
 * How load is made: one at a time, so many in flight, or at a fixed rate whatever the answers do. Latencies are taken
 * from the moment an operation was due, so that a driver that is held up does not hide what a caller would have waited.
 */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Latency, Outcome } from './workload.js';

const nsPerSecond = 1e9;

/** Nanoseconds on a clock that all processes of this machine share. */
export function now(): number {
  return Number(process.hrtime.bigint());
}

export function newHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: 3_600_000_000_000, figures: 3 });
}

export function record(histogram: RecordableHistogram, ns: number): void {
  histogram.record(Math.max(1, Math.round(ns)));
}

export function latencyOf(histogram: RecordableHistogram): Latency {
  return {
    p50: histogram.percentile(50) / 1000,
    p99: histogram.percentile(99) / 1000,
    p999: histogram.percentile(99.9) / 1000,
  };
}

interface Work {
  readonly what: string;
  readonly unit: string;
  readonly count: number;
  /** Operations before the clock starts. */
  readonly warmUp: number;
  /** Things of `unit` in one operation. */
  readonly each?: number;
}

function outcome(work: Work, elapsedNs: number, histogram: RecordableHistogram): Outcome {
  const things = work.count * (work.each ?? 1);
  const perSecond = (things * nsPerSecond) / elapsedNs;
  return { what: work.what, unit: work.unit, perSecond, latency: latencyOf(histogram) };
}

/** Calls that block this thread, one after the other. */
export function blocking(work: Work, operation: (index: number) => void): Outcome {
  const histogram = newHistogram();
  for (let index = 0; index < work.warmUp; index += 1) operation(index);
  const begun = now();
  let before = begun;
  for (let index = 0; index < work.count; index += 1) {
    operation(work.warmUp + index);
    const after = now();
    record(histogram, after - before);
    before = after;
  }
  return outcome(work, before - begun, histogram);
}

/** `width` callers, each of which waits for its answer before it goes on. */
export async function inFlight(
  work: Work,
  width: number,
  operation: (index: number) => Promise<unknown>,
): Promise<Outcome> {
  const histogram = newHistogram();
  const drive = async (from: number, count: number, isMeasured: boolean): Promise<void> => {
    let next = from;
    const caller = async (): Promise<void> => {
      while (next < from + count) {
        const index = next;
        next += 1;
        const begun = now();
        await operation(index);
        if (isMeasured) record(histogram, now() - begun);
      }
    };
    await Promise.all(Array.from({ length: width }, caller));
  };
  await drive(0, work.warmUp, false);
  const begun = now();
  await drive(work.warmUp, work.count, true);
  return outcome(work, now() - begun, histogram);
}

/**
 * Calls `operation` `rate` times a second for `seconds`, in bursts when a timer came late; `dueNs` is when the
 * call should have been made. Resolves with the nanoseconds that it took, answers not waited for.
 */
export async function atRate(
  rate: number,
  seconds: number,
  operation: (index: number, dueNs: number) => void,
): Promise<number> {
  const total = Math.round(rate * seconds);
  const begun = now();
  for (let index = 0; index < total; ) {
    const due = Math.min(total, Math.floor(((now() - begun) * rate) / nsPerSecond) + 1);
    for (; index < due; index += 1) operation(index, begun + (index * nsPerSecond) / rate);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return now() - begun;
}

/**
 * What a workload is: one question, asked by one or more cases. Each trial of a case runs in a process of its own
 * (trial.ts) on a fresh directory; main.ts takes medians over the trials. Pure types and the small arithmetic on them.
 */

export interface Sizes {
  /** Keys of a data set; of 16 bytes, with values of 100 bytes. */
  readonly keys: number;
  /** Writes of which each waits for the disk. */
  readonly durableWrites: number;
  /** Writes that do not, one call each. */
  readonly writes: number;
  /** Milliseconds of one micro benchmark. */
  readonly microMs: number;
  /** Seconds of a stream at a fixed rate. */
  readonly streamSeconds: number;
}

/** Finishes in less than three minutes on two cores. */
export const smallSizes: Sizes = {
  keys: 100_000,
  durableWrites: 1000,
  writes: 20_000,
  microMs: 150,
  streamSeconds: 2,
};

export const fullSizes: Sizes = {
  keys: 1_000_000,
  durableWrites: 5000,
  writes: 200_000,
  microMs: 1000,
  streamSeconds: 10,
};

/** In microseconds. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

export interface Outcome {
  /** What was done, within the case. */
  readonly what: string;
  /** What is counted: puts, keys, records. */
  readonly unit: string;
  readonly perSecond: number;
  readonly latency?: Latency | undefined;
  /** Further numbers by name, with their unit in the name. */
  readonly facts?: Readonly<Record<string, number>> | undefined;
}

export interface Trial {
  /** An empty directory on a real file system; removed afterwards. */
  readonly dir: string;
  readonly sizes: Sizes;
}

export interface Case {
  readonly name: string;
  run(trial: Trial): Promise<readonly Outcome[]>;
}

export interface Workload {
  readonly name: string;
  /** One line: what it answers. */
  readonly question: string;
  readonly cases: readonly Case[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** From measures of trials to rows with ratios. Pure. */
import { type Latency, median } from '../workload.js';
import type { Measure } from './steps.js';

/** One trial: measures by name of the engine. */
export type Trials = Map<string, readonly Measure[]>;

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface EngineFigures {
  readonly perSecond: Spread;
  /** Medians over the trials, in microseconds. */
  readonly latency: Latency | null;
  readonly facts: Readonly<Record<string, number>>;
}

export interface CompareRow {
  readonly work: string;
  readonly unit: string;
  readonly valueBytes: number;
  readonly keys: number;
  readonly engines: Readonly<Record<string, EngineFigures>>;
  /** Ours against the best peer of the same trial; null without a peer. */
  readonly ratio: Spread | null;
  /** The peer that was the best in most trials. */
  readonly best: string | null;
  /** Ours against each peer, medians over the trials. */
  readonly ratios: Readonly<Record<string, number>>;
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** `us` is the engine that the others are compared with. A work that a trial lacks takes no part in its ratios. */
export function rowsOf(
  us: string,
  trials: readonly Trials[],
  size: { readonly valueBytes: number; readonly keys: number },
): CompareRow[] {
  const works = new Map<string, string>();
  for (const trial of trials) {
    for (const measures of trial.values()) for (const { work, unit } of measures) works.set(work, unit);
  }
  return [...works].map(([work, unit]) => rowOf(us, trials, work, { ...size, unit }));
}

function rowOf(
  us: string,
  trials: readonly Trials[],
  work: string,
  rest: Pick<CompareRow, 'unit' | 'valueBytes' | 'keys'>,
): CompareRow {
  const found = trials.map((trial) => {
    const rates = new Map<string, Measure>();
    for (const [engine, measures] of trial) {
      const measure = measures.find((one) => one.work === work);
      if (measure !== undefined) rates.set(engine, measure);
    }
    return rates;
  });
  const names = [...new Set(found.flatMap((rates) => [...rates.keys()]))];
  const peers = names.filter((name) => name !== us);
  const best: string[] = [];
  const ratios: number[] = [];
  for (const rates of found) {
    const own = rates.get(us)?.perSecond;
    const sorted = [...rates].filter(([name]) => name !== us).sort(([, a], [, b]) => b.perSecond - a.perSecond);
    const [first] = sorted;
    if (first === undefined) continue;
    best.push(first[0]);
    if (own !== undefined) ratios.push(own / first[1].perSecond);
  }
  const against = (peer: string): number => {
    const both = found.flatMap((rates) => {
      const own = rates.get(us)?.perSecond;
      const other = rates.get(peer)?.perSecond;
      return own === undefined || other === undefined ? [] : [own / other];
    });
    return median(both);
  };
  return {
    work,
    ...rest,
    engines: Object.fromEntries(
      names.map((name) => [name, figuresOf(found.flatMap((rates) => rates.get(name) ?? []))]),
    ),
    ratio: ratios.length === 0 ? null : spreadOf(ratios),
    best: mostFrequent(best),
    ratios: Object.fromEntries(peers.map((peer) => [peer, against(peer)])),
  };
}

function figuresOf(measures: readonly Measure[]): EngineFigures {
  const latencies = measures.flatMap(({ latency }) => latency ?? []);
  const of = (field: keyof Latency): number => median(latencies.map((latency) => latency[field]));
  const names = Object.keys(measures[0]?.facts ?? {});
  return {
    perSecond: spreadOf(measures.map(({ perSecond }) => perSecond)),
    latency: latencies.length === 0 ? null : { p50: of('p50'), p99: of('p99'), p999: of('p999') },
    facts: Object.fromEntries(
      names.map((name) => [name, median(measures.map(({ facts }) => facts?.[name] ?? Number.NaN))]),
    ),
  };
}

function mostFrequent(names: readonly string[]): string | null {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? null;
}

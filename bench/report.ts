/** From outcomes of trials to rows, and from rows to text. Pure. */
import type { Environment } from './environment.js';
import { type Latency, median, type Outcome, type Sizes } from './workload.js';

export interface Row {
  readonly workload: string;
  readonly case: string;
  readonly what: string;
  readonly unit: string;
  readonly trials: number;
  readonly perSecond: { readonly median: number; readonly min: number; readonly max: number };
  /** Medians over the trials, in microseconds. */
  readonly latency: Latency | null;
  readonly facts: Readonly<Record<string, number>>;
}

export interface Report {
  readonly environment: Environment;
  readonly sizes: Sizes;
  readonly seconds: number;
  readonly rows: readonly Row[];
}

/** `trials` holds the outcomes of each trial, in the same order. */
export function rowsOf(workload: string, name: string, trials: readonly (readonly Outcome[])[]): Row[] {
  return (trials[0] ?? []).map((first, index) => {
    const same = trials.map((outcomes) => outcomes[index]).filter((outcome) => outcome !== undefined);
    const rates = same.map(({ perSecond }) => perSecond);
    const latencies = same.map(({ latency }) => latency).filter((latency) => latency !== undefined);
    const of = (field: keyof Latency): number => median(latencies.map((latency) => latency[field]));
    const facts: Record<string, number> = {};
    for (const fact of Object.keys(first.facts ?? {})) {
      facts[fact] = median(same.map(({ facts: found }) => found?.[fact] ?? Number.NaN));
    }
    return {
      workload,
      case: name,
      what: first.what,
      unit: first.unit,
      trials: same.length,
      perSecond: { median: median(rates), min: Math.min(...rates), max: Math.max(...rates) },
      latency: latencies.length === 0 ? null : { p50: of('p50'), p99: of('p99'), p999: of('p999') },
      facts,
    };
  });
}

/** Three digits that say something, groups of three. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en', { maximumFractionDigits: Math.min(digits, 2), useGrouping: true });
}

const heads = ['work', 'a second', 'min', 'max', 'p50 us', 'p99 us', 'p99.9 us', 'besides'];

function cells(row: Row): string[] {
  const { median: middle, min, max } = row.perSecond;
  const { p50, p99, p999 } = row.latency ?? { p50: Number.NaN, p99: Number.NaN, p999: Number.NaN };
  const facts = Object.entries(row.facts).map(([name, value]) => `${name}: ${short(value)}`);
  const work = `${row.workload} / ${row.case}: ${row.what}`;
  return [work, `${short(middle)} ${row.unit}`, ...[min, max, p50, p99, p999].map(short), facts.join(', ')];
}

export function describe({ environment, sizes, seconds }: Report): string {
  const { cpu, cores, memoryGib, kernel, node, fileSystem, commit, date, load } = environment;
  const machine = `${cpu}, ${cores} cores, ${memoryGib} GiB, Linux ${kernel}, ${fileSystem}, node ${node}`;
  const size = `${short(sizes.keys)} keys of 16 bytes, values of 100 bytes`;
  const run = `commit ${commit}, ${date}, load before the run ${load.toFixed(2)}, ${Math.round(seconds)} s`;
  return `${machine}\n${size}; medians over the trials, with the lowest and highest\n${run}`;
}

/** Columns of the same width; those in `texts` begin at the left, the others end at the right. */
export function aligned(lines: readonly (readonly string[])[], texts: readonly number[]): string {
  const columns = lines[0] ?? [];
  const widths = columns.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const pad = (text: string, column: number): string => {
    return texts.includes(column) ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  };
  return lines.map((line) => line.map(pad).join('  ').trimEnd()).join('\n');
}

export function markdownTable(lines: readonly (readonly string[])[], texts: readonly number[]): string {
  const line = (parts: readonly string[]): string => `| ${parts.join(' | ')} |`;
  const [columns = [], ...rows] = lines;
  const rule = columns.map((_, column) => (texts.includes(column) ? '---' : '---:'));
  return [columns, rule, ...rows].map(line).join('\n');
}

const textColumns = [0, heads.length - 1];

export function table(report: Report): string {
  return `${describe(report)}\n\n${aligned([heads, ...report.rows.map(cells)], textColumns)}\n`;
}

export function markdown(report: Report): string {
  const lines = [heads, ...report.rows.map(cells)];
  return `${describe(report).replaceAll('\n', '  \n')}\n\n${markdownTable(lines, textColumns)}\n`;
}

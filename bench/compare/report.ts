/** From a comparison to text: one table for each size of values, engines side by side. Pure. */
import type { Environment } from '../environment.js';
import { aligned, markdownTable, short } from '../report.js';
import type { ComparePlan, CompareResult } from './compare.js';
import type { CompareRow } from './rows.js';
import { amplificationFact, diskFact, residentFact } from './steps.js';

const shownFacts = [diskFact, amplificationFact, residentFact];

export interface CompareReport extends CompareResult {
  readonly environment: Environment;
  readonly plan: ComparePlan;
  readonly seconds: number;
}

function heading({ environment, plan, versions, leftOut, seconds }: CompareReport): string[] {
  const { cpu, cores, memoryGib, kernel, node, fileSystem, commit, date, load } = environment;
  const mib = (bytes: number): string => `${bytes / 2 ** 20} MiB`;
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${cpu}, ${cores} cores, ${memoryGib} GiB, Linux ${kernel}, ${fileSystem}, node ${node}`,
    names.join(', '),
    `cache ${mib(plan.cacheBytes)}, memtables ${mib(plan.memtableBytes)}; medians of ${plan.trials} trials`,
    `commit ${commit}, ${date}, load before the run ${load.toFixed(2)}, ${Math.round(seconds)} s`,
    ...leftOut.map(({ engine, reason }) => `left out: ${engine}: ${reason}`),
  ];
}

function sections({ rows, versions, plan }: CompareReport): { readonly title: string; readonly lines: string[][] }[] {
  const names = Object.keys(versions);
  const heads = ['work (a second)', ...names, 'best peer', 'ours / best', 'min', 'max'];
  return plan.valueBytes.map((bytes) => {
    const own = rows.filter(({ valueBytes }) => valueBytes === bytes);
    const title = `${short(own[0]?.keys ?? 0)} keys of 16 bytes, values of ${short(bytes)} bytes`;
    const none = ['-', '-', '-', '-'];
    const facts = shownFacts.map((fact) => [fact, ...names.map((name) => short(factOf(own, name, fact))), ...none]);
    return { title, lines: [heads, ...own.map((row) => cells(row, names)), ...facts] };
  });
}

function factOf(rows: readonly CompareRow[], engine: string, fact: string): number {
  return rows.flatMap(({ engines }) => engines[engine]?.facts[fact] ?? [])[0] ?? Number.NaN;
}

function cells({ work, unit, engines, best, ratio }: CompareRow, names: readonly string[]): string[] {
  const rates = names.map((name) => {
    const figures = engines[name];
    if (figures === undefined) return '-';
    const p99 = figures.latency === null ? '' : ` (p99 ${short(figures.latency.p99)} us)`;
    return `${short(figures.perSecond.median)}${p99}`;
  });
  const spread = [ratio?.median, ratio?.min, ratio?.max].map((value) => short(value ?? Number.NaN));
  return [`${work}, ${unit}`, ...rates, best ?? '-', ...spread];
}

export function compareTable(report: CompareReport): string {
  const parts = sections(report).map(({ title, lines }) => `${title}\n${aligned(lines, [0])}`);
  return `${heading(report).join('\n')}\n\n${parts.join('\n\n')}\n`;
}

export function compareMarkdown(report: CompareReport): string {
  const parts = sections(report).map(({ title, lines }) => `### ${title}\n\n${markdownTable(lines, [0])}`);
  return `${heading(report).join('  \n')}\n\n${parts.join('\n\n')}\n`;
}

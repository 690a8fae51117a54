/** One trial of one case, in a process of its own: `trial.js <workload> <case> <sizes as JSON> <directory>`. */
import type { Sizes } from './workload.js';
import { workloads } from './workloads.js';

const [workloadName, caseName, sizes = '{}', dir = ''] = process.argv.slice(2);
const workload = workloads.find(({ name }) => name === workloadName);
const chosen = workload?.cases.find(({ name }) => name === caseName);
if (chosen === undefined) throw new Error(`no case "${caseName}" of "${workloadName}"`);
const outcomes = await chosen.run({ dir, sizes: JSON.parse(sizes) as Sizes });
process.send?.(outcomes, () => process.disconnect?.());

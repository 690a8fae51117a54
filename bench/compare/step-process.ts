/** One step of one trial, in a process of its own: `step-process.js <job as JSON>`. Answers with its measures. */
import { engines } from './engines.js';
import { type Job, runStep } from './steps.js';

const job = JSON.parse(process.argv[2] ?? '{}') as Job;
const engine = engines.find(({ name }) => name === job.engine);
if (engine === undefined) throw new Error(`no engine "${job.engine}"`);
const measures = await runStep(engine, job);
process.send?.(measures, () => process.disconnect?.());

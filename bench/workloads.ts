/** Every workload, in the order in which they run. */
import type { Workload } from './workload.js';
import { batch } from './workloads/batch.js';
import { durablePut } from './workloads/durable-put.js';
import { encode } from './workloads/encode.js';
import { fullSync } from './workloads/full-sync.js';
import { latency } from './workloads/latency.js';
import { opening } from './workloads/open.js';
import { put } from './workloads/put.js';
import { range } from './workloads/range.js';
import { read } from './workloads/read.js';
import { readers } from './workloads/readers.js';
import { replay } from './workloads/replay.js';
import { snapshot } from './workloads/snapshot.js';
import { stream } from './workloads/stream.js';

export const workloads: readonly Workload[] = [
  durablePut,
  put,
  batch,
  read,
  encode,
  range,
  readers,
  latency,
  opening,
  replay,
  snapshot,
  fullSync,
  stream,
];

/** What `npm run bench:micro` runs: nothing that waits for a disk or a peer. */
export const microWorkloads: readonly string[] = ['read', 'encode', 'range'];

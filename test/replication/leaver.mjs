// A thread that takes records for a replica and is terminated before it shows them.
import { parentPort, workerData } from 'node:worker_threads';
import { loadAddon } from '../../dist/binding/load.js';

const store = await loadAddon().openStore(workerData.dir, {}, () => undefined);
store.appendReplicated(workerData.records);
parentPort.postMessage('taken');
setInterval(() => undefined, 1000);

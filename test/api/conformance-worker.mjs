// Runs one fact of the conformance suite in a worker thread, on a store that it opens by itself.
import { parentPort, workerData } from 'node:worker_threads';
import { open } from '../../dist/index.js';
import { facts } from './conformance.mjs';

const db = await open(workerData.path);
try {
  await facts[workerData.name](db);
  parentPort.postMessage(null);
} catch (error) {
  parentPort.postMessage(`${error.stack}`);
} finally {
  await db.close();
}

// A thread that follows the log as a replica's feeder does: from the ring, and from the segments where that is ahead.
// It verifies every record and is terminated in mid-copy. Reports the first thing that is wrong, else how far it came.
import { parentPort, workerData } from 'node:worker_threads';
import { loadAddon } from '../../dist/binding/load.js';
import { RingReader } from '../../dist/ring/reader.js';

const { path, ring, clusterId } = workerData;
const addon = loadAddon();
const store = await addon.openStore(path, {}, () => {});
const reader = new RingReader(ring);
const into = new Uint8Array(64 * 1024);
let at = store.shippingEnd();
const tally = { ring: 0, segments: 0, overtaken: 0, records: 0 };

for (let turn = 0; ; turn += 1) {
  parentPort.postMessage({ tally });
  if (turn % 9 === 8) await new Promise((resolve) => setTimeout(resolve, 40));
  const read = reader.read(reader.generation(), at.offset, into);
  if (read.outcome === 'ok') {
    const bytes = into.subarray(0, read.bytes);
    const checked = addon.checkRecords(bytes, at, 0n, clusterId);
    if (checked.stopped !== null && checked.stopped !== 'short') {
      parentPort.postMessage({ wrong: `${checked.stopped} behind ${at}` });
      break;
    }
    at = checked.after;
    tally.ring += 1;
    tally.records += checked.records;
    if (checked.bytes > 0) continue;
  }
  if (read.outcome === 'overtaken') tally.overtaken += 1;
  if (read.outcome !== 'nothing') {
    const chunk = await store.readLogAsync(at.offset, 64 * 1024).catch(() => undefined);
    if (chunk !== undefined && chunk.bytes.length > 0) {
      at = chunk.after;
      tally.segments += 1;
      continue;
    }
  }
  await new Promise((resolve) => setImmediate(resolve));
}

/**
 * Writes a snapshot directory: pin, one worker task a flow, the log made durable up to the pin, the token last. What is
 * not finished is removed. The thread that opened the store.
 */
import { mkdir, open, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Clock } from './base/clock.js';
import type { CompressionName, NativeAddon, NativeFlowSummary, NativePin, NativeStore } from './binding/contract.js';
import { createError } from './errors.js';
import type { Position } from './position.js';
import type { SnapshotTasks } from './workers/snapshot-tasks.js';

export interface SnapshotResult {
  readonly path: string;
  readonly position: Position;
  readonly flows: number;
  /** Live entries. */
  readonly keys: number;
  /** Of the flow files. */
  readonly bytes: number;
  readonly ms: number;
}

export interface SnapshotHost {
  readonly store: NativeStore;
  readonly addon: NativeAddon;
  readonly tasks: SnapshotTasks;
  readonly clock: Clock;
}

const syncTimeoutMs = 60_000;

/** EXISTS if there is anything at `path`; EVICTED if the pin was given up meanwhile. */
export async function writeSnapshot(
  host: SnapshotHost,
  path: string,
  compression: CompressionName,
): Promise<SnapshotResult> {
  const began = host.clock.monotonic();
  const directory = resolve(path);
  await makeDirectory(directory);
  const pin = await pinOrUndo(host.store, directory);
  try {
    const { meta, shards, clusterId } = pin;
    const flows = await writeFlows(host, pin, compression, directory);
    await host.store.syncTo(meta.position.offset, syncTimeoutMs);
    host.store.checkPin(pin.id);
    const createdMs = host.clock.now();
    await host.addon.publishToken(directory, { clusterId, createdMs, compression, flows, meta });
    await syncDirectory(dirname(directory));
    const sum = (of: (flow: NativeFlowSummary) => number): number => flows.reduce((total, flow) => total + of(flow), 0);
    return {
      path,
      position: meta.position,
      flows: shards,
      keys: sum(({ entries }) => entries),
      bytes: sum(({ fileBytes }) => fileBytes),
      ms: Math.round(host.clock.monotonic() - began),
    };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  } finally {
    host.store.releasePin(pin.id);
  }
}

async function pinOrUndo(store: NativeStore, directory: string): Promise<NativePin> {
  try {
    return store.pin(`snapshot ${directory}`);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/** All flows end before this does, whatever the others do: the directory is removed only behind the last writer. */
async function writeFlows(
  { store, tasks }: SnapshotHost,
  pin: NativePin,
  compression: CompressionName,
  directory: string,
): Promise<NativeFlowSummary[]> {
  const task = (flow: number): Promise<NativeFlowSummary> => {
    const path = join(directory, `flow-${String(flow).padStart(5, '0')}`);
    return tasks.writeFlow({ store: store.token, pin: pin.id, flow, compression, path });
  };
  const ended = await Promise.allSettled(Array.from({ length: pin.shards }, (_, flow) => task(flow)));
  return ended.map((flow) => {
    if (flow.status === 'rejected') throw flow.reason;
    return flow.value;
  });
}

async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw createError('EXISTS', `there is something at ${path} already`, { details: { path } });
    throw createError('IO', `create the snapshot directory: ${message}`, { cause, details: { file: path } });
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

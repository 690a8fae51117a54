/**
 * What a directory that is not open holds, as `gapless stat` shows it. Opens it read-only, so that nothing is changed
 * and a live directory answers LOCKED. Any thread.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { NativeStat, NativeStore } from './binding/contract.js';
import { loadAddon } from './binding/load.js';
import type { Position } from './position.js';
import { spaceOf } from './stats.js';

export interface DirectoryStat {
  readonly format: 1;
  readonly clusterId: string | null;
  readonly nodeId: string;
  readonly role: 'primary' | 'replica';
  readonly shards: number;
  readonly position: Position;
  readonly checkpoint: Position;
  readonly epochs: readonly {
    readonly epoch: string;
    readonly from: Position;
    readonly chain: string;
    readonly nodeId: string;
    readonly cause: string;
    readonly time: number;
  }[];
  readonly log: { readonly floor: string; readonly end: string; readonly segments: number; readonly bytes: number };
  readonly runs: { readonly count: number; readonly bytes: number; readonly levels: NativeStat['levels'] };
  readonly keysEstimate: number;
  /** `live`: keys and values, an estimate where runs are large; `total`: files of the live generation. */
  readonly bytes: { readonly live: number; readonly total: number };
  readonly spaceAmplification: number | null;
  readonly snapshots: readonly {
    readonly name: string;
    readonly position: Position;
    readonly bytes: number;
    readonly time: number;
  }[];
  readonly holds: readonly object[];
  readonly cursors: readonly { readonly consumer: string; readonly position: Position }[];
  /** Files in lost/. */
  readonly lost: number;
  readonly inconsistent: { readonly ranges: readonly object[] } | null;
}

export async function statDirectory(path: string): Promise<DirectoryStat> {
  const store = await loadAddon().openStore(path, { readOnly: true, createIfMissing: false }, () => undefined);
  try {
    return await describe(path, store);
  } finally {
    await store.close();
  }
}

async function describe(path: string, store: NativeStore): Promise<DirectoryStat> {
  const { clusterId, nodeId, shards } = store.identity();
  const { floor, end, segments, bytes: logBytes, holds } = store.logStats();
  const meta = store.meta();
  const { checkpoint, keys, liveBytes, totalBytes, runs, runBytes, levels } = await loadAddon().statStore(path);
  const { view, position } = store.openView();
  store.releaseView(view);
  const { live, total, amplification } = spaceOf(liveBytes, totalBytes);
  return {
    format: 1,
    clusterId: /^0+$/.test(clusterId) ? null : clusterId,
    nodeId,
    role: store.state().role,
    shards,
    position,
    checkpoint,
    epochs: meta.epochs.map(({ epoch, before, chain, nodeId: by, cause, time }) => {
      return { epoch, from: before, chain, nodeId: by, cause, time };
    }),
    log: { floor: `${floor}`, end: `${end}`, segments, bytes: logBytes },
    runs: { count: runs, bytes: runBytes, levels },
    keysEstimate: keys,
    bytes: { live, total },
    spaceAmplification: amplification,
    snapshots: await snapshotsOf(path),
    holds: holds.map(({ kind, name, offset, maxBytes }) => {
      return { kind, name, offset: `${offset}`, bytes: Number(end - offset), maxBytes };
    }),
    cursors: meta.cursors.map(({ name, position: at }) => ({ consumer: name, position: at })),
    lost: (await namesIn(join(path, 'lost'))).length,
    inconsistent: meta.padded.length === 0 ? null : { ranges: meta.padded },
  };
}

async function snapshotsOf(path: string): Promise<DirectoryStat['snapshots']> {
  const found: DirectoryStat['snapshots'][number][] = [];
  for (const name of await namesIn(join(path, 'snapshots'))) {
    const token = await loadAddon().snapshotInfo(join(path, 'snapshots', name));
    const bytes = token.flows.reduce((total, { fileBytes }) => total + fileBytes, 0);
    found.push({ name, position: token.meta.position, bytes, time: token.createdMs });
  }
  return found;
}

/** Sorted; empty where there is no such directory. */
async function namesIn(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * What a directory that is not open holds, as `gapless stat` shows it. Opens it read-only, so that nothing is changed
 * and a live directory answers LOCKED. Any thread.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { NativeStore } from './binding/contract.js';
import { loadAddon } from './binding/load.js';
import { digestOfView } from './digest.js';
import type { Position } from './position.js';

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
  readonly runs: { readonly count: number; readonly bytes: number; readonly levels: readonly object[] };
  readonly keysEstimate: number;
  /** `live`: keys and values; `total`: the files of all generations. */
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
  const { view, position } = store.openView();
  const { bytes: live } = await digestOfView(store, view, position);
  store.releaseView(view);
  const total = await generationBytes(path);
  return {
    format: 1,
    clusterId: /^0+$/.test(clusterId) ? null : clusterId,
    nodeId,
    role: store.state().role,
    shards,
    position,
    checkpoint: store.positionAt(floor),
    epochs: meta.epochs.map(({ epoch, before, chain, nodeId: by, cause, time }) => {
      return { epoch, from: before, chain, nodeId: by, cause, time };
    }),
    log: { floor: `${floor}`, end: `${end}`, segments, bytes: logBytes },
    runs: { count: 0, bytes: 0, levels: [] },
    keysEstimate: store.storeStats().keysEstimate,
    bytes: { live, total },
    spaceAmplification: live === 0 ? null : Math.round((total / live) * 100) / 100,
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

async function generationBytes(path: string): Promise<number> {
  let total = 0;
  for (const generation of (await namesIn(path)).filter((name) => name.startsWith('gen-'))) {
    for (const entry of await readdir(join(path, generation), { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) total += (await stat(join(entry.parentPath, entry.name))).size;
    }
  }
  return total;
}

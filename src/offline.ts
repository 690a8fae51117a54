/**
 * Work on directories that are not open: inspection, verification, repair, restore. Each takes the directory's lock and
 * rejects with LOCKED on a live one. Background work of the addon; any thread.
 */
import type {
  NativeDigestReport,
  NativeLogRecord,
  NativeRepairReport,
  NativeRestoreReport,
  NativeToken,
  NativeVerifyReport,
} from './binding/contract.js';
import { loadAddon } from './binding/load.js';
import { GaplessError } from './errors.js';
import { notARecordEnd } from './history.js';

export type DigestReport = NativeDigestReport;
export type RestoreReport = NativeRestoreReport;
export type { NativeLogRecord, NativeRepairReport, NativeToken, NativeVerifyReport };
export interface RestoreOptions {
  /** Gives the restored store a cluster id of its own. */
  readonly newCluster?: boolean | undefined;
  readonly shards?: number | undefined;
}

/** `deep` replays everything and computes the digest too. */
export function verifyDirectory(path: string, deep = false): Promise<NativeVerifyReport> {
  return loadAddon().verifyStore(path, deep);
}

/** At the end of the log, or at the record end of a sequence: NOT_A_RECORD_END, POSITION_UNAVAILABLE. */
export async function digestDirectory(path: string, at: bigint | null = null): Promise<DigestReport> {
  try {
    return await loadAddon().digestStore(path, at);
  } catch (error) {
    if (at === null || !(error instanceof GaplessError) || error.code !== 'NOT_A_RECORD_END') throw error;
    const [record] = await loadAddon().visitLog(path, at, 1, 0);
    throw record === undefined ? error : notARecordEnd(at, record.before, record.after);
  }
}

const pageRecords = 512;
const pageBytes = 4 * 1024 * 1024;

/** Records of the log, from the one that holds `fromSeq` on. */
export async function* readLogRecords(path: string, fromSeq = 1n): AsyncGenerator<NativeLogRecord, void, void> {
  let from = fromSeq;
  for (;;) {
    const page = await loadAddon().visitLog(path, from, pageRecords, pageBytes);
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length === 0) return;
    from = last.after.seq + 1n;
    if (page.length < pageRecords && page.reduce((total, { body }) => total + body.length, 0) < pageBytes) return;
  }
}

/** Without `truncateAt` (a log offset) reports only; with it cuts there, keeping what is dropped in `lost/`. */
export function repairDirectory(path: string, truncateAt: bigint | null = null): Promise<NativeRepairReport> {
  return loadAddon().repairStore(path, truncateAt);
}

/** Makes a directory, which must not exist or be empty, from a snapshot; it appears complete or not at all. */
export function restoreSnapshot(
  snapshot: string,
  target: string,
  options: RestoreOptions = {},
): Promise<RestoreReport> {
  return loadAddon().restoreSnapshot(snapshot, target, options.newCluster ?? false, options.shards ?? null);
}

export function verifySnapshot(path: string): Promise<NativeVerifyReport> {
  return loadAddon().verifySnapshot(path);
}

export function snapshotInfo(path: string): Promise<NativeToken> {
  return loadAddon().snapshotInfo(path);
}

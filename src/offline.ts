/**
 * Work on directories that are not open: inspection, verification, repair, restore. Each takes the directory's lock and
 * rejects with LOCKED on a live one. Background work of the addon; any thread.
 */
import type {
  NativeDigestReport,
  NativeLogRecord,
  NativeLostFile,
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
export type { NativeLogRecord, NativeLostFile, NativeRepairReport, NativeToken, NativeVerifyReport };
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

/** The files of `lost/`: what was taken out of the history of this directory. */
export function listLost(path: string): Promise<readonly NativeLostFile[]> {
  return loadAddon().listLost(path);
}

export interface LostRecord extends NativeLogRecord {
  /** False: bytes that no longer verify, as `body`. */
  readonly isWhole: boolean;
}

/** The records of one of them; NOT_FOUND. Takes no lock: such a file is never changed. */
export async function* readLostRecords(path: string, file: string): AsyncGenerator<LostRecord, void, void> {
  for (let begin = 0, ended = false; !ended; ) {
    const page = await loadAddon().visitLost(path, file, begin, pageRecords, pageBytes);
    for (const record of page.records) yield { ...record, isWhole: record.epoch !== '0.0' };
    begin = page.next;
    ended = page.ended;
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

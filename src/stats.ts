/**
 * What a store says of its own work: `db.stats()`, and the part of `db.status()` that is made of the same. Pure over
 * the answers of the addon; the thread that opened the store.
 */
import type { NativeCache, NativeCounters, NativeLogStats, NativeStore, NativeStoreStats } from './binding/contract.js';
import type { Position } from './position.js';

/** Bytes on disk. */
export interface SpaceStats {
  /** Of the newest versions: what merging everything would leave, and the memtables. An estimate. */
  readonly live: number;
  /** Files of log and runs. */
  readonly total: number;
  /** total / live; null for an empty store. */
  readonly amplification: number | null;
}

export interface RunStats {
  readonly count: number;
  readonly bytes: number;
  /** Memory for indexes and filters, outside of the cache. */
  readonly memoryBytes: number;
  /** Those that hold runs; 0 is the newest. */
  readonly levels: readonly { readonly level: number; readonly runs: number; readonly bytes: number }[];
}

/** Since the store was opened in this process. */
export interface BackgroundWork {
  readonly flushes: number;
  readonly flushWrittenBytes: number;
  readonly merges: number;
  /** Runs that went a level down as they were. */
  readonly moves: number;
  readonly mergeReadBytes: number;
  readonly mergeWrittenBytes: number;
  /** What merging has still to write before it rests. */
  readonly mergeDebtBytes: number;
  /** Attempts that failed; they are repeated. */
  readonly failures: number;
  /** Found damaged, and left out of merging. */
  readonly damagedRuns: number;
  /** Of the last attempt; null when it succeeded. */
  readonly lastError: Error | null;
}

export interface Stats {
  readonly counters: NativeCounters;
  readonly log: NativeLogStats;
  readonly store: NativeStoreStats;
  /** Commits that wait for their acknowledgement. */
  readonly pendingCommits: number;
  readonly space: SpaceStats;
  readonly runs: RunStats;
  readonly cache: NativeCache;
  readonly background: BackgroundWork;
  /** Bytes written for each byte of keys and values: the log counted as one, flushes and merges as they are. */
  readonly writeAmplification: number | null;
  /** Times that commits waited for background work, and how long in all. */
  readonly stalls: { readonly count: number; readonly ms: number };
  /** Null: no view or range is open. */
  readonly oldestViewMs: number | null;
  /** The log is replayed from here at the next open, unless it comes further. */
  readonly checkpoint: Position;
}

/** The field `store` of the status. */
export interface StoreStatus {
  readonly keysEstimate: number;
  readonly memtableBytes: number;
  /** Of the cache, in use. */
  readonly cacheBytes: number;
  readonly runs: number;
  readonly bytes: { readonly live: number; readonly total: number };
  readonly checkpoint: Position;
  readonly openViews: number;
  readonly oldestViewMs: number;
  readonly stalls: number;
  readonly stallMs: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
}

export function buildStats(store: NativeStore, pendingCommits: number): Stats {
  const report = store.storeReport();
  const log = store.logStats();
  const { upkeep } = report;
  const levels = report.levels.map(({ runs, bytes }, level) => ({ level, runs, bytes })).filter(({ runs }) => runs > 0);
  const { flushes, flushWrittenBytes, merges, moves, mergeReadBytes, mergeWrittenBytes } = upkeep;
  const { failures, damagedRuns, lastError } = upkeep;
  return {
    counters: store.counters(),
    log,
    store: store.storeStats(),
    pendingCommits,
    space: spaceOf(report.liveBytesEstimate + report.memtableBytes, report.runBytes + log.bytes),
    runs: {
      count: levels.reduce((total, { runs }) => total + runs, 0),
      bytes: report.runBytes,
      memoryBytes: report.runMemoryBytes,
      levels,
    },
    cache: report.cache,
    background: {
      flushes,
      flushWrittenBytes,
      merges,
      moves,
      mergeReadBytes,
      mergeWrittenBytes,
      mergeDebtBytes: report.mergeDebtBytes,
      failures,
      damagedRuns,
      lastError,
    },
    writeAmplification:
      report.userBytes === 0 ? null : twoDigits(1 + (flushWrittenBytes + mergeWrittenBytes) / report.userBytes),
    stalls: { count: report.stalls, ms: Math.round(report.stallUs / 1000) },
    oldestViewMs: report.oldestViewAgeMs,
    checkpoint: report.checkpoint,
  };
}

export function buildStoreStatus(store: NativeStore): StoreStatus {
  const { store: native, space, runs, cache, stalls, oldestViewMs, checkpoint } = buildStats(store, 0);
  return {
    keysEstimate: native.keysEstimate,
    memtableBytes: native.memtableBytes,
    cacheBytes: cache.usedBytes,
    runs: runs.count,
    bytes: { live: space.live, total: space.total },
    checkpoint,
    openViews: native.openViews,
    oldestViewMs: oldestViewMs ?? 0,
    stalls: stalls.count,
    stallMs: stalls.ms,
    cacheHits: cache.hits,
    cacheMisses: cache.misses,
  };
}

export function spaceOf(live: number, total: number): SpaceStats {
  return { live, total, amplification: live === 0 ? null : twoDigits(total / live) };
}

function twoDigits(value: number): number {
  return Math.round(value * 100) / 100;
}

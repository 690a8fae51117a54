/**
 * The whole boundary to the native addon, typed. Implemented in native/napi; loaded by src/binding/load.ts.
 *
 * Threads: each environment (thread) loads the addon and owns its handles; an engine behind them is shared by the
 * process. Everything that returns a Promise runs as background work; everything else is quick and never waits for the
 * disk, except where a comment says "waits". Bytes are copied before a call returns; inputs backed by a
 * SharedArrayBuffer are refused (the ring excepted). Failures arrive as errors of src/errors.ts, thrown or as
 * rejections; a malformed call is a TypeError. Sequences, offsets and ids are bigints, in BigUint64Array words on hot
 * paths; positions are Position objects on cold paths and four words {term | run << 32, seq, offset, chain} on hot.
 */
import type { NativeStatus } from '../errors.js';
import type { Position } from '../position.js';

/** Called by native code to build values of JavaScript classes; handed over once an environment. */
export interface NativeHooks {
  readonly error: (status: NativeStatus) => Error;
  readonly position: (epoch: string, seq: bigint, offset: bigint, chain: string) => Position;
}

/** Only named (present) options count in the comparison with an engine that is open already. */
export interface NativeOpenOptions {
  readonly durability?: number;
  readonly flushIntervalMs?: number;
  readonly syncIntervalMs?: number;
  readonly pendingBytes?: number;
  readonly shards?: number;
  readonly segmentBytes?: number;
  readonly logRetainBytes?: number;
  readonly viewMaxAgeMs?: number;
  readonly holdMaxBytes?: number;
  readonly snapshotHoldMs?: number;
  readonly slotMaxBytes?: number;
  readonly clockMaxAheadMs?: number;
  readonly memtableBytes?: number;
  readonly cacheBytes?: number;
  /** A value of `compressionCodes`. */
  readonly compression?: number;
  /** 0: no limit. */
  readonly mergeRateBytes?: number;
  readonly createIfMissing?: boolean;
  readonly errorIfExists?: boolean;
  readonly readOnly?: boolean;
  /** Creates the directory as a replica's, or turns it into one. */
  readonly asReplica?: boolean;
  readonly newNodeId?: boolean;
}

/** Of `setLease`: no coordinator decides who is primary. */
export const noLease: bigint = 0xffff_ffff_ffff_ffffn;

/** Numbers of log::Durability. */
export const durabilityCodes = { sync: 0, os: 1, memory: 2 } as const;
export type DurabilityName = keyof typeof durabilityCodes;

/** Numbers of table::Compression and snapshot::Compression. */
export const compressionCodes = { none: 0, lz4: 1 } as const;

/** Numbers of log::RecordKind. */
export const recordKinds = { batch: 1, epoch: 2, noop: 3, cursor: 4, digest: 5, config: 6 } as const;
export type RecordKindName = keyof typeof recordKinds;

/** Numbers of log::HoldKind. */
export const holdKinds = { slot: 0, snapshot: 1, checkpoint: 2, reader: 3 } as const;
export type HoldKindName = keyof typeof holdKinds;

/** Words of `NativeStore.progress(out)`; a position is four words. */
export const progressWords = {
  visible: 0,
  written: 4,
  durable: 8,
  shipping: 12,
  /** Bits of `progressFlags`. */
  flags: 16,
  generation: 17,
  /** term | run << 32 of the epoch that this node began last */
  ownEpoch: 18,
  /** rises with every stop of acknowledging, and stays when a change of role ends it */
  stops: 19,
  count: 20,
} as const;
export const progressFlags = {
  acknowledging: 1n,
  noSpace: 2n,
  completions: 4n,
  fenced: 8n,
  primary: 16n,
  complete: 32n,
  belowFormerMark: 64n,
} as const;

/** Words of the answer of `submit`. */
export const submitWords = { position: 0, firstSeq: 4, results: 5, ticket: 6, count: 7 } as const;
export const submitStates = { sequenced: 0, queued: 1 } as const;

export interface NativeIdentity {
  /** 32 hex digits; zeros: none yet (a replica without a record). */
  readonly clusterId: string;
  readonly nodeId: string;
  readonly shards: number;
}

export interface NativeState {
  readonly role: 'primary' | 'replica';
  readonly fenced: boolean;
  /** False: a replica whose first full sync is unfinished. */
  readonly complete: boolean;
  /** "term.run" */
  readonly ownEpoch: string;
  readonly highestTerm: number;
  readonly generation: bigint;
  readonly acknowledging: boolean;
  /** Why nothing is acknowledged any more (poisoned, fenced, closing). */
  readonly stop: Error | null;
  readonly noSpace: boolean;
  /** Of the store, whoever opened it first. */
  readonly durability: number;
}

export interface NativeTailCut {
  readonly from: Position;
  readonly file: string;
  readonly fileOffset: number;
  readonly bytes: number;
  readonly validRecords: number;
}

export interface NativeRecovery {
  readonly outcome: string;
  readonly reason: string;
  readonly gap: bigint;
  readonly ms: number;
  readonly replayedRecords: number;
  readonly cut: NativeTailCut | null;
  /** A rewind that a crash had cut short was ended. */
  readonly rewound: NativeDivergence | null;
}

/** What a history lost when it went back to a position that it shares with its primary's. */
export interface NativeDivergence {
  readonly common: Position;
  readonly to: Position;
  readonly records: number;
  readonly operations: number;
  readonly bytes: number;
  /** Name in `lost/`; "" : there was nothing to save. */
  readonly file: string;
  /** The first ten that it touched. */
  readonly keys: readonly Buffer[];
}

export interface NativeCounters {
  readonly committedRecords: number;
  readonly committedOperations: number;
  readonly appliedRecords: number;
  readonly appliedOperations: number;
  readonly droppedRecords: number;
  readonly gaps: number;
  readonly replayedRecords: number;
}

export interface NativeHold {
  readonly kind: HoldKindName;
  readonly name: string;
  readonly offset: bigint;
  readonly maxBytes: number;
}

export interface NativeLogStats {
  readonly floor: bigint;
  readonly end: bigint;
  readonly durable: bigint;
  readonly segments: number;
  readonly bytes: number;
  /** Since the store was opened: calls that synced record bytes, and that wrote them. */
  readonly fdatasyncs: number;
  readonly writes: number;
  readonly holds: readonly NativeHold[];
}

export interface NativeStoreStats {
  readonly keysEstimate: number;
  readonly memtableBytes: number;
  readonly rangeTombstones: number;
  readonly openViews: number;
  readonly arenaAllocations: number;
}

export interface NativeLevel {
  readonly runs: number;
  readonly bytes: number;
}

/** Background work since the open. */
export interface NativeUpkeep {
  readonly flushes: number;
  readonly flushReadBytes: number;
  readonly flushWrittenBytes: number;
  readonly merges: number;
  readonly moves: number;
  readonly mergeReadBytes: number;
  readonly mergeWrittenBytes: number;
  /** Attempts of flushes and merges that failed. */
  readonly failures: number;
  /** Left out of merging until the next open. */
  readonly damagedRuns: number;
  /** Null again when the next attempt succeeds. */
  readonly lastError: Error | null;
}

export interface NativeCache {
  readonly capacityBytes: number;
  readonly usedBytes: number;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
}

export interface NativeStoreReport {
  readonly levels: readonly NativeLevel[];
  readonly runBytes: number;
  /** Held by open runs outside of the cache. */
  readonly runMemoryBytes: number;
  /** Of runBytes, what no newer version hides. */
  readonly liveBytesEstimate: number;
  readonly mergeDebtBytes: number;
  readonly memtableBytes: number;
  readonly memtableLimitBytes: number;
  readonly keysEstimate: number;
  readonly openViews: number;
  readonly cache: NativeCache;
  readonly upkeep: NativeUpkeep;
  /** Keys and values committed or applied since the open. */
  readonly userBytes: number;
  /** Times that commits had to wait for the memtables, and how long in all. */
  readonly stalls: number;
  readonly stallUs: number;
  readonly oldestViewAgeMs: number | null;
  readonly checkpoint: Position;
}

/** Of all runs. */
export interface NativeCompaction {
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface NativeEpochEntry {
  readonly epoch: string;
  readonly before: Position;
  /** Chain of its EPOCH record, 16 hex digits. */
  readonly chain: string;
  readonly nodeId: string;
  readonly time: number;
  readonly cause: 'open' | 'promote' | 'repair';
}

/** Meta state block: what belongs to a position besides the entries. */
export interface NativeMetaState {
  readonly features: bigint;
  /** Hybrid timestamp of the record before the position. */
  readonly clock: bigint;
  readonly position: Position;
  readonly epochs: readonly NativeEpochEntry[];
  readonly cursors: readonly { readonly name: string; readonly position: Position }[];
  readonly slots: readonly { readonly nodeId: string; readonly createdAt: bigint }[];
  readonly padded: readonly { readonly from: Position; readonly to: Position }[];
}

export interface NativeFlowSummary {
  readonly flow: number;
  readonly entries: number;
  /** Key and value bytes. */
  readonly bytes: number;
  /** The whole flow, header and footer included. */
  readonly fileBytes: number;
  readonly crc: number;
}

export type CompressionName = 'none' | 'lz4';

/** What the SNAPSHOT file says, and what travels in a full sync. */
export interface NativeToken {
  readonly clusterId: string;
  readonly createdMs: number;
  readonly compression: CompressionName;
  readonly flows: readonly NativeFlowSummary[];
  readonly meta: NativeMetaState;
}

export interface NativeCompletion {
  readonly ticket: bigint;
  /** Set: refused before a sequence was given. */
  readonly error: Error | null;
  readonly position: Position;
  readonly firstSeq: bigint;
  readonly results: readonly bigint[];
}

export interface NativeLogChunk {
  /** Whole, verified records; a fresh buffer. */
  readonly bytes: Buffer;
  readonly before: Position;
  readonly after: Position;
}

export interface NativeReceived {
  /** 0n: nothing new. */
  readonly ticket: bigint;
  readonly after: Position;
  readonly records: number;
  readonly operations: number;
  readonly bytes: number;
}

export interface NativePin {
  /** Process-wide: another thread's handle of the same store may read this pin. */
  readonly id: bigint;
  readonly clusterId: string;
  readonly shards: number;
  readonly meta: NativeMetaState;
}

export interface NativeDigestPart {
  /** Sum modulo 2^128. */
  readonly sum: bigint;
  readonly keys: number;
  readonly bytes: number;
}

/** Gives one flow of a pin piece by piece, for a socket. One thread at a time. */
export interface NativeFlow {
  /** At most about 1 MiB; null when the footer has been given already. */
  next(): Buffer | null;
  /** Requires: next() returned null. */
  summary(): NativeFlowSummary;
  close(): void;
}

/** Writes one flow of a pin to a new file. One thread at a time; every step waits for one write of at most 1 MiB. */
export interface NativeFlowFile {
  /** False when the footer is written and the file is synced. */
  step(): boolean;
  summary(): NativeFlowSummary;
  /** Before the end: removes the file. */
  close(): void;
}

/** A new generation beside the live one: the replica's side of a full sync. One thread at a time. */
export interface NativeGeneration {
  /** Writes; verified as it comes. CORRUPT with offset. Waits for the page cache only. */
  feedFlow(flow: number, bytes: Uint8Array): void;
  /** `summary` is the sender's word; fsyncs. */
  finishFlow(flow: number, summary: NativeFlowSummary): Promise<void>;
  finished(): number[];
  /** Records behind the snapshot position, whole; returns the position received. */
  appendLog(records: Uint8Array): Position;
  received(): Position;
  /** What is written from now on can be recalled under this name (32 hex digits), also after a crash. Syncs a file. */
  remember(syncId: string): void;
  /** Keeps what there is for `recallGeneration`. Ends this object. */
  suspend(): Promise<void>;
  /** Requires: every announced flow finished. Loads, replays, fsyncs, switches CURRENT. Ends this object. */
  install(): Promise<void>;
  /** Removes what was written; nothing to do after install or drop. */
  drop(): Promise<void>;
}

/** What is left of a full sync that was cut short, by a suspension or with its process. */
export interface NativeRecalled {
  readonly syncId: string;
  /** Flows that are whole have their summaries. */
  readonly token: NativeToken;
  /** Verified bytes of each flow. */
  readonly flowBytes: readonly number[];
  readonly generation: NativeGeneration;
}

/** Point reads of a handle, as plain functions: the key is the first `keyBytes` of the memory that it was made with. */
export interface NativeReader {
  /**
   * Copies the value to `into` from `at` on. Returns its length; -1: missing; -(n + 2): its n bytes do not fit.
   * With `out` (2 words): {seq, term | run << 32} of the last write.
   */
  readonly get: (view: number, keyBytes: number, into: Uint8Array, at: number, out?: BigUint64Array) => number;
  readonly has: (view: number, keyBytes: number) => boolean;
}

/** A handle of this environment on a store of the process. Every method throws CLOSED after close(). */
export interface NativeStore {
  /** Gives up views, pins, holds, ring; with the last handle of the process syncs and closes. Idempotent. */
  close(): Promise<void>;
  /** Names the engine for `attachStore` in another thread of this process. */
  readonly token: bigint;
  /** Keeps the event loop alive (or not) until the next wake; used while promises wait. */
  setPending(pending: boolean): void;

  // -- state (cold) --
  identity(): NativeIdentity;
  state(): NativeState;
  recovery(): NativeRecovery;
  counters(): NativeCounters;
  logStats(): NativeLogStats;
  storeStats(): NativeStoreStats;
  meta(): NativeMetaState;
  /** How far replicas and feeds may see. */
  shippingEnd(): Position;
  /** Fills `progressWords.count` words. */
  progress(out: BigUint64Array): void;

  // -- writing --
  /**
   * `body[0, bodyBytes)` is a batch body, increments included (op 4, value i64); `checks[0, checksBytes)` as in
   * engine::WriteRequest. `durability`: a code, or -1 for the store's. Returns a submit state and fills
   * `submitWords.count` words; refusals are thrown. `results` > 0: read them by takeResults() before the next submit.
   */
  submit(
    body: Uint8Array,
    bodyBytes: number,
    operations: number,
    checks: Uint8Array,
    checksBytes: number,
    durability: number,
    mayQueue: boolean,
    out: BigUint64Array,
  ): number;
  submitControl(kind: number, body: Uint8Array, out: BigUint64Array): number;
  takeResults(): bigint[];
  takeCompletions(): NativeCompletion[];
  /** Waits (blocks this thread) until acknowledged at the level; TIMEOUT, POISONED, FENCED. */
  waitSync(position: Position, durability: number, timeoutMs: number): void;
  /** fdatasync up to the offset, in every mode. */
  syncTo(offset: bigint, timeoutMs: number): Promise<void>;

  // -- upkeep --
  storeReport(): NativeStoreReport;
  /** Merges everything in [lower, upper) down to the bottom; null: no bound. Returns a number to wait with. */
  compactStart(lower: Uint8Array | null, upper: Uint8Array | null): bigint;
  /** Waits 250 ms at most; null: not done yet, ask again. A number is answered once. close() cancels (CLOSED). */
  compactWait(compaction: bigint): Promise<NativeCompaction | null>;
  compactCancel(compaction: bigint): void;
  /** A checkpoint at the newest visible position or behind it; TIMEOUT after 30 s. */
  checkpoint(): Promise<void>;

  // -- reading; view 0 is the newest state --
  /** Functions that read their keys from `keys`, which must never be detached or resized. */
  makeReader(keys: Uint8Array): NativeReader;
  /**
   * `keys`: count times {u32 length, bytes}. Fills `lengths` (-1: missing) and the values one behind the other from 0.
   * Returns the bytes needed; if more than `into` holds, `into` is not meaningful.
   */
  getMany(view: number, keys: Uint8Array, count: number, into: Uint8Array, lengths: Int32Array): number;
  /**
   * Entries with lower <= key < upper, packed into `into`: {u32 key bytes, u32 value bytes, key, value} each, without
   * padding. `bounds` holds lower and upper one behind the other; upperBytes -1: none. At most `limit` entries.
   * Fills out: {entries, bytes used, 1 if the range is exhausted, bytes needed by the first entry if nothing fitted}.
   */
  scan(
    view: number,
    bounds: Uint8Array,
    lowerBytes: number,
    upperBytes: number,
    reverse: boolean,
    limit: number,
    into: Uint8Array,
    out: Int32Array,
  ): void;
  /** A read view of this handle; `position` of it. */
  openView(): { readonly view: number; readonly position: Position };
  /** A view at the record end `seq`, which may be still to come. POSITION_UNAVAILABLE if it has gone by, TOO_MANY. */
  openViewAt(seq: bigint): number;
  /** null while it is still to come; NOT_A_RECORD_END if a batch went across it. */
  viewPosition(view: number): Position | null;
  releaseView(view: number): void;
  digestShard(view: number, shard: number): Promise<NativeDigestPart>;

  // -- snapshots --
  pin(name: string): NativePin;
  /** Throws EVICTED when the pin was given up. */
  checkPin(pin: bigint): void;
  releasePin(pin: bigint): void;
  /** The pin may be another handle's of the same store. */
  openFlow(pin: bigint, flow: number, compression: CompressionName): NativeFlow;
  openFlowFile(pin: bigint, flow: number, compression: CompressionName, path: string): NativeFlowFile;

  // -- history and log --
  /** At most up to the shipping end; EVICTED, POSITION_UNAVAILABLE. Reads the disk (page cache). */
  readLog(from: bigint, maxBytes: number): NativeLogChunk;
  readLogAsync(from: bigint, maxBytes: number): Promise<NativeLogChunk>;
  positionAt(offset: bigint): Position;
  positionBeforeSeq(seq: bigint): Position;
  addHold(kind: number, name: string, offset: bigint, maxBytes: number): bigint;
  moveHold(hold: bigint, offset: bigint): void;
  releaseHold(hold: bigint): void;
  /** False: released, given up beyond its cap, or of a history that was replaced. */
  holdIsAlive(hold: bigint): boolean;
  /** What the primary of this history announced: the checkpoint at or below it is kept from now on. */
  setUndoFloor(floor: Position): void;

  // -- ring --
  /** A Uint8Array over a whole SharedArrayBuffer. False: another ring is in use; offer again when it has ended. */
  offerRing(memory: Uint8Array): boolean;
  dropRing(): void;

  // -- terms --
  seeTerm(term: number): Promise<void>;
  /** 0: highest seen plus one. */
  promote(term: number): Promise<Position>;
  demote(): Promise<void>;
  /** Until when this node may be a primary, in `leaseClockMs`; `noLease`: for as long as nobody has a higher term. */
  setLease(deadlineMs: bigint): void;
  /** CLOCK_BOOTTIME: goes on while the machine sleeps. */
  leaseClockMs(): bigint;

  // -- a replica's stream; one thread at a time --
  adoptCluster(clusterId: string): void;
  appendReplicated(records: Uint8Array): NativeReceived;
  applyTicketShard(ticket: bigint, shard: number): void;
  applyTicket(ticket: bigint): void;
  publishTicket(ticket: bigint): void;
  /** Makes durable, applies and shows what a thread that was terminated left; no ticket has its turn before. */
  finishTickets(): Promise<void>;
  /**
   * Gives up everything behind `common`, saving its operations in `lost/`. Refused with nothing changed:
   * POSITION_UNAVAILABLE, POSITION_NOT_IN_HISTORY, NEEDS_OPERATOR (lost/ is full), CONFLICT, CORRUPT.
   */
  rewind(common: Position, lostMaxBytes: bigint): Promise<NativeDivergence>;
  /** Saves what a full sync is going to replace: what is behind `common`, or all that the log has. */
  saveSuffix(common: Position | null, lostMaxBytes: bigint): Promise<NativeDivergence>;
  /** What `rewind` can start from, the newest first. */
  keptCheckpoints(): Position[];
  /** `token`: the announced snapshot; `bytes`: of all flows, checked against free space. */
  beginGeneration(token: Uint8Array, bytes: number): NativeGeneration;
  /** Takes up what was left of a full sync; null: nothing of use was. Reads and verifies all of it. */
  recallGeneration(): Promise<NativeRecalled | null>;
}

export interface NativeCheckedRecords {
  /** Bytes of the verified prefix; whole records. */
  readonly bytes: number;
  readonly records: number;
  readonly after: Position;
  readonly timestamp: bigint;
  /** Why the next record was not accepted: "short" may only mean that more bytes are needed; null: all were. */
  readonly stopped: string | null;
}

export interface NativeDamage {
  readonly kind: string;
  readonly file: string;
  readonly offset: number;
  readonly logOffset: bigint;
  readonly what: string;
  readonly seq: bigint;
}

export interface NativeVerifyReport {
  readonly files: number;
  readonly bytes: number;
  /** Of a store; null for a snapshot. */
  readonly position: Position | null;
  readonly damage: readonly NativeDamage[];
}

/** What the manifest and the files of a directory say. */
export interface NativeStat {
  /** Of the manifest; the log is replayed from there. */
  readonly checkpoint: Position;
  /** Those that hold runs. */
  readonly levels: readonly { readonly level: number; readonly runs: number; readonly bytes: number }[];
  readonly runs: number;
  readonly runBytes: number;
  /** Exact while what lies in runs is small. */
  readonly keys: number;
  /** Keys and values; exact or estimated as `keys`. */
  readonly liveBytes: number;
  /** Files of the generation. */
  readonly totalBytes: number;
}

export interface NativeDigestReport {
  readonly position: Position;
  readonly keys: number;
  readonly bytes: number;
  /** 32 hex digits. */
  readonly digest: string;
}

/** One record as `gapless log` needs it. */
export interface NativeLogRecord {
  readonly before: Position;
  readonly after: Position;
  readonly kind: number;
  /** Header, body and padding. */
  readonly bytes: number;
  readonly epoch: string;
  readonly firstSeq: bigint;
  readonly operations: number;
  readonly timestamp: bigint;
  readonly chain: string;
  readonly body: Buffer;
}

/** A file of `lost/`: records that were taken out of a history. */
export interface NativeLostFile {
  readonly file: string;
  /** Where the history was cut. */
  readonly from: Position;
  /** Behind the last record that was saved whole. */
  readonly to: Position;
  readonly records: number;
  readonly operations: number;
  readonly bytes: number;
  /** Unix milliseconds. */
  readonly time: number;
  readonly reason: 'rewind' | 'full' | 'padding' | 'repair';
}

export interface NativeLostPage {
  readonly from: Position;
  /** What no longer verifies has epoch "0.0", and its bytes as body. */
  readonly records: readonly NativeLogRecord[];
  /** Where the next page begins. */
  readonly next: number;
  readonly ended: boolean;
}

export interface NativeRepairReport {
  readonly damage: readonly NativeDamage[];
  readonly wouldDrop: boolean;
  readonly from: Position;
  readonly records: number;
  readonly operations: number;
  readonly bytes: number;
  readonly dropped: boolean;
  /** "" : nothing was saved. */
  readonly saved: string;
  /** What can be done about damage that no cut mends; "" : there is none. */
  readonly advice: string;
}

export interface NativeRestoreReport {
  readonly position: Position;
  readonly keys: number;
  readonly bytes: number;
}

/** Sizes and offsets as the native headers have them; tests compare them with the documents and with TypeScript. */
export type NativeConstants = Readonly<Record<string, number>>;

export interface NativeAddon {
  /** Once an environment, before anything else. */
  setHooks(hooks: NativeHooks): void;
  readonly constants: NativeConstants;
  /** The codes of native/base/status.h, in order, without OK. */
  readonly codes: readonly string[];

  /** `wake` is called on this thread, coalesced, when progress changed or completions wait. */
  openStore(path: string, options: NativeOpenOptions, wake: () => void): Promise<NativeStore>;
  /** Another handle on an engine that is open in this process; NOT_OPEN. */
  attachStore(token: bigint, wake: () => void): NativeStore;

  crc32c(bytes: Uint8Array, seed?: number): number;
  /** Verifies record bytes, for instance copied from the ring. `timestampBefore` 0n: unknown. */
  checkRecords(bytes: Uint8Array, before: Position, timestampBefore: bigint, clusterId: string): NativeCheckedRecords;
  /** Whole records that this process has verified, wherever: a measure of work, for tests. */
  recordsChecked(): number;
  encodeToken(token: NativeToken): Buffer;
  decodeToken(bytes: Uint8Array, name: string): NativeToken;
  encodeMetaState(meta: NativeMetaState): Buffer;
  decodeMetaState(bytes: Uint8Array, name: string): NativeMetaState;
  /** Writes the SNAPSHOT file of a directory whose flow files are all synced. */
  publishToken(directory: string, token: NativeToken): Promise<void>;

  // -- directories that are not open --
  verifyStore(path: string, deep: boolean): Promise<NativeVerifyReport>;
  statStore(path: string): Promise<NativeStat>;
  digestStore(path: string, atSeq: bigint | null): Promise<NativeDigestReport>;
  /** From the record that holds `fromSeq` on, at most `maxRecords` and about `maxBytes` of bodies. */
  visitLog(path: string, fromSeq: bigint, maxRecords: number, maxBytes: number): Promise<NativeLogRecord[]>;
  repairStore(path: string, truncateAt: bigint | null): Promise<NativeRepairReport>;
  listLost(path: string): Promise<NativeLostFile[]>;
  /** From the byte `begin` of the file on (0: its first record), at most `maxRecords` and about `maxBytes`. */
  visitLost(path: string, file: string, begin: number, maxRecords: number, maxBytes: number): Promise<NativeLostPage>;
  restoreSnapshot(
    snapshot: string,
    target: string,
    newCluster: boolean,
    shards: number | null,
  ): Promise<NativeRestoreReport>;
  verifySnapshot(path: string): Promise<NativeVerifyReport>;
  snapshotInfo(path: string): Promise<NativeToken>;
}

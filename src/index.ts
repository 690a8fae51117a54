/**
 * The package's front door: everything a user may import, and nothing else. No work happens in module scope.
 */
export type { Batch } from './batch.js';
export type { KeyRange } from './bounds.js';
export type { Changes, ChangesOptions } from './changes.js';
export type { Commit, WriteOptions } from './commit.js';
export type { Compaction, CompactOptions } from './compaction.js';
export type {
  Database,
  DigestOptions,
  GetAsyncOptions,
  SnapshotOptions,
  WaitForOptions,
  WaitLevel,
} from './database.js';
export type { Digest } from './digest.js';
export {
  AbortError,
  type AnyCode,
  describeError,
  type ErrorCode,
  GaplessError,
  LimitError,
  ReplicationError,
  StateError,
  StorageError,
} from './errors.js';
export type { AnyEvent, EventName, EventOf } from './events.js';
export type { Outcome } from './history.js';
export {
  type DigestReport,
  digestDirectory,
  type LostRecord,
  listLost,
  type NativeLogRecord,
  type NativeLostFile,
  type NativeRepairReport,
  type NativeToken,
  type NativeVerifyReport,
  type RestoreOptions,
  type RestoreReport,
  readLogRecords,
  readLostRecords,
  repairDirectory,
  restoreSnapshot,
  snapshotInfo,
  verifyDirectory,
  verifySnapshot,
} from './offline.js';
export { open } from './open.js';
export { type Change, type Operation, readOperations } from './operations.js';
export {
  type AckLevel,
  type Compression,
  type Durability,
  type OpenOptions,
  type OptionSpec,
  optionTable,
  replicationOptionTable,
  type TooFewReplicas,
} from './options.js';
export { type Position, parsePosition, parseVersion, toPosition, toSeq, toVersion, type Version } from './position.js';
export type { Range, RangeOptions } from './range.js';
export type { Entry } from './reads.js';
export { type Candidate, type Coordinator, type Lease, staticCoordinator } from './replication/coordinator.js';
export { type FileCoordinatorOptions, fileCoordinator } from './replication/file-coordinator.js';
export type { Replication, ReplicationStatus } from './replication/ports.js';
export type { Bytes } from './scratch.js';
export type { SnapshotResult } from './snapshot.js';
export { type DirectoryStat, statDirectory } from './stat.js';
export type { BackgroundWork, RunStats, SpaceStats, Stats, StoreStatus } from './stats.js';
export type { Status } from './status.js';
export type { VerifyResult } from './verify.js';
export { packageVersion } from './version.js';
export type { View } from './view.js';

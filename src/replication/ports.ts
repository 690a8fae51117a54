/**
 * What replication needs of a node, and what the node gets from it. The database builds one `ReplicationPorts`, makes
 * one `ReplicationController` from it and offers the controller as `db.replication`; replication never imports the
 * database. Everything here is called on the thread that opened the store.
 *
 * The store's ports are parts of NativeStore, so that the database hands over its store as it is. Three calls go the
 * other way: `controller.progressed()` on each wake of the engine, `controller.close()` before the store is closed, and
 * `controller.waitForReplicas()` behind a commit with `replicas`.
 */
import type { Clock } from '../base/clock.js';
import type { Random } from '../base/prng.js';
import type { CompressionName, NativeAddon, NativeStore } from '../binding/contract.js';
import type { TlsFiles } from '../options.js';
import type { Position } from '../position.js';
import type { FullReason, Reason, Tier } from '../wire/names.js';
import type { ReplicationTasks } from '../workers/replication-tasks.js';
import type { Coordinator } from './coordinator.js';
import type { SyncPlan } from './plan.js';
import type { Network } from './transport.js';

/** Who this node is and how far it has come. */
export type NodeFacts = Pick<
  NativeStore,
  'token' | 'identity' | 'state' | 'counters' | 'logStats' | 'meta' | 'shippingEnd' | 'progress'
>;
/** The log as a primary ships it. */
export type LogSource = NodeFacts &
  Pick<
    NativeStore,
    | 'readLogAsync'
    | 'positionAt'
    | 'addHold'
    | 'moveHold'
    | 'releaseHold'
    | 'holdIsAlive'
    | 'syncTo'
    | 'submitControl'
    | 'storeReport'
  >;
/** Pinned states, for full syncs. */
export type SnapshotSource = Pick<NativeStore, 'pin' | 'checkPin' | 'releasePin'>;
/** Where a replica puts what it receives. */
export type ApplyTarget = NodeFacts &
  Pick<
    NativeStore,
    | 'adoptCluster'
    | 'setUndoFloor'
    | 'appendReplicated'
    | 'applyTicket'
    | 'publishTicket'
    | 'finishTickets'
    | 'beginGeneration'
    | 'rewind'
    | 'saveSuffix'
    | 'keptCheckpoints'
    | 'recallGeneration'
    | 'positionAt'
  >;
/** Fencing and roles. */
export type TermStore = Pick<NativeStore, 'seeTerm' | 'promote' | 'demote' | 'setLease' | 'leaseClockMs'>;
export type ReplicationStore = LogSource & SnapshotSource & ApplyTarget & TermStore;

/** The pure functions of the addon. */
export type RecordTools = Pick<
  NativeAddon,
  'checkRecords' | 'encodeMetaState' | 'decodeMetaState' | 'encodeToken' | 'crc32c'
>;

/** Resolved options of section 19 that replication uses. */
export interface ReplicationOptions {
  readonly syncConnections: number;
  readonly syncRateBytes: number;
  readonly replicaMaxBytes: number;
  readonly maxReplicas: number;
  readonly heartbeatMs: number;
  readonly timeoutMs: number;
  readonly sequencePadding: boolean;
  readonly paddingMaxRecords: number;
  readonly paddingMaxBytes: number;
  readonly lossLimitBytes: number;
  readonly fullSyncsMax: number;
  readonly ackReplicas: number;
  readonly ackLevel: AckLevel;
  readonly ackTimeoutMs: number;
  readonly onTooFewReplicas: TooFewReplicas;
  readonly acceptLoss: boolean;
  /** 16 to 1024 bytes, or none. */
  readonly secret: Uint8Array | undefined;
  /** The network checks certificates of both sides. */
  readonly tls: TlsFiles | undefined;
  readonly slotMaxBytes: number;
  /** How long the snapshot of an interrupted full sync waits for its joiner. */
  readonly snapshotHoldMs: number;
  readonly lostMaxBytes: number;
  readonly compression: CompressionName;
}

export const defaultReplicationOptions: ReplicationOptions = {
  syncConnections: 4,
  syncRateBytes: 0,
  replicaMaxBytes: 64 * 1024 * 1024,
  maxReplicas: 64,
  heartbeatMs: 1000,
  timeoutMs: 10_000,
  sequencePadding: false,
  paddingMaxRecords: 1000,
  paddingMaxBytes: 1024 * 1024,
  lossLimitBytes: 64 * 1024 * 1024,
  fullSyncsMax: 4,
  ackReplicas: 0,
  ackLevel: 'durable',
  ackTimeoutMs: 10_000,
  onTooFewReplicas: 'error',
  acceptLoss: false,
  secret: undefined,
  tls: undefined,
  slotMaxBytes: 1024 * 1024 * 1024,
  snapshotHoldMs: 600_000,
  lostMaxBytes: 1024 * 1024 * 1024,
  compression: 'none',
};

export interface ReplicationPorts {
  readonly store: ReplicationStore;
  readonly tools: RecordTools;
  /** `replicationTasks(threads)`; the controller closes it. */
  readonly tasks: ReplicationTasks;
  readonly options: ReplicationOptions;
  /** True if the store's durability is 'sync'. */
  readonly isSync: boolean;
  /** Version of this package, told to peers. */
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  /** The ring that this environment offered to the engine, allocated at the first call; null: none could be offered. */
  ring(): SharedArrayBuffer | null;
  /** Why the store's own recovery asks for a full sync; null: it does not. */
  asksFull(): FullReason | null;
  /** Hands an event of section 16 to listeners; the database adds `time`. Must not throw. */
  emit(event: ReplicationEvent): void;
  /** What callers wait for (commit position, lag) may have moved without the engine's doing. */
  news(): void;
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}
export interface ListenOptions extends HostPort {
  /** Allows a port without secret that is not on loopback. */
  readonly insecure?: boolean | undefined;
}
export interface FollowOptions extends HostPort {
  /** Lets lines 5, 7 and 8 of the decision give up data, for one handshake. */
  readonly acceptLoss?: boolean | undefined;
}
export interface PromoteOptions {
  /** The new term; 0 or absent: the highest seen plus one. */
  readonly epoch?: number | undefined;
  readonly force?: boolean | undefined;
  /** The primary stops writing, this node gets everything, and takes over; nothing is lost. */
  readonly handover?: boolean | undefined;
}
export interface CoordinateOptions {
  readonly coordinator: Coordinator;
  /** The coordinator, or this node, could not do what it should; it is tried again. Must not throw. */
  readonly onError: (error: unknown) => void;
}
export interface Promoted {
  readonly role: 'primary';
  readonly epoch: string;
  readonly position: Position;
}
export interface DemoteOptions {
  readonly follow?: HostPort | undefined;
}
export type AckLevel = 'received' | 'durable' | 'applied';
export type TooFewReplicas = 'error' | 'block' | 'degrade';
export interface ReplicaWaitOptions {
  readonly replicas?: number | undefined;
  readonly level?: AckLevel | undefined;
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}
/** A wait behind a commit. */
export interface WriteWaitOptions extends ReplicaWaitOptions {
  /** True: the store's policy for too few replicas holds for it. */
  readonly isWrite?: boolean | undefined;
}

export interface Lag {
  readonly records: number;
  readonly bytes: number;
  readonly ms: number;
}
export interface Reach {
  readonly seq: string;
  readonly offset: string;
}
export type ReplicaState = 'handshake' | 'full' | 'catching_up' | 'streaming' | 'stopped';
export type LinkState =
  | 'connecting'
  | 'handshake'
  | 'full'
  | 'rewinding'
  | 'catching_up'
  | 'streaming'
  | 'waiting'
  | 'stopped';

/** An entry of `replicas` in /status. */
export interface ReplicaStatus {
  readonly nodeId: string;
  readonly address: string;
  readonly state: ReplicaState;
  readonly tier: Tier | null;
  readonly reason: Reason | null;
  readonly sent: Reach;
  readonly received: Reach;
  readonly durable: Reach;
  readonly applied: Reach;
  readonly lag: Lag | null;
  readonly stalled: boolean;
  readonly inconsistent: boolean;
}
export interface SyncProgress {
  readonly bytes: number;
  readonly totalBytes: number;
  readonly etaMs: number | null;
  readonly flows: readonly {
    readonly flow: number;
    readonly bytes: number;
    readonly totalBytes: number | null;
    readonly verified: boolean;
  }[];
}
/** `link` in /status. */
export interface LinkStatus {
  readonly state: LinkState;
  readonly primary: string;
  readonly primaryNodeId: string | null;
  readonly tier: Tier | null;
  readonly reason: Reason | null;
  readonly lag: Lag | null;
  readonly progress: SyncProgress | null;
  readonly retryMs: number | null;
}
/** `resync` in /status. */
export interface ResyncCounts {
  readonly ring: number;
  readonly wal: number;
  readonly rewind: number;
  readonly padding: number;
  readonly full: number;
  readonly err: number;
  readonly reasons: Readonly<Record<string, number>>;
}
/** The parts of /status that replication knows. */
export interface ReplicationStatus {
  /** null: nothing to say beyond what the store's state says (serving, poisoned, closing). */
  readonly state: 'joining' | 'syncing' | 'catching_up' | 'serving' | 'fenced' | 'needs_operator' | null;
  readonly reason: Reason | null;
  readonly listen: HostPort | null;
  readonly follow: string | null;
  readonly commit: Position;
  readonly promised: Position;
  readonly undoFloor: Position;
  readonly replicas: readonly ReplicaStatus[];
  readonly link: LinkStatus | null;
  readonly resync: ResyncCounts;
  readonly counters: ReplicationCounters;
}
/** For metrics; since the process started. */
export interface ReplicationCounters {
  readonly partialOk: number;
  readonly partialErr: number;
  readonly partialPadding: number;
  /** Operations that this node gave up, in all. */
  readonly divergenceOperations: number;
  readonly fullByReason: Readonly<Record<string, number>>;
  /** Key: "tier reason", reason empty where there is none. */
  readonly byTierAndReason: Readonly<Record<string, number>>;
  readonly fenced: number;
  readonly connectionsRefused: number;
}

/** Why a role changed. */
export type RoleCause = 'promote' | 'demote' | 'handover' | 'coordinator';

interface Event<N extends string> {
  readonly event: N;
}
/** The events of section 16 that replication raises, without `time`. */
export type ReplicationEvent =
  | (Event<'link'> & { readonly state: LinkState; readonly primary: string; readonly reason: Reason | null })
  | (Event<'resync'> & {
      readonly nodeId: string;
      readonly tier: Tier;
      readonly reason: Reason | null;
      readonly from: Position;
      readonly common: Position | null;
    })
  | (Event<'sync_start'> & {
      readonly id: string;
      readonly reason: Reason | null;
      readonly position: Position;
      readonly flows: number;
      readonly bytes: number;
      readonly resumed: boolean;
    })
  | (Event<'sync_flow'> & {
      readonly id: string;
      readonly flow: number;
      readonly entries: number;
      readonly bytes: number;
      readonly verified: number;
      readonly total: number;
    })
  | (Event<'progress'> & {
      readonly phase: 'full';
      readonly done: number;
      readonly total: number;
      readonly etaMs: number | null;
    })
  | (Event<'sync_barrier'> & { readonly id: string; readonly flows: number })
  | (Event<'sync_done'> & {
      readonly id: string;
      readonly position: Position;
      readonly entries: number;
      readonly bytes: number;
      readonly ms: number;
      readonly resumedBytes: number;
    })
  | (Event<'sync_failed'> & {
      readonly id: string;
      readonly code: string;
      readonly message: string;
      readonly retryMs: number;
    })
  | (Event<'streaming'> & { readonly position: Position; readonly lag: Lag })
  | (Event<'switched'> & {
      readonly cause: 'full' | 'rewind';
      readonly from: Position;
      readonly to: Position;
      readonly generation: number;
    })
  | (Event<'divergence'> & {
      readonly common: Position | null;
      /** Where this node's history ended. */
      readonly to: Position;
      readonly records: number;
      readonly operations: number;
      readonly bytes: number;
      /** Name in `lost/`; null: there was nothing to save. */
      readonly file: string | null;
      /** The first ten that it touched; a key that is no UTF-8 as `hex:` and its bytes. */
      readonly keys: readonly string[];
      readonly reason: 'rewind' | 'full' | 'padding';
    })
  | (Event<'epoch'> & {
      readonly epoch: string;
      readonly position: Position;
      readonly cause: string;
      readonly nodeId: string;
    })
  | (Event<'role'> & {
      readonly role: 'primary' | 'replica';
      readonly epoch: string;
      readonly cause: RoleCause;
    })
  | (Event<'fenced'> & { readonly epoch: string; readonly seen: string; readonly by: string })
  | (Event<'replica'> & {
      readonly nodeId: string;
      readonly address: string;
      readonly state: ReplicaState;
      readonly tier: Tier | null;
      readonly reason: Reason | null;
    })
  /** Writes are acknowledged by fewer replicas than they ask for, and again by as many. */
  | (Event<'degraded' | 'degraded_end'> & { readonly needed: number; readonly have: number })
  | (Event<'needs_operator'> & { readonly reason: Reason; readonly details: string; readonly command: string })
  | Event<'cleared'>;

/** `db.replication`, and what the database calls itself. */
export interface Replication {
  /** Accepts replicas. Resolves with the bound address. Rejects with IO, or a TypeError off loopback without secret. */
  listen(options: ListenOptions): Promise<HostPort>;
  /** Dials a primary and goes on doing so until close, promote or another follow. Resolves at once. */
  follow(options: FollowOptions): Promise<void>;
  promote(options?: PromoteOptions): Promise<Promoted>;
  demote(options?: DemoteOptions): Promise<{ readonly role: 'replica'; readonly position: Position }>;
  /**
   * From now on a coordinator decides who is primary: promote, demote and follow are refused. Resolves behind the first
   * attempt. A node acknowledges nothing without a lease from here on; write nothing before.
   */
  coordinate(options: CoordinateOptions): Promise<void>;
  status(): ReplicationStatus;
  /** Resolves once `replicas` (default 1) replicas hold the position at the level (default durable). IN_DOUBT. */
  waitFor(position: Position, options?: ReplicaWaitOptions): Promise<void>;
  /** The same for a position that this node has just committed: without asking the log about it. */
  waitForReplicas(position: Position, options?: WriteWaitOptions): Promise<void>;
  /** Before a commit that asks for so many: NOT_ENOUGH_REPLICAS where the policy refuses it. */
  requireReplicas(replicas: number): void;
  /** On a replica: shakes hands again, with `full` asking for a full sync; resolves with the decision. */
  resync(options?: {
    readonly full?: boolean | undefined;
  }): Promise<{ readonly tier: Tier; readonly reason: Reason | null }>;
  /** On a replica: what a resync would do now, without doing it. */
  plan(): Promise<SyncPlan>;
  /** Removes the slot of a replica that is gone for good. */
  removeReplica(nodeId: string): Promise<boolean>;
  /** The engine woke this environment: progress changed. Cheap; never throws. */
  progressed(): void;
  /** Ends links, listeners, pins and holds. Idempotent. */
  close(): Promise<void>;
}

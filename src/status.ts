/**
 * What a node says about itself: `db.status()`, which is the body of `GET /status`. Pure over the store's answers;
 * positions turn themselves into JSON.
 */
import type { IntervalHistogram } from 'node:perf_hooks';
import type { NativeCounters, NativeLogStats, NativeRecovery, NativeStore } from './binding/contract.js';
import type { Progress } from './binding/progress.js';
import type { TailCut } from './events.js';
import type { Position } from './position.js';
import type { LinkStatus, ReplicaStatus, ReplicationStatus, ResyncCounts } from './replication/ports.js';
import type { RingState } from './ring/reader.js';
import { buildStoreStatus, type StoreStatus } from './stats.js';

export interface RecoveryStatus {
  readonly outcome: string;
  readonly reason: string;
  readonly gap: string;
  readonly ms: number;
  readonly cut: TailCut | null;
}

/** Section 18 of the interfaces. */
export interface Status {
  readonly version: string;
  readonly pid: number;
  readonly uptimeMs: number;
  readonly role: 'primary' | 'replica';
  readonly state: string;
  readonly reason: string | null;
  readonly clusterId: string | null;
  readonly nodeId: string;
  readonly epoch: string;
  readonly position: Position;
  readonly durable: Position;
  readonly commit: Position;
  readonly promised: Position;
  readonly undoFloor: Position;
  readonly replicas: readonly ReplicaStatus[];
  readonly link: LinkStatus | null;
  readonly resync: ResyncCounts;
  readonly recovery: RecoveryStatus;
  readonly inconsistent: { readonly ranges: readonly { readonly from: Position; readonly to: Position }[] } | null;
  readonly counters: NativeCounters;
  readonly ring: {
    readonly capacity: number;
    readonly oldest: string;
    readonly next: string;
    readonly generation: number;
  } | null;
  readonly log: {
    readonly floor: string;
    readonly end: string;
    readonly durable: string;
    readonly segments: number;
    readonly bytes: number;
    readonly holds: readonly {
      readonly kind: string;
      readonly name: string;
      readonly offset: string;
      readonly bytes: number;
      readonly maxBytes: number;
    }[];
  };
  readonly store: StoreStatus;
  readonly eventLoopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly memory: { readonly rss: number };
}

export interface StatusSources {
  readonly store: NativeStore;
  readonly progress: Progress;
  readonly version: string;
  readonly uptimeMs: number;
  readonly isClosing: boolean;
  readonly replication: ReplicationStatus | null;
  readonly ring: RingState | null;
  readonly delay: IntervalHistogram;
}

/** Of the histogram of event loop delays. */
export const delayResolutionMs = 10;

const noResyncs: ResyncCounts = { ring: 0, wal: 0, rewind: 0, padding: 0, full: 0, err: 0, reasons: {} };

export function buildStatus(sources: StatusSources): Status {
  const { store, progress, replication } = sources;
  progress.refresh();
  const identity = store.identity();
  const state = store.state();
  const meta = store.meta();
  const durable = progress.durable;
  return {
    version: sources.version,
    pid: process.pid,
    uptimeMs: Math.round(sources.uptimeMs),
    role: state.role,
    ...stateOf(sources),
    clusterId: /^0+$/.test(identity.clusterId) ? null : identity.clusterId,
    nodeId: identity.nodeId,
    epoch: meta.position.epoch,
    position: progress.visible,
    durable,
    commit: replication?.commit ?? durable,
    promised: replication?.promised ?? durable,
    undoFloor: replication?.undoFloor ?? progress.visible,
    replicas: replication?.replicas ?? [],
    link: replication?.link ?? null,
    resync: replication?.resync ?? noResyncs,
    recovery: recoveryStatus(store.recovery()),
    inconsistent: meta.padded.length === 0 ? null : { ranges: meta.padded },
    counters: store.counters(),
    ring: ringStatus(sources.ring),
    log: logStatus(store.logStats()),
    store: buildStoreStatus(store),
    eventLoopDelayMs: delayStatus(sources.delay),
    memory: { rss: process.memoryUsage.rss() },
  };
}

export function recoveryStatus({ outcome, reason, gap, ms, cut }: NativeRecovery): RecoveryStatus {
  const { from, bytes, validRecords } = cut ?? {};
  const isCut = from !== undefined && bytes !== undefined && validRecords !== undefined;
  return { outcome, reason, gap: `${gap}`, ms, cut: isCut ? { from, bytes, validRecords } : null };
}

function stateOf(sources: StatusSources): Pick<Status, 'state' | 'reason'> {
  const { store, progress, isClosing, replication } = sources;
  if (isClosing) return { state: 'closing', reason: null };
  if (progress.isFenced) return { state: 'fenced', reason: 'fenced' };
  if (!progress.isAcknowledging) {
    const { stop } = store.state();
    return { state: 'poisoned', reason: stop === null ? null : stop.message };
  }
  if (isUnsynced(sources)) return { state: 'joining', reason: null };
  if (replication?.state) return { state: replication.state, reason: replication.reason };
  if (!progress.isComplete) return { state: 'joining', reason: null };
  return { state: 'serving', reason: null };
}

/** A replica that holds nothing and does not know yet whether its primary does. */
function isUnsynced({ progress, replication }: StatusSources): boolean {
  if (progress.isPrimary || progress.visibleOffset > 0n) return false;
  if (replication?.state && !['serving', 'catching_up'].includes(replication.state)) return false;
  const link = replication?.link?.state;
  return link !== 'streaming' && link !== 'catching_up';
}

function ringStatus(ring: RingState | null): Status['ring'] {
  if (ring === null) return null;
  const { capacity, oldest, next, generation } = ring;
  return { capacity, oldest: `${oldest}`, next: `${next}`, generation: Number(generation) };
}

function logStatus({ floor, end, durable, segments, bytes, holds }: NativeLogStats): Status['log'] {
  return {
    floor: `${floor}`,
    end: `${end}`,
    durable: `${durable}`,
    segments,
    bytes,
    holds: holds.map(({ kind, name, offset, maxBytes }) => {
      return { kind, name, offset: `${offset}`, bytes: Number(end - offset), maxBytes };
    }),
  };
}

function delayStatus(delay: IntervalHistogram): Status['eventLoopDelayMs'] {
  // The histogram holds the time between two ticks of its timer; the delay is what exceeds the timer's own time.
  const ms = (nanoseconds: number): number => {
    const late = nanoseconds / 1e6 - delayResolutionMs;
    return Number.isFinite(late) && late > 0 ? Math.round(late * 100) / 100 : 0;
  };
  return { p50: ms(delay.percentile(50)), p99: ms(delay.percentile(99)), max: ms(delay.max) };
}

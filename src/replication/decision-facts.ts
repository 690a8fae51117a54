/**
 * The facts that decisions are made from: what the store says, in the form of the pure decision. Reads the log (page
 * cache) at two offsets at most. On the controller's thread.
 */

import type { Progress } from '../binding/progress.js';
import { GaplessError } from '../errors.js';
import type { Position } from '../position.js';
import { RingReader } from '../ring/reader.js';
import type { EpochFact } from '../wire/fields.js';
import type { FrameOf } from '../wire/frames.js';
import { type FullReason, fullReasons } from '../wire/names.js';
import type { NodeFacts, ReplicationPorts } from './ports.js';
import {
  decideSync,
  type LogAt,
  offsetsToLookUp,
  type PrimaryFacts,
  type ReplicaFacts,
  type SyncDecision,
} from './sync-decision.js';

export function epochFacts(store: NodeFacts): readonly EpochFact[] {
  return store.meta().epochs.map(({ epoch, before, chain }) => ({ epoch, before, chain }));
}

export function replicaFacts(handshake: FrameOf<'HANDSHAKE'>): ReplicaFacts {
  const { clusterId, highestTerm, position, promised, checkpoints, epochs } = handshake;
  const { complete, consistent, acceptLoss } = handshake;
  const asksFull: FullReason | null = fullReasons.find((reason) => reason === handshake.asksFull) ?? null;
  return {
    clusterId,
    highestTerm,
    position,
    promised,
    checkpoints,
    epochs,
    complete,
    consistent,
    acceptLoss,
    asksFull,
  };
}

export function primaryFacts(ports: ReplicationPorts, progress: Progress): PrimaryFacts {
  const { store, options, isSync } = ports;
  return {
    clusterId: store.identity().clusterId,
    epoch: progress.isPrimary ? progress.ownEpoch : progress.visible.epoch,
    epochs: epochFacts(store),
    head: progress.isPrimary ? progress.visible : progress.shippingEnd,
    logFloor: store.logStats().floor,
    ringOldest: ringOldest(ports.ring()),
    isSync,
    lossLimitBytes: options.lossLimitBytes,
    // Padding is not done yet.
    padding: null,
  };
}

/** The decision for a handshake. Throws what the log throws beyond its answers (CLOSED, IO). */
export function decide(ports: ReplicationPorts, progress: Progress, handshake: FrameOf<'HANDSHAKE'>): SyncDecision {
  const replica = replicaFacts(handshake);
  const primary = primaryFacts(ports, progress);
  const at = new Map<bigint, LogAt>();
  for (const offset of offsetsToLookUp(replica, primary)) at.set(offset, lookUp(ports, primary.head, offset));
  const answers = { at, paddingTo: null };
  const decision = decideSync(replica, primary, answers);
  if (replica.asksFull !== 'operator' && replica.asksFull !== 'digest_mismatch') return decision;
  // To ask for a full sync is not yet to accept what it gives up.
  const unasked = decideSync({ ...replica, asksFull: null }, primary, answers);
  if (unasked.tier === 'stop' && !replica.acceptLoss) return unasked;
  if (decision.tier !== 'full' || !('loss' in unasked)) return decision;
  return { ...decision, common: unasked.common, loss: unasked.loss };
}

function ringOldest(ring: SharedArrayBuffer | null): bigint | null {
  if (ring === null) return null;
  const reader = new RingReader(ring);
  return reader.generation() === 0n ? null : reader.state().oldest;
}

function lookUp(ports: ReplicationPorts, head: Position, offset: bigint): LogAt {
  // The end may not be written yet; it is known all the same.
  if (offset === head.offset) return { at: 'record_end', position: head };
  try {
    return { at: 'record_end', position: ports.store.positionAt(offset) };
  } catch (error) {
    if (!(error instanceof GaplessError)) throw error;
    if (error.code === 'EVICTED') return { at: 'evicted' };
    if (error.code === 'NOT_A_RECORD_END') return { at: 'inside' };
    if (error.code === 'POSITION_UNAVAILABLE') return { at: 'beyond' };
    if (error.code === 'CORRUPT') return { at: 'damaged' };
    throw error;
  }
}

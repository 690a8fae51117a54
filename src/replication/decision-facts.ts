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
    // Neither rewinding nor padding is done yet: see withoutUndoing.
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
  const decideFor = (facts: ReplicaFacts): SyncDecision =>
    withoutUndoing(decideSync(facts, primary, answers), facts.acceptLoss);
  // To ask for a full sync is not yet to accept what it gives up.
  if (replica.asksFull === 'operator' && !replica.acceptLoss) {
    const unasked = decideFor({ ...replica, asksFull: null });
    if (unasked.tier === 'stop') return unasked;
  }
  return decideFor(replica);
}

/**
 * While a diverged suffix can be neither rewound nor saved, nothing gives it up but an operator: the replica stops with
 * its state as it is; with `acceptLoss` it is synced in full.
 */
export function withoutUndoing(decision: SyncDecision, acceptLoss: boolean): SyncDecision {
  if (!('loss' in decision) || decision.tier === 'stop') return decision;
  const { from, common, loss } = decision;
  if (loss === null || loss.bytes === 0n) return decision;
  if (!acceptLoss) return { tier: 'stop', reason: 'undo_unavailable', from, common, loss };
  if (decision.tier === 'full') return decision;
  return { tier: 'full', reason: 'undo_unavailable', from, common, loss };
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

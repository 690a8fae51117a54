/**
 * Words that travel as numbers: tiers, reasons, compressions, answers. The index in a list is the number on the wire;
 * new words go to the end. Tables: docs/PROTOCOL.md. Pure; any thread.
 */

export const tiers = ['ring', 'wal', 'rewind', 'padding', 'full', 'stop'] as const;
export type Tier = (typeof tiers)[number];

/** Reasons of a full sync. */
export const fullReasons = [
  'new_replica',
  'below_wal_floor',
  'log_damaged',
  'misaligned',
  'unknown_epoch',
  'chain_mismatch',
  'undo_unavailable',
  'digest_mismatch',
  'hold_expired',
  'store_damaged',
  'store_ahead_of_log',
  'format',
  'operator',
] as const;
export type FullReason = (typeof fullReasons)[number];

/** Reasons to stop until something changes. */
export const stopReasons = [
  'cluster_id_mismatch',
  'fenced',
  'epoch_conflict',
  'primary_empty_guard',
  'primary_regressed',
  'lost_limit_exceeded',
  'clock_ahead',
  'duplicate_node_id',
] as const;
export type StopReason = (typeof stopReasons)[number];

/** Why a link was closed. */
export const linkReasons = ['slow_replica', 'timeout', 'auth', 'protocol', 'too_many'] as const;
export type LinkReason = (typeof linkReasons)[number];

export type Reason = FullReason | StopReason | LinkReason;
/** 0 is "none", so the first reason is 1. */
export const reasons: readonly Reason[] = [...fullReasons, ...stopReasons, ...linkReasons];

export function isFullReason(reason: Reason | null): reason is FullReason {
  return fullReasons.some((other) => other === reason);
}

/** Bits of the capabilities in HANDSHAKE and WELCOME. */
export const capabilityLz4 = 1n;
export const capabilityPadding = 2n;
/** In HANDSHAKE: only a question, the connection ends with the decision. */
export const capabilityPlan = 4n;

export const compressions = ['none', 'lz4'] as const;
export type Compression = (typeof compressions)[number];

/** What the replica says to a decision. */
export const verdicts = ['accept', 'chain_mismatch', 'undo_unavailable', 'refused'] as const;
export type Verdict = (typeof verdicts)[number];

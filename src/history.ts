/**
 * Does a position lie in this node's history? Answered from the log where it still has the record, else from the epoch
 * list. The thread that opened the store.
 */
import type { NativeMetaState, NativeStore } from './binding/contract.js';
import type { Progress } from './binding/progress.js';
import { createError, GaplessError } from './errors.js';
import { compareEpochs, isEmptyPosition, type Position, positionsEqual } from './position.js';

/** `ahead`: nobody can say yet. */
export type Standing = 'in_history' | 'not_in_history' | 'ahead';

export function standingOf(store: NativeStore, progress: Progress, position: Position): Standing {
  if (isEmptyPosition(position)) return 'in_history';
  progress.refresh();
  const visible = progress.visible;
  if (positionsEqual(position, visible)) return 'in_history';
  if (position.offset > visible.offset) {
    return compareEpochs(position.epoch, visible.epoch) < 0 ? 'not_in_history' : 'ahead';
  }
  if (position.offset === visible.offset) return 'not_in_history';
  try {
    return positionsEqual(store.positionAt(position.offset), position) ? 'in_history' : 'not_in_history';
  } catch (error) {
    if (!(error instanceof GaplessError)) throw error;
    if (error.code === 'EVICTED') return standingByEpochs(store.meta(), position);
    if (error.code === 'NOT_A_RECORD_END' || error.code === 'POSITION_UNAVAILABLE') return 'not_in_history';
    throw error;
  }
}

/** Throws POSITION_NOT_IN_HISTORY. */
export function requireInHistory(store: NativeStore, progress: Progress, position: Position): void {
  if (standingOf(store, progress, position) !== 'not_in_history') return;
  const common = commonPosition(store.meta(), position);
  throw createError('POSITION_NOT_IN_HISTORY', `${position} is not in the history of this node`, {
    details: { position, common },
  });
}

/** What a caller may be told about a write in doubt. */
export type Outcome = 'committed' | 'lost' | 'unknown';

/** `safe`: up to where this node knows that writes stay. Throws POSITION_NOT_IN_HISTORY. */
export function outcomeOf(store: NativeStore, progress: Progress, position: Position, safe: Position): Outcome {
  const standing = standingOf(store, progress, position);
  if (standing === 'in_history') return position.offset <= safe.offset ? 'committed' : 'unknown';
  if (standing === 'ahead') return 'unknown';
  // A later epoch began in front of it: the history that it was in did not go on.
  const isReplaced = store
    .meta()
    .epochs.some(({ epoch, before }) => compareEpochs(epoch, position.epoch) > 0 && before.offset < position.offset);
  if (!isReplaced) requireInHistory(store, progress, position);
  return 'lost';
}

/** The highest position that both histories may share, by the epoch list. */
function commonPosition(meta: NativeMetaState, position: Position): Position | null {
  const later = meta.epochs.find(({ epoch }) => compareEpochs(epoch, position.epoch) > 0);
  if (later !== undefined) return later.before;
  const own = meta.epochs.find(({ epoch }) => epoch === position.epoch);
  return own?.before ?? null;
}

/** The log does not reach there any more: the range of the epoch is all that is left to compare. */
function standingByEpochs(meta: NativeMetaState, position: Position): Standing {
  const index = meta.epochs.findIndex(({ epoch }) => epoch === position.epoch);
  const entry = meta.epochs[index];
  if (entry === undefined) return 'not_in_history';
  const next = meta.epochs[index + 1];
  const isInside = position.offset > entry.before.offset && position.seq > entry.before.seq;
  return isInside && (next === undefined || position.offset <= next.before.offset) ? 'in_history' : 'not_in_history';
}

/** `before` and `after`: the record that holds `seq` inside itself begins and ends there. `after` null: unknown yet. */
export function notARecordEnd(seq: bigint, before: Position, after: Position | null): GaplessError {
  const ends = after === null ? `the one before it ends at ${before.seq}` : `ends are ${before.seq} and ${after.seq}`;
  const message = `no record ends at sequence ${seq}: ${ends}`;
  return createError('NOT_A_RECORD_END', message, { details: { at: seq, before, after } });
}

/**
 * How a replica gets to follow a primary: ring, wal, rewind, padding, full or stop. Pure; called by the primary's
 * session with the replica's handshake, its own facts and what its log says about the offsets of `offsetsToLookUp`.
 *
 * The lines 1 to 8 are those of docs/PROTOCOL.md ("The decision"); the first that fits decides. Equal chains of an
 * EPOCH record prove equal histories up to it, since a chain covers everything before it.
 */
import { present } from '../base/assert.js';
import { isEmptyPosition, type Position, parseEpoch, positionsEqual } from '../position.js';
import type { EpochFact } from '../wire/fields.js';
import type { FullReason, StopReason } from '../wire/names.js';

/** What the replica's handshake says. */
export interface ReplicaFacts {
  readonly clusterId: string;
  readonly highestTerm: number;
  readonly position: Position;
  /** The highest position that it was told callers were promised. */
  readonly promised: Position;
  readonly checkpoints: readonly Position[];
  readonly epochs: readonly EpochFact[];
  readonly complete: boolean;
  readonly consistent: boolean;
  readonly acceptLoss: boolean;
  /** Its own recovery, an audit or an operator wants a full sync. */
  readonly asksFull: FullReason | null;
}

export interface PrimaryFacts {
  readonly clusterId: string;
  readonly epoch: string;
  readonly epochs: readonly EpochFact[];
  readonly head: Position;
  /** Lowest offset that its log has. */
  readonly logFloor: bigint;
  /** Lowest offset in the ring; null: no ring. */
  readonly ringOldest: bigint | null;
  /** The store's durability is 'sync'. */
  readonly isSync: boolean;
  readonly lossLimitBytes: number;
  /** Null: off. */
  readonly padding: { readonly maxRecords: number; readonly maxBytes: number } | null;
}

/** What the primary's log says about an offset. */
export type LogAt =
  /** A record ends exactly there. */
  | { readonly at: 'record_end'; readonly position: Position }
  | { readonly at: 'inside' }
  | { readonly at: 'evicted' }
  | { readonly at: 'beyond' }
  | { readonly at: 'damaged' };

export interface LogAnswers {
  readonly at: ReadonlyMap<bigint, LogAt>;
  /** The primary's first record end at or past the replica's position in offset and seq; null: none, or not asked. */
  readonly paddingTo: Position | null;
}

/** What the replica gives up: everything behind the common position. */
export interface Loss {
  readonly bytes: bigint;
  readonly seqs: bigint;
}

interface Judged {
  /** The replica's position. */
  readonly from: Position;
}
interface Diverged extends Judged {
  readonly common: Position;
  readonly loss: Loss;
}
interface Refused extends Judged {
  readonly common: Position | null;
  readonly loss: Loss | null;
}

export type SyncDecision =
  | (Judged & { readonly tier: 'ring' | 'wal' })
  | (Diverged & { readonly tier: 'rewind'; readonly checkpoint: Position })
  | (Diverged & { readonly tier: 'padding'; readonly reason: FullReason; readonly to: Position })
  | (Refused & { readonly tier: 'full'; readonly reason: FullReason })
  /** With reason `fenced` the primary fences itself before it answers. */
  | (Refused & { readonly tier: 'stop'; readonly reason: StopReason });

type Stop = Extract<SyncDecision, { readonly tier: 'stop' }>;
type Full = Extract<SyncDecision, { readonly tier: 'full' }>;

/** Offsets that the primary's log must be asked about before `decideSync`. */
export function offsetsToLookUp(replica: ReplicaFacts, primary: PrimaryFacts): readonly bigint[] {
  const common = commonPosition(replica, primary);
  const offsets = new Set([replica.position.offset]);
  if (common !== null) offsets.add(common.offset);
  return [...offsets].filter((offset) => offset > 0n && offset <= primary.head.offset);
}

export function decideSync(replica: ReplicaFacts, primary: PrimaryFacts, log: LogAnswers): SyncDecision {
  const from = replica.position;
  const isReplicaEmpty = isEmptyPosition(from);
  const isPrimaryEmpty = isEmptyPosition(primary.head);
  if (!isReplicaEmpty && replica.clusterId !== primary.clusterId) return stop(from, 'cluster_id_mismatch');
  if (replica.highestTerm > termOf(primary)) return stop(from, 'fenced');
  if (hasOtherOwner(replica, primary)) return stop(from, 'epoch_conflict');
  if (isReplicaEmpty) return isPrimaryEmpty ? { tier: 'ring', from } : full(from, 'new_replica');
  if (isPrimaryEmpty) {
    const loss = { bytes: from.offset, seqs: from.seq };
    return replica.acceptLoss ? full(from, 'unknown_epoch', null, loss) : stop(from, 'primary_empty_guard', null, loss);
  }
  if (replica.asksFull !== null) return full(from, replica.asksFull);
  if (!replica.complete) return full(from, 'new_replica');
  return withinHistory(replica, primary, log) ?? undoSuffix(replica, primary, log);
}

/**
 * The last position that both histories have, by their epoch lists: the end of the newest equal epoch, whichever side
 * ends it first. Null if no epoch is equal. What the lists say is still to be compared with the logs.
 */
export function commonPosition(
  replica: Pick<ReplicaFacts, 'epochs' | 'position'>,
  primary: Pick<PrimaryFacts, 'epochs' | 'head'>,
): Position | null {
  const theirs = new Map(replica.epochs.map((fact, i) => [fact.epoch, { fact, next: replica.epochs[i + 1] }]));
  for (let i = primary.epochs.length - 1; i >= 0; i--) {
    const ours = primary.epochs[i];
    const other = ours === undefined ? undefined : theirs.get(ours.epoch);
    if (ours === undefined || other === undefined || other.fact.chain !== ours.chain) continue;
    const ourEnd = primary.epochs[i + 1]?.before ?? primary.head;
    const theirEnd = other.next?.before ?? replica.position;
    return theirEnd.offset < ourEnd.offset ? theirEnd : ourEnd;
  }
  return null;
}

/** Line 6: the replica's history is a prefix of the primary's. Undefined if it is not. */
function withinHistory(replica: ReplicaFacts, primary: PrimaryFacts, log: LogAnswers): SyncDecision | undefined {
  const from = replica.position;
  if (positionsEqual(from, primary.head)) return { tier: 'ring', from };
  if (from.offset > primary.head.offset) return undefined;
  const found = lookUp(log, from);
  const isProven = found.at === 'record_end' && positionsEqual(found.position, from);
  if (!isProven) {
    // The lists speak: is the replica's end the end of what both have?
    const common = commonPosition(replica, primary);
    if (common === null || common.offset < from.offset) return undefined;
    // An epoch cannot begin behind the end of a history, nor a record end inside another.
    if (common.offset > from.offset || found.at === 'inside') return full(from, 'misaligned');
    if (found.at === 'record_end' || !positionsEqual(common, from)) return full(from, 'chain_mismatch');
  }
  if (primary.ringOldest !== null && from.offset >= primary.ringOldest) return { tier: 'ring', from };
  if (found.at === 'damaged') return full(from, 'log_damaged');
  if (found.at === 'evicted' || from.offset < primary.logFloor) return full(from, 'below_wal_floor');
  return { tier: 'wal', from };
}

/** Lines 7 and 8: the replica has what the primary lacks. */
function undoSuffix(replica: ReplicaFacts, primary: PrimaryFacts, log: LogAnswers): SyncDecision {
  const from = replica.position;
  const common = commonPosition(replica, primary);
  const start = common ?? { seq: 0n, offset: 0n };
  const loss: Loss = { bytes: above(from.offset, start.offset), seqs: above(from.seq, start.seq) };
  const isNewer = parseEpoch(primary.epoch).term > parseEpoch(from.epoch).term;
  if (!replica.acceptLoss) {
    if (!isNewer && primary.isSync) return stop(from, 'primary_regressed', common, loss);
    const isPromised = replica.promised.offset > start.offset;
    if (isPromised || loss.bytes > BigInt(primary.lossLimitBytes)) {
      return stop(from, 'lost_limit_exceeded', common, loss);
    }
  }
  if (common === null) return full(from, 'unknown_epoch', null, loss);
  const found = lookUp(log, common);
  if (found.at === 'inside' || (found.at === 'record_end' && !positionsEqual(found.position, common))) {
    return full(from, 'chain_mismatch', null, loss);
  }
  const checkpoint = checkpointFor(replica, primary, common, found);
  if (checkpoint !== undefined) return { tier: 'rewind', from, common, checkpoint, loss };
  return padOver(primary, log, { from, common, loss }) ?? full(from, 'undo_unavailable', common, loss);
}

/** The newest checkpoint that a rewind to `common` can start from, if the primary can serve what follows it. */
function checkpointFor(
  replica: ReplicaFacts,
  primary: PrimaryFacts,
  common: Position,
  found: LogAt,
): Position | undefined {
  // The checkpoints of a padded replica do not hold the state of their positions.
  if (!replica.consistent || common.offset < primary.logFloor) return undefined;
  if (found.at === 'evicted' || found.at === 'damaged') return undefined;
  const usable = replica.checkpoints.filter(({ offset }) => offset <= common.offset);
  return usable.reduce<Position | undefined>(
    (best, checkpoint) => (best === undefined || checkpoint.offset > best.offset ? checkpoint : best),
    undefined,
  );
}

/** Sequence padding, if it is on and what would be kept wrongly or missed is within its limits. */
function padOver(primary: PrimaryFacts, log: LogAnswers, diverged: Diverged): SyncDecision | undefined {
  const { padding } = primary;
  const to = log.paddingTo;
  const { from, common, loss } = diverged;
  if (padding === null || to === null || to.offset < from.offset || to.seq < from.seq) return undefined;
  // A record owns one sequence or more, so sequences bound records from above.
  const records = loss.seqs + (to.seq - common.seq);
  const bytes = loss.bytes + (to.offset - common.offset);
  if (records > BigInt(padding.maxRecords) || bytes > BigInt(padding.maxBytes)) return undefined;
  return { tier: 'padding', reason: 'undo_unavailable', to, ...diverged };
}

/**
 * Line 3: both have a record that began the primary's term, and they differ. A crash may have skipped runs of a term,
 * so it is the first of each list that began it; of a list whose older entries were folded away the other knows more.
 */
function hasOtherOwner(replica: ReplicaFacts, primary: PrimaryFacts): boolean {
  const { term } = parseEpoch(primary.epoch);
  const ours = primary.epochs.find(({ epoch }) => parseEpoch(epoch).term === term);
  const theirs = replica.epochs.find(({ epoch }) => parseEpoch(epoch).term === term);
  if (ours === undefined || theirs === undefined) return false;
  return !hasEntry(replica.epochs, ours) && !hasEntry(primary.epochs, theirs);
}

function hasEntry(epochs: readonly EpochFact[], { epoch, chain }: EpochFact): boolean {
  return epochs.some((other) => other.epoch === epoch && other.chain === chain);
}

/** A primary without a record will begin term 1: a replica that has seen term 1 does not fence it. */
function termOf(primary: PrimaryFacts): number {
  return Math.max(1, parseEpoch(primary.epoch).term);
}

/** Requires: the caller asked its log about every offset of `offsetsToLookUp`. */
function lookUp(log: LogAnswers, position: Position): LogAt {
  if (isEmptyPosition(position)) return { at: 'record_end', position };
  return present(log.at.get(position.offset), `the log was asked about offset ${position.offset}`);
}

/** A peer may lie; a difference that would be negative is none. */
function above(a: bigint, b: bigint): bigint {
  return a > b ? a - b : 0n;
}

function stop(from: Position, reason: StopReason, common: Position | null = null, loss: Loss | null = null): Stop {
  return { tier: 'stop', reason, from, common, loss };
}

function full(from: Position, reason: FullReason, common: Position | null = null, loss: Loss | null = null): Full {
  return { tier: 'full', reason, from, common, loss };
}

/** Histories as lists of records, with forks, promotions and losses: the truth that the decision is judged by. */
import { createPosition, emptyPosition, type Position, positionsEqual } from '../../../dist/position.js';
import type { LogAnswers, LogAt, PrimaryFacts, ReplicaFacts } from '../../../dist/replication/sync-decision.js';
import { commonPosition, offsetsToLookUp } from '../../../dist/replication/sync-decision.js';
import type { EpochFact } from '../../../dist/wire/fields.js';

export const cluster = 'c'.repeat(32);

/** A chain over everything before it, as the log has one. */
function chainAfter(before: Position, content: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const char of `${before}/${content}`) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(char.codePointAt(0) ?? 0)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, '0');
}

export class History {
  /** Positions behind each record, the empty one first. */
  readonly positions: readonly Position[];
  readonly epochs: readonly EpochFact[];

  constructor(positions: readonly Position[] = [emptyPosition()], epochs: readonly EpochFact[] = []) {
    this.positions = positions;
    this.epochs = epochs;
  }
  get head(): Position {
    return this.positions.at(-1) ?? emptyPosition();
  }
  /** Begins an epoch; `who` makes its record unlike that of another node for the same number. */
  begin(epoch: string, who: string): History {
    const before = this.head;
    const chain = chainAfter(before, `epoch ${epoch} ${who}`);
    const after = createPosition(epoch, before.seq + 1n, before.offset + 120n, chain);
    return new History([...this.positions, after], [...this.epochs, { epoch, before, chain }]);
  }
  /** Appends records of the present epoch. */
  append(who: string, ...operations: readonly number[]): History {
    return operations.reduce<History>((history, count) => {
      const before = history.head;
      const chain = chainAfter(before, `batch ${who} ${count}`);
      const offset = before.offset + 56n + BigInt(count) * 24n;
      const after = createPosition(before.epoch, before.seq + BigInt(count), offset, chain);
      return new History([...history.positions, after], history.epochs);
    }, this);
  }
  /** The history as it was behind its record number `records`. */
  cut(records: number): History {
    const positions = this.positions.slice(0, records + 1);
    const end = positions.at(-1)?.offset ?? 0n;
    return new History(
      positions,
      this.epochs.filter(({ before }) => before.offset < end),
    );
  }
  holds(position: Position): boolean {
    return this.positions.some((other) => positionsEqual(other, position));
  }
  at(offset: bigint, floor = 0n): LogAt {
    if (offset < floor) return { at: 'evicted' };
    if (offset > this.head.offset) return { at: 'beyond' };
    const position = this.positions.find((other) => other.offset === offset);
    return position === undefined ? { at: 'inside' } : { at: 'record_end', position };
  }
}

/** The last position that both histories really share. */
export function trueCommon(a: History, b: History): Position {
  return [...a.positions].reverse().find((position) => b.holds(position)) ?? emptyPosition();
}

export function replicaFacts(history: History, changes: Partial<ReplicaFacts> = {}): ReplicaFacts {
  return {
    clusterId: cluster,
    highestTerm: Math.max(0, ...history.epochs.map(({ epoch }) => Number.parseInt(epoch, 10))),
    position: history.head,
    promised: emptyPosition(),
    checkpoints: [emptyPosition()],
    epochs: history.epochs,
    complete: true,
    consistent: true,
    acceptLoss: false,
    asksFull: null,
    ...changes,
  };
}

export function primaryFacts(history: History, changes: Partial<PrimaryFacts> = {}): PrimaryFacts {
  return {
    clusterId: cluster,
    epoch: history.head.epoch,
    epochs: history.epochs,
    head: history.head,
    logFloor: 0n,
    ringOldest: null,
    isSync: true,
    lossLimitBytes: 64 * 1024 * 1024,
    padding: null,
    ...changes,
  };
}

/** What the log of `history` answers. */
export function answersOf(history: History, replica: ReplicaFacts, primary: PrimaryFacts): LogAnswers {
  const offsets = offsetsToLookUp(replica, primary);
  const { position } = replica;
  return {
    at: new Map(offsets.map((offset) => [offset, history.at(offset, primary.logFloor)])),
    paddingTo: history.positions.find(({ offset, seq }) => offset >= position.offset && seq >= position.seq) ?? null,
  };
}

export { commonPosition };

/**
 * How far one replica is, as its primary sees it: state, positions, lag, byte budget. Pure: time and the shipping end
 * are passed in. One object a session (control connection), called on the session's thread.
 *
 * States: handshake -> full | catching_up | stopped; full -> catching_up when installed; catching_up -> streaming when
 * it has applied what was there when catching up began; streaming -> catching_up when it falls behind its budget.
 * Invariants: applied <= received and durable <= received, received <= sent; none goes back within a session, so a
 * replica cannot take an acknowledgement back, nor give one for what it was not sent.
 */
import { type Position, positionsEqual } from '../position.js';
import { protocolError } from '../wire/fields.js';
import type { Reason, Tier } from '../wire/names.js';
import { LagMeter } from './lag.js';
import type { SyncDecision } from './sync-decision.js';

export type ReplicaState = 'handshake' | 'full' | 'catching_up' | 'streaming' | 'stopped';

export interface ProgressLimits {
  /** Bytes sent and not yet acknowledged before it is served from segments. */
  readonly maxBytes: number;
  /** No progress for so long with something missing: stalled. */
  readonly timeoutMs: number;
}

export interface Acknowledgement {
  readonly received: Position;
  readonly durable: Position;
  readonly applied: Position;
  /** False: the replica itself says that it counts for nothing (padded, or below its former mark). */
  readonly counts: boolean;
}

/** One entry of `replicas` in the status, without node id and address. */
export interface ReplicaView {
  readonly state: ReplicaState;
  readonly tier: Tier | null;
  readonly reason: Reason | null;
  readonly sent: Position;
  readonly received: Position;
  readonly durable: Position;
  readonly applied: Position;
  readonly lag: { readonly records: number; readonly bytes: number; readonly ms: number } | null;
  readonly stalled: boolean;
  readonly inconsistent: boolean;
}

/** In socket buffers beyond so many budgets a replica is disconnected, `slow_replica`. */
const disconnectBudgets = 4;

export class ReplicaProgress {
  readonly #limits: ProgressLimits;
  readonly #lag = new LagMeter();
  #state: ReplicaState = 'handshake';
  #tier: Tier | null = null;
  #reason: Reason | null = null;
  #sent: Position;
  #received: Position;
  #durable: Position;
  #applied: Position;
  #target: Position;
  #counts = false;
  #isConsistent: boolean;
  #progressAt: number;

  /** The handshake's positions; `isConsistent`: no padded range. */
  constructor(limits: ProgressLimits, handshake: Acknowledgement, isConsistent: boolean, now: number) {
    this.#limits = limits;
    this.#sent = handshake.received;
    this.#received = handshake.received;
    this.#durable = earlier(handshake.durable, handshake.received);
    this.#applied = earlier(handshake.applied, handshake.received);
    this.#target = handshake.received;
    this.#counts = handshake.counts;
    this.#isConsistent = isConsistent;
    this.#progressAt = now;
  }

  get state(): ReplicaState {
    return this.#state;
  }

  /** Its positions; durable and applied only once they are in this history. */
  get acknowledged(): Omit<Acknowledgement, 'counts'> {
    return { received: this.#received, durable: this.#durable, applied: this.#applied };
  }

  /** The decision was sent. `end` is the shipping end: what has to be reached to be streaming. */
  decided(decision: SyncDecision, end: Position, now: number): void {
    this.#tier = decision.tier;
    this.#reason = 'reason' in decision ? decision.reason : null;
    this.#progressAt = now;
    this.#target = end;
    if (decision.tier === 'stop') this.#state = 'stopped';
    else if (decision.tier === 'full') this.#state = 'full';
    // Behind a rewind or a padding the replica shakes hands again.
    else if (decision.tier === 'rewind' || decision.tier === 'padding') this.#state = 'handshake';
    else this.#enterCatchUp(end);
  }

  /** A full sync begins, or goes on: the log is sent from `logFrom` on; what it held before counts for nothing. */
  snapshotBegan(position: Position, now: number, logFrom: Position = position): void {
    this.#sent = logFrom;
    this.#received = logFrom;
    this.#durable = position;
    this.#applied = position;
    this.#progressAt = now;
  }

  /** The new state is live and durable on the replica, up to `position`. */
  installed(position: Position, end: Position, now: number): void {
    if (this.#state !== 'full') throw protocolError('order', `INSTALLED in state ${this.#state}`);
    if (!positionsEqual(position, this.#applied)) throw protocolError('order', 'INSTALLED of another snapshot');
    this.#isConsistent = true;
    this.#progressAt = now;
    this.#enterCatchUp(end);
  }

  /** Records up to `position` went to the socket. */
  sentUpTo(position: Position): void {
    if (position.offset > this.#sent.offset) this.#sent = position;
  }

  /** Takes an ACK. Throws PROTOCOL for what was not sent. Returns whether something rose. */
  acknowledge(ack: Acknowledgement, end: Position, now: number): boolean {
    if (ack.received.offset > this.#sent.offset) {
      throw protocolError(
        'ack',
        `an acknowledgement of offset ${ack.received.offset}, sent up to ${this.#sent.offset}`,
      );
    }
    if (this.#state !== 'full' && isBeyond(ack, ack.received)) {
      throw protocolError('ack', 'an acknowledgement of more than was received');
    }
    this.#counts = ack.counts;
    const before = this.#received.offset + this.#durable.offset + this.#applied.offset;
    this.#received = later(this.#received, ack.received);
    // While the new state is not installed, these speak of the old one.
    if (this.#state !== 'full') {
      this.#durable = later(this.#durable, ack.durable);
      this.#applied = later(this.#applied, ack.applied);
    }
    const rose = this.#received.offset + this.#durable.offset + this.#applied.offset > before;
    if (rose) this.#progressAt = now;
    this.#judge(end);
    return rose;
  }

  /** Whether its acknowledgements count: streaming, consistent, and it says so itself; `epoch` of the ACK is ours. */
  countsFor(ackEpoch: string, ourEpoch: string): boolean {
    return this.isInReach && ackEpoch === ourEpoch;
  }

  /** Whether acknowledgements that count can be expected of it. */
  get isInReach(): boolean {
    return this.#state === 'streaming' && this.#isConsistent && this.#counts;
  }

  /** Bytes sent and not acknowledged as received. */
  get outstandingBytes(): number {
    return Number(this.#sent.offset - this.#received.offset);
  }

  /** How many more bytes may be sent now; 0: wait for an acknowledgement. */
  get budgetBytes(): number {
    return Math.max(0, this.#limits.maxBytes - this.outstandingBytes);
  }

  /** True when so much lies in socket buffers that the replica must be disconnected, `slow_replica`. */
  isTooSlow(socketBytes: number): boolean {
    return socketBytes > disconnectBudgets * this.#limits.maxBytes;
  }

  /** The shipping end moved, or time passed: call it at least every heartbeat. */
  sawEnd(end: Position, now: number): void {
    this.#lag.sawEnd(end.offset, now);
    if (this.#applied.offset >= end.offset) this.#progressAt = now;
    this.#judge(end);
  }

  isStalled(end: Position, now: number): boolean {
    const isFollowing = this.#state === 'catching_up' || this.#state === 'streaming';
    return isFollowing && this.#applied.offset < end.offset && now - this.#progressAt >= this.#limits.timeoutMs;
  }

  view(end: Position, now: number): ReplicaView {
    const isFollowing = this.#state === 'catching_up' || this.#state === 'streaming';
    return {
      state: this.#state,
      tier: this.#tier,
      reason: this.#reason,
      sent: this.#sent,
      received: this.#received,
      durable: this.#durable,
      applied: this.#applied,
      lag: isFollowing ? this.#lag.measure(end, this.#applied, now) : null,
      stalled: this.isStalled(end, now),
      inconsistent: !this.#isConsistent,
    };
  }

  #enterCatchUp(end: Position): void {
    this.#state = 'catching_up';
    this.#target = end;
    this.#judge(end);
  }

  #judge(end: Position): void {
    const behind = end.offset - this.#applied.offset;
    if (this.#state === 'streaming' && behind > BigInt(this.#limits.maxBytes)) {
      this.#state = 'catching_up';
      this.#target = end;
    } else if (this.#state === 'catching_up' && this.#applied.offset >= this.#target.offset) {
      // Under load the end moves on; a replica that is within its budget again is not left behind by that.
      if (behind <= BigInt(this.#limits.maxBytes)) this.#state = 'streaming';
      else this.#target = end;
    }
  }
}

function later(a: Position, b: Position): Position {
  return b.offset > a.offset ? b : a;
}

function earlier(a: Position, b: Position): Position {
  return a.offset < b.offset ? a : b;
}

function isBeyond({ durable, applied }: Acknowledgement, received: Position): boolean {
  return durable.offset > received.offset || applied.offset > received.offset;
}

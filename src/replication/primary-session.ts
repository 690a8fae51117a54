/**
 * One replica as its primary sees it: handshake, decision, then the log, ring or segments, up to the shipping end; a
 * full sync in between if the decision was one. On the controller's thread; woken by the engine's progress, by the
 * socket's room and by acknowledgements; never waits for the replica.
 *
 * States and positions are those of progress.ts. Invariant: sent <= shipping end; records sent and not acknowledged are
 * at most `replicaMaxBytes` and one chunk; beyond that the replica gets the segments when it has caught up so far.
 */

import type { Progress } from '../binding/progress.js';
import { createError, GaplessError } from '../errors.js';
import { isEmptyPosition, type Position } from '../position.js';
import { protocolError, type ResumeToken } from '../wire/fields.js';
import type { Frame, FrameOf } from '../wire/frames.js';
import type { Hello } from '../wire/hello.js';
import { capabilityPlan, type FullReason, type Reason, type Tier } from '../wire/names.js';
import type { Acknowledged } from './acknowledgements.js';
import type { Connection, ConnectionEnd, ConnectionHandler } from './connection.js';
import { FullSyncSource } from './full-sync-source.js';
import { hostOf, type Successor } from './handover.js';
import { type FeedChunk, isEvicted, LogFeed } from './log-feed.js';
import type { Reach, ReplicaState, ReplicaStatus, ReplicationPorts } from './ports.js';
import { ReplicaProgress } from './progress.js';
import type { SharedSnapshots } from './shared-snapshots.js';
import type { Slots } from './slots.js';
import type { SyncDecision } from './sync-decision.js';

/** Bytes of records in one LOG frame, unless one record is larger. */
const chunkBytes = 1024 * 1024;
/** The socket is fed until this much is unsent, so that the kernel never runs dry. */
const unsentMax = 2 * 1024 * 1024;
/** Log is read in one go at most, before the event loop has its turn. */
const turnBytes = 4 * 1024 * 1024;

/** What a session needs of the primary that all sessions share. */
export interface SessionOwner {
  readonly ports: ReplicationPorts;
  readonly progress: Progress;
  readonly slots: Slots;
  readonly snapshots: SharedSnapshots;
  /** Null: go on; otherwise why this replica is not served. */
  admit(session: PrimarySession, nodeId: string): Promise<Reason | null>;
  welcome(): FrameOf<'WELCOME'>;
  decide(handshake: FrameOf<'HANDSHAKE'>): SyncDecision;
  /** The same, and nothing comes of it. */
  plan(handshake: FrameOf<'HANDSHAKE'>): SyncDecision;
  commit(): FrameOf<'COMMIT'>;
  /** `replica` and `resync` events, counters. */
  changed(session: PrimarySession): void;
  decided(session: PrimarySession, decision: SyncDecision): void;
  /** A rewind, or a padding, is complete: the replica shakes hands again. */
  rewound(tier: Tier): void;
  /** Its resync is complete: it streams. */
  streaming(session: PrimarySession, isCounted: boolean): void;
  acknowledged(): void;
  /** It asks for the role. */
  handover(session: PrimarySession, request: FrameOf<'HANDOVER'>): void;
  /** Damage was found in the log that this replica needs. */
  damaged(session: PrimarySession): void;
  ended(session: PrimarySession): void;
}

export class PrimarySession implements ConnectionHandler, Successor {
  readonly nodeId: string;
  readonly connection: Connection;
  readonly #owner: SessionOwner;
  readonly #beganAt: number;
  #tier: Tier | null = null;
  #reason: Reason | null = null;
  /** From the handshake on. */
  #replica: ReplicaProgress | undefined;
  #isOver = false;
  #said: ReplicaState = 'handshake';
  #isJudging = false;
  /** Set between DECISION and ANSWER. */
  #decision: SyncDecision | undefined;
  /** What the replica has of a full sync that was cut short. */
  #resume: ResumeToken | null = null;
  #feed: LogFeed | undefined;
  #sync: FullSyncSource | undefined;
  #isReading = false;
  #isScheduled = false;
  /** It only asked what a resync would do: nothing of it is left. */
  #isQuestion = false;
  /** It goes back to a common position, and will shake hands again. */
  #isRewinding = false;
  /** It did: the resync is counted already. */
  #hasRewound = false;
  /** The resync that was decided is done. */
  #isComplete = false;
  /** Bytes of the largest LOG frame so far. */
  #largest = 0;
  /** Epoch of the last ACK. */
  #ackEpoch = '';

  constructor(connection: Connection, peer: Hello, owner: SessionOwner) {
    this.connection = connection;
    this.nodeId = peer.nodeId;
    this.#owner = owner;
    this.#beganAt = owner.ports.clock.monotonic();
  }

  get state(): ReplicaState {
    return this.#isOver ? 'stopped' : (this.#replica?.state ?? 'handshake');
  }
  get tier(): Tier | null {
    return this.#tier;
  }
  get reason(): Reason | null {
    return this.#reason;
  }
  /** Its positions, if they count as acknowledgements of the present epoch. */
  get counted(): Acknowledged | undefined {
    const { ownEpoch } = this.#owner.progress;
    if (this.#isOver || this.#replica?.countsFor(this.#ackEpoch, ownEpoch) !== true) return undefined;
    return this.#replica.acknowledged;
  }
  /** Whether acknowledgements that count can be expected of it. */
  get isInReach(): boolean {
    return !this.#isOver && this.#replica?.isInReach === true;
  }
  /** Its positions, whether they count or not. */
  get acknowledged(): Acknowledged | undefined {
    return this.#replica?.acknowledged;
  }
  get host(): string {
    return hostOf(this.connection.address);
  }
  /** The full sync that data connections may join. */
  get sync(): FullSyncSource | undefined {
    return this.#sync;
  }

  status(): ReplicaStatus {
    const { progress, ports } = this.#owner;
    const view = this.#replica?.view(progress.shippingEnd, ports.clock.monotonic());
    const reach = (position: Position | undefined): Reach => {
      return { seq: `${position?.seq ?? 0n}`, offset: `${position?.offset ?? 0n}` };
    };
    return {
      nodeId: this.nodeId,
      address: this.connection.address,
      state: this.state,
      tier: this.#tier,
      reason: this.#reason,
      sent: reach(view?.sent),
      received: reach(view?.received),
      durable: reach(view?.durable),
      applied: reach(view?.applied),
      lag: view?.lag ?? null,
      stalled: view?.stalled ?? false,
      inconsistent: view?.inconsistent ?? false,
    };
  }

  /** The engine's progress changed. */
  progressed(): void {
    if (this.#feed !== undefined) this.#schedule();
  }

  /** Something of COMMIT changed that replicas should hear of soon. */
  tellCommit(): void {
    if (this.#feed !== undefined) this.connection.send(this.#owner.commit());
  }

  grant(term: number, position: Position, details: string): void {
    this.connection.send({ type: 'GRANT', term, position, details });
  }

  stop(reason: Reason | null, error: Error, retryAfterMs = 0): void {
    this.connection.fail(reason, error, retryAfterMs);
  }

  // -- ConnectionHandler --

  authenticated(): void {}

  frame(frame: Frame, epoch: string): void {
    switch (frame.type) {
      case 'HANDSHAKE':
        this.#handshake(frame);
        return;
      case 'ANSWER':
        this.#answered(frame);
        return;
      case 'ACK':
        this.#acknowledged(frame, epoch);
        return;
      case 'INSTALLED':
        this.#installed(frame);
        return;
      case 'HANDOVER':
        if (this.#replica === undefined) throw protocolError('order', 'HANDOVER before the handshake');
        this.#owner.handover(this, frame);
        return;
      default:
        throw protocolError('order', `${frame.type} on a control connection`);
    }
  }

  drained(): void {
    if (this.#feed !== undefined) this.#schedule();
  }

  beat(): void {
    const { ports, progress, slots } = this.#owner;
    const replica = this.#replica;
    // It works, and says so by PING.
    if (this.#isRewinding) return;
    if (this.#feed === undefined || replica === undefined) {
      const waited = ports.clock.monotonic() - this.#beganAt;
      if (this.#isJudging || waited <= 2 * ports.options.timeoutMs) return;
      this.connection.fail('timeout', createError('TIMEOUT', 'no HANDSHAKE or ANSWER in time'));
      return;
    }
    // One record may be larger than the whole budget; it is never too much by itself.
    if (replica.isTooSlow(this.connection.unsent - this.#largest)) {
      const error = createError('TIMEOUT', `${this.connection.unsent} bytes wait for the replica to take them`);
      this.connection.destroy('slow_replica', error);
      return;
    }
    if (this.#sync !== undefined && !this.#isPinned(this.#sync)) return;
    replica.sawEnd(progress.shippingEnd, ports.clock.monotonic());
    this.#noteState();
    if (this.#sync === undefined) slots.advance(this.nodeId, replica.acknowledged.durable);
    this.connection.send(this.#owner.commit());
  }

  closed(end: ConnectionEnd): void {
    this.#feed = undefined;
    this.#isOver = true;
    this.#sync?.end(false);
    this.#sync = undefined;
    if (end.reason !== null) this.#reason = end.reason;
    if (!this.#isQuestion) {
      this.#owner.slots.leave(this.nodeId);
      this.#noteState();
    }
    this.#owner.ended(this);
  }

  // -- handshake --

  #handshake(handshake: FrameOf<'HANDSHAKE'>): void {
    if (this.#isJudging || (this.#replica !== undefined && !this.#isRewinding)) {
      throw protocolError('order', 'a second HANDSHAKE');
    }
    if (handshake.nodeId !== this.nodeId) throw protocolError('identity', 'HANDSHAKE and hello name different nodes');
    if (this.#isRewinding) {
      this.#rewound(handshake);
      return;
    }
    if ((handshake.capabilities & capabilityPlan) !== 0n) {
      this.#isQuestion = true;
      this.connection.send(this.#owner.welcome());
      this.connection.send(decisionFrame(this.#owner.plan(handshake)));
      this.connection.close(null);
      return;
    }
    this.#isJudging = true;
    this.connection.hold();
    this.#owner
      .admit(this, this.nodeId)
      .then((refusal) => this.#judge(handshake, refusal))
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#isJudging = false;
        this.connection.release();
      });
  }

  /** Behind a rewind: it was admitted already. */
  #rewound(handshake: FrameOf<'HANDSHAKE'>): void {
    this.#isRewinding = false;
    const { tier } = this;
    if (tier !== null && !this.#hasRewound) this.#owner.rewound(tier);
    this.#hasRewound = true;
    this.#judge(handshake, null);
  }

  #judge(handshake: FrameOf<'HANDSHAKE'>, refusal: Reason | null): void {
    if (!this.connection.isOpen) return;
    const { slots, ports } = this.#owner;
    if (refusal === 'too_many') {
      const error = createError('TOO_MANY', `this node serves ${ports.options.maxReplicas} replicas already`);
      this.connection.fail('too_many', error, 5000);
      return;
    }
    const { position } = handshake;
    this.#resume = handshake.resume;
    const { timeoutMs, replicaMaxBytes: maxBytes } = ports.options;
    const claimed = { received: position, durable: handshake.durable, applied: handshake.applied, counts: false };
    const now = ports.clock.monotonic();
    this.#replica = new ReplicaProgress({ maxBytes, timeoutMs }, claimed, handshake.consistent, now);
    this.connection.send(this.#owner.welcome());
    if (refusal === 'duplicate_node_id') {
      this.#decide({ tier: 'stop', reason: refusal, from: position, common: null, loss: null });
      return;
    }
    // Held first, judged afterwards: what the decision relies on cannot go meanwhile.
    if (!isEmptyPosition(position) && position.offset <= this.#owner.progress.visibleOffset) {
      this.#tryHold(slots, position);
    }
    this.#decide(this.#owner.decide(handshake));
  }

  #tryHold(slots: Slots, position: Position): void {
    try {
      slots.hold(this.nodeId, position.offset);
    } catch (error) {
      // Gone already: the decision will find that out by itself.
      if (!isEvicted(error)) throw error;
    }
  }

  #decide(decision: SyncDecision): void {
    const { tier } = decision;
    this.#decision = decision;
    this.#tier = tier;
    this.#reason = 'reason' in decision ? decision.reason : null;
    this.connection.send(decisionFrame(decision));
    this.#owner.decided(this, decision);
    // What follows the common position must still be there when the replica is back at it.
    if (tier === 'rewind') this.#tryHold(this.#owner.slots, decision.common);
    if (tier !== 'stop') return;
    this.#isOver = true;
    this.#noteState();
    this.connection.close(this.#reason);
  }

  #answered(answer: FrameOf<'ANSWER'>): void {
    const decision = this.#decision;
    if (decision === undefined) throw protocolError('order', 'ANSWER to nothing');
    if (answer.verdict === 'refused') {
      this.connection.close(this.#reason);
      return;
    }
    if (answer.verdict !== 'accept') {
      if (decision.tier !== 'rewind') throw protocolError('order', `${answer.verdict} to ${decision.tier}`);
      const { from, loss } = decision;
      // The lists named a position that the histories do not share.
      const common = answer.verdict === 'chain_mismatch' ? null : decision.common;
      this.#decide({ tier: 'full', reason: answer.verdict, from, common, loss });
      return;
    }
    this.#decision = undefined;
    const { progress, ports } = this.#owner;
    this.#replica?.decided(decision, progress.shippingEnd, ports.clock.monotonic());
    if (decision.tier === 'full') {
      this.#beginFull(decision);
      return;
    }
    this.#owner.snapshots.forget(this.nodeId);
    if (decision.tier === 'rewind') this.#isRewinding = true;
    else this.#beginLog(decision.from);
  }

  // -- full sync --

  #beginFull({ reason, from }: { readonly reason: FullReason; readonly from: Position }): void {
    const { ports, slots, snapshots } = this.#owner;
    const joiner = { nodeId: this.nodeId, position: from, resume: this.#resume };
    const sync = new FullSyncSource(ports, snapshots, joiner, reason);
    this.#sync = sync;
    slots.hold(this.nodeId, sync.position.offset);
    this.connection.send(sync.announcement());
    this.#replica?.snapshotBegan(sync.position, ports.clock.monotonic(), sync.logFrom);
    this.#beginLog(sync.logFrom);
    sync.logDurable().then(
      () => {
        if (this.#sync !== sync) return;
        this.connection.send({ type: 'LOG_DURABLE', syncId: sync.syncId, position: sync.position });
      },
      (error: unknown) => {
        if (this.#sync === sync) this.#fail(error);
      },
    );
  }

  #isPinned(sync: FullSyncSource): boolean {
    try {
      sync.check();
      return true;
    } catch (error) {
      this.connection.fail('hold_expired', error instanceof Error ? error : createError('EVICTED', String(error)));
      return false;
    }
  }

  #installed(frame: FrameOf<'INSTALLED'>): void {
    const sync = this.#sync;
    if (sync === undefined || frame.syncId !== sync.syncId) throw protocolError('order', 'INSTALLED of no sync');
    const { progress, ports } = this.#owner;
    this.#replica?.installed(frame.position, progress.shippingEnd, ports.clock.monotonic());
    sync.end(true);
    this.#sync = undefined;
    this.#noteState();
    this.#schedule();
  }

  // -- the log --

  #beginLog(from: Position): void {
    const { ports } = this.#owner;
    this.#feed = new LogFeed(ports.store, ports.tools, ports.ring(), from);
    this.#noteState();
    this.connection.send(this.#owner.commit());
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#pump();
    });
  }

  /** Sends what there is and what the budget allows. */
  #pump(): void {
    const { progress } = this.#owner;
    const replica = this.#replica;
    let turn = turnBytes;
    while (this.#feed !== undefined && replica !== undefined && !this.#isReading && this.connection.isOpen) {
      const feed = this.#feed;
      const there = progress.shippingOffset - feed.position.offset;
      if (there <= 0n || replica.budgetBytes === 0) return;
      if (this.connection.unsent >= unsentMax) return;
      if (turn <= 0) {
        this.#schedule();
        return;
      }
      const bytes = there < BigInt(chunkBytes) ? Number(there) : chunkBytes;
      const chunk = feed.takeFromRing(bytes);
      if (chunk === undefined) {
        this.#readSegments(feed);
        return;
      }
      turn -= chunk.bytes.length;
      this.#sendRecords(chunk);
    }
  }

  #sendRecords({ before, after, bytes }: FeedChunk): void {
    this.#largest = Math.max(this.#largest, bytes.length);
    this.connection.send({ type: 'LOG', before, records: bytes });
    this.#replica?.sentUpTo(after);
  }

  #readSegments(feed: LogFeed): void {
    this.#isReading = true;
    feed.readLog(chunkBytes).then(
      (chunk) => {
        this.#isReading = false;
        if (this.#feed !== feed || chunk === null) return;
        this.#sendRecords(chunk);
        this.#schedule();
      },
      (error: unknown) => {
        this.#isReading = false;
        if (this.#feed === feed) this.#fail(error);
      },
    );
  }

  #acknowledged(ack: FrameOf<'ACK'>, epoch: string): void {
    const replica = this.#replica;
    if (this.#feed === undefined || replica === undefined) throw protocolError('order', 'ACK of nothing');
    const { progress, ports } = this.#owner;
    replica.acknowledge(ack, progress.shippingEnd, ports.clock.monotonic());
    this.#ackEpoch = epoch;
    this.#noteState();
    this.#owner.acknowledged();
    this.#schedule();
  }

  /** Tells of a change of state, and makes the slot lasting with the first streaming. */
  #noteState(): void {
    const { state } = this;
    if (state === this.#said) return;
    this.#said = state;
    this.#owner.changed(this);
    const replica = this.#replica;
    if (state !== 'streaming' || this.#isComplete || replica === undefined) return;
    this.#isComplete = true;
    const { slots } = this.#owner;
    const { durable } = replica.acknowledged;
    this.#tryHold(slots, durable);
    slots.advance(this.nodeId, durable);
    this.#owner.streaming(this, this.#hasRewound);
  }

  #fail(error: unknown): void {
    const known = error instanceof Error ? error : createError('IO', String(error));
    const code = known instanceof GaplessError ? known.code : null;
    // Its log was given up: it was too far behind for too long.
    if (code === 'EVICTED') this.connection.fail(this.#sync === undefined ? 'slow_replica' : 'hold_expired', known);
    else if (code === 'CORRUPT') {
      this.#owner.damaged(this);
      this.connection.fail('log_damaged', known);
    } else this.connection.fail(null, known);
  }
}

function decisionFrame(decision: SyncDecision): FrameOf<'DECISION'> {
  const { tier, from } = decision;
  const diverged = 'common' in decision ? decision : undefined;
  return {
    type: 'DECISION',
    tier,
    reason: 'reason' in decision ? decision.reason : null,
    from,
    common: diverged?.common ?? null,
    lossBytes: diverged?.loss?.bytes ?? null,
    lossSeqs: diverged?.loss?.seqs ?? null,
    to: tier === 'padding' ? decision.to : null,
    details: '',
  };
}

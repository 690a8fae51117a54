/**
 * One replica as its primary sees it: handshake, decision, then the log, ring or segments, up to the shipping end; a
 * full sync in between if the decision was one. On the controller's thread; woken by the engine's progress, by the
 * socket's room and by acknowledgements; never waits for the replica.
 *
 *   handshake -+-> catching_up -> streaming
 *              +-> full -> catching_up
 *              +-> stopped
 *
 * Invariants: applied <= received <= sent <= shipping end, durable <= received. Records sent and not acknowledged are at
 * most `replicaMaxBytes` and one chunk; beyond that the replica reads the segments when it has caught up so far.
 */
import { createError, GaplessError } from '../errors.js';
import { isEmptyPosition, type Position } from '../position.js';
import { protocolError } from '../wire/fields.js';
import type { Frame, FrameOf } from '../wire/frames.js';
import type { Hello } from '../wire/hello.js';
import type { FullReason, Reason, Tier } from '../wire/names.js';
import type { Connection, ConnectionEnd, ConnectionHandler } from './connection.js';
import { FullSyncSource } from './full-sync-source.js';
import { LagMeter } from './lag.js';
import { isEvicted, LogFeed } from './log-feed.js';
import type { NodeProgress } from './node-progress.js';
import type { ReplicaState, ReplicaStatus, ReplicationPorts } from './ports.js';
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
  readonly progress: NodeProgress;
  readonly slots: Slots;
  /** Null: go on; otherwise why this replica is not served. */
  admit(session: PrimarySession, nodeId: string): Promise<Reason | null>;
  welcome(): FrameOf<'WELCOME'>;
  decide(handshake: FrameOf<'HANDSHAKE'>): SyncDecision;
  commit(): FrameOf<'COMMIT'>;
  /** `replica` and `resync` events, counters. */
  changed(session: PrimarySession): void;
  decided(session: PrimarySession, decision: SyncDecision): void;
  /** Its resync is complete: it streams. */
  streaming(session: PrimarySession): void;
  acknowledged(): void;
  /** Damage was found in the log that this replica needs. */
  damaged(session: PrimarySession): void;
  ended(session: PrimarySession): void;
}

export class PrimarySession implements ConnectionHandler {
  readonly nodeId: string;
  readonly connection: Connection;
  readonly #owner: SessionOwner;
  readonly #lag = new LagMeter();
  #state: ReplicaState = 'handshake';
  #tier: Tier | null = null;
  #reason: Reason | null = null;
  #isJudging = false;
  #isConsistent = true;
  /** Set between DECISION and ANSWER. */
  #decision: SyncDecision | undefined;
  #feed: LogFeed | undefined;
  #sync: FullSyncSource | undefined;
  #isReading = false;
  #isScheduled = false;
  #received: Position;
  #durable: Position;
  #applied: Position;
  #counts = false;
  /** What the handshake said: less than its position, if that is not durable or not shown yet. */
  #claimed: { readonly durable: Position; readonly applied: Position } | undefined;
  /** Applied up to here, it has caught up. */
  #target = 0n;
  #movedAt: number;

  constructor(connection: Connection, peer: Hello, owner: SessionOwner, start: Position) {
    this.connection = connection;
    this.nodeId = peer.nodeId;
    this.#owner = owner;
    this.#received = start;
    this.#durable = start;
    this.#applied = start;
    this.#movedAt = owner.ports.clock.monotonic();
  }

  get state(): ReplicaState {
    return this.#state;
  }
  get tier(): Tier | null {
    return this.#tier;
  }
  get reason(): Reason | null {
    return this.#reason;
  }
  get received(): Position {
    return this.#received;
  }
  get durable(): Position {
    return this.#durable;
  }
  get applied(): Position {
    return this.#applied;
  }
  /** True while its acknowledgements count. */
  get counts(): boolean {
    return this.#counts && this.#state === 'streaming' && this.#isConsistent;
  }
  /** The full sync that data connections may join. */
  get sync(): FullSyncSource | undefined {
    return this.#sync;
  }

  status(): ReplicaStatus {
    const reach = ({ seq, offset }: Position): { seq: string; offset: string } => ({
      seq: `${seq}`,
      offset: `${offset}`,
    });
    const hasLag = this.#state === 'streaming' || this.#state === 'catching_up';
    const { clock, options } = this.#owner.ports;
    const now = clock.monotonic();
    const lag = hasLag ? this.#lag.measure(this.#owner.progress.shipping, this.#applied, now) : null;
    return {
      nodeId: this.nodeId,
      address: this.connection.address,
      state: this.#state,
      tier: this.#tier,
      reason: this.#reason,
      sent: reach(this.#feed?.position ?? this.#received),
      received: reach(this.#received),
      durable: reach(this.#durable),
      applied: reach(this.#applied),
      lag,
      stalled: lag !== null && lag.bytes > 0 && now - this.#movedAt > options.timeoutMs,
      inconsistent: !this.#isConsistent,
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

  stop(reason: Reason | null, error: Error, retryAfterMs = 0): void {
    this.connection.fail(reason, error, retryAfterMs);
  }

  // -- ConnectionHandler --

  authenticated(): void {}

  frame(frame: Frame): void {
    switch (frame.type) {
      case 'HANDSHAKE':
        this.#handshake(frame);
        return;
      case 'ANSWER':
        this.#answered(frame);
        return;
      case 'ACK':
        this.#acknowledged(frame);
        return;
      case 'INSTALLED':
        this.#installed(frame);
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
    if (this.#feed === undefined) return;
    if (this.connection.unsent > 4 * ports.options.replicaMaxBytes + turnBytes) {
      const error = createError('TIMEOUT', `${this.connection.unsent} bytes wait for the replica to take them`);
      this.connection.destroy('slow_replica', error);
      return;
    }
    if (this.#sync !== undefined && !this.#isPinned(this.#sync)) return;
    this.#lag.sawEnd(progress.shippingOffset, ports.clock.monotonic());
    if (this.#sync === undefined) slots.advance(this.nodeId, this.#durable);
    this.connection.send(this.#owner.commit());
  }

  closed(end: ConnectionEnd): void {
    this.#feed = undefined;
    this.#counts = false;
    this.#sync?.end();
    this.#sync = undefined;
    if (end.reason !== null) this.#reason = end.reason;
    this.#owner.slots.leave(this.nodeId);
    this.#change('stopped');
    this.#owner.ended(this);
  }

  // -- handshake --

  #handshake(handshake: FrameOf<'HANDSHAKE'>): void {
    if (this.#isJudging || this.#state !== 'handshake' || this.#decision !== undefined) {
      throw protocolError('order', 'a second HANDSHAKE');
    }
    if (handshake.nodeId !== this.nodeId) throw protocolError('identity', 'HANDSHAKE and hello name different nodes');
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

  #judge(handshake: FrameOf<'HANDSHAKE'>, refusal: Reason | null): void {
    if (!this.connection.isOpen) return;
    const { slots, ports } = this.#owner;
    if (refusal === 'too_many') {
      const error = createError('TOO_MANY', `this node serves ${ports.options.maxReplicas} replicas already`);
      this.connection.fail('too_many', error, 5000);
      return;
    }
    const { position } = handshake;
    this.#isConsistent = handshake.consistent;
    this.#claimed = { durable: handshake.durable, applied: handshake.applied };
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
    const { tier, from } = decision;
    const diverged = 'common' in decision ? decision : undefined;
    this.#decision = decision;
    this.#tier = tier;
    this.#reason = 'reason' in decision ? decision.reason : null;
    this.connection.send({
      type: 'DECISION',
      tier,
      reason: this.#reason,
      from,
      common: diverged?.common ?? null,
      lossBytes: diverged?.loss?.bytes ?? null,
      lossSeqs: diverged?.loss?.seqs ?? null,
      to: tier === 'padding' ? decision.to : null,
      details: '',
    });
    this.#owner.decided(this, decision);
    if (tier !== 'stop') return;
    this.#change('stopped');
    this.connection.close(this.#reason);
  }

  #answered(answer: FrameOf<'ANSWER'>): void {
    const decision = this.#decision;
    if (decision === undefined || this.#state !== 'handshake') throw protocolError('order', 'ANSWER to nothing');
    if (answer.verdict === 'refused') {
      this.connection.close(this.#reason);
      return;
    }
    if (answer.verdict !== 'accept') {
      if (decision.tier === 'full') throw protocolError('order', `${answer.verdict} to a full sync`);
      this.#decide({ tier: 'full', reason: answer.verdict, from: decision.from, common: null, loss: null });
      return;
    }
    this.#decision = undefined;
    if (decision.tier === 'full') this.#beginFull(decision.reason);
    else this.#beginStream(decision.from);
  }

  // -- full sync --

  #beginFull(reason: FullReason): void {
    const { ports, slots } = this.#owner;
    const sync = new FullSyncSource(ports, this.nodeId, reason);
    this.#sync = sync;
    slots.hold(this.nodeId, sync.position.offset);
    this.connection.send(sync.announcement());
    this.#change('full');
    this.#beginLog(sync.position);
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
    sync.end();
    this.#sync = undefined;
    this.#change('catching_up');
    this.#schedule();
  }

  // -- the log --

  #beginStream(from: Position): void {
    this.#change('catching_up');
    this.#beginLog(from);
    const { durable, applied } = this.#claimed ?? {};
    if (durable !== undefined && durable.offset < from.offset) this.#durable = durable;
    if (applied !== undefined && applied.offset < from.offset) this.#applied = applied;
  }

  #beginLog(from: Position): void {
    const { ports, progress } = this.#owner;
    this.#received = from;
    this.#durable = from;
    this.#applied = from;
    this.#target = progress.shippingOffset;
    this.#feed = new LogFeed(ports.store, ports.tools, ports.ring(), from);
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
    const { progress, ports } = this.#owner;
    let turn = turnBytes;
    while (this.#feed !== undefined && !this.#isReading && this.connection.isOpen) {
      const feed = this.#feed;
      const there = progress.shippingOffset - feed.position.offset;
      const unacknowledged = feed.position.offset - this.#received.offset;
      if (there <= 0n || unacknowledged >= BigInt(ports.options.replicaMaxBytes)) return;
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
      this.connection.send({ type: 'LOG', before: chunk.before, records: chunk.bytes });
    }
  }

  #readSegments(feed: LogFeed): void {
    this.#isReading = true;
    feed.readLog(chunkBytes).then(
      (chunk) => {
        this.#isReading = false;
        if (this.#feed !== feed || chunk === null) return;
        this.connection.send({ type: 'LOG', before: chunk.before, records: chunk.bytes });
        this.#schedule();
      },
      (error: unknown) => {
        this.#isReading = false;
        if (this.#feed === feed) this.#fail(error);
      },
    );
  }

  #acknowledged(ack: FrameOf<'ACK'>): void {
    const feed = this.#feed;
    if (feed === undefined) throw protocolError('order', 'ACK of nothing');
    const sent = feed.position.offset;
    if (ack.received.offset > sent || ack.durable.offset > sent || ack.applied.offset > sent) {
      throw protocolError('ack', 'an acknowledgement of what was not sent');
    }
    const now = this.#owner.ports.clock.monotonic();
    if (ack.applied.offset > this.#applied.offset || ack.received.offset > this.#received.offset) this.#movedAt = now;
    if (this.#sync !== undefined) {
      // Old state and new log: only what was received means something.
      if (ack.received.offset > this.#received.offset) this.#received = ack.received;
    } else {
      if (ack.received.offset > this.#received.offset) this.#received = ack.received;
      if (ack.durable.offset > this.#durable.offset) this.#durable = ack.durable;
      if (ack.applied.offset > this.#applied.offset) this.#applied = ack.applied;
      this.#counts = ack.counts;
      if (this.#state === 'catching_up' && this.#applied.offset >= this.#target) this.#caughtUp();
      this.#owner.acknowledged();
    }
    this.#schedule();
  }

  #caughtUp(): void {
    const { slots } = this.#owner;
    this.#change('streaming');
    this.#tryHold(slots, this.#durable);
    slots.advance(this.nodeId, this.#durable);
    this.#owner.streaming(this);
  }

  #change(state: ReplicaState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#owner.changed(this);
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

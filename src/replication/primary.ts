/**
 * The listening side: accepts connections, admits replicas, and holds what their sessions share (facts, slots, waiting
 * for acknowledgements, commit and promised position). On the controller's thread.
 *
 * Invariants: one session a node id; at most `unauthenticatedMax` connections without a proof at any moment (one more
 * closes the oldest); data connections only for a full sync under way, at most `dataConnectionsMax` a node; `promised`
 * never goes back within a history.
 */

import type { Progress } from '../binding/progress.js';
import { createError } from '../errors.js';
import { emptyPosition, type Position } from '../position.js';
import { protocolError } from '../wire/fields.js';
import type { Frame, FrameOf } from '../wire/frames.js';
import type { Hello } from '../wire/hello.js';
import type { Reason, Tier } from '../wire/names.js';
import { AckPolicy } from './ack-policy.js';
import { type Acknowledged, AckWaiters, reachedBy } from './acknowledgements.js';
import type { Connection, ConnectionHandler } from './connection.js';
import { decide, epochFacts } from './decision-facts.js';
import { dataConnectionsMax } from './full-sync-source.js';
import { LastRecords, type Successor } from './handover.js';
import type { HostPort, ReplicationPorts } from './ports.js';
import { PrimarySession, type SessionOwner } from './primary-session.js';
import type { ResyncTally } from './resync-tally.js';
import { SharedSnapshots } from './shared-snapshots.js';
import { Slots } from './slots.js';
import type { SyncDecision } from './sync-decision.js';
import type { Channel, Listener } from './transport.js';

export const unauthenticatedMax = 128;
/** Longest time in which a connection with a node id that is in use must prove itself alive. */
const probeMsMax = 1000;

/** What a replica was told by the node that it follows. */
export interface Upstream {
  readonly commit: Position;
  readonly promised: Position;
}

/** What the primary's side needs of the controller. */
export interface PrimaryHooks {
  /** What this node was told, while it is a replica. */
  upstream(): Upstream | undefined;
  /** A replica asks for the role. */
  handover(successor: Successor, request: FrameOf<'HANDOVER'>): void;
  /** A full sync of this node is under way: what it serves is about to go. */
  isSyncing(): boolean;
}

export class Primary implements SessionOwner {
  readonly ports: ReplicationPorts;
  readonly progress: Progress;
  readonly slots: Slots;
  readonly snapshots: SharedSnapshots;
  readonly #connect: (channel: Channel, handler: ConnectionHandler) => Connection;
  readonly #tally: ResyncTally;
  readonly #waiters: AckWaiters;
  readonly #policy: AckPolicy;
  readonly #hooks: PrimaryHooks;
  #last: LastRecords | undefined;
  readonly #sessions = new Map<string, PrimarySession>();
  readonly #connections = new Set<Connection>();
  /** In order of arrival. */
  readonly #strangers = new Set<Connection>();
  /** Data connections of each node. */
  readonly #data = new Map<string, Set<Connection>>();
  readonly #damaged = new Set<string>();
  #listener: Listener | undefined;
  #commit: Position = emptyPosition();
  #promised: Position = emptyPosition();
  /** The history that `#commit` and `#promised` are in. */
  #generation: bigint;
  /** The one that sessions and slots speak of. */
  #served: bigint;
  #refused = 0;

  constructor(
    ports: ReplicationPorts,
    progress: Progress,
    tally: ResyncTally,
    connect: (channel: Channel, handler: ConnectionHandler) => Connection,
    hooks: PrimaryHooks,
  ) {
    this.ports = ports;
    this.progress = progress;
    this.slots = new Slots(ports.store, ports.options.slotMaxBytes);
    this.snapshots = new SharedSnapshots(ports);
    this.#generation = this.#served = progress.generation;
    this.#tally = tally;
    this.#connect = connect;
    this.#hooks = hooks;
    this.#waiters = new AckWaiters(ports.clock, (position) => this.#promise(position));
    this.#policy = new AckPolicy(ports.options.onTooFewReplicas, (event) => ports.emit(event));
  }

  get address(): HostPort | null {
    return this.#listener?.address ?? null;
  }
  get sessions(): readonly PrimarySession[] {
    return [...this.#sessions.values()];
  }
  get refused(): number {
    return this.#refused;
  }
  get promised(): Position {
    this.#noteHistory();
    return this.#hooks.upstream()?.promised ?? this.#promised;
  }
  /** Where the store's policy is met; on a replica as its primary says. */
  get commitPosition(): Position {
    this.#noteHistory();
    const upstream = this.#hooks.upstream();
    if (upstream !== undefined) return upstream.commit;
    return this.ports.options.ackReplicas === 0 ? this.progress.durable : this.#commit;
  }
  get undoFloor(): Position {
    return this.slots.undoFloor() ?? this.progress.durable;
  }

  async listen(address: HostPort): Promise<HostPort> {
    if (this.#listener !== undefined) throw createError('EXISTS', 'this node listens already');
    this.slots.adoptNamed();
    this.#listener = await this.ports.network.listen(address, (channel) => this.#accept(channel));
    return this.#listener.address;
  }

  progressed(): void {
    this.#noteSwitch();
    for (const session of this.#sessions.values()) session.progressed();
  }

  waitFor(
    position: Position,
    replicas: number,
    level: 'received' | 'durable' | 'applied',
    timeoutMs: number,
    signal: AbortSignal | undefined,
    isWrite: boolean,
  ): Promise<void> {
    const mayDegrade = isWrite && this.#policy.mayDegrade;
    if (mayDegrade && this.#policy.goesOn(replicas, this.#inReach())) return Promise.resolve();
    const waiting = this.#waiters.wait(position, replicas, level, timeoutMs, signal, mayDegrade);
    this.acknowledged();
    return waiting;
  }

  /** Before a write that asks for so many replicas. */
  requireReplicas(replicas: number): void {
    this.#policy.require(replicas, this.#inReach());
  }

  /** What this node was told as a replica holds on when it follows nobody any more. */
  inherit({ commit, promised }: Upstream): void {
    this.#noteHistory();
    this.#commit = commit;
    this.#promised = promised;
  }

  /** This node becomes the primary: what it lacks is no promise of its history. */
  forgetBeyond(end: Position): void {
    if (this.#commit.offset > end.offset) this.#commit = end;
    if (this.#promised.offset > end.offset) this.#promised = end;
  }

  /** Nothing is written any more: waits until the successor holds everything. Acknowledgements count meanwhile. */
  async handedOver(successor: Successor, end: Position, timeoutMs: number): Promise<void> {
    const last = new LastRecords(this.ports.clock, successor, end, timeoutMs);
    this.#last = last;
    this.acknowledged();
    try {
      await last.done;
    } finally {
      this.#last = undefined;
    }
  }

  /** Ends every session; replicas dial again. */
  dropSessions(error: Error): void {
    for (const connection of this.#connections) connection.fail(null, error);
  }

  rejectWaiters(error: (position: Position) => Error): void {
    this.#waiters.rejectAll(error);
  }

  async close(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    const closed = createError('CLOSED', 'the node closes');
    this.rejectWaiters((position) => createError('IN_DOUBT', closed.message, { details: { position } }));
    this.dropSessions(closed);
    for (const connection of this.#strangers) connection.destroy(null);
    await listener?.close();
    this.snapshots.close();
    this.slots.close();
  }

  // -- SessionOwner --

  async admit(session: PrimarySession, nodeId: string): Promise<Reason | null> {
    if (nodeId === this.ports.store.identity().nodeId) return 'duplicate_node_id';
    for (let former = this.#sessions.get(nodeId); former !== undefined; former = this.#sessions.get(nodeId)) {
      // A copied directory answers; a connection that broke without our noticing does not.
      const probeMs = Math.min(probeMsMax, Math.ceil(this.ports.options.timeoutMs / 2));
      if (await former.connection.isAlive(probeMs)) return 'duplicate_node_id';
      former.connection.destroy('timeout', createError('TIMEOUT', 'the node came back on another connection'));
      // While it was asked, another connection of the node may have taken its place: then that one is asked.
      if (this.#sessions.get(nodeId) === former) this.#sessions.delete(nodeId);
    }
    if (this.#sessions.size >= this.ports.options.maxReplicas) {
      return 'too_many';
    }
    if (session.connection.isOpen) this.#sessions.set(nodeId, session);
    return null;
  }

  welcome(): FrameOf<'WELCOME'> {
    const { store, options, isSync, version, clock } = this.ports;
    const { clusterId, nodeId } = store.identity();
    return {
      type: 'WELCOME',
      clusterId,
      nodeId,
      epoch: this.progress.isPrimary ? this.progress.ownEpoch : this.progress.visible.epoch,
      highestTerm: store.state().highestTerm,
      head: this.progress.visible,
      shippingEnd: this.progress.shippingEnd,
      logFloor: store.logStats().floor,
      isSync,
      capabilities: 0n,
      heartbeatMs: options.heartbeatMs,
      timeoutMs: options.timeoutMs,
      time: clock.now(),
      epochs: epochFacts(store),
      version,
    };
  }

  plan(handshake: FrameOf<'HANDSHAKE'>): SyncDecision {
    this.progress.refresh();
    if (!this.progress.isComplete) throw createError('NOT_READY', 'this node has no complete state yet');
    return decide(this.ports, this.progress, handshake);
  }

  decide(handshake: FrameOf<'HANDSHAKE'>): SyncDecision {
    const decision = this.plan(handshake);
    if (this.#hooks.isSyncing()) throw createError('NOT_READY', 'this node is about to take over another state');
    const { from } = decision;
    if (decision.tier === 'wal' && this.#damaged.delete(handshake.nodeId)) {
      return { tier: 'full', reason: 'log_damaged', from, common: null, loss: null };
    }
    return decision;
  }

  commit(): FrameOf<'COMMIT'> {
    return {
      type: 'COMMIT',
      shippingEnd: this.progress.shippingEnd,
      visible: this.progress.visible,
      commit: this.commitPosition,
      promised: this.promised,
      undoFloor: this.undoFloor,
      time: this.ports.clock.now(),
    };
  }

  changed(session: PrimarySession): void {
    this.#reachChanged();
    const { nodeId, state, tier, reason } = session;
    this.ports.emit({ event: 'replica', nodeId, address: session.connection.address, state, tier, reason });
  }

  decided(session: PrimarySession, decision: SyncDecision): void {
    const { tier, from } = decision;
    const reason = 'reason' in decision ? decision.reason : null;
    const common = 'common' in decision ? decision.common : null;
    this.#tally.decided(tier, reason, from);
    this.ports.emit({ event: 'resync', nodeId: session.nodeId, tier, reason, from, common });
  }

  rewound(tier: Tier): void {
    this.#tally.completed(tier, null);
  }

  streaming(session: PrimarySession, isCounted: boolean): void {
    if (session.tier !== null && !isCounted) this.#tally.completed(session.tier, session.reason);
    if (this.progress.isPrimary && !this.progress.isFenced) this.slots.name(session.nodeId);
  }

  acknowledged(): void {
    // A fence from another thread may be younger than the last wake; it matters where somebody waits.
    if (this.ports.options.ackReplicas > 0 || this.#waiters.size > 0) this.progress.refresh();
    this.#noteHistory();
    this.#reachChanged();
    if ((!this.progress.isPrimary && this.#last === undefined) || this.progress.isFenced) return;
    const counting: Acknowledged[] = [];
    for (const { counted } of this.#sessions.values()) if (counted !== undefined) counting.push(counted);
    const told = this.#promised;
    const hasMoved = this.#raiseCommit(counting);
    this.#waiters.advance(counting);
    // A promise has told it to everybody already.
    if (hasMoved && this.#promised === told) this.#tellCommit();
    this.#last?.look();
  }

  #raiseCommit(counting: readonly Acknowledged[]): boolean {
    const { ackReplicas, ackLevel } = this.ports.options;
    const reached = ackReplicas === 0 ? undefined : reachedBy(ackReplicas, ackLevel, counting);
    if (reached === undefined || reached.offset <= this.#commit.offset) return false;
    this.#commit = reached;
    this.ports.news();
    return true;
  }

  #inReach(): number {
    return this.sessions.filter(({ isInReach }) => isInReach).length;
  }

  /** Somebody came or left: writes may go on without, or need not any more. */
  #reachChanged(): void {
    if (!this.#policy.mayDegrade || (!this.#policy.isDegraded && this.#waiters.size === 0)) return;
    const have = this.#inReach();
    this.#policy.reachChanged(have);
    if (this.progress.isPrimary && !this.progress.isFenced) {
      this.#waiters.degrade((needed) => this.#policy.goesOn(needed, have));
    }
  }

  handover(session: PrimarySession, request: FrameOf<'HANDOVER'>): void {
    this.#hooks.handover(session, request);
  }

  damaged(session: PrimarySession): void {
    this.#damaged.add(session.nodeId);
  }

  ended(session: PrimarySession): void {
    this.#connections.delete(session.connection);
    if (this.#sessions.get(session.nodeId) === session) this.#sessions.delete(session.nodeId);
    this.#reachChanged();
    this.#last?.look();
  }

  /** A full sync replaced the history: offsets of the former one say nothing about it. */
  #noteHistory(): void {
    if (this.progress.generation === this.#generation) return;
    this.#generation = this.progress.generation;
    this.#commit = emptyPosition();
    this.#promised = emptyPosition();
  }

  /** What was served is another history now, or a shorter one: replicas shake hands again, slots begin anew. */
  #noteSwitch(): void {
    if (this.progress.generation === this.#served) return;
    this.#served = this.progress.generation;
    this.#noteHistory();
    this.dropSessions(createError('HISTORY_CHANGED', 'the history of this node was replaced'));
    this.snapshots.clear();
    this.slots.close();
    if (this.#listener !== undefined) this.slots.adoptNamed();
  }

  #promise(position: Position): void {
    if (position.offset <= this.#promised.offset) return;
    this.#promised = position;
    this.#tellCommit();
  }

  #tellCommit(): void {
    for (const session of this.#sessions.values()) session.tellCommit();
  }

  // -- arrivals --

  #accept(channel: Channel): void {
    if (this.#strangers.size >= unauthenticatedMax) {
      // It leaves now: its `closed` comes in a later turn, and more may arrive before.
      for (const oldest of this.#strangers) {
        this.#strangers.delete(oldest);
        this.#connections.delete(oldest);
        oldest.destroy('too_many');
        break;
      }
    }
    const limit = unauthenticatedMax + this.ports.options.maxReplicas * (1 + dataConnectionsMax);
    if (this.#connections.size >= limit) {
      this.#refused++;
      channel.destroy();
      return;
    }
    const connection: Connection = this.#connect(channel, {
      authenticated: (peer) => this.#welcomeIn(connection, peer),
      frame: () => undefined,
      drained: () => undefined,
      beat: () => undefined,
      closed: () => {
        this.#refused++;
        this.#strangers.delete(connection);
        this.#connections.delete(connection);
      },
    });
    this.#strangers.add(connection);
    this.#connections.add(connection);
  }

  #welcomeIn(connection: Connection, peer: Hello): void {
    this.#strangers.delete(connection);
    if (peer.purpose === 'control') {
      connection.handOver(new PrimarySession(connection, peer, this));
      return;
    }
    this.#admitData(connection, peer);
  }

  #admitData(connection: Connection, peer: Hello): void {
    const { clock, options } = this.ports;
    const since = clock.monotonic();
    const { nodeId } = peer;
    const mates = this.#data.get(nodeId) ?? new Set();
    connection.handOver({
      authenticated: () => undefined,
      frame: (frame) => this.#join(connection, peer, frame),
      drained: () => undefined,
      beat: () => {
        if (clock.monotonic() - since <= options.timeoutMs) return;
        connection.fail('timeout', createError('TIMEOUT', 'no JOIN in time'));
      },
      closed: () => this.#dataGone(connection, nodeId),
    });
    if (this.#sessions.get(nodeId)?.sync === undefined) {
      connection.fail(null, createError('EVICTED', 'there is no full sync of this node, or no longer'));
    } else if (mates.size >= dataConnectionsMax) {
      this.#refused++;
      connection.fail('too_many', createError('TOO_MANY', `this node has ${mates.size} data connections already`));
    } else {
      this.#data.set(nodeId, mates.add(connection));
    }
  }

  #dataGone(connection: Connection, nodeId: string): void {
    this.#connections.delete(connection);
    const mates = this.#data.get(nodeId);
    mates?.delete(connection);
    if (mates?.size === 0) this.#data.delete(nodeId);
  }

  #join(connection: Connection, peer: Hello, frame: Frame): void {
    if (frame.type !== 'JOIN') throw protocolError('order', `${frame.type} before JOIN`);
    const sync = this.#sessions.get(peer.nodeId)?.sync;
    if (sync === undefined || sync.syncId !== frame.syncId) {
      throw createError('EVICTED', 'there is no such full sync, or no longer', { details: { syncId: frame.syncId } });
    }
    sync.serve(connection, frame.connection, () => this.#dataGone(connection, peer.nodeId));
  }
}

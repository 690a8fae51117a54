/**
 * `db.replication` of one node: roles, terms, and the one primary and one replica side that share them. Everything of
 * replication runs on the thread that made this object; flows and bulk applying run in worker threads.
 *
 * Fencing: a higher term is durable here before anything that came with it is acted on (`#seeTerm`), and whatever this
 * node says carries its own epoch.
 */

import { Progress } from '../binding/progress.js';
import { createError, describeError, GaplessError } from '../errors.js';
import { emptyPosition, formatEpoch, type Position, parseEpoch, positionsEqual } from '../position.js';
import type { FrameOf, Purpose, Side } from '../wire/frames.js';
import type { Reason, Tier } from '../wire/names.js';
import { Connection, type ConnectionHandler } from './connection.js';
import { type ElectedNode, Elector } from './elector.js';
import { addressOf, listenWords, type Successor } from './handover.js';
import type { SyncPlan } from './plan.js';
import type {
  CoordinateOptions,
  DemoteOptions,
  FollowOptions,
  HostPort,
  ListenOptions,
  Promoted,
  PromoteOptions,
  Replication,
  ReplicationPorts,
  ReplicationStatus,
  ReplicaWaitOptions,
  RoleCause,
  WriteWaitOptions,
} from './ports.js';
import { Primary } from './primary.js';
import { Replica } from './replica.js';
import { ResyncTally } from './resync-tally.js';
import type { Channel } from './transport.js';

export class ReplicationController implements Replication {
  readonly #ports: ReplicationPorts;
  readonly #progress: Progress;
  readonly #tally = new ResyncTally();
  readonly #primary: Primary;
  #replica: Replica | undefined;
  #highestTerm: number;
  #visibleEpoch: string;
  #wasFenced: boolean;
  #fencedCount = 0;
  #isClosed = false;
  /** Nothing is written any more, and acknowledgements are still waited for. */
  #isHandingOver = false;
  /** While a term begins: what peers go on hearing. */
  #spokenEpoch: string | undefined;
  #elector: Elector | undefined;
  /** Role changes, one after the other. */
  #changing: Promise<unknown> = Promise.resolve();

  constructor(ports: ReplicationPorts) {
    this.#ports = ports;
    this.#progress = new Progress(ports.store);
    this.#highestTerm = ports.store.state().highestTerm;
    this.#visibleEpoch = this.#progress.visible.epoch;
    this.#wasFenced = this.#progress.isFenced;
    this.#primary = new Primary(
      ports,
      this.#progress,
      this.#tally,
      (channel, handler) => this.#connect(channel, handler, 'primary', 'control'),
      {
        upstream: () => (this.#progress.isPrimary ? undefined : this.#replica?.told),
        handover: (successor, request) => void this.#handOver(successor, request),
        isSyncing: () => this.#replica?.isSyncing === true,
      },
    );
  }

  listen(options: ListenOptions): Promise<HostPort> {
    this.#requireOpen();
    const { secret, tls } = this.#ports.options;
    if (secret === undefined && tls === undefined && options.insecure !== true && !isLoopback(options.host)) {
      const needs = 'needs a secret or certificates: replication.secret, replication.tls, or insecure: true';
      throw new TypeError(`listening on ${options.host} ${needs}`);
    }
    this.#progress.refresh();
    return this.#primary.listen({ host: options.host, port: options.port });
  }

  async follow(options: FollowOptions): Promise<void> {
    this.#requireOpen();
    this.#requireUncoordinated();
    await this.#oneAfterTheOther(() => this.#followOther(options, 'demote'));
  }

  async promote(options: PromoteOptions = {}): Promise<Promoted> {
    this.#requireOpen();
    this.#requireUncoordinated();
    return this.#oneAfterTheOther(async () => {
      this.#requireCluster();
      if (options.force !== true) this.#requirePromotable();
      if (options.handover !== true) return await this.#beginTerm(options.epoch ?? 0, 'promote');
      return await this.#beginTerm(await this.#askForTerm(options.epoch ?? 0), 'handover');
    });
  }

  async demote(options: DemoteOptions = {}): Promise<{ readonly role: 'replica'; readonly position: Position }> {
    this.#requireOpen();
    this.#requireUncoordinated();
    return this.#oneAfterTheOther(async () => {
      await this.#becomeReplica('demote');
      if (options.follow !== undefined) {
        await this.#leave(createError('ABORTED', 'this node follows another one now'));
        await this.#followNow(options.follow);
      }
      return { role: 'replica' as const, position: this.#progress.visible };
    });
  }

  async coordinate({ coordinator, onError }: CoordinateOptions): Promise<void> {
    this.#requireOpen();
    if (this.#elector !== undefined) throw createError('EXISTS', 'a coordinator decides over this node already');
    this.#elector = new Elector(coordinator, this.#electedNode(), this.#ports.clock, onError);
    await this.#elector.start();
  }

  status(): ReplicationStatus {
    this.#progress.refresh();
    const replica = this.#replica;
    const link = replica?.status() ?? null;
    return {
      state: this.#state(),
      reason: this.#progress.isFenced ? 'fenced' : (replica?.needsOperator ?? null),
      listen: this.#primary.address,
      follow: replica?.address ?? null,
      commit: this.#primary.commitPosition,
      promised: this.#primary.promised,
      undoFloor: replica?.undoFloor ?? this.#primary.undoFloor,
      replicas: this.#primary.sessions.map((session) => session.status()),
      link,
      resync: this.#tally.counts(),
      counters: this.#tally.counters(this.#fencedCount, this.#primary.refused),
    };
  }

  async waitFor(position: Position, options: ReplicaWaitOptions = {}): Promise<void> {
    await this.waitForReplicas(position, options);
  }

  waitForReplicas(position: Position, options: WriteWaitOptions = {}): Promise<void> {
    this.#requireOpen();
    const { replicas = 1, level = 'durable', timeoutMs = this.#ports.options.ackTimeoutMs, signal } = options;
    if (!Number.isInteger(replicas) || replicas < 1) throw new RangeError(`replicas must be at least 1: ${replicas}`);
    // A fence or a demotion from another thread may be younger than the last wake.
    this.#progress.refresh();
    if (this.#progress.isFenced) {
      return Promise.reject(createError('FENCED', 'a higher term was seen', { details: { position } }));
    }
    if (options.isWrite === true && !this.#progress.isPrimary && !this.#isHandingOver) {
      return Promise.reject(createError('IN_DOUBT', 'this node is no longer the primary', { details: { position } }));
    }
    return this.#primary.waitFor(position, replicas, level, timeoutMs, signal, options.isWrite === true);
  }

  requireReplicas(replicas: number): void {
    this.#requireOpen();
    this.#primary.requireReplicas(replicas);
  }

  async resync(
    options: { readonly full?: boolean | undefined } = {},
  ): Promise<{ readonly tier: Tier; readonly reason: Reason | null }> {
    this.#requireOpen();
    const replica = this.#replica;
    if (replica === undefined) throw createError('NOT_READY', 'this node follows no primary');
    return replica.resync(options.full === true);
  }

  async plan(): Promise<SyncPlan> {
    this.#requireOpen();
    const replica = this.#replica;
    if (replica === undefined) throw createError('NOT_READY', 'this node follows no primary');
    return await replica.plan();
  }

  async removeReplica(nodeId: string): Promise<boolean> {
    this.#requireOpen();
    const session = this.#primary.sessions.find((each) => each.nodeId === nodeId);
    session?.stop(null, createError('ABORTED', 'the replica was removed'), 60_000);
    return this.#primary.slots.remove(nodeId);
  }

  progressed(): void {
    if (this.#isClosed) return;
    this.#progress.refresh();
    this.#replica?.progressed();
    this.#primary.progressed();
    this.#tellEpoch();
    if (this.#progress.isFenced !== this.#wasFenced) this.#fenceChanged('');
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#elector?.close(this.#ports.options.timeoutMs);
    await this.#changing.catch(() => undefined);
    const closed = createError('CLOSED', 'the node closes');
    await this.#replica?.quiesce(true);
    this.#replica?.stop(closed);
    this.#replica = undefined;
    await this.#primary.close();
    await this.#ports.tasks.close();
  }

  // -- roles --

  #requireOpen(): void {
    if (this.#isClosed) throw createError('CLOSED', 'the database is closed');
  }

  #oneAfterTheOther<T>(change: () => Promise<T>): Promise<T> {
    const next = this.#changing.then(
      () => change(),
      () => change(),
    );
    this.#changing = next.catch(() => undefined);
    return next;
  }

  #requireUncoordinated(): void {
    if (this.#elector === undefined) return;
    throw createError('NOT_READY', 'a coordinator decides who is primary');
  }

  #requireCluster(): void {
    this.#progress.refresh();
    if (!/^0+$/.test(this.#ports.store.identity().clusterId)) return;
    throw createError('NOT_READY', 'this node belongs to no cluster yet: it has nothing to promote');
  }

  #requirePromotable(): void {
    const replica = this.#replica;
    if (!this.#progress.isPrimary && !this.#progress.isComplete) {
      throw createError('NOT_READY', 'this node has no complete state yet; force: true promotes it all the same');
    }
    if (!this.#progress.isPrimary && this.#progress.isBelowFormerMark) {
      const message = 'this node was repaired and has not reached again what it once had; force: true promotes it';
      throw createError('NOT_READY', message, { details: { position: this.#progress.durable } });
    }
    if (!this.#progress.isPrimary && this.#ports.store.meta().padded.length > 0) {
      throw createError('NOT_READY', 'this node is inconsistent: its history was padded; force: true promotes it');
    }
    if (replica?.isSyncing === true) {
      throw createError('NOT_READY', 'this node is in a full sync; force: true promotes its old state');
    }
    const promised = replica?.promised ?? this.#primary.promised;
    const position = replica?.queue.received ?? this.#progress.visible;
    if (!this.#progress.isPrimary && position.offset < promised.offset) {
      const message = `callers were told that replicas hold ${promised}; this node has ${position}`;
      throw createError('BEHIND_PROMISED', message, { details: { position, promised } });
    }
  }

  async #beginTerm(term: number, cause: RoleCause): Promise<Promoted> {
    const replica = this.#replica;
    // The stream must not go on beside a new epoch; the primary hears of that with our last word.
    await replica?.quiesce();
    // A term that may still fail fences nobody.
    this.#spokenEpoch = this.#epoch();
    let position: Position;
    try {
      await replica?.queue.drained();
      position = await this.#ports.store.promote(term);
    } catch (error) {
      if (replica !== undefined) await this.#notPromoted(replica);
      throw error;
    } finally {
      this.#spokenEpoch = undefined;
    }
    this.#progress.refresh();
    this.#becamePrimary(cause);
    replica?.stop(createError('FENCED', 'this node was promoted: a new term began'), 'fenced');
    return { role: 'primary', epoch: this.#progress.ownEpoch, position };
  }

  async #followOther(options: FollowOptions, cause: RoleCause): Promise<void> {
    await this.#leave(createError('ABORTED', 'this node follows another one now'));
    await this.#becomeReplica(cause);
    await this.#followNow(options);
  }

  async #becomeReplica(cause: RoleCause): Promise<void> {
    this.#progress.refresh();
    if (!this.#progress.isPrimary) return;
    await this.#ports.store.demote();
    this.#becameReplica(cause);
    this.#primary.dropSessions(createError('NOT_READY', 'this node became a replica'));
  }

  #becameReplica(cause: RoleCause): void {
    this.#progress.refresh();
    const epoch = this.#progress.visible.epoch;
    this.#ports.emit({ event: 'role', role: 'replica', epoch, cause });
    this.#wasFenced = this.#progress.isFenced;
    this.#primary.rejectWaiters((position) =>
      createError('IN_DOUBT', 'this node is no longer the primary', { details: { position } }),
    );
  }

  /** The successor's side of a handover: resolves with the term that is its to begin. */
  async #askForTerm(term: number): Promise<number> {
    if (this.#progress.isPrimary) throw createError('ALREADY_PRIMARY', 'this node is the primary');
    const replica = this.#replica;
    if (replica === undefined) throw createError('NOT_READY', 'this node follows no primary');
    const grant = await replica.askHandover(term, listenWords(this.#primary.address));
    await replica.queue.drained();
    const { visible } = this.#progress;
    if (positionsEqual(visible, grant.position)) return grant.term;
    throw createError('NOT_READY', `${grant.position} was handed over, and this node has ${visible}`);
  }

  /** The primary's side. Never rejects: the successor is told. */
  async #handOver(successor: Successor, request: FrameOf<'HANDOVER'>): Promise<void> {
    try {
      await this.#oneAfterTheOther(() => this.#giveRole(successor, request));
    } catch (error) {
      successor.grant(0, emptyPosition(), describeError(error).body.message.slice(0, 500));
    }
  }

  async #giveRole(successor: Successor, request: FrameOf<'HANDOVER'>): Promise<void> {
    this.#progress.refresh();
    this.#requireUncoordinated();
    if (!this.#progress.isPrimary || this.#progress.isFenced) throw createError('NOT_READY', 'it has no role to give');
    if (!successor.isInReach) throw createError('NOT_READY', 'the successor does not stream, or is not consistent');
    const term = request.term === 0 ? this.#highestTerm + 1 : request.term;
    if (term <= this.#highestTerm) throw createError('FENCED', `term ${this.#highestTerm} was seen already`);
    const { store, options } = this.#ports;
    this.#isHandingOver = true;
    try {
      await store.demote();
      this.#progress.refresh();
      await this.#primary.handedOver(successor, this.#progress.visible, options.timeoutMs);
      // What was acknowledged meanwhile is told to its callers before anybody else may write.
      await new Promise((resolve) => setImmediate(resolve));
    } catch (error) {
      await this.#keepRole();
      throw error;
    } finally {
      this.#isHandingOver = false;
    }
    this.#progress.refresh();
    this.#becameReplica('handover');
    const address = addressOf(successor, request);
    successor.grant(term, this.#progress.visible, '');
    if (address !== undefined) await this.#followNow(address);
  }

  /** The successor did not get there: nobody was given the role. */
  async #keepRole(): Promise<void> {
    this.#progress.refresh();
    if (this.#progress.isPrimary) return;
    await this.#ports.store.promote(0);
    this.#progress.refresh();
    this.#becamePrimary('handover');
  }

  #becamePrimary(cause: RoleCause): void {
    const told = this.#replica?.told;
    this.#replica = undefined;
    if (told !== undefined) this.#primary.inherit(told);
    this.#primary.forgetBeyond(this.#progress.visible);
    this.#highestTerm = this.#ports.store.state().highestTerm;
    const epoch = this.#progress.ownEpoch;
    this.#ports.emit({ event: 'role', role: 'primary', epoch, cause });
    this.#primary.slots.adoptNamed();
    this.progressed();
  }

  async #followNow(options: FollowOptions): Promise<void> {
    // A thread that followed and was terminated may have left what it had not shown yet.
    if (this.#progress.isAcknowledging) await this.#ports.store.finishTickets();
    this.#progress.refresh();
    this.#replica = new Replica(
      this.#ports,
      this.#progress,
      this.#tally,
      options,
      () => this.#highestTerm,
      (channel, handler, purpose) => this.#connect(channel, handler, 'replica', purpose),
      this.#primary.promised,
    );
    this.#replica.start();
  }

  /**
   * A promotion failed. Mostly that changes nothing, and the node goes on following. Behind its first write it is a
   * primary all the same, of a term that fenced the one it followed if it dialled again.
   */
  async #notPromoted(replica: Replica): Promise<void> {
    this.#progress.refresh();
    if (this.#progress.isPrimary) {
      replica.stop(createError('ABORTED', 'a promotion did not finish'));
      this.#becamePrimary('promote');
      return;
    }
    const { host, port } = replica.target;
    replica.stop(createError('ABORTED', 'the link begins anew'));
    this.#primary.inherit(replica.told);
    this.#replica = undefined;
    await this.#followNow({ host, port });
  }

  async #leave(word: Error): Promise<void> {
    const replica = this.#replica;
    if (replica === undefined) return;
    await replica.quiesce();
    // What was received and is not shown yet belongs to this queue; the next one begins at what is shown.
    await replica.queue.drained();
    replica.stop(word);
    this.#replica = undefined;
    this.#primary.inherit(replica.told);
  }

  #state(): ReplicationStatus['state'] {
    if (this.#progress.isFenced) return 'fenced';
    const replica = this.#replica;
    if (this.#progress.isPrimary) return 'serving';
    if (replica?.needsOperator !== undefined) return 'needs_operator';
    if (!this.#progress.isComplete) return 'joining';
    if (replica?.isSyncing === true) return 'syncing';
    return replica?.state === 'catching_up' ? 'catching_up' : 'serving';
  }

  // -- coordinator --

  #electedNode(): ElectedNode {
    const { store } = this.#ports;
    const controller = this;
    return {
      nodeId: store.identity().nodeId,
      get address() {
        return controller.#primary.address;
      },
      get highestTerm() {
        return Math.max(controller.#highestTerm, store.state().highestTerm);
      },
      get dataTerm() {
        controller.#progress.refresh();
        return parseEpoch(controller.#progress.visible.epoch).term;
      },
      get isLeading() {
        controller.#progress.refresh();
        return controller.#progress.isPrimary && !controller.#progress.isFenced;
      },
      get isPromotable() {
        return controller.#isPromotable();
      },
      setLease: (deadlineMs) => store.setLease(deadlineMs),
      leaseClockMs: () => store.leaseClockMs(),
      seeTerm: (term) => this.#seeTerm(term, 'coordinator'),
      promote: async (term) => {
        await this.#oneAfterTheOther(() => this.#beginTerm(term, 'coordinator'));
      },
      follow: (address) => this.#oneAfterTheOther(() => this.#obey(address)),
    };
  }

  #isPromotable(): boolean {
    try {
      this.#requireCluster();
      this.#requirePromotable();
      return true;
    } catch (error) {
      if (error instanceof GaplessError) return false;
      throw error;
    }
  }

  /** Another node has the lease. */
  async #obey(address: HostPort | null): Promise<void> {
    await this.#becomeReplica('coordinator');
    const { host, port } = this.#replica?.target ?? {};
    if (this.#isClosed || address === null || (host === address.host && port === address.port)) return;
    await this.#followOther(address, 'coordinator');
  }

  // -- terms --

  /** This node's current epoch, as every frame carries it. */
  #epoch(): string {
    if (this.#spokenEpoch !== undefined) return this.#spokenEpoch;
    if (this.#progress.isPrimary) return this.#progress.ownEpoch;
    const { epoch } = this.#progress.visible;
    return parseEpoch(epoch).term === this.#highestTerm ? epoch : formatEpoch(this.#highestTerm, 0);
  }

  async #seeTerm(term: number, by: string): Promise<void> {
    await this.#ports.store.seeTerm(term);
    if (term > this.#highestTerm) this.#highestTerm = term;
    this.#progress.refresh();
    if (this.#progress.isFenced !== this.#wasFenced) this.#fenceChanged(by);
  }

  #fenceChanged(by: string): void {
    this.#wasFenced = this.#progress.isFenced;
    if (!this.#wasFenced) return;
    this.#fencedCount++;
    this.#highestTerm = Math.max(this.#highestTerm, this.#ports.store.state().highestTerm);
    const seen = formatEpoch(this.#highestTerm, 0);
    this.#ports.emit({ event: 'fenced', epoch: this.#progress.ownEpoch, seen, by });
    this.#primary.rejectWaiters((position) =>
      createError('FENCED', 'a higher term was seen', { details: { position } }),
    );
  }

  #tellEpoch(): void {
    const { epoch } = this.#progress.visible;
    if (epoch === this.#visibleEpoch) return;
    this.#visibleEpoch = epoch;
    const begun = this.#ports.store.meta().epochs.find((entry) => entry.epoch === epoch);
    this.#highestTerm = Math.max(this.#highestTerm, parseEpoch(epoch).term);
    // A run that this node begins by itself is told by the database.
    if (begun === undefined || (this.#progress.isPrimary && begun.cause === 'open')) return;
    const { before: position, cause, nodeId } = begun;
    this.#ports.emit({ event: 'epoch', epoch, position, cause, nodeId });
  }

  #connect(channel: Channel, handler: ConnectionHandler, side: Side, purpose: Purpose): Connection {
    const { store, options, clock, random, tools } = this.#ports;
    const { nodeId, clusterId } = store.identity();
    return new Connection(
      channel,
      {
        side,
        purpose,
        nodeId,
        clusterId,
        secret: options.secret,
        clock,
        random,
        checksum: (crc, bytes) => tools.crc32c(bytes, crc),
        heartbeatMs: options.heartbeatMs,
        timeoutMs: options.timeoutMs,
        epoch: () => this.#epoch(),
        highestTerm: () => this.#highestTerm,
        seeTerm: (term, by) => this.#seeTerm(term, by),
      },
      handler,
    );
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host);
}

/**
 * The following side: dials, and dials again, until it is told to stop; one link at a time. On the controller's thread.
 *
 *   connecting -> handshake -+-> catching_up <-> streaming
 *     ^   ^                  +-> full -> catching_up
 *     |   +-- waiting <------+-- any failure of the link (100 ms to 5 s), of a full sync (1 s to 60 s)
 *     +------ stopped <------+-- stop (1 s to 60 s), then asks again
 */
import type { CancelTimer } from '../base/clock.js';
import type { NativeDivergence } from '../binding/contract.js';
import type { Progress } from '../binding/progress.js';
import { createError } from '../errors.js';
import { emptyPosition, type Position } from '../position.js';
import type { FrameOf, Purpose } from '../wire/frames.js';
import { capabilityPlan, type FullReason, type Reason, type Tier } from '../wire/names.js';
import { ApplyQueue } from './apply-queue.js';
import { Backoff } from './backoff.js';
import { type Connection, type ConnectionHandler, reasonOf } from './connection.js';
import { epochFacts } from './decision-facts.js';
import { divergenceEvent } from './divergence.js';
import { FullSyncLimits } from './full-sync-limits.js';
import { FullSyncSink, failureOf } from './full-sync-sink.js';
import { HandoverRequest } from './handover.js';
import { type PlanAnswer, PlanLink, planOf, type SyncPlan } from './plan.js';
import type { FollowOptions, HostPort, Lag, LinkState, LinkStatus, ReplicationPorts } from './ports.js';
import { type LinkOutcome, type LinkOwner, ReplicaLink } from './replica-link.js';
import type { ResyncTally } from './resync-tally.js';
import type { Channel } from './transport.js';

type Connect = (channel: Channel, handler: ConnectionHandler, purpose: Purpose) => Connection;
interface Decided {
  readonly tier: Tier;
  readonly reason: Reason | null;
}

export class Replica implements LinkOwner {
  readonly ports: ReplicationPorts;
  readonly progress: Progress;
  readonly queue: ApplyQueue;
  readonly #tally: ResyncTally;
  readonly #connect: Connect;
  readonly #highestTerm: () => number;
  readonly #limits: FullSyncLimits;
  readonly #linkBackoff: Backoff;
  readonly #stopBackoff: Backoff;
  readonly #syncBackoff: Backoff;
  readonly #address: HostPort;
  #acceptLoss: boolean;
  /** Number of the full sync that an operator asked for and did not get yet; 0: none. */
  #operatorSync = 0;
  #operatorSyncs = 0;
  /** Of these the one that the last handshake spoke of. */
  #shownSync = 0;
  #recoverySyncDone = false;
  #state: LinkState = 'connecting';
  #reason: Reason | null = null;
  #link: ReplicaLink | undefined;
  /** A full sync that was cut short and may go on. */
  #parked: FullSyncSink | undefined;
  /** Full syncs that began from nothing since one was installed. */
  #begunSyncs = 0;
  #isResumed = false;
  #recalling: Promise<void> = Promise.resolve();
  #timer: CancelTimer | undefined;
  #retryAt: number | undefined;
  #operator: { readonly reason: Reason; readonly details: string } | undefined;
  #promised: Position;
  #commit: Position = emptyPosition();
  #undoFloor: Position | undefined;
  /** As the last COMMIT of this link said; undefined: none came. */
  #toldPromised: Position | undefined;
  /** Of a history that was replaced: the next COMMIT says what holds. */
  #isPromisedOld = false;
  /** In lost/: what the full sync that was decided last is going to replace. */
  #replacedFile: string | null = null;
  #isStopped = false;
  #isDialling = false;
  #waitingForDecision: { resolve(decided: Decided): void; reject(error: Error): void }[] = [];
  readonly #handover = new HandoverRequest();
  #said = '';

  constructor(
    ports: ReplicationPorts,
    progress: Progress,
    tally: ResyncTally,
    options: FollowOptions,
    highestTerm: () => number,
    connect: Connect,
    promised: Position = emptyPosition(),
  ) {
    this.ports = ports;
    this.progress = progress;
    this.#tally = tally;
    this.#highestTerm = highestTerm;
    this.#connect = connect;
    this.#promised = promised;
    this.#address = { host: options.host, port: options.port };
    this.#acceptLoss = options.acceptLoss ?? ports.options.acceptLoss;
    const { clock, random } = ports;
    this.#limits = new FullSyncLimits(clock, ports.options.fullSyncsMax);
    this.#linkBackoff = new Backoff(100, 5000, random);
    this.#stopBackoff = new Backoff(1000, 60_000, random);
    this.#syncBackoff = new Backoff(1000, 60_000, random);
    this.queue = new ApplyQueue(ports, progress, {
      moved: () => this.#link?.moved(),
      room: () => this.#link?.room(),
      failed: (error) => this.#link?.finish(null, error),
    });
  }

  get target(): HostPort {
    return this.#address;
  }
  get address(): string {
    const { host, port } = this.#address;
    return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  }
  /** The highest position that a caller was told replicas hold, as far as this node was told. */
  get promised(): Position {
    return this.#promised;
  }
  /** What the primary said last about the cluster; of a link that is over it holds until the next one says more. */
  get told(): { readonly commit: Position; readonly promised: Position } {
    return { commit: this.#commit, promised: this.#promised };
  }
  /** As the primary announced it; undefined: not yet. */
  get undoFloor(): Position | undefined {
    return this.#undoFloor;
  }
  get isSyncing(): boolean {
    return this.#parked !== undefined || this.#link?.isSyncing === true;
  }
  get state(): LinkState {
    return this.#state;
  }
  /** Why only an operator gets it further; undefined: nothing of that kind. */
  get needsOperator(): Reason | undefined {
    return this.#operator?.reason;
  }

  start(): void {
    this.#say('connecting', null);
    this.#recalling = this.#recall().then(() => this.#dial());
  }

  progressed(): void {
    this.queue.progressed();
    this.#link?.moved();
  }

  status(): LinkStatus {
    const { clock } = this.ports;
    return {
      state: this.#state,
      primary: this.address,
      primaryNodeId: this.#link?.primaryNodeId ?? null,
      tier: this.#link?.tier ?? null,
      reason: this.#reason,
      lag: this.#link?.lag() ?? null,
      progress: this.#link?.syncProgress ?? null,
      retryMs: this.#retryAt === undefined ? null : Math.max(0, Math.round(this.#retryAt - clock.monotonic())),
    };
  }

  /** Shakes hands again, at once; resolves with the next decision. */
  resync(full: boolean): Promise<Decided> {
    const decided = new Promise<Decided>((resolve, reject) => this.#waitingForDecision.push({ resolve, reject }));
    if (full) this.#operatorSyncs += 1;
    this.#operatorSync = full ? this.#operatorSyncs : 0;
    this.#limits.forgive();
    if (this.#link !== undefined) this.#link.finish(null, createError('ABORTED', 'a resync was asked for'));
    else if (!this.#isDialling) this.#dial();
    return decided;
  }

  /** Asks the primary to hand its role over; NOT_READY if this node does not stream, or the primary keeps it. */
  async askHandover(term: number, listen: { readonly host: string; readonly port: number }): Promise<FrameOf<'GRANT'>> {
    const link = this.#link;
    if (link === undefined || this.#state !== 'streaming') {
      throw createError('NOT_READY', 'only a replica that streams from its primary can take its role over');
    }
    const { clock, options } = this.ports;
    // The primary gives up before this node does.
    return await this.#handover.ask(clock, 3 * options.timeoutMs, () => {
      link.askHandover({ type: 'HANDOVER', term, ...listen });
    });
  }

  /** What a resync would do now, on a connection of its own. */
  async plan(): Promise<SyncPlan> {
    const channel = await this.ports.network.dial(this.#address, this.ports.options.timeoutMs);
    const answer = await new Promise<PlanAnswer>((resolve, reject) => {
      const facts = this.#facts();
      const link = new PlanLink({ ...facts, capabilities: facts.capabilities | capabilityPlan }, { resolve, reject });
      link.attach(this.#connect(channel, link, 'control'));
    });
    return await planOf(answer, this.ports.store);
  }

  /**
   * Takes nothing more from the primary; the connection stays for a last word by `stop`. `isKept`: what there is of a
   * full sync stays on disk for the next process.
   */
  async quiesce(isKept = false): Promise<void> {
    this.#isStopped = true;
    this.#timer?.();
    await this.#recalling;
    await this.#link?.quiesce();
    const parked = this.takeParked();
    if (isKept) await parked?.suspend();
    else await parked?.abandon();
    await this.queue.idle();
  }

  /** Ends following. `word`: what the primary is told. Requires: quiesced. */
  stop(word: Error, reason: Reason | null = null): void {
    this.#isStopped = true;
    this.#timer?.();
    this.queue.forgetWaiting();
    this.#link?.finish(reason, word);
    this.#link = undefined;
    this.#clearOperator();
    for (const { reject } of this.#waitingForDecision.splice(0)) reject(word);
    this.#say('stopped', null);
  }

  // -- LinkOwner --

  highestTerm(): number {
    return this.#highestTerm();
  }

  handshake(): FrameOf<'HANDSHAKE'> {
    this.#shownSync = this.#operatorSync;
    return this.#facts();
  }

  #facts(): FrameOf<'HANDSHAKE'> {
    const { store, version } = this.ports;
    this.progress.refresh();
    const { clusterId, nodeId } = store.identity();
    const ownReason = this.#recoverySyncDone ? null : this.ports.asksFull();
    return {
      type: 'HANDSHAKE',
      clusterId,
      nodeId,
      highestTerm: store.state().highestTerm,
      position: this.queue.received,
      durable: this.progress.durable,
      applied: this.progress.visible,
      promised: this.#promised,
      complete: this.progress.isComplete,
      consistent: true,
      belowFormerMark: this.progress.isBelowFormerMark,
      acceptLoss: this.#acceptLoss,
      asksFull: this.#operatorSync > 0 ? 'operator' : ownReason,
      capabilities: 1n,
      resume: this.#parked?.resumeToken ?? null,
      checkpoints: store.keptCheckpoints(),
      epochs: epochFacts(store),
      version,
    };
  }

  async dialData(handler: ConnectionHandler): Promise<Connection> {
    const channel = await this.ports.network.dial(this.#address, this.ports.options.timeoutMs);
    return this.#connect(channel, handler, 'data');
  }

  syncBegins({ resumed }: FrameOf<'SNAPSHOT_BEGIN'>): void {
    this.#isResumed = resumed;
    if (!resumed) this.#begunSyncs += 1;
  }

  park(sink: FullSyncSink): void {
    // Connections that break while bytes come are tried again as if it were the first time.
    if (sink.hasMoved) this.#linkBackoff.reset();
    this.#parked = sink;
  }

  takeParked(): FullSyncSink | undefined {
    const parked = this.#parked;
    this.#parked = undefined;
    return parked;
  }

  mayFullSync(reason: FullReason): boolean {
    return this.#limits.allows(reason);
  }

  decided(decision: FrameOf<'DECISION'>): void {
    const { tier, reason, from, common } = decision;
    const { nodeId } = this.ports.store.identity();
    this.#tally.decided(tier, reason, from);
    this.ports.emit({ event: 'resync', nodeId, tier, reason, from, common });
    for (const { resolve } of this.#waitingForDecision.splice(0)) resolve({ tier, reason });
    if (tier === 'stop') return;
    // The served state goes on: what was received of another one is of no use any more.
    if (tier !== 'full')
      this.takeParked()
        ?.abandon()
        .catch(() => undefined);
    // It was for one handshake.
    this.#acceptLoss = false;
    this.#stopBackoff.reset();
    this.#clearOperator();
  }

  changed(link: ReplicaLink): void {
    // The reason of a decision is told until it is carried out.
    if (this.#link === link) this.#say(link.state, link.state === 'streaming' ? null : link.reason);
  }

  heard(commit: FrameOf<'COMMIT'>): void {
    this.#toldPromised = commit.promised;
    this.#commit = commit.commit;
    if (this.#isPromisedOld || commit.promised.offset > this.#promised.offset) this.#promised = commit.promised;
    this.#isPromisedOld = false;
    // While another history is on its way its floor says nothing of the state that is kept here.
    if (this.#link?.state === 'catching_up' || this.#link?.state === 'streaming') {
      this.#undoFloor = commit.undoFloor;
      this.ports.store.setUndoFloor(commit.undoFloor);
    }
    // It says how far behind this node is; nothing else need move for that.
    this.ports.news();
  }

  granted(grant: FrameOf<'GRANT'>): void {
    this.#handover.answered(grant);
  }

  diverged(lost: NativeDivergence, reason: 'rewind' | 'full'): void {
    const told = divergenceEvent(lost, reason);
    const { common } = lost;
    // A full sync that goes on where it was cut gives up the same suffix again.
    if (reason === 'full' && told.file !== null && told.file === this.#replacedFile) return;
    this.#tally.diverged(lost.operations);
    this.ports.emit(told);
    if (reason === 'full') {
      this.#replacedFile = told.file;
      return;
    }
    this.#tally.completed('rewind', null);
    // What was promised of the suffix is undone with it; the next COMMIT says what holds.
    if (this.#promised.offset > common.offset) this.#promised = common;
    if (this.#commit.offset > common.offset) this.#commit = common;
  }

  installed(reason: FullReason): void {
    this.#begunSyncs = 0;
    this.#limits.completed(reason);
    this.#tally.completed('full', reason);
    this.#syncBackoff.reset();
    // One that was asked for while this one was installed is still to come.
    if (this.#operatorSync === this.#shownSync) this.#operatorSync = 0;
    this.#recoverySyncDone = true;
    this.#promised = this.#toldPromised ?? this.#promised;
    this.#isPromisedOld = this.#toldPromised === undefined;
  }

  streaming(link: ReplicaLink, lag: Lag): void {
    this.#linkBackoff.reset();
    // A full sync was done when its state was installed, whatever became of its link.
    if (link.tier !== null && link.tier !== 'full' && !link.hasRewound) this.#tally.completed(link.tier, link.reason);
    this.ports.emit({ event: 'streaming', position: this.progress.visible, lag });
  }

  ended(outcome: LinkOutcome): void {
    this.#link = undefined;
    this.#handover.giveUp(createError('TIMEOUT', 'the link was lost during the handover; promote without it'));
    if (this.#isStopped) return;
    if (outcome.kind === 'stop') {
      this.#askOperator(outcome.reason, outcome.details);
      this.#wait('stopped', outcome.reason, this.#stopBackoff.next());
      return;
    }
    this.#tally.failed();
    if (outcome.kind === 'lost') {
      const hurry = this.#waitingForDecision.length > 0;
      this.#wait('waiting', outcome.reason, hurry ? 0 : this.#linkBackoff.next());
      return;
    }
    const { id, error, reason, ending } = outcome;
    if (ending !== 'link') this.#limits.failed(reason);
    // What goes on is a matter of the link; what began from nothing again and again is not.
    const goesOn = this.#parked !== undefined && (this.#isResumed || this.#begunSyncs < 2);
    const retryMs = goesOn ? this.#linkBackoff.next() : this.#syncBackoff.next();
    this.ports.emit({ event: 'sync_failed', id, ...failureOf(error), retryMs });
    this.#wait('waiting', null, retryMs);
  }

  /** What a former process left of a full sync. Never rejects. */
  async #recall(): Promise<void> {
    try {
      const recalled = await this.ports.store.recallGeneration();
      if (recalled !== null) this.#parked = FullSyncSink.recalled(recalled, this.ports);
    } catch {
      // Whatever is wrong with it, a sync that begins from nothing meets it again, and says so.
    }
  }

  // -- dialling --

  #dial(): void {
    if (this.#isStopped || this.#link !== undefined || this.#isDialling) return;
    this.#timer?.();
    this.#retryAt = undefined;
    this.#isDialling = true;
    this.#say('connecting', this.#reason);
    this.ports.network.dial(this.#address, this.ports.options.timeoutMs).then(
      (channel) => this.#begin(channel),
      (error: unknown) => {
        this.#isDialling = false;
        const reason = error instanceof Error ? reasonOf(error) : null;
        if (!this.#isStopped) this.#wait('waiting', reason, this.#linkBackoff.next());
      },
    );
  }

  #begin(channel: Channel): void {
    this.#isDialling = false;
    if (this.#isStopped) {
      channel.destroy();
      return;
    }
    this.#toldPromised = undefined;
    const link = new ReplicaLink(this);
    this.#link = link;
    link.attach(this.#connect(channel, link, 'control'));
    this.#say('handshake', null);
  }

  #wait(state: 'waiting' | 'stopped', reason: Reason | null, ms: number): void {
    this.#say(state, reason);
    this.#retryAt = this.ports.clock.monotonic() + ms;
    this.#timer?.();
    this.#timer = this.ports.clock.after(ms, () => this.#dial());
  }

  #say(state: LinkState, reason: Reason | null): void {
    this.#state = state;
    this.#reason = reason;
    const said = `${state} ${reason}`;
    if (said === this.#said) return;
    this.#said = said;
    this.ports.emit({ event: 'link', state, primary: this.address, reason });
  }

  #askOperator(reason: Reason, details: string): void {
    if (this.#operator?.reason === reason) return;
    this.#operator = { reason, details };
    this.ports.emit({ event: 'needs_operator', reason, details, command: commandFor(reason) });
  }

  #clearOperator(): void {
    if (this.#operator === undefined) return;
    this.#operator = undefined;
    this.ports.emit({ event: 'cleared' });
  }
}

/** What an operator may do about it; DIR and URL are this node's. */
function commandFor(reason: Reason): string {
  switch (reason) {
    case 'duplicate_node_id':
      return 'gapless serve DIR --new-node-id';
    case 'epoch_conflict':
    case 'fenced':
      return 'gapless promote URL --epoch TERM';
    case 'cluster_id_mismatch':
      return 'gapless serve DIR --follow H:P';
    case 'clock_ahead':
      return 'gapless status URL';
    case 'primary_empty_guard':
    case 'primary_regressed':
    case 'lost_limit_exceeded':
      return 'gapless serve DIR --accept-loss';
    default:
      return 'gapless resync URL --full';
  }
}

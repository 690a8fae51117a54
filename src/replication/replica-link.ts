/**
 * One connection of a replica to its primary, from the dialled channel to its end: handshake, decision, full sync if it
 * was one, then the stream. Its owner (replica.ts) dials again. On the controller's thread.
 *
 *   handshake -+-> catching_up -> streaming
 *              +-> full -> installing -> catching_up
 *              +-> rewinding -> handshake
 *              +-> over
 *
 * A frame of a lower term than this node has seen is answered with ours and never obeyed.
 */

import type { NativeDivergence } from '../binding/contract.js';
import type { Progress } from '../binding/progress.js';
import { createError, GaplessError } from '../errors.js';
import { emptyPosition, isEmptyPosition, type Position, parseEpoch, positionsEqual } from '../position.js';
import { protocolError } from '../wire/fields.js';
import type { Frame, FrameOf } from '../wire/frames.js';
import { type FullReason, fullReasons, type Reason, stopReasons, type Tier } from '../wire/names.js';
import type { ApplyQueue } from './apply-queue.js';
import type { Connection, ConnectionEnd, ConnectionHandler } from './connection.js';
import type { SyncEnding } from './flow-fetcher.js';
import { FullSyncSink, type SinkOwner } from './full-sync-sink.js';
import { LagMeter } from './lag.js';
import type { Lag, LinkState, ReplicationPorts, SyncProgress } from './ports.js';

/** A full sync that does not move for so many times of silence has lost something on the way. */
const progressDeadlines = 4;

/** What the log says of an offset at which it has no record end. */
const logAnswers = new Set<string>(['EVICTED', 'NOT_A_RECORD_END', 'POSITION_UNAVAILABLE']);

/** How a link ended, for what its owner does next. */
export type LinkOutcome =
  | { readonly kind: 'lost'; readonly reason: Reason | null; readonly error: Error | undefined }
  | { readonly kind: 'stop'; readonly reason: Reason; readonly details: string }
  | {
      readonly kind: 'sync_failed';
      readonly id: string;
      readonly error: Error;
      readonly reason: FullReason;
      /** `link`: only connections broke, no fault of the sync. What there is of it is parked unless it is `broken`. */
      readonly ending: SyncEnding;
    };

export interface LinkOwner {
  readonly ports: ReplicationPorts;
  readonly progress: Progress;
  readonly queue: ApplyQueue;
  highestTerm(): number;
  handshake(): FrameOf<'HANDSHAKE'>;
  /** A data connection to the same address. */
  dialData(handler: ConnectionHandler): Promise<Connection>;
  /** A full sync begins, or goes on. */
  syncBegins(begin: FrameOf<'SNAPSHOT_BEGIN'>): void;
  /** Keeps what there is of a full sync for the next link. */
  park(sink: FullSyncSink): void;
  /** Gives up what was kept. */
  takeParked(): FullSyncSink | undefined;
  /** False: too many full syncs for this reason. */
  mayFullSync(reason: FullReason): boolean;
  decided(decision: FrameOf<'DECISION'>): void;
  changed(link: ReplicaLink): void;
  heard(commit: FrameOf<'COMMIT'>): void;
  granted(grant: FrameOf<'GRANT'>): void;
  /** A suffix was given up: saved, and undone or about to be replaced. */
  diverged(lost: NativeDivergence, reason: 'rewind' | 'full'): void;
  /** A full sync switched to the new state. */
  installed(reason: FullReason): void;
  /** Lag zero for the first time since the decision. */
  streaming(link: ReplicaLink, lag: Lag): void;
  /** Once, when nothing of this link is at work any more. */
  ended(outcome: LinkOutcome): void;
}

export class ReplicaLink implements ConnectionHandler {
  readonly #owner: LinkOwner;
  readonly #lag = new LagMeter();
  #connection: Connection | undefined;
  #state: LinkState = 'handshake';
  #welcome: FrameOf<'WELCOME'> | undefined;
  #decision: FrameOf<'DECISION'> | undefined;
  #sink: FullSyncSink | undefined;
  /** Work on the state that goes on without the link, and ends it. */
  #isInstalling = false;
  #installation: Promise<void> = Promise.resolve();
  #hasRewound = false;
  #isOver = false;
  #isHeld = false;
  #isAckDue = false;
  #outcome: LinkOutcome | undefined;
  #changedAt: number;
  /** How far the primary said that records may be seen. */
  #shippingEnd: Position | undefined;
  #acknowledged = '';

  constructor(owner: LinkOwner) {
    this.#owner = owner;
    this.#changedAt = owner.ports.clock.monotonic();
  }

  get state(): LinkState {
    return this.#state;
  }
  get tier(): Tier | null {
    return this.#decision?.tier ?? null;
  }
  get reason(): Reason | null {
    return this.#decision?.reason ?? null;
  }
  get primaryNodeId(): string | null {
    return this.#welcome?.nodeId ?? null;
  }
  get syncProgress(): SyncProgress | null {
    return this.#sink?.progress() ?? null;
  }
  get isSyncing(): boolean {
    return this.#sink !== undefined || this.#state === 'rewinding';
  }
  /** What it streams behind was a rewind, which is counted already. */
  get hasRewound(): boolean {
    return this.#hasRewound;
  }

  lag(): Lag | null {
    if (this.#state !== 'catching_up' && this.#state !== 'streaming') return null;
    return this.#lag.measure(this.#knownEnd(), this.#owner.progress.visible, this.#owner.ports.clock.monotonic());
  }

  /** Takes the connection; frames may have been waiting for it. */
  attach(connection: Connection): void {
    this.#connection = connection;
    if (this.#isOver) connection.close();
  }

  /** Ends the link with a last word; `ended` follows. */
  finish(reason: Reason | null, error: Error): void {
    this.#connection?.fail(reason, error);
  }

  /** Asks the primary for its role. */
  askHandover(request: FrameOf<'HANDOVER'>): void {
    this.#connection?.send(request);
  }

  /**
   * Takes nothing more from the peer, and resolves when no thread works for this link; a full sync under way is parked.
   * The connection stays.
   */
  async quiesce(): Promise<void> {
    this.#isOver = true;
    this.#connection?.hold();
    await this.#installation;
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.park();
    if (sink !== undefined) this.#owner.park(sink);
    await this.#owner.queue.idle();
    this.#owner.queue.forgetWaiting();
  }

  /** The queue moved, or the engine's progress did. */
  moved(): void {
    if (this.#isOver || this.#state === 'handshake' || this.#state === 'rewinding') return;
    this.#acknowledgeSoon();
    if (this.#state !== 'catching_up' || this.#shippingEnd === undefined) return;
    if (this.#owner.progress.visibleOffset < this.#knownEnd().offset) return;
    this.#change('streaming');
    this.#owner.streaming(this, { records: 0, bytes: 0, ms: 0 });
  }

  /** The queue has room again. */
  room(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#connection?.release();
  }

  // -- ConnectionHandler --

  authenticated(): void {
    // The connection object may not have reached us yet.
    queueMicrotask(() => this.#connection?.send(this.#owner.handshake()));
  }

  frame(frame: Frame, epoch: string): void {
    if (this.#isOver) return;
    if (frame.type !== 'WELCOME' && frame.type !== 'DECISION' && this.#isStale(epoch)) {
      const error = createError('FENCED', `term ${parseEpoch(epoch).term} is over`);
      this.#connection?.fail('fenced', error);
      return;
    }
    switch (frame.type) {
      case 'WELCOME':
        this.#welcomed(frame);
        return;
      case 'DECISION':
        this.#decided(frame);
        return;
      case 'LOG':
        this.#log(frame);
        return;
      case 'COMMIT':
        this.#heard(frame);
        return;
      case 'SNAPSHOT_BEGIN':
        this.#beginSync(frame);
        return;
      case 'GRANT':
        this.#owner.granted(frame);
        return;
      case 'LOG_DURABLE':
        if (this.#sink === undefined) throw protocolError('order', 'LOG_DURABLE of no sync');
        this.#sink.logDurable(frame);
        return;
      default:
        throw protocolError('order', `${frame.type} on a control connection`);
    }
  }

  drained(): void {}

  beat(): void {
    const { clock, options } = this.#owner.ports;
    if (this.#isWaiting() && clock.monotonic() - this.#changedAt > options.timeoutMs) {
      this.#connection?.fail('timeout', createError('TIMEOUT', `the primary left us in "${this.#state}"`));
      return;
    }
    if (!this.#isInstalling) this.#sink?.checkProgress(progressDeadlines * options.timeoutMs);
    if (this.#state !== 'handshake' && this.#state !== 'rewinding') this.#acknowledge(true);
  }

  closed(end: ConnectionEnd): void {
    this.#isOver = true;
    this.#owner.queue.forgetWaiting();
    const guessed: Reason | null = end.reason ?? (end.wasAuthenticated ? null : 'auth');
    this.#outcome ??= this.#judgeEnd(end, guessed);
    const sink = this.#sink;
    // An installation goes on without the link, and ends it.
    if (this.#isInstalling) return;
    this.#sink = undefined;
    if (sink === undefined) {
      this.#owner.ended(this.#outcome);
      return;
    }
    const ending: SyncEnding = isTrusted(end) ? 'link' : 'broken';
    const outcome: LinkOutcome = { kind: 'sync_failed', ...this.#syncOf(sink), error: this.#lostError(end), ending };
    sink.park();
    this.#leave(sink, ending).then(
      () => this.#owner.ended(outcome),
      () => this.#owner.ended(outcome),
    );
  }

  // -- handshake --

  #welcomed(welcome: FrameOf<'WELCOME'>): void {
    if (this.#welcome !== undefined) throw protocolError('order', 'a second WELCOME');
    this.#welcome = welcome;
    this.#connection?.speakEvery(Math.ceil(welcome.timeoutMs / 3));
  }

  #decided(decision: FrameOf<'DECISION'>): void {
    const welcome = this.#welcome;
    if (welcome === undefined || this.#state !== 'handshake') throw protocolError('order', 'DECISION out of order');
    this.#decision = decision;
    const { tier, reason } = decision;
    this.#owner.decided(decision);
    if (tier === 'stop') {
      this.#outcome = { kind: 'stop', reason: reason ?? 'protocol', details: this.#describe(decision) };
      this.#connection?.close(reason);
      return;
    }
    if (tier === 'padding') {
      this.#answer('refused', decision.from);
      return;
    }
    if (tier === 'rewind') {
      this.#judgeRewind(decision.common ?? decision.from);
      return;
    }
    const full = fullReasons.find((other) => other === reason);
    if (tier === 'full' && (full === undefined || !this.#owner.mayFullSync(full))) {
      this.#answer('refused', decision.from);
      const details = 'too many full syncs for this reason; see sync_failed and sync_done';
      this.#outcome = { kind: 'stop', reason: full ?? 'protocol', details };
      this.#connection?.close(reason);
      return;
    }
    this.#adopt(welcome.clusterId);
    if (tier === 'full' && decision.lossBytes !== null && decision.lossBytes > 0n) {
      this.#save(decision);
      return;
    }
    this.#answer('accept', decision.from);
    this.#change(tier === 'full' ? 'full' : 'catching_up');
    this.#acknowledgeSoon();
  }

  // -- giving up a suffix --

  /** Can this node go back there? The log decides, not the lists. */
  #judgeRewind(common: Position): void {
    const { store } = this.#owner.ports;
    const known = recordEndAt(store, common.offset);
    if (known === undefined || !positionsEqual(known, common)) {
      this.#answer('chain_mismatch', common);
      return;
    }
    if (!store.keptCheckpoints().some(({ offset }) => offset <= common.offset)) {
      this.#answer('undo_unavailable', common);
      return;
    }
    this.#answer('accept', common);
    this.#change('rewinding');
    const from = this.#owner.progress.visible;
    this.#work(
      async () => {
        const lost = await store.rewind(common, BigInt(this.#owner.ports.options.lostMaxBytes));
        this.#rewound(from, lost);
      },
      () => this.#shakeHandsAgain(),
    );
  }

  #rewound(from: Position, lost: NativeDivergence): void {
    const { ports, progress, queue } = this.#owner;
    progress.refresh();
    queue.reset(progress.visible);
    this.#hasRewound = true;
    const generation = Number(progress.generation);
    ports.emit({ event: 'switched', cause: 'rewind', from, to: progress.visible, generation });
    this.#owner.diverged(lost, 'rewind');
  }

  #shakeHandsAgain(): void {
    this.#welcome = undefined;
    this.#change('handshake');
    this.#connection?.send(this.#owner.handshake());
  }

  /** A full sync is going to replace what only this node has. */
  #save(decision: FrameOf<'DECISION'>): void {
    const { store, options } = this.#owner.ports;
    this.#work(
      async () => {
        const lost = await store.saveSuffix(decision.common, BigInt(options.lostMaxBytes));
        this.#owner.diverged(lost, 'full');
      },
      () => {
        this.#answer('accept', decision.from);
        this.#change('full');
        this.#acknowledgeSoon();
      },
    );
  }

  /** Work that must not be left half done: a link that is lost meanwhile ends behind it. */
  #work(work: () => Promise<void>, then: () => void): void {
    const { queue, progress } = this.#owner;
    this.#isInstalling = true;
    this.#connection?.hold();
    const done = async (): Promise<void> => {
      await queue.idle();
      await queue.drained();
      await work();
    };
    this.#installation = done().then(
      () => {
        this.#isInstalling = false;
        if (this.#outcome !== undefined) {
          this.#owner.ended(this.#outcome);
          return;
        }
        if (this.#isOver) return;
        then();
        this.#connection?.release();
      },
      (cause: unknown) => {
        this.#isInstalling = false;
        progress.refresh();
        this.#failWork(cause instanceof Error ? cause : createError('IO', String(cause)));
      },
    );
  }

  #failWork(error: Error): void {
    const wasLost = this.#outcome !== undefined;
    this.#isOver = true;
    if (error instanceof GaplessError && error.code === 'NEEDS_OPERATOR') {
      this.#outcome = { kind: 'stop', reason: 'lost_limit_exceeded', details: error.message };
    } else {
      this.#outcome = { kind: 'lost', reason: null, error };
    }
    if (wasLost) this.#owner.ended(this.#outcome);
    else this.#connection?.fail(null, error);
  }

  #answer(verdict: FrameOf<'ANSWER'>['verdict'], position: Position): void {
    this.#connection?.send({ type: 'ANSWER', verdict, position, details: '' });
  }

  /** An empty node belongs to nobody yet. */
  #adopt(clusterId: string): void {
    const { ports, progress, queue } = this.#owner;
    if (ports.store.identity().clusterId === clusterId || !isEmptyPosition(queue.received)) return;
    ports.store.adoptCluster(clusterId);
    progress.refresh();
    queue.reset(progress.visible);
  }

  // -- full sync --

  #beginSync(begin: FrameOf<'SNAPSHOT_BEGIN'>): void {
    if (this.#state !== 'full' || this.#sink !== undefined) throw protocolError('order', 'SNAPSHOT_BEGIN');
    const parked = this.#owner.takeParked();
    if (begin.resumed && parked === undefined) {
      throw protocolError('order', 'SNAPSHOT_BEGIN resumes what was not offered');
    }
    if (parked === undefined || begin.resumed) {
      this.#openSync(begin, parked);
      return;
    }
    // One generation is built at a time.
    this.#connection?.hold();
    parked
      .abandon()
      .then(() => {
        if (!this.#isOver) this.#openSync(begin, undefined);
      })
      .catch((error: unknown) => this.#connection?.fail(null, asError(error)))
      .finally(() => this.#connection?.release());
  }

  #openSync(begin: FrameOf<'SNAPSHOT_BEGIN'>, parked: FullSyncSink | undefined): void {
    const { ports } = this.#owner;
    const clusterId = this.#welcome?.clusterId ?? ports.store.identity().clusterId;
    const owner: SinkOwner = {
      ports,
      dial: (handler) => this.#owner.dialData(handler),
      complete: () => this.#install(),
      failed: (error, ending) => this.#syncFailed(error, ending),
    };
    this.#owner.syncBegins(begin);
    try {
      this.#sink = parked ?? FullSyncSink.announced(begin, clusterId, owner);
      if (parked === undefined) this.#sink.start();
      else parked.resume(begin, owner);
    } catch (error) {
      this.#failSync(begin.syncId, asError(error), 'broken');
      return;
    }
    this.#owner.changed(this);
  }

  #syncFailed(error: Error, ending: SyncEnding): void {
    const sink = this.#sink;
    if (sink === undefined || this.#isInstalling) return;
    this.#failSync(sink.syncId, error, ending);
  }

  #failSync(id: string, error: Error, ending: SyncEnding): void {
    const outcome: LinkOutcome = { kind: 'sync_failed', id, error, reason: this.#fullReason(), ending };
    this.#outcome = outcome;
    const sink = this.#sink;
    this.#sink = undefined;
    this.#isOver = true;
    if (sink === undefined) {
      this.#connection?.fail(null, error);
      return;
    }
    // `closed` reports, so what was written is gone, or parked, before the next attempt.
    this.#connection?.hold();
    this.#leave(sink, ending).then(
      () => this.#connection?.fail(null, error),
      (cause: unknown) => {
        this.#outcome = { ...outcome, error: createError('IO', 'a failed sync left files behind', { cause }) };
        this.#connection?.fail(null, error);
      },
    );
  }

  /** Parks what may go on, and removes the rest. */
  async #leave(sink: FullSyncSink, ending: SyncEnding): Promise<void> {
    if (ending !== 'broken' && sink.resumeToken !== null) this.#owner.park(sink);
    else await sink.abandon();
  }

  #install(): void {
    const sink = this.#sink;
    if (sink === undefined || this.#isInstalling) return;
    this.#isInstalling = true;
    this.#connection?.hold();
    const { ports, progress, queue } = this.#owner;
    const from = progress.visible;
    const reason = this.#fullReason();
    const switched = async (): Promise<void> => {
      await queue.idle();
      await sink.install();
      progress.refresh();
      queue.reset(progress.visible);
      const generation = Number(progress.generation);
      ports.emit({ event: 'switched', cause: 'full', from, to: progress.visible, generation });
      const { syncId: id, entries, bytes, elapsedMs: ms } = sink;
      const { resumedBytes } = sink;
      ports.emit({ event: 'sync_done', id, position: sink.begin.position, entries, bytes, ms, resumedBytes });
    };
    this.#installation = switched().then(
      () => this.#installed(sink, reason),
      (error: unknown) => this.#installFailed(sink, error),
    );
  }

  #installed(sink: FullSyncSink, reason: FullReason): void {
    this.#isInstalling = false;
    this.#sink = undefined;
    this.#owner.installed(reason);
    if (this.#connection?.isOpen !== true || this.#isOver) {
      if (this.#outcome !== undefined) this.#owner.ended(this.#outcome);
      else this.#connection?.release();
      return;
    }
    this.#connection.send({ type: 'INSTALLED', syncId: sink.syncId, position: sink.begin.position });
    this.#change('catching_up');
    this.#acknowledge(true);
    this.#connection.release();
    this.moved();
  }

  #installFailed(sink: FullSyncSink, cause: unknown): void {
    const error = asError(cause);
    this.#isInstalling = false;
    this.#sink = undefined;
    this.#isOver = true;
    this.#owner.progress.refresh();
    this.#owner.queue.reset(this.#owner.progress.visible);
    const wasLost = this.#outcome !== undefined;
    this.#outcome = { kind: 'sync_failed', ...this.#syncOf(sink), error, ending: 'broken' };
    if (wasLost) this.#owner.ended(this.#outcome);
    else this.#connection?.fail(null, error);
  }

  #fullReason(): FullReason {
    return fullReasons.find((reason) => reason === this.#decision?.reason) ?? 'new_replica';
  }

  #syncOf(sink: FullSyncSink): { readonly id: string; readonly reason: FullReason } {
    return { id: sink.syncId, reason: this.#fullReason() };
  }

  // -- stream --

  #log(frame: FrameOf<'LOG'>): void {
    if (this.#sink !== undefined) {
      try {
        this.#sink.appendLog(frame.records);
      } catch (error) {
        this.#sink.fail(error, 'broken');
        return;
      }
      this.#acknowledgeSoon();
      return;
    }
    if (this.#state !== 'catching_up' && this.#state !== 'streaming') throw protocolError('order', 'LOG out of order');
    const { queue, ports } = this.#owner;
    try {
      queue.receive(frame.records);
    } catch (error) {
      if (isClockAhead(error)) {
        this.#outcome = { kind: 'stop', reason: 'clock_ahead', details: error.message };
        this.#connection?.fail('clock_ahead', error);
        return;
      }
      throw error;
    }
    this.#lag.sawEnd(queue.received.offset, ports.clock.monotonic());
    if (!queue.isFull || this.#isHeld) return;
    this.#isHeld = true;
    this.#connection?.hold();
  }

  #heard(commit: FrameOf<'COMMIT'>): void {
    if (this.#state === 'handshake') throw protocolError('order', 'COMMIT before the decision');
    this.#shippingEnd = commit.shippingEnd;
    this.#lag.sawEnd(commit.shippingEnd.offset, this.#owner.ports.clock.monotonic());
    this.#owner.heard(commit);
    this.moved();
  }

  #knownEnd(): Position {
    const { received } = this.#owner.queue;
    const end = this.#shippingEnd ?? received;
    return end.offset > received.offset ? end : received;
  }

  /** One ACK for everything that happened in this turn of the event loop. */
  #acknowledgeSoon(): void {
    if (this.#isAckDue) return;
    this.#isAckDue = true;
    setImmediate(() => {
      this.#isAckDue = false;
      this.#acknowledge(false);
    });
  }

  #acknowledge(always: boolean): void {
    // Once it is over, what this node has may be of a term of its own: an ACK of that would break the protocol.
    if (this.#isOver || this.#connection?.isOpen !== true) return;
    // Before the primary answered our ANSWER with a snapshot there is nothing to acknowledge.
    if (this.#state === 'full' && this.#sink === undefined) return;
    const { progress, queue } = this.#owner;
    const nothing = emptyPosition();
    const isStream = this.#sink === undefined;
    const received = this.#sink?.received ?? queue.received;
    const durable = isStream ? progress.durable : nothing;
    const applied = isStream ? progress.visible : nothing;
    const counts = isStream && progress.isComplete && !progress.isBelowFormerMark;
    const said = `${received.offset} ${durable.offset} ${applied.offset} ${counts}`;
    if (!always && said === this.#acknowledged) return;
    this.#acknowledged = said;
    this.#connection.send({ type: 'ACK', received, durable, applied, counts });
  }

  // -- endings --

  /** It is the primary's turn, and nothing can go on before it. */
  #isWaiting(): boolean {
    if (this.#isInstalling) return false;
    return this.#state === 'handshake' || (this.#state === 'full' && this.#sink === undefined);
  }

  #isStale(epoch: string): boolean {
    // A primary that has not written yet is about to begin term 1.
    return Math.max(1, parseEpoch(epoch).term) < this.#owner.highestTerm();
  }

  #judgeEnd(end: ConnectionEnd, reason: Reason | null): LinkOutcome {
    const isStop = stopReasons.some((stop) => stop === end.told?.reason) && end.told?.reason !== 'fenced';
    if (isStop && end.told !== null && end.told.reason !== null) {
      return { kind: 'stop', reason: end.told.reason, details: end.told.message };
    }
    return { kind: 'lost', reason, error: end.error };
  }

  #lostError(end: ConnectionEnd): Error {
    return end.error ?? createError('TIMEOUT', 'the link was lost during a full sync');
  }

  #describe(decision: FrameOf<'DECISION'>): string {
    const parts = [decision.details, `at ${decision.from}`];
    if (decision.common !== null) parts.push(`common ${decision.common}`);
    if (decision.lossSeqs !== null) parts.push(`${decision.lossSeqs} sequences, ${decision.lossBytes} bytes to undo`);
    return parts.filter((part) => part !== '').join('; ');
  }

  #change(state: LinkState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#changedAt = this.#owner.ports.clock.monotonic();
    this.#owner.changed(this);
  }
}

/** Nothing that the peer or we said speaks against what was received. */
function isTrusted({ told, reason }: ConnectionEnd): boolean {
  if (reason === 'protocol' || reason === 'auth') return false;
  return told === null || (told.reason !== 'hold_expired' && told.reason !== 'log_damaged');
}

function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : createError('IO', String(cause));
}

/** Undefined: no record ends there, or the log has no longer what ends there. */
function recordEndAt(store: ReplicationPorts['store'], offset: bigint): Position | undefined {
  try {
    return store.positionAt(offset);
  } catch (error) {
    if (error instanceof GaplessError && logAnswers.has(error.code)) return undefined;
    throw error;
  }
}

function isClockAhead(error: unknown): error is GaplessError {
  return error instanceof GaplessError && error.details['reason'] === 'clock_ahead';
}

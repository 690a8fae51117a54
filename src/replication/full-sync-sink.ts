/**
 * The replica's side of one full sync: builds a new generation beside the served one out of flows (data connections,
 * dialled from here) and of the log behind the snapshot (control connection), and switches when the barrier opens. On
 * the controller's thread.
 *
 * The barrier: the set of verified flow numbers equals the set announced, and the primary said that its log is durable
 * up to the snapshot. A lost data connection is dialled again, and its flow goes on, here or on another one. A lost
 * control connection parks the sync: the next one resumes it if the primary still has the snapshot. Any other failure
 * ends it. The served state stays as it is throughout.
 */
import type { CancelTimer } from '../base/clock.js';
import type { NativeGeneration, NativeMetaState, NativeRecalled } from '../binding/contract.js';
import { createError, describeError } from '../errors.js';
import { type Position, positionsEqual } from '../position.js';
import { protocolError, type ResumeToken } from '../wire/fields.js';
import type { FrameOf } from '../wire/frames.js';
import { Backoff } from './backoff.js';
import type { Connection, ConnectionHandler } from './connection.js';
import { FlowFetcher, type FlowSink, type SyncEnding } from './flow-fetcher.js';
import { Pacer } from './pacer.js';
import type { ReplicationPorts, SyncProgress } from './ports.js';
import { SyncMeter } from './sync-meter.js';

export interface SinkOwner {
  readonly ports: ReplicationPorts;
  /** Dials the address that the replica follows. */
  dial(handler: ConnectionHandler): Promise<Connection>;
  /** Every flow is verified and the primary's log is durable. */
  complete(): void;
  /** Called once at most, with the sync parked. */
  failed(error: Error, ending: SyncEnding): void;
}

export class FullSyncSink implements FlowSink {
  readonly meta: NativeMetaState;
  #begin: FrameOf<'SNAPSHOT_BEGIN'>;
  #owner: SinkOwner;
  readonly #generation: NativeGeneration;
  readonly #pacer: Pacer;
  readonly #meter: SyncMeter;
  readonly #redial: Backoff;
  readonly #timers = new Set<CancelTimer>();
  readonly #fetchers = new Set<FlowFetcher>();
  readonly #verified = new Set<number>();
  readonly #announced: ReadonlySet<number>;
  /** Flows that nobody fetches and that are not verified. */
  #todo: number[] = [];
  readonly #finishing = new Map<number, Promise<void>>();
  #received: Position;
  #entries = 0;
  #isLogDurable = false;
  #lastDone = '';
  #movedAt = 0;
  #state: 'running' | 'parked' | 'over' = 'parked';
  #isBroken = false;

  private constructor(
    begin: FrameOf<'SNAPSHOT_BEGIN'>,
    meta: NativeMetaState,
    generation: NativeGeneration,
    owner: SinkOwner,
  ) {
    const { ports } = owner;
    this.#begin = begin;
    this.#owner = owner;
    this.#pacer = new Pacer(ports.clock, ports.options.syncRateBytes);
    this.#redial = new Backoff(100, 5000, ports.random);
    this.meta = meta;
    const flows = Array.from({ length: begin.flows }, (_, flow) => flow);
    this.#announced = new Set(flows);
    this.#meter = new SyncMeter(ports.clock, flows, Number(begin.estimatedBytes));
    this.#generation = generation;
    this.#received = begin.position;
  }

  /** One that begins from nothing. Throws CORRUPT, PROTOCOL, NO_SPACE, IO. */
  static announced(begin: FrameOf<'SNAPSHOT_BEGIN'>, clusterId: string, owner: SinkOwner): FullSyncSink {
    const { ports } = owner;
    const meta = ports.tools.decodeMetaState(begin.metaState, 'full sync');
    if (!positionsEqual(meta.position, begin.position)) {
      throw protocolError('meta', 'the snapshot and its meta state name different positions');
    }
    const unknown = { entries: 0, bytes: 0, fileBytes: 0, crc: 0 };
    const token = ports.tools.encodeToken({
      clusterId,
      createdMs: ports.clock.now(),
      compression: begin.compression,
      flows: Array.from({ length: begin.flows }, (_, flow) => ({ flow, ...unknown })),
      meta,
    });
    const generation = ports.store.beginGeneration(token, Number(begin.estimatedBytes));
    generation.remember(begin.syncId);
    return new FullSyncSink(begin, meta, generation, owner);
  }

  /** One that a former process left, parked. */
  static recalled(recalled: NativeRecalled, ports: ReplicationPorts): FullSyncSink {
    const { syncId, token, generation, flowBytes } = recalled;
    const { meta, compression } = token;
    // What only an announcement knows comes with the one that resumes it.
    const begin: FrameOf<'SNAPSHOT_BEGIN'> = {
      type: 'SNAPSHOT_BEGIN',
      syncId,
      reason: null,
      position: meta.position,
      flows: token.flows.length,
      compression,
      estimatedBytes: 0n,
      estimatedEntries: 0n,
      resumed: true,
      metaState: new Uint8Array(),
    };
    const nobody: SinkOwner = {
      ports,
      dial: () => Promise.reject(createError('NOT_READY', 'the full sync is parked')),
      complete: () => undefined,
      failed: () => undefined,
    };
    const sink = new FullSyncSink(begin, meta, generation, nobody);
    sink.#received = generation.received();
    for (const [flow, bytes] of flowBytes.entries()) sink.#meter.add(flow, bytes);
    for (const flow of generation.finished()) {
      sink.#verified.add(flow);
      sink.#entries += token.flows[flow]?.entries ?? 0;
    }
    return sink;
  }

  /** As it was announced last. */
  get begin(): FrameOf<'SNAPSHOT_BEGIN'> {
    return this.#begin;
  }
  get syncId(): string {
    return this.#begin.syncId;
  }
  /** End of the log that was received for the new generation. */
  get received(): Position {
    return this.#received;
  }
  get entries(): number {
    return this.#entries;
  }
  get bytes(): number {
    return this.#meter.bytes;
  }
  /** What was there already when it went on. */
  get resumedBytes(): number {
    return this.#meter.resumedBytes;
  }
  get elapsedMs(): number {
    return this.#meter.elapsedMs;
  }
  /** What a handshake says of it; null: it cannot go on. */
  get resumeToken(): ResumeToken | null {
    return this.#isBroken || this.#state === 'over' ? null : { syncId: this.syncId, position: this.#received };
  }
  /** Something came since the last start. */
  get hasMoved(): boolean {
    return this.bytes > this.resumedBytes;
  }

  progress(): SyncProgress {
    return this.#meter.progress(this.#verified);
  }

  /** Dials the data connections. */
  start(): void {
    const { ports } = this.#owner;
    this.#state = 'running';
    this.#movedAt = ports.clock.monotonic();
    this.#meter.start(Number(this.#begin.estimatedBytes));
    const { syncId: id, reason, position, flows, estimatedBytes, resumed } = this.#begin;
    ports.emit({ event: 'sync_start', id, reason, position, flows, bytes: Number(estimatedBytes), resumed });
    this.#todo = [...this.#announced].filter((flow) => !this.#verified.has(flow) && !this.#finishing.has(flow));
    const count = Math.min(ports.options.syncConnections, this.#todo.length);
    for (let number = 0; number < count; number++) this.#dial(number);
  }

  /** Goes on with a parked sync. Throws PROTOCOL if `begin` speaks of another one. */
  resume(begin: FrameOf<'SNAPSHOT_BEGIN'>, owner: SinkOwner): void {
    const { syncId, position, flows, compression } = this.#begin;
    const isSame =
      begin.syncId === syncId &&
      positionsEqual(begin.position, position) &&
      begin.flows === flows &&
      begin.compression === compression;
    if (this.#state !== 'parked' || !isSame) throw protocolError('order', 'SNAPSHOT_BEGIN resumes another sync');
    this.#begin = begin;
    this.#owner = owner;
    this.start();
  }

  /** Records behind the snapshot. Throws PROTOCOL, IO, NO_SPACE. */
  appendLog(records: Uint8Array): void {
    this.#received = this.#generation.appendLog(records);
  }

  logDurable(frame: FrameOf<'LOG_DURABLE'>): void {
    if (frame.syncId !== this.syncId || !positionsEqual(frame.position, this.#begin.position)) {
      throw protocolError('order', 'LOG_DURABLE of another sync');
    }
    this.#isLogDurable = true;
    this.#checkBarrier();
  }

  /** Requires: `complete` was called. Ends the sync. */
  async install(): Promise<void> {
    const { syncId: id, flows } = this.#begin;
    this.#owner.ports.emit({ event: 'sync_barrier', id, flows });
    this.park();
    this.#state = 'over';
    await this.#generation.install();
  }

  /** Ends the sync without a switch; what was written goes. */
  async abandon(): Promise<void> {
    this.park();
    this.#state = 'over';
    await Promise.allSettled(this.#finishing.values());
    await this.#generation.drop();
  }

  /** Ends the sync for this process: the next one may recall it. */
  async suspend(): Promise<void> {
    this.park();
    this.#state = 'over';
    await Promise.allSettled(this.#finishing.values());
    if (this.#isBroken) await this.#generation.drop();
    else await this.#generation.suspend();
  }

  /** Ends every connection; what was received stays for `resume`. */
  park(): void {
    if (this.#state !== 'running') return;
    this.#state = 'parked';
    this.#pacer.close();
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    for (const fetcher of this.#fetchers) fetcher.stop();
    this.#fetchers.clear();
  }

  fail(cause: unknown, ending: SyncEnding): void {
    if (ending === 'broken') this.#isBroken = true;
    if (this.#state !== 'running') return;
    this.park();
    this.#owner.failed(cause instanceof Error ? cause : createError('IO', String(cause)), ending);
  }

  /** Fails the sync if nothing of it has moved for so long: what is lost on the way is not waited for for ever. */
  checkProgress(limitMs: number): void {
    const now = this.#owner.ports.clock.monotonic();
    const done = `${this.bytes} ${this.#verified.size} ${this.#isLogDurable}`;
    if (done !== this.#lastDone || this.#finishing.size > 0) {
      this.#lastDone = done;
      this.#movedAt = now;
    } else if (now - this.#movedAt > limitMs) {
      const isCutOff = this.#todo.length > 0 && ![...this.#fetchers].some((fetcher) => fetcher.isReady);
      const error = createError('TIMEOUT', `the full sync has not moved for ${Math.round(now - this.#movedAt)} ms`);
      this.fail(error, isCutOff ? 'link' : 'stuck');
    }
  }

  // -- FlowSink --

  claim(): { readonly flow: number; readonly offset: bigint } | undefined {
    const flow = this.#state === 'running' ? this.#todo.shift() : undefined;
    return flow === undefined ? undefined : { flow, offset: BigInt(this.#meter.bytesOf(flow)) };
  }

  isKnown(flow: number): boolean {
    return this.#announced.has(flow);
  }

  feed(flow: number, bytes: Uint8Array): void {
    this.#generation.feedFlow(flow, bytes);
    this.#meter.add(flow, bytes.length);
    this.#redial.reset();
    const due = this.#meter.due();
    if (due !== null) this.#owner.ports.emit({ event: 'progress', phase: 'full', ...due });
  }

  pace(bytes: number, grant: (part: number) => void): void {
    this.#pacer.pace(bytes, grant);
  }

  async finish(done: FrameOf<'FLOW_DONE'>): Promise<void> {
    const { flow, crc } = done;
    const summary = { flow, crc, entries: Number(done.entries), bytes: Number(done.bytes) };
    const finishing = this.#generation.finishFlow(flow, { ...summary, fileBytes: Number(done.fileBytes) });
    this.#finishing.set(flow, finishing);
    try {
      await finishing;
    } finally {
      this.#finishing.delete(flow);
    }
    this.#verified.add(flow);
    this.#entries += summary.entries;
    if (this.#state === 'over') return;
    this.#owner.ports.emit({
      event: 'sync_flow',
      id: this.syncId,
      flow,
      entries: summary.entries,
      bytes: summary.bytes,
      verified: this.#verified.size,
      total: this.#announced.size,
    });
    this.#checkBarrier();
  }

  left(fetcher: FlowFetcher, flow: number | undefined): void {
    this.#fetchers.delete(fetcher);
    if (this.#state !== 'running') return;
    if (flow !== undefined) this.#todo.unshift(flow);
    if (this.#todo.length === 0) return;
    for (const other of this.#fetchers) other.wake();
    this.#dialLater(fetcher.number);
  }

  #dial(number: number): void {
    const fetcher = new FlowFetcher(this, number);
    this.#fetchers.add(fetcher);
    this.#owner.dial(fetcher).then(
      (connection) => fetcher.attach(connection),
      () => this.left(fetcher, undefined),
    );
  }

  #dialLater(number: number): void {
    const cancel = this.#owner.ports.clock.after(this.#redial.next(), () => {
      this.#timers.delete(cancel);
      if (this.#todo.length > 0) this.#dial(number);
    });
    this.#timers.add(cancel);
  }

  #checkBarrier(): void {
    if (this.#state !== 'running' || !this.#isLogDurable || this.#finishing.size > 0) return;
    for (const flow of this.#announced) if (!this.#verified.has(flow)) return;
    this.#owner.complete();
  }
}

/** Code and message of a failed sync, for its event. */
export function failureOf(error: Error): { readonly code: string; readonly message: string } {
  const { code, message } = describeError(error).body;
  return { code, message };
}

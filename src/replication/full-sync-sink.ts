/**
 * The replica's side of one full sync: builds a new generation beside the served one out of flows (data connections,
 * dialled from here) and of the log behind the snapshot (control connection), and switches when the barrier opens. On
 * the controller's thread.
 *
 * The barrier: the set of verified flow numbers equals the set announced, and the primary said that its log is durable
 * up to the snapshot. Any failure, of a write or of a connection, ends the whole sync; the served state stays as it is.
 */
import type { NativeGeneration, NativeMetaState } from '../binding/contract.js';
import { createError, describeError } from '../errors.js';
import { type Position, positionsEqual } from '../position.js';
import { protocolError } from '../wire/fields.js';
import type { Frame, FrameOf } from '../wire/frames.js';
import type { Connection, ConnectionEnd, ConnectionHandler } from './connection.js';
import { Pacer } from './pacer.js';
import type { ReplicationPorts, SyncProgress } from './ports.js';

/** Bytes of a flow that may be on their way. */
const creditWindow = 4 * 1024 * 1024;
const creditStep = 1024 * 1024;

export interface SinkOwner {
  readonly ports: ReplicationPorts;
  /** Dials the address that the replica follows. */
  dial(handler: ConnectionHandler): Promise<Connection>;
  /** Every flow is verified and the primary's log is durable. */
  complete(): void;
  /** Called once at most. `isLink`: only a connection broke, no fault of the sync. */
  failed(error: Error, isLink: boolean): void;
}

export class FullSyncSink {
  readonly begin: FrameOf<'SNAPSHOT_BEGIN'>;
  readonly meta: NativeMetaState;
  readonly #owner: SinkOwner;
  readonly #generation: NativeGeneration;
  readonly #pacer: Pacer;
  readonly #startedAt: number;
  readonly #fetchers = new Set<FlowFetcher>();
  readonly #flowBytes = new Map<number, number>();
  readonly #verified = new Set<number>();
  readonly #announced: ReadonlySet<number>;
  readonly #todo: number[];
  readonly #finishing = new Set<Promise<void>>();
  #received: Position;
  #entries = 0;
  #isLogDurable = false;
  #lastDone = '';
  #movedAt = 0;
  #isOver = false;

  /** Throws CORRUPT, PROTOCOL, NO_SPACE, IO. */
  constructor(begin: FrameOf<'SNAPSHOT_BEGIN'>, clusterId: string, owner: SinkOwner) {
    const { ports } = owner;
    this.begin = begin;
    this.#owner = owner;
    this.#startedAt = ports.clock.monotonic();
    this.#pacer = new Pacer(ports.clock, ports.options.syncRateBytes);
    this.meta = ports.tools.decodeMetaState(begin.metaState, 'full sync');
    if (!positionsEqual(this.meta.position, begin.position)) {
      throw protocolError('meta', 'the snapshot and its meta state name different positions');
    }
    this.#todo = Array.from({ length: begin.flows }, (_, flow) => flow);
    this.#announced = new Set(this.#todo);
    const unknown = { entries: 0, bytes: 0, fileBytes: 0, crc: 0 };
    const token = ports.tools.encodeToken({
      clusterId,
      createdMs: ports.clock.now(),
      compression: begin.compression,
      flows: this.#todo.map((flow) => ({ flow, ...unknown })),
      meta: this.meta,
    });
    this.#received = begin.position;
    this.#generation = ports.store.beginGeneration(token, Number(begin.estimatedBytes));
  }

  /** End of the log that was received for the new generation. */
  get received(): Position {
    return this.#received;
  }
  get entries(): number {
    return this.#entries;
  }
  get bytes(): number {
    let sum = 0;
    for (const bytes of this.#flowBytes.values()) sum += bytes;
    return sum;
  }
  get elapsedMs(): number {
    return Math.round(this.#owner.ports.clock.monotonic() - this.#startedAt);
  }

  progress(): SyncProgress {
    const bytes = this.bytes;
    const totalBytes = Math.max(bytes, Number(this.begin.estimatedBytes));
    const rate = bytes / Math.max(1, this.elapsedMs);
    return {
      bytes,
      totalBytes,
      etaMs: bytes === 0 ? null : Math.round((totalBytes - bytes) / rate),
      flows: [...this.#announced].map((flow) => ({
        flow,
        bytes: this.#flowBytes.get(flow) ?? 0,
        totalBytes: this.#verified.has(flow) ? (this.#flowBytes.get(flow) ?? 0) : null,
        verified: this.#verified.has(flow),
      })),
    };
  }

  /** Dials the data connections. */
  start(): void {
    const { ports } = this.#owner;
    const { syncId: id, reason, position, flows, estimatedBytes, resumed } = this.begin;
    ports.emit({ event: 'sync_start', id, reason, position, flows, bytes: Number(estimatedBytes), resumed });
    const count = Math.min(ports.options.syncConnections, flows);
    for (let number = 0; number < count; number++) {
      const fetcher = new FlowFetcher(this, number);
      this.#fetchers.add(fetcher);
      this.#owner.dial(fetcher).then(
        (connection) => fetcher.attach(connection),
        (error: unknown) => this.fail(error, true),
      );
    }
  }

  /** Records behind the snapshot. Throws PROTOCOL, IO, NO_SPACE. */
  appendLog(records: Uint8Array): void {
    this.#received = this.#generation.appendLog(records);
  }

  logDurable(frame: FrameOf<'LOG_DURABLE'>): void {
    if (frame.syncId !== this.begin.syncId || !positionsEqual(frame.position, this.begin.position)) {
      throw protocolError('order', 'LOG_DURABLE of another sync');
    }
    this.#isLogDurable = true;
    this.#checkBarrier();
  }

  /** Requires: `complete` was called. Ends the sync. */
  async install(): Promise<void> {
    const { syncId: id, flows } = this.begin;
    this.#owner.ports.emit({ event: 'sync_barrier', id, flows });
    this.#end();
    await this.#generation.install();
  }

  /** Ends the sync without a switch; what was written goes. */
  async abandon(): Promise<void> {
    this.#end();
    await Promise.allSettled(this.#finishing);
    await this.#generation.drop();
  }

  fail(cause: unknown, isLink = false): void {
    if (this.#isOver) return;
    this.#end();
    this.#owner.failed(cause instanceof Error ? cause : createError('IO', String(cause)), isLink);
  }

  /** Fails the sync if nothing of it has moved for so long: what is lost on the way is not waited for for ever. */
  checkProgress(limitMs: number): void {
    const now = this.#owner.ports.clock.monotonic();
    const done = `${this.bytes} ${this.#verified.size} ${this.#isLogDurable}`;
    if (done !== this.#lastDone || this.#finishing.size > 0) {
      this.#lastDone = done;
      this.#movedAt = now;
    } else if (now - this.#movedAt > limitMs) {
      this.fail(createError('TIMEOUT', `the full sync has not moved for ${Math.round(now - this.#movedAt)} ms`));
    }
  }

  // -- for the fetchers --

  get syncId(): string {
    return this.begin.syncId;
  }

  nextFlow(): number | undefined {
    return this.#isOver ? undefined : this.#todo.shift();
  }

  isKnown(flow: number): boolean {
    return this.#announced.has(flow);
  }

  feed(flow: number, bytes: Uint8Array): void {
    this.#generation.feedFlow(flow, bytes);
    this.#flowBytes.set(flow, (this.#flowBytes.get(flow) ?? 0) + bytes.length);
  }

  pace(bytes: number, grant: (part: number) => void): void {
    this.#pacer.pace(bytes, grant);
  }

  /** Verifies the whole flow and makes it durable. */
  async finish(done: FrameOf<'FLOW_DONE'>): Promise<void> {
    const { flow, crc } = done;
    const summary = { flow, crc, entries: Number(done.entries), bytes: Number(done.bytes) };
    const finishing = this.#generation.finishFlow(flow, { ...summary, fileBytes: Number(done.fileBytes) });
    this.#finishing.add(finishing);
    try {
      await finishing;
    } finally {
      this.#finishing.delete(finishing);
    }
    if (this.#isOver) return;
    this.#verified.add(flow);
    this.#entries += summary.entries;
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

  left(fetcher: FlowFetcher): void {
    this.#fetchers.delete(fetcher);
  }

  #checkBarrier(): void {
    if (this.#isOver || !this.#isLogDurable || this.#finishing.size > 0) return;
    for (const flow of this.#announced) if (!this.#verified.has(flow)) return;
    this.#owner.complete();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#pacer.close();
    for (const fetcher of this.#fetchers) fetcher.stop();
    this.#fetchers.clear();
  }
}

/** One data connection: pulls one flow after the other. */
class FlowFetcher implements ConnectionHandler {
  readonly #sink: FullSyncSink;
  readonly #number: number;
  #connection: Connection | undefined;
  #isStopped = false;
  #isReady = false;
  #flow: number | undefined;
  #offset = 0n;
  #consumed = 0;
  #isFinishing = false;

  constructor(sink: FullSyncSink, number: number) {
    this.#sink = sink;
    this.#number = number;
  }

  attach(connection: Connection): void {
    this.#connection = connection;
    if (this.#isStopped) connection.close();
    else if (this.#isReady) this.#join(connection);
  }

  stop(): void {
    this.#isStopped = true;
    this.#connection?.close();
  }

  authenticated(): void {
    this.#isReady = true;
    if (this.#connection !== undefined) this.#join(this.#connection);
  }

  frame(frame: Frame): void {
    if (this.#isStopped) return;
    try {
      if (frame.type === 'FLOW_DATA') this.#data(frame);
      else if (frame.type === 'FLOW_DONE') this.#done(frame);
      else throw protocolError('order', `${frame.type} on a data connection`);
    } catch (error) {
      this.#sink.fail(error);
    }
  }

  drained(): void {}
  beat(): void {}

  closed(end: ConnectionEnd): void {
    this.#sink.left(this);
    if (this.#isStopped) return;
    this.#isStopped = true;
    // A connection that has nothing left to fetch may go.
    if (this.#isReady && this.#flow === undefined && end.error === undefined) return;
    // Without a word of the primary, and with none of ours, it is the network.
    const isLink = end.told === null && end.reason !== 'protocol' && end.reason !== 'auth';
    this.#sink.fail(end.error ?? createError('IO', 'a data connection of the full sync was lost'), isLink);
  }

  #join(connection: Connection): void {
    connection.send({ type: 'JOIN', syncId: this.#sink.syncId, connection: this.#number });
    this.#next();
  }

  #next(): void {
    const flow = this.#sink.nextFlow();
    this.#flow = flow;
    this.#offset = 0n;
    this.#consumed = 0;
    if (flow === undefined) return;
    this.#connection?.send({
      type: 'FLOW_REQUEST',
      syncId: this.#sink.syncId,
      flow,
      offset: 0n,
      credit: BigInt(creditWindow),
    });
  }

  #data(frame: FrameOf<'FLOW_DATA'>): void {
    if (frame.flow !== this.#flow || this.#isFinishing || frame.offset !== this.#offset) {
      throw protocolError('flow', `a piece of flow ${frame.flow} at ${frame.offset} that was not expected`);
    }
    const { flow, bytes } = frame;
    this.#offset += BigInt(bytes.length);
    this.#sink.feed(flow, bytes);
    this.#consumed += bytes.length;
    if (this.#consumed < creditStep) return;
    const credit = this.#consumed;
    this.#consumed = 0;
    this.#sink.pace(credit, (part) => {
      if (this.#flow === flow) this.#connection?.send({ type: 'FLOW_CREDIT', flow, credit: BigInt(part) });
    });
  }

  #done(frame: FrameOf<'FLOW_DONE'>): void {
    // Said twice, it means no more than once: what counts is the set of flows that were verified.
    if (!this.#sink.isKnown(frame.flow)) throw protocolError('flow', `there is no flow ${frame.flow}`);
    if (frame.flow !== this.#flow || this.#isFinishing) return;
    this.#isFinishing = true;
    this.#sink.finish(frame).then(
      () => {
        this.#isFinishing = false;
        if (this.#isStopped) return;
        this.#connection?.send({ type: 'FLOW_END', flow: frame.flow, crc: frame.crc });
        this.#next();
      },
      (error: unknown) => this.#sink.fail(error),
    );
  }
}

/** Code and message of a failed sync, for its event. */
export function failureOf(error: Error): { readonly code: string; readonly message: string } {
  const { code, message } = describeError(error).body;
  return { code, message };
}

/**
 * The primary's side of one replica's full sync: flows of a pinned state (shared-snapshots.ts) on data connections, the
 * word that the log is durable up to it. The log behind the position travels on the session's control connection. On
 * the controller's thread; flow bytes come from worker threads and are only passed on here.
 *
 * Memory: a connection never has more than `creditMax` bytes between worker and socket.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { createError, GaplessError, isErrorCode } from '../errors.js';
import type { Position } from '../position.js';
import { protocolError, type ResumeToken } from '../wire/fields.js';
import type { Frame, FrameOf } from '../wire/frames.js';
import type { FullReason } from '../wire/names.js';
import type { FlowCredit, FlowMessage } from '../workers/replication-tasks.js';
import type { Connection, ConnectionHandler } from './connection.js';
import type { ReplicationPorts } from './ports.js';
import type { SharedSnapshot, SharedSnapshots } from './shared-snapshots.js';

/** Unsent bytes that a peer can make us keep for one connection, whatever credit it gives. */
const creditMax = 16 * 1024 * 1024;
const syncRoundMs = 10_000;
/** Data connections that one replica may have beside its control connection; their numbers are below it. */
export const dataConnectionsMax = 16;

export class FullSyncSource {
  readonly reason: FullReason;
  /** The replica goes on with what it has of the snapshot. */
  readonly isResumed: boolean;
  readonly #ports: ReplicationPorts;
  readonly #snapshots: SharedSnapshots;
  readonly #snapshot: SharedSnapshot;
  readonly #servers = new Set<FlowServer>();
  #isOver = false;

  /** `resume`: what the replica has of a former sync; it goes on there if that is still possible. Throws POISONED. */
  constructor(
    ports: ReplicationPorts,
    snapshots: SharedSnapshots,
    joiner: { readonly nodeId: string; readonly position: Position; readonly resume: ResumeToken | null },
    reason: FullReason,
  ) {
    this.#ports = ports;
    this.#snapshots = snapshots;
    this.reason = reason;
    const known = joiner.resume === null ? undefined : snapshots.resume(this, joiner.nodeId, joiner.resume);
    this.isResumed = known !== undefined;
    this.#snapshot = known ?? snapshots.take(this, joiner.nodeId, joiner.position);
    this.logFrom = known === undefined || joiner.resume === null ? this.position : joiner.resume.position;
  }

  get syncId(): string {
    return this.#snapshot.id;
  }
  /** The state that is sent. */
  get position(): Position {
    return this.#snapshot.position;
  }
  /** Where the log goes on: behind the state, or behind what the replica has of it. */
  readonly logFrom: Position;
  get flows(): number {
    return this.#snapshot.pin.shards;
  }

  announcement(): FrameOf<'SNAPSHOT_BEGIN'> {
    const { store, tools, options } = this.#ports;
    const { keysEstimate, memtableBytes, liveBytesEstimate } = store.storeReport();
    return {
      type: 'SNAPSHOT_BEGIN',
      syncId: this.syncId,
      reason: this.reason,
      position: this.position,
      flows: this.flows,
      compression: options.compression,
      estimatedBytes: BigInt(Math.round(memtableBytes + liveBytesEstimate)),
      estimatedEntries: BigInt(keysEstimate),
      resumed: this.isResumed,
      metaState: tools.encodeMetaState(this.#snapshot.pin.meta),
    };
  }

  /** Resolves once the log is durable up to the position (log first); rejects when it never will be. */
  async logDurable(): Promise<void> {
    for (;;) {
      try {
        await this.#ports.store.syncTo(this.position.offset, syncRoundMs);
        return;
      } catch (error) {
        if (this.#isOver || !(error instanceof GaplessError) || error.code !== 'TIMEOUT') throw error;
      }
    }
  }

  /** Throws EVICTED once the pinned state was given up. */
  check(): void {
    this.#snapshots.check(this.#snapshot);
  }

  /** Serves data connection `number`, in place of a former one; `gone` is called when it is closed. */
  serve(connection: Connection, number: number, gone: () => void): void {
    if (number >= dataConnectionsMax) throw protocolError('connection', `there is no data connection ${number}`);
    for (const former of this.#servers) if (former.number === number) former.stop();
    const server = new FlowServer(connection, number, this, gone);
    this.#servers.add(server);
    connection.handOver(server);
  }

  /** `isDone`: the replica has the state; otherwise it may come back for the rest of it. Idempotent. */
  end(isDone: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const server of this.#servers) server.stop();
    this.#servers.clear();
    this.#snapshots.leave(this.#snapshot, this, isDone);
  }

  /** Starts a flow in a worker thread and returns the port it speaks through. */
  begin(request: FrameOf<'FLOW_REQUEST'>, by: FlowServer): MessagePort {
    const { flow, offset } = request;
    if (request.syncId !== this.syncId || flow >= this.flows) throw protocolError('flow', `there is no flow ${flow}`);
    if (offset > BigInt(Number.MAX_SAFE_INTEGER)) throw protocolError('flow', `flow ${flow} has no offset ${offset}`);
    // Whoever asks last gets the flow.
    for (const server of this.#servers) if (server !== by && server.flow === flow) server.stop();
    const { port1, port2 } = new MessageChannel();
    const { store, tasks, options } = this.#ports;
    const { compression } = options;
    const task = { store: store.token, pin: this.#snapshot.pin.id, flow, offset: Number(offset), compression };
    tasks.streamFlow({ ...task, credit: 0, port: port2 }).catch((error: unknown) => by.failed(error));
    return port1;
  }

  pace(bytes: number, grant: (part: number) => void): void {
    if (!this.#isOver) this.#snapshots.pacer.pace(bytes, grant);
  }

  left(server: FlowServer): void {
    this.#servers.delete(server);
  }
}

/** One data connection: at most one flow at a time. */
class FlowServer implements ConnectionHandler {
  readonly number: number;
  readonly #connection: Connection;
  readonly #source: FullSyncSource;
  readonly #gone: () => void;
  #port: MessagePort | undefined;
  #flow: number | undefined;
  #offset = 0n;
  /** Bytes that the task may still produce, or has produced and the socket has not taken. */
  #credit = 0;
  /** The newest piece waits here until it is known whether it is the last. */
  #piece: Uint8Array | undefined;

  constructor(connection: Connection, number: number, source: FullSyncSource, gone: () => void) {
    this.#connection = connection;
    this.number = number;
    this.#source = source;
    this.#gone = gone;
  }

  /** The flow that is being sent. */
  get flow(): number | undefined {
    return this.#flow;
  }

  authenticated(): void {}
  drained(): void {}
  beat(): void {}

  frame(frame: Frame): void {
    switch (frame.type) {
      case 'FLOW_REQUEST':
        this.#request(frame);
        return;
      case 'FLOW_CREDIT':
        if (frame.flow === this.#flow) this.#grant(frame.credit);
        return;
      case 'FLOW_END':
        return;
      default:
        throw protocolError('order', `${frame.type} on a data connection that joined`);
    }
  }

  closed(): void {
    this.#drop();
    this.#source.left(this);
    this.#gone();
  }

  stop(): void {
    this.#drop();
    this.#connection.close();
  }

  failed(error: unknown): void {
    if (this.#port === undefined) return;
    this.#drop();
    const known = error instanceof Error ? error : createError('IO', String(error));
    this.#connection.fail(null, known);
  }

  #request(frame: FrameOf<'FLOW_REQUEST'>): void {
    if (this.#port !== undefined) throw protocolError('order', 'a second flow on one connection');
    const port = this.#source.begin(frame, this);
    this.#port = port;
    this.#flow = frame.flow;
    this.#offset = frame.offset;
    this.#credit = 0;
    this.#piece = undefined;
    port.on('message', (message: FlowMessage) => this.#produced(message));
    this.#grant(frame.credit);
  }

  #grant(bytes: bigint): void {
    const port = this.#port;
    // A peer that grants and does not read has its credit in the socket already.
    const room = creditMax - this.#credit - this.#connection.unsent;
    const credit = bytes < BigInt(room) ? Number(bytes) : room;
    if (port === undefined || credit <= 0) return;
    this.#credit += credit;
    this.#source.pace(credit, (part) => {
      if (this.#port === port) port.postMessage({ credit: part } satisfies FlowCredit);
    });
  }

  #produced(message: FlowMessage): void {
    const flow = this.#flow;
    if (this.#port === undefined || flow === undefined) return;
    if (message.kind === 'data') {
      this.#credit -= message.bytes.length;
      this.#sendPiece(flow, false);
      this.#piece = message.bytes;
      return;
    }
    if (message.kind === 'failed') {
      const { code } = message;
      const error = createError(isErrorCode(code) && code !== 'USAGE' ? code : 'IO', message.message);
      this.#drop();
      this.#connection.fail(code === 'EVICTED' ? 'hold_expired' : null, error);
      return;
    }
    this.#sendPiece(flow, true);
    const { entries, bytes, fileBytes, crc } = message.summary;
    this.#drop();
    this.#connection.send({
      type: 'FLOW_DONE',
      flow,
      entries: BigInt(entries),
      bytes: BigInt(bytes),
      fileBytes: BigInt(fileBytes),
      crc,
    });
  }

  #sendPiece(flow: number, last: boolean): void {
    const bytes = this.#piece;
    this.#piece = undefined;
    if (bytes === undefined) return;
    this.#connection.send({ type: 'FLOW_DATA', flow, offset: this.#offset, last, bytes });
    this.#offset += BigInt(bytes.length);
  }

  #drop(): void {
    this.#port?.close();
    this.#port = undefined;
    this.#flow = undefined;
    this.#piece = undefined;
  }
}

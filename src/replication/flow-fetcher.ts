/**
 * One data connection of a replica's full sync: pulls one flow after the other, each from where the sink has it on. Its
 * sink (full-sync-sink.ts) gives out the flows and dials again. On the controller's thread.
 *
 * Invariant: a piece is fed only if it continues what was fed before, byte for byte.
 */
import { createError } from '../errors.js';
import { protocolError } from '../wire/fields.js';
import type { Frame, FrameOf } from '../wire/frames.js';
import type { Connection, ConnectionEnd, ConnectionHandler } from './connection.js';

/** Bytes of a flow that may be on their way. */
const creditWindow = 4 * 1024 * 1024;
const creditStep = 1024 * 1024;

/**
 * How a full sync ends early. `link`: connections broke; `stuck`: nothing moves; both may go on later. `broken`: what
 * was received, or what is to come, cannot be trusted or had: another sync begins from nothing.
 */
export type SyncEnding = 'link' | 'stuck' | 'broken';

export interface FlowSink {
  readonly syncId: string;
  /** The next flow to fetch, and how much of it is there; undefined: none is left to be had. */
  claim(): { readonly flow: number; readonly offset: bigint } | undefined;
  isKnown(flow: number): boolean;
  /** Throws CORRUPT, IO, NO_SPACE. */
  feed(flow: number, bytes: Uint8Array): void;
  /** Calls `grant` with parts of `bytes` as the rate allows. */
  pace(bytes: number, grant: (part: number) => void): void;
  /** Verifies the whole flow and makes it durable. */
  finish(done: FrameOf<'FLOW_DONE'>): Promise<void>;
  /** The connection is gone; `flow` was not fetched to its end. */
  left(fetcher: FlowFetcher, flow: number | undefined): void;
  fail(error: unknown, ending: SyncEnding): void;
}

export class FlowFetcher implements ConnectionHandler {
  readonly number: number;
  readonly #sink: FlowSink;
  #connection: Connection | undefined;
  #isStopped = false;
  #isReady = false;
  #flow: number | undefined;
  #offset = 0n;
  #consumed = 0;
  #sawLast = false;
  #isFinishing = false;

  constructor(sink: FlowSink, number: number) {
    this.#sink = sink;
    this.number = number;
  }

  /** The primary let it in. */
  get isReady(): boolean {
    return this.#isReady && !this.#isStopped;
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

  /** There may be a flow to fetch again. */
  wake(): void {
    if (this.isReady && this.#connection !== undefined && this.#flow === undefined) this.#next();
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
      this.#sink.fail(error, 'broken');
    }
  }

  drained(): void {}
  beat(): void {}

  closed(end: ConnectionEnd): void {
    const isStopped = this.#isStopped;
    this.#isStopped = true;
    const ending = endingOf(end);
    if (!isStopped && ending !== undefined) {
      this.#sink.fail(end.error ?? createError('IO', 'a data connection of the full sync was lost'), ending);
    }
    this.#sink.left(this, this.#isFinishing ? undefined : this.#flow);
  }

  #join(connection: Connection): void {
    connection.send({ type: 'JOIN', syncId: this.#sink.syncId, connection: this.number });
    this.#next();
  }

  #next(): void {
    const claimed = this.#sink.claim();
    this.#flow = claimed?.flow;
    this.#consumed = 0;
    this.#sawLast = false;
    if (claimed === undefined) return;
    const { flow, offset } = claimed;
    this.#offset = offset;
    const credit = BigInt(creditWindow);
    this.#connection?.send({ type: 'FLOW_REQUEST', syncId: this.#sink.syncId, flow, offset, credit });
  }

  #data(frame: FrameOf<'FLOW_DATA'>): void {
    const isNext = frame.flow === this.#flow && frame.offset === this.#offset;
    if (!isNext || this.#isFinishing || this.#sawLast) {
      throw protocolError('flow', `a piece of flow ${frame.flow} at ${frame.offset} that was not expected`);
    }
    const { flow, bytes } = frame;
    this.#sawLast = frame.last;
    this.#sink.feed(flow, bytes);
    this.#offset += BigInt(bytes.length);
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
        this.#flow = undefined;
        if (this.#isStopped) return;
        this.#connection?.send({ type: 'FLOW_END', flow: frame.flow, crc: frame.crc });
        this.#next();
      },
      (error: unknown) => this.#sink.fail(error, 'broken'),
    );
  }
}

/** Undefined: only this connection broke, and another one may take its place. */
function endingOf({ told, reason }: ConnectionEnd): SyncEnding | undefined {
  if (told === null) return reason === 'protocol' || reason === 'auth' ? 'broken' : undefined;
  if (told.reason === 'too_many' || told.reason === 'timeout') return undefined;
  // The primary ended the session, and this end has not heard of it yet. It may still have the snapshot.
  const isSessionOver = told.reason === null && (told.code === 'EVICTED' || told.code === 'CLOSED');
  return isSessionOver ? 'link' : 'broken';
}

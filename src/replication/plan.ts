/**
 * What a resync would do now, without doing it: a handshake that says that it is only a question, on a connection of
 * its own, and a count of what would be given up. On the controller's thread; reads the log on pool threads.
 */
import type { NativeStore } from '../binding/contract.js';
import { createError } from '../errors.js';
import { isEmptyPosition, type Position } from '../position.js';
import type { Frame, FrameOf } from '../wire/frames.js';
import type { Reason, Tier } from '../wire/names.js';
import type { Connection, ConnectionEnd, ConnectionHandler } from './connection.js';

/** The answer of `status --plan`. */
export interface SyncPlan {
  readonly tier: Tier;
  readonly reason: Reason | null;
  /** Of the log that would be sent; null: a whole state, whose size only the primary knows, or nothing. */
  readonly bytes: number | null;
  /** What only this node has and would give up; null: nothing. */
  readonly lost: { readonly records: number; readonly operations: number } | null;
  readonly common: Position | null;
}

/** One question to a primary. */
export class PlanLink implements ConnectionHandler {
  readonly #handshake: FrameOf<'HANDSHAKE'>;
  readonly #settle: { resolve(answer: PlanAnswer): void; reject(error: Error): void };
  #connection: Connection | undefined;
  #welcome: FrameOf<'WELCOME'> | undefined;

  constructor(
    handshake: FrameOf<'HANDSHAKE'>,
    settle: { resolve(answer: PlanAnswer): void; reject(error: Error): void },
  ) {
    this.#handshake = handshake;
    this.#settle = settle;
  }

  attach(connection: Connection): void {
    this.#connection = connection;
  }

  authenticated(): void {
    queueMicrotask(() => this.#connection?.send(this.#handshake));
  }

  frame(frame: Frame): void {
    if (frame.type === 'WELCOME') this.#welcome = frame;
    if (frame.type !== 'DECISION' || this.#welcome === undefined) return;
    this.#settle.resolve({ welcome: this.#welcome, decision: frame });
    this.#connection?.close(null);
  }

  drained(): void {}
  beat(): void {}

  closed({ error }: ConnectionEnd): void {
    this.#settle.reject(error ?? createError('IO', 'the primary gave no answer'));
  }
}

export interface PlanAnswer {
  readonly welcome: FrameOf<'WELCOME'>;
  readonly decision: FrameOf<'DECISION'>;
}

type PlanStore = Pick<NativeStore, 'readLogAsync' | 'logStats'>;

export async function planOf({ welcome, decision }: PlanAnswer, store: PlanStore): Promise<SyncPlan> {
  const { tier, reason, from, common, lossBytes, to } = decision;
  const begin = tier === 'rewind' ? common : tier === 'padding' ? to : from;
  const isLog = tier !== 'full' && tier !== 'stop' && begin !== null;
  const bytes = isLog ? Number(later(welcome.shippingEnd.offset, begin.offset) - begin.offset) : null;
  const isDiverged = lossBytes !== null && lossBytes > 0n && !isEmptyPosition(from);
  const floor = store.logStats().floor;
  const lost = isDiverged ? await countRecords(store, later(common?.offset ?? 0n, floor), from.offset) : null;
  return { tier, reason, bytes, lost, common };
}

/** Records and operations of the log in [from, to). */
async function countRecords(store: PlanStore, from: bigint, to: bigint): Promise<SyncPlan['lost']> {
  let records = 0;
  let operations = 0;
  for (let at = from; at < to; ) {
    const { bytes, after } = await store.readLogAsync(at, 1024 * 1024);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let record = 0; record < bytes.length; ) {
      records += 1;
      operations += view.getUint32(record + operationsAt, true);
      record += Math.ceil((headerBytes + view.getUint32(record + bodyBytesAt, true)) / 8) * 8;
    }
    if (after.offset <= at) break;
    at = after.offset;
  }
  return { records, operations };
}

/** Of a record's header: docs/FORMAT.md. The engine has verified it. */
const headerBytes = 56;
const bodyBytesAt = 8;
const operationsAt = 32;

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

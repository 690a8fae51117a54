/**
 * Frames to bytes and back, without sockets. Layout, limits and order: docs/PROTOCOL.md. One decoder a connection and
 * direction; the thread that owns the connection calls it.
 *
 * A frame's length is used only after the header's CRC was verified and after it was compared with the limit of its
 * type; a type that this side does not send on this connection is refused before its payload is awaited. Everything
 * malformed ends in a PROTOCOL error, and the decoder then repeats it: the connection is over.
 */
import type { GaplessError } from '../errors.js';
import { parseEpoch } from '../position.js';
import type { Checksum } from './checksum.js';
import { FieldReader, FieldWriter, type Kind, kinds, protocolError } from './fields.js';
import {
  type Frame,
  type FrameName,
  type FrameOf,
  frameHeaderBytes,
  frames,
  type Purpose,
  type Side,
} from './frames.js';
import { isFullReason } from './names.js';

interface FieldPlan {
  readonly name: string;
  readonly kind: Kind<unknown>;
  readonly isRest: boolean;
}

/** Bytes of the smallest record, and the unit of all records. */
const recordHeaderBytes = 56;
const recordUnit = 8;

export interface DecodedFrame {
  readonly frame: Frame;
  /** The sender's current epoch. */
  readonly epoch: string;
  /** Bytes on the wire, header included. */
  readonly bytes: number;
}

function planOf(name: FrameName): readonly FieldPlan[] {
  const fields: Readonly<Record<string, keyof typeof kinds>> = frames[name].fields;
  return Object.entries(fields).map(([field, kind]) => ({ name: field, kind: kinds[kind], isRest: kind === 'rest' }));
}

/** Encodes with one checksum and remembers the plans; stateless otherwise. */
export class FrameEncoder {
  readonly #checksum: Checksum;
  readonly #plans = new Map<FrameName, readonly FieldPlan[]>();

  constructor(checksum: Checksum) {
    this.#checksum = checksum;
  }

  /**
   * The frame's bytes, in one or two pieces to be sent in order; a last field of raw bytes is not copied, so it must
   * stay unchanged until it is sent. Throws a RangeError for what no peer would accept.
   */
  encode(frame: Frame, epoch: string): Uint8Array[] {
    const values: Readonly<Record<string, unknown>> = { ...frame };
    const plan = this.#plans.get(frame.type) ?? planOf(frame.type);
    this.#plans.set(frame.type, plan);
    const fixed = plan.filter(({ isRest }) => !isRest);
    const fixedBytes = fixed.reduce((sum, { name, kind }) => sum + kind.size(values[name]), 0);
    const rest = plan.length === fixed.length ? undefined : (values[plan.at(-1)?.name ?? ''] as Uint8Array);
    const payloadBytes = fixedBytes + (rest?.length ?? 0);
    const { limit, type } = frames[frame.type];
    if (payloadBytes > limit) throw new RangeError(`${frame.type} of ${payloadBytes} bytes, at most ${limit}`);
    const head = new Uint8Array(frameHeaderBytes + fixedBytes);
    const writer = new FieldWriter(head.subarray(frameHeaderBytes));
    for (const { name, kind } of fixed) kind.write(writer, values[name]);
    let crc = this.#checksum(0, head.subarray(frameHeaderBytes));
    if (rest !== undefined) crc = this.#checksum(crc, rest);
    this.#writeHeader(head, payloadBytes, type, epoch, crc);
    return rest === undefined || rest.length === 0 ? [head] : [head, rest];
  }

  #writeHeader(head: Uint8Array, payloadBytes: number, type: number, epoch: string, crc: number): void {
    const view = new DataView(head.buffer, head.byteOffset, frameHeaderBytes);
    const { term, run } = parseEpoch(epoch);
    view.setUint32(0, payloadBytes, true);
    view.setUint8(4, type);
    view.setUint32(8, term, true);
    view.setUint32(12, run, true);
    view.setUint32(16, crc, true);
    view.setUint32(20, this.#checksum(0, head.subarray(0, 20)), true);
  }
}

export interface DecoderOptions {
  /** Which side the bytes come from. */
  readonly from: Side;
  readonly on: Purpose;
  readonly checksum: Checksum;
  /** Lower limits than the table's, by frame. */
  readonly limits?: Partial<Readonly<Record<FrameName, number>>>;
}

interface Header {
  readonly name: FrameName;
  readonly bytes: number;
  readonly epoch: string;
  readonly crc: number;
}

/** Turns a stream of bytes, cut anywhere, into frames. */
export class FrameDecoder {
  readonly #options: DecoderOptions;
  readonly #names: ReadonlyMap<number, FrameName>;
  readonly #plans = new Map<FrameName, readonly FieldPlan[]>();
  #chunks: Uint8Array[] = [];
  #buffered = 0;
  #header: Header | undefined;
  #failure: GaplessError | undefined;

  constructor(options: DecoderOptions) {
    this.#options = options;
    const names = Object.keys(frames) as FrameName[];
    this.#names = new Map(names.map((name) => [frames[name].type, name]));
  }

  /** Bytes that arrived and belong to no whole frame yet. */
  get buffered(): number {
    return this.#buffered;
  }

  /** True between frames: an end of the stream here cuts nothing. */
  get isBetweenFrames(): boolean {
    return this.#buffered === 0 && this.#header === undefined;
  }

  /** Adds bytes; they must stay unchanged. Call `next` until it gives nothing before adding more. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0 || this.#failure !== undefined) return;
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
  }

  /** The next whole frame, if there is one. Raw bytes in it may share memory with what was pushed. */
  next(): DecodedFrame | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      if (this.#header === undefined) {
        if (this.#buffered < frameHeaderBytes) return undefined;
        this.#header = this.#readHeader(this.#take(frameHeaderBytes));
      }
      if (this.#buffered < this.#header.bytes) return undefined;
      const header = this.#header;
      this.#header = undefined;
      return this.#readFrame(header, this.#take(header.bytes));
    } catch (error) {
      this.#failure = error as GaplessError;
      this.#chunks = [];
      this.#buffered = 0;
      throw error;
    }
  }

  #readHeader(bytes: Uint8Array): Header {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (this.#options.checksum(0, bytes.subarray(0, 20)) !== view.getUint32(20, true)) {
      throw protocolError('header_crc', 'a frame header that fails its checksum');
    }
    if (view.getUint8(5) !== 0 || view.getUint16(6, true) !== 0) {
      throw protocolError('reserved', 'a frame with unknown flags');
    }
    const name = this.#names.get(view.getUint8(4));
    if (name === undefined) throw protocolError('type', `an unknown frame type ${view.getUint8(4)}`);
    const { from, on, limit } = frames[name];
    if ((from !== 'both' && from !== this.#options.from) || (on !== 'both' && on !== this.#options.on)) {
      throw protocolError('direction', `${name} from the ${this.#options.from} on the ${this.#options.on} connection`);
    }
    const length = view.getUint32(0, true);
    const allowed = Math.min(limit, this.#options.limits?.[name] ?? limit);
    if (length > allowed) throw protocolError('limit', `${name} of ${length} bytes, at most ${allowed}`);
    const epoch = `${view.getUint32(8, true)}.${view.getUint32(12, true)}`;
    return { name, bytes: length, epoch, crc: view.getUint32(16, true) };
  }

  #readFrame(header: Header, payload: Uint8Array): DecodedFrame {
    const { name, epoch } = header;
    if (this.#options.checksum(0, payload) !== header.crc) {
      throw protocolError('payload_crc', `${name} that fails its checksum`);
    }
    const plan = this.#plans.get(name) ?? planOf(name);
    this.#plans.set(name, plan);
    const reader = new FieldReader(payload);
    const fields: Record<string, unknown> = { type: name };
    for (const field of plan) fields[field.name] = field.kind.read(reader);
    if (reader.left > 0) throw protocolError('length', `${name} with ${reader.left} bytes too many`);
    // The plan is the one from which the type is derived.
    const frame = fields as unknown as Frame;
    checkFrame(frame);
    return { frame, epoch, bytes: frameHeaderBytes + header.bytes };
  }

  /** Requires: that many bytes are buffered. Copies only what is spread over several chunks. */
  #take(bytes: number): Uint8Array {
    this.#buffered -= bytes;
    const first = this.#chunks[0];
    if (bytes === 0 || first === undefined) return new Uint8Array(0);
    if (first.length > bytes) {
      this.#chunks[0] = first.subarray(bytes);
      return first.subarray(0, bytes);
    }
    if (first.length === bytes) {
      this.#chunks.shift();
      return first;
    }
    const whole = new Uint8Array(bytes);
    let filled = 0;
    let used = 0;
    for (const chunk of this.#chunks) {
      if (filled + chunk.length > bytes) break;
      whole.set(chunk, filled);
      filled += chunk.length;
      used++;
    }
    this.#chunks.splice(0, used);
    const part = this.#chunks[0];
    if (filled < bytes && part !== undefined) {
      whole.set(part.subarray(0, bytes - filled), filled);
      this.#chunks[0] = part.subarray(bytes - filled);
    }
    return whole;
  }
}

/** Rules that bind several fields, or a value that its kind alone would allow. */
function checkFrame(frame: Frame): void {
  if (frame.type === 'LOG') checkRecords(frame);
  if (frame.type === 'HANDSHAKE' && frame.asksFull !== null && !isFullReason(frame.asksFull)) {
    throw protocolError('enum', `a full sync for ${frame.asksFull}`);
  }
  if (frame.type === 'SNAPSHOT_BEGIN' && (frame.flows < 1 || frame.flows > flowsMax)) {
    throw protocolError('count', `a snapshot of ${frame.flows} flows`);
  }
  if (frame.type === 'FLOW_DATA' && frame.bytes.length === 0 && !frame.last) {
    throw protocolError('length', 'FLOW_DATA without data');
  }
  if (frame.type === 'DECISION') {
    const needsReason = frame.tier === 'full' || frame.tier === 'stop' || frame.tier === 'padding';
    if (needsReason !== (frame.reason !== null))
      throw protocolError('enum', `${frame.tier} with reason ${frame.reason}`);
  }
}

/** One flow a shard of the sender. */
export const flowsMax = 64;

function checkRecords({ records }: FrameOf<'LOG'>): void {
  if (records.length < recordHeaderBytes || records.length % recordUnit !== 0) {
    throw protocolError('length', `LOG with ${records.length} bytes of records`);
  }
}

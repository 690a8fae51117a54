/**
 * Points in a history: epoch, position, version, as values of JavaScript. Pure; any thread.
 *
 * A position is what the record before it says; layout in docs/FORMAT.md ("Position"), text and JSON form in the
 * interfaces' conventions. Equal means all four fields; before and after are questions for epoch lists, never for seq
 * alone, so there is no order of positions here.
 */

export interface Position {
  /** "term.run" of the record before. */
  readonly epoch: string;
  /** Last sequence of the record before. */
  readonly seq: bigint;
  /** End offset of the record before. */
  readonly offset: bigint;
  /** Chain of the record before, 16 lower-case hex digits. */
  readonly chain: string;
  /** "1.1:42:4096:9f3c0a5e11d27b60" */
  toString(): string;
  toJSON(): PositionJson;
}

export interface PositionJson {
  readonly epoch: string;
  readonly seq: string;
  readonly offset: string;
  readonly chain: string;
}

/** The operation that last wrote a key. */
export interface Version {
  readonly epoch: string;
  readonly seq: bigint;
  /** "1.1:42" */
  toString(): string;
  toJSON(): { readonly epoch: string; readonly seq: string };
}

export interface EpochParts {
  readonly term: number;
  readonly run: number;
}

export const positionBytes = 32;
const u64Max = 0xffff_ffff_ffff_ffffn;
const u32Max = 0xffff_ffff;

class PositionValue implements Position {
  readonly epoch: string;
  readonly seq: bigint;
  readonly offset: bigint;
  readonly chain: string;

  constructor(epoch: string, seq: bigint, offset: bigint, chain: string) {
    this.epoch = epoch;
    this.seq = seq;
    this.offset = offset;
    this.chain = chain;
  }

  toString(): string {
    return `${this.epoch}:${this.seq}:${this.offset}:${this.chain}`;
  }

  toJSON(): PositionJson {
    return { epoch: this.epoch, seq: `${this.seq}`, offset: `${this.offset}`, chain: this.chain };
  }
}

class VersionValue implements Version {
  readonly epoch: string;
  readonly seq: bigint;

  constructor(epoch: string, seq: bigint) {
    this.epoch = epoch;
    this.seq = seq;
  }

  toString(): string {
    return `${this.epoch}:${this.seq}`;
  }

  toJSON(): { readonly epoch: string; readonly seq: string } {
    return { epoch: this.epoch, seq: `${this.seq}` };
  }
}

/** "3.1" as numbers. Throws a RangeError for anything else than two decimal u32 without leading zeros. */
export function parseEpoch(text: string): EpochParts {
  const match = /^(0|[1-9]\d{0,9})\.(0|[1-9]\d{0,9})$/.exec(text);
  const term = Number(match?.[1]);
  const run = Number(match?.[2]);
  if (match === null || term > u32Max || run > u32Max) throw new RangeError(`not an epoch: "${text}"`);
  return { term, run };
}

export function formatEpoch(term: number, run: number): string {
  if (!isU32(term) || !isU32(run)) throw new RangeError(`not an epoch: ${term}.${run}`);
  return `${term}.${run}`;
}

/** Negative, 0 or positive: term first, then run. */
export function compareEpochs(a: string, b: string): number {
  const left = parseEpoch(a);
  const right = parseEpoch(b);
  return left.term - right.term || left.run - right.run;
}

/** Checks and builds a position. Requires valid fields; throws a RangeError otherwise. */
export function createPosition(epoch: string, seq: bigint, offset: bigint, chain: string): Position {
  parseEpoch(epoch);
  if (!isU64(seq)) throw new RangeError(`not a sequence: ${seq}`);
  if (!isU64(offset)) throw new RangeError(`not an offset: ${offset}`);
  if (!/^[0-9a-f]{16}$/.test(chain)) throw new RangeError(`not a chain: "${chain}"`);
  return new PositionValue(epoch, seq, offset, chain);
}

/** The position before the first record of every history. */
export function emptyPosition(): Position {
  return new PositionValue('0.0', 0n, 0n, '0000000000000000');
}

export function isEmptyPosition(position: Position): boolean {
  return position.offset === 0n;
}

export function positionsEqual(a: Position, b: Position): boolean {
  return a.offset === b.offset && a.seq === b.seq && a.chain === b.chain && a.epoch === b.epoch;
}

/** Reads the text form. Throws a RangeError. */
export function parsePosition(text: string): Position {
  const parts = text.split(':');
  const [epoch, seq, offset, chain] = parts;
  if (parts.length !== 4 || epoch === undefined || seq === undefined || offset === undefined || chain === undefined) {
    throw new RangeError(`not a position: "${text}"`);
  }
  return createPosition(epoch, parseDecimal(seq, 'sequence'), parseDecimal(offset, 'offset'), chain);
}

/** Reads the JSON form, or takes a position as it is. Throws a TypeError or RangeError. */
export function toPosition(value: unknown): Position {
  if (value instanceof PositionValue) return value;
  if (typeof value === 'string') return parsePosition(value);
  if (typeof value !== 'object' || value === null) throw new TypeError('a position must be an object or its text');
  const { epoch, seq, offset, chain } = value as Record<string, unknown>;
  if (typeof epoch !== 'string' || typeof chain !== 'string') {
    throw new TypeError('a position must have the strings epoch and chain');
  }
  return createPosition(epoch, toSeq(seq), toSeq(offset, 'offset'), chain);
}

export function createVersion(epoch: string, seq: bigint): Version {
  parseEpoch(epoch);
  if (!isU64(seq)) throw new RangeError(`not a sequence: ${seq}`);
  return new VersionValue(epoch, seq);
}

/** Reads "1.1:42". Throws a RangeError. */
export function parseVersion(text: string): Version {
  const at = text.indexOf(':');
  if (at < 0) throw new RangeError(`not a version: "${text}"`);
  return createVersion(text.slice(0, at), parseDecimal(text.slice(at + 1), 'sequence'));
}

/** Reads the text or JSON form, or takes a version as it is. Throws a TypeError or RangeError. */
export function toVersion(value: unknown): Version {
  if (value instanceof VersionValue) return value;
  if (typeof value === 'string') return parseVersion(value);
  if (typeof value !== 'object' || value === null) throw new TypeError('a version must be an object or its text');
  const { epoch, seq } = value as Record<string, unknown>;
  if (typeof epoch !== 'string') throw new TypeError('a version must have the string epoch');
  return createVersion(epoch, toSeq(seq));
}

/** A sequence as the API takes it: bigint, decimal string or safe integer. */
export function toSeq(value: unknown, name = 'sequence'): bigint {
  if (typeof value === 'bigint') {
    if (!isU64(value)) throw new RangeError(`not a ${name}: ${value}`);
    return value;
  }
  if (typeof value === 'string') return parseDecimal(value, name);
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  throw new TypeError(`a ${name} must be a bigint, a decimal string or a safe integer`);
}

/** Writes the 32 bytes of docs/FORMAT.md at `at`. Requires: they fit into `view`. */
export function encodePosition(position: Position, view: DataView, at: number): void {
  const { term, run } = parseEpoch(position.epoch);
  view.setUint32(at, term, true);
  view.setUint32(at + 4, run, true);
  view.setBigUint64(at + 8, position.seq, true);
  view.setBigUint64(at + 16, position.offset, true);
  view.setBigUint64(at + 24, BigInt(`0x${position.chain}`), true);
}

/** Reads 32 bytes at `at`; every content is a position. Requires: they lie in `view`. */
export function decodePosition(view: DataView, at: number): Position {
  const epoch = `${view.getUint32(at, true)}.${view.getUint32(at + 4, true)}`;
  const chain = formatChain(view.getBigUint64(at + 24, true));
  return new PositionValue(epoch, view.getBigUint64(at + 8, true), view.getBigUint64(at + 16, true), chain);
}

/** Two words of the addon, {seq, term | run << 32}, as a version: valid by origin, so nothing is checked. */
export function decodeVersion(view: DataView): Version {
  return new VersionValue(`${view.getUint32(8, true)}.${view.getUint32(12, true)}`, view.getBigUint64(0, true));
}

/** A chain as 16 hex digits. Requires: a u64. */
export function formatChain(chain: bigint): string {
  return chain.toString(16).padStart(16, '0');
}

function parseDecimal(text: string, name: string): bigint {
  if (!/^(0|[1-9]\d{0,19})$/.test(text)) throw new RangeError(`not a ${name}: "${text}"`);
  const value = BigInt(text);
  if (value > u64Max) throw new RangeError(`not a ${name}: "${text}"`);
  return value;
}

function isU64(value: bigint): boolean {
  return value >= 0n && value <= u64Max;
}

function isU32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= u32Max;
}

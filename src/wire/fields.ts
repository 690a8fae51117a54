/**
 * The kinds of fields that frames are made of: size, writing, checked reading. Little-endian. Pure; any thread.
 *
 * A reader never looks outside its payload, never allocates more than the payload's own size, and turns everything
 * malformed into a PROTOCOL error. Kinds: docs/PROTOCOL.md.
 */
import { type AnyCode, createError, errorTable, type GaplessError } from '../errors.js';
import { compareEpochs, decodePosition, encodePosition, formatChain, type Position, parseEpoch } from '../position.js';
import {
  type Compression,
  compressions,
  type Reason,
  reasons,
  type Tier,
  tiers,
  type Verdict,
  verdicts,
} from './names.js';

export const checkpointsMax = 64;
export const epochsMax = 4096;
export const textBytesMax = 1024;

/** One entry of an epoch list, as peers compare it. */
export interface EpochFact {
  readonly epoch: string;
  /** The position at which the epoch begins: the end of the history before it. */
  readonly before: Position;
  /** Chain of its EPOCH record. */
  readonly chain: string;
}

/** A full sync that was interrupted and may go on. */
export interface ResumeToken {
  readonly syncId: string;
  readonly position: Position;
}

/** What each kind is in JavaScript. */
export interface FieldKinds {
  readonly u8: number;
  readonly u32: number;
  readonly u64: bigint;
  readonly ms: number;
  readonly flag: boolean;
  readonly id: string;
  readonly epoch: string;
  readonly position: Position;
  readonly 'position?': Position | null;
  readonly 'u64?': bigint | null;
  readonly tier: Tier;
  readonly 'reason?': Reason | null;
  readonly compression: Compression;
  readonly verdict: Verdict;
  readonly code: AnyCode;
  readonly text: string;
  readonly blob: Uint8Array;
  readonly rest: Uint8Array;
  readonly positions: readonly Position[];
  readonly epochs: readonly EpochFact[];
  readonly 'resume?': ResumeToken | null;
}

export interface Kind<T> {
  /** Bytes that `write` will take. Throws a RangeError for a value that must not be sent. */
  size(value: T): number;
  write(to: FieldWriter, value: T): void;
  read(from: FieldReader): T;
}

/** A malformed frame or hello. `rule` names what does not hold. */
export function protocolError(rule: string, message: string): GaplessError {
  return createError('PROTOCOL', message, { details: { rule } });
}

/** Writes fields one behind the other. Requires: the bytes were sized with the kinds' `size`. */
export class FieldWriter {
  readonly #bytes: Uint8Array;
  readonly view: DataView;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Reserves the next bytes and tells where they are. */
  take(bytes: number): number {
    const at = this.at;
    this.at += bytes;
    return at;
  }

  put(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.take(bytes.length));
  }
}

/** Reads fields one behind the other, never outside `bytes`. */
export class FieldReader {
  readonly #bytes: Uint8Array;
  readonly view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(bytes: number): number {
    if (bytes > this.left) throw protocolError('length', `a field of ${bytes} bytes, with ${this.left} left`);
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  slice(bytes: number): Uint8Array {
    const at = this.take(bytes);
    return this.#bytes.subarray(at, at + bytes);
  }
}

function u8(to: FieldWriter, value: number): void {
  to.view.setUint8(to.take(1), value);
}

function word<T extends string>(words: readonly T[], what: string): Kind<T> {
  return {
    size: () => 1,
    write: (to, value) => u8(to, words.indexOf(value)),
    read(from) {
      const found = words[from.view.getUint8(from.take(1))];
      if (found === undefined) throw protocolError('enum', `an unknown ${what}`);
      return found;
    },
  };
}

function bit(from: FieldReader): boolean {
  const value = from.view.getUint8(from.take(1));
  if (value > 1) throw protocolError('flag', `a flag of ${value}`);
  return value === 1;
}

/** A presence byte, then the value if there is one. */
function optional<T>(kind: Kind<T>): Kind<T | null> {
  return {
    size: (value) => 1 + (value === null ? 0 : kind.size(value)),
    write(to, value) {
      u8(to, value === null ? 0 : 1);
      if (value !== null) kind.write(to, value);
    },
    read: (from) => (bit(from) ? kind.read(from) : null),
  };
}

/** A count (u32), then the items, each of a fixed size. */
function list<T>(kind: Kind<T>, itemBytes: number, max: number): Kind<readonly T[]> {
  return {
    size(items) {
      if (items.length > max) throw new RangeError(`a list of ${items.length} entries, at most ${max}`);
      return 4 + items.length * itemBytes;
    },
    write(to, items) {
      to.view.setUint32(to.take(4), items.length, true);
      for (const item of items) kind.write(to, item);
    },
    read(from) {
      const count = from.view.getUint32(from.take(4), true);
      if (count > max || count * itemBytes > from.left) throw protocolError('count', `a list of ${count} entries`);
      return Array.from({ length: count }, () => kind.read(from));
    },
  };
}

function bytesWithLength(max: number, lengthBytes: 2 | 4): Kind<Uint8Array> {
  return {
    size(bytes) {
      if (bytes.length > max) throw new RangeError(`a field of ${bytes.length} bytes, at most ${max}`);
      return lengthBytes + bytes.length;
    },
    write(to, bytes) {
      if (lengthBytes === 2) to.view.setUint16(to.take(2), bytes.length, true);
      else to.view.setUint32(to.take(4), bytes.length, true);
      to.put(bytes);
    },
    read(from) {
      const at = from.take(lengthBytes);
      const length = lengthBytes === 2 ? from.view.getUint16(at, true) : from.view.getUint32(at, true);
      if (length > max) throw protocolError('length', `a field of ${length} bytes, at most ${max}`);
      return from.slice(length);
    },
  };
}

const u64: Kind<bigint> = {
  size: () => 8,
  write: (to, value) => to.view.setBigUint64(to.take(8), value, true),
  read: (from) => from.view.getBigUint64(from.take(8), true),
};

const id: Kind<string> = {
  size(value) {
    if (!/^[0-9a-f]{32}$/.test(value)) throw new RangeError(`not an id: "${value}"`);
    return 16;
  },
  write: (to, value) => to.put(Buffer.from(value, 'hex')),
  read: (from) => Buffer.from(from.slice(16)).toString('hex'),
};

const epoch: Kind<string> = {
  size: () => 8,
  write(to, value) {
    const { term, run } = parseEpoch(value);
    to.view.setUint32(to.take(4), term, true);
    to.view.setUint32(to.take(4), run, true);
  },
  read(from) {
    const at = from.take(8);
    return `${from.view.getUint32(at, true)}.${from.view.getUint32(at + 4, true)}`;
  },
};

const position: Kind<Position> = {
  size: () => 32,
  write: (to, value) => encodePosition(value, to.view, to.take(32)),
  read: (from) => decodePosition(from.view, from.take(32)),
};

const epochFact: Kind<EpochFact> = {
  size: () => 48,
  write(to, value) {
    epoch.write(to, value.epoch);
    position.write(to, value.before);
    u64.write(to, BigInt(`0x${value.chain}`));
  },
  read: (from) => ({ epoch: epoch.read(from), before: position.read(from), chain: formatChain(u64.read(from)) }),
};

const anyEpochs = list(epochFact, 48, epochsMax);

/** Epochs rise, and so do the offsets at which they begin: what compares two lists relies on it. */
const epochs: Kind<readonly EpochFact[]> = {
  ...anyEpochs,
  read(from) {
    const facts = anyEpochs.read(from);
    for (const [i, fact] of facts.entries()) {
      const former = facts[i - 1];
      if (former === undefined) continue;
      if (compareEpochs(former.epoch, fact.epoch) >= 0 || former.before.offset >= fact.before.offset) {
        throw protocolError('order', 'an epoch list that does not rise');
      }
    }
    return facts;
  },
};

const text: Kind<string> = {
  size: (value) => 2 + Math.min(textBytesMax, Buffer.byteLength(value)),
  write: (to, value) => textBytes.write(to, cutText(value)),
  read(from) {
    const bytes = textBytes.read(from);
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw createError('PROTOCOL', 'a text that is not UTF-8', { details: { rule: 'utf8' }, cause });
    }
  },
};
const textBytes = bytesWithLength(textBytesMax, 2);

/** Texts inform people: one that is too long is cut, not refused. The cut leaves whole characters, padded by blanks. */
function cutText(value: string): Uint8Array {
  const bytes = Buffer.from(value);
  if (bytes.length <= textBytesMax) return bytes;
  let end = textBytesMax;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return Buffer.concat([bytes.subarray(0, end), Buffer.alloc(textBytesMax - end, ' ')]);
}

const resume: Kind<ResumeToken> = {
  size: (value) => id.size(value.syncId) + 32,
  write(to, value) {
    id.write(to, value.syncId);
    position.write(to, value.position);
  },
  read: (from) => ({ syncId: id.read(from), position: position.read(from) }),
};

const ms: Kind<number> = {
  size(value) {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not a number of milliseconds: ${value}`);
    return 8;
  },
  write: (to, value) => u64.write(to, BigInt(value)),
  read(from) {
    const value = u64.read(from);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw protocolError('time', 'a time beyond all times');
    return Number(value);
  },
};

const codes = Object.keys(errorTable) as AnyCode[];
const codeText: Kind<AnyCode> = {
  size: (value) => 2 + value.length,
  write: (to, value) => text.write(to, value),
  read(from) {
    const value = text.read(from);
    const code = codes.find((other) => other === value);
    if (code === undefined) throw protocolError('enum', 'an unknown error code');
    return code;
  },
};

export const kinds: { readonly [K in keyof FieldKinds]: Kind<FieldKinds[K]> } = {
  u8: { size: () => 1, write: u8, read: (from) => from.view.getUint8(from.take(1)) },
  u32: {
    size: () => 4,
    write: (to, value) => to.view.setUint32(to.take(4), value, true),
    read: (from) => from.view.getUint32(from.take(4), true),
  },
  u64,
  ms,
  flag: { size: () => 1, write: (to, value) => u8(to, value ? 1 : 0), read: bit },
  id,
  epoch,
  position,
  'position?': optional(position),
  'u64?': optional(u64),
  tier: word(tiers, 'tier'),
  'reason?': {
    size: () => 1,
    write: (to, value) => u8(to, value === null ? 0 : reasons.indexOf(value) + 1),
    read(from) {
      const number = from.view.getUint8(from.take(1));
      const reason = number === 0 ? null : reasons[number - 1];
      if (reason === undefined) throw protocolError('enum', 'an unknown reason');
      return reason;
    },
  },
  compression: word(compressions, 'compression'),
  verdict: word(verdicts, 'verdict'),
  code: codeText,
  text,
  blob: bytesWithLength(1 << 20, 4),
  rest: {
    size: (bytes) => bytes.length,
    write: (to, bytes) => to.put(bytes),
    read: (from) => from.slice(from.left),
  },
  positions: list(position, 32, checkpointsMax),
  epochs,
  'resume?': optional(resume),
};

/**
 * The log behind one position, for one reader: out of the ring while the ring has it, out of the segments otherwise,
 * and back to the ring once caught up. Gives whole records only, never beyond the shipping end, each chunk in memory
 * of its own. One thread; one call at a time.
 *
 * What the ring gives is a candidate: `checkRecords` verifies CRCs, sequence and chain before a byte is used.
 */
import { GaplessError, isErrorCode } from '../errors.js';
import type { Position } from '../position.js';
import { RingReader } from '../ring/reader.js';
import type { LogSource, RecordTools } from './ports.js';

export interface FeedChunk {
  readonly bytes: Uint8Array;
  readonly before: Position;
  readonly after: Position;
}

export type FeedSource = 'ring' | 'wal';

export class LogFeed {
  readonly #log: LogSource;
  readonly #tools: RecordTools;
  readonly #clusterId: string;
  readonly #ring: RingReader | undefined;
  #position: Position;
  #timestamp = 0n;
  #source: FeedSource = 'ring';

  constructor(log: LogSource, tools: RecordTools, ring: SharedArrayBuffer | null, from: Position) {
    this.#log = log;
    this.#tools = tools;
    this.#clusterId = log.identity().clusterId;
    this.#ring = ring === null ? undefined : new RingReader(ring);
    this.#position = from;
  }

  /** Everything before it has been given. */
  get position(): Position {
    return this.#position;
  }

  /** Where the last chunk came from. */
  get source(): FeedSource {
    return this.#source;
  }

  /**
   * The next records, of about `bytes` bytes, at once; undefined: the ring does not have them (whole), ask `readLog`.
   * Requires: the shipping end is `bytes` or more behind the position.
   */
  takeFromRing(bytes: number): FeedChunk | undefined {
    const ring = this.#ring;
    if (ring === undefined) return undefined;
    const into = new Uint8Array(bytes);
    const read = ring.read(ring.generation(), this.#position.offset, into);
    if (read.outcome !== 'ok') return undefined;
    const checked = this.#tools.checkRecords(
      into.subarray(0, read.bytes),
      this.#position,
      this.#timestamp,
      this.#clusterId,
    );
    if (checked.bytes === 0) return undefined;
    this.#timestamp = checked.timestamp;
    this.#source = 'ring';
    return this.#advance(into.subarray(0, checked.bytes), checked.after);
  }

  /** The next records from the segments: one at least, about `bytes` otherwise; null: none yet. EVICTED, CORRUPT. */
  async readLog(bytes: number): Promise<FeedChunk | null> {
    const before = this.#position;
    const chunk = await this.#log.readLogAsync(before.offset, bytes);
    if (chunk.bytes.length === 0) return null;
    if (chunk.before.chain !== before.chain || chunk.before.seq !== before.seq) {
      throw new GaplessError('HISTORY_CHANGED', `the log at offset ${before.offset} is another history now`);
    }
    this.#timestamp = 0n;
    this.#source = 'wal';
    return this.#advance(chunk.bytes, chunk.after);
  }

  #advance(bytes: Uint8Array, after: Position): FeedChunk {
    const before = this.#position;
    this.#position = after;
    return { bytes, before, after };
  }
}

/** True if the error says that the log no longer has what was asked for. */
export function isEvicted(error: unknown): boolean {
  return error instanceof GaplessError && isErrorCode(error.code) && error.code === 'EVICTED';
}

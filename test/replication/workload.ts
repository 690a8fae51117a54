/**
 * Writers whose effects show every loss and every double application, and counts of records out of a directory's log.
 * Each writer owns a sequence key and bumps a counter of its own and one that all share; beside that it overwrites,
 * deletes and range-deletes keys that all writers share.
 */
import { seededRandom } from '../../dist/base/prng.js';
import { type Database, digestDirectory, readLogRecords } from '../../dist/index.js';

export interface Writers {
  /** Acknowledged commits so far. */
  commits(): number;
  /** Ends all writers and waits for their last acknowledgements. */
  stop(): Promise<void>;
  /** Compares own keys and counters with what was acknowledged. */
  check(db: Database): void;
}

export interface WriterOptions {
  readonly writers?: number;
  readonly seed?: number;
  /** Keys that all writers share. */
  readonly keys?: number;
  readonly valueBytes?: number;
  /** Pause of each writer between two commits. */
  readonly pauseMs?: number;
}

export function startWriters(db: Database, options: WriterOptions = {}): Writers {
  const { writers = 16, seed = 1, keys = 2000, valueBytes = 40, pauseMs = 0 } = options;
  const acknowledged = new Array<number>(writers).fill(0);
  let isWriting = true;
  const key = (i: number): string => `data-${String(i).padStart(6, '0')}`;
  const write = async (writer: number): Promise<void> => {
    const random = seededRandom(seed * 1000 + writer);
    for (let i = 1; isWriting; i++) {
      const at = random.below(keys);
      const batch = db.batch().increment('shared').increment(`count-${writer}`).put(`own-${writer}`, `${i}`);
      const dice = random.below(20);
      if (dice === 0) batch.delRange({ gte: key(at), lt: key(at + 5) });
      else if (dice < 4) batch.del(key(at));
      else batch.put(key(at), `${writer}:${i}:${'x'.repeat(random.below(valueBytes))}`);
      await batch.commit();
      acknowledged[writer] = i;
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
  const running = acknowledged.map((_, writer) => write(writer));
  // A writer that fails shows itself in `stop`.
  for (const each of running) each.catch(() => undefined);
  const commits = (): number => acknowledged.reduce((total, count) => total + count, 0);
  return {
    commits,
    stop: async () => {
      isWriting = false;
      await Promise.all(running);
    },
    check: (at) => {
      const wrong: string[] = [];
      const expectCount = (name: string, count: number): void => {
        const shown = at.get(name)?.toString() ?? '0';
        if (shown !== `${count}`) wrong.push(`${name} is ${shown}, not ${count}`);
      };
      for (const [writer, count] of acknowledged.entries()) {
        expectCount(`count-${writer}`, count);
        expectCount(`own-${writer}`, count);
      }
      expectCount('shared', commits());
      if (wrong.length > 0) throw new Error(`${at.path}: ${wrong.join('; ')}`);
    },
  };
}

/** Records by the sequence they end at, of a directory that is not open and has its log from the beginning. */
export class LogIndex {
  readonly #ends = new Map<bigint, number>();

  static async read(dir: string): Promise<LogIndex> {
    const index = new LogIndex();
    let count = 0;
    index.#ends.set(0n, 0);
    for await (const record of readLogRecords(dir)) index.#ends.set(record.after.seq, ++count);
    return index;
  }

  /** Records in (from, to]. Throws if either is no record end. */
  between(from: bigint, to: bigint): number {
    return this.#at(to) - this.#at(from);
  }

  #at(seq: bigint): number {
    const count = this.#ends.get(seq);
    if (count === undefined) throw new Error(`no record of the log ends at sequence ${seq}`);
    return count;
  }
}

/** Digest of the state at a sequence, computed from a directory that is not open. */
export async function replayedDigest(dir: string, seq: bigint): Promise<string> {
  return (await digestDirectory(dir, seq)).digest;
}

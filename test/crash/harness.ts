/**
 * Lives and judgement of the crash tests: runs the process that dies, keeps what it said before it died, and compares
 * what a reopened store holds with it. The judge reads the whole log (no hole, nothing invented, order kept) and the
 * whole state (equal to the replay of that log).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type Change, type Database, type OpenOptions, open, type Position } from '../../dist/index.js';
import { operationsOf, type WorkOperation } from './workload.mjs';

/** What one process was asked to do. */
export interface Job {
  readonly path: string;
  readonly seed: number;
  readonly writes: number;
  readonly inFlight: number;
  readonly pauseMs: number;
  readonly options: OpenOptions;
}

export interface Acknowledged {
  readonly write: number;
  readonly seq: bigint;
  readonly at: bigint;
}

export interface Refused {
  readonly write: number;
  readonly code: string;
  readonly seq: string;
}

/** What a process said, and how it ended. */
export interface Life {
  readonly seed: number;
  intents: number;
  readonly acknowledged: Acknowledged[];
  readonly refused: Refused[];
  opened: boolean;
  closed: boolean;
  killedAt: bigint;
  code: number | null;
  signal: NodeJS.Signals | null;
  stderr: string;
}

export type Listener = (line: string, life: Life, child: ChildProcess) => void;

/** Sorts behind every key of the workload. */
const markKey = '~mark';
const childPath = fileURLToPath(new URL('./child.mjs', import.meta.url));

/** Kills with the time noted first: an acknowledgement that came later is not judged by time. */
export function kill(life: Life, child: ChildProcess): void {
  if (life.killedAt === 0n) life.killedAt = process.hrtime.bigint();
  child.kill('SIGKILL');
}

/** Runs one life to its end. Rejects if it does not end within `timeoutMs`. */
export function live(job: Job, listen: Listener, env: NodeJS.ProcessEnv = {}, timeoutMs = 60_000): Promise<Life> {
  const child = spawn(process.execPath, [childPath, JSON.stringify(job)], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const life: Life = {
    seed: job.seed,
    intents: 0,
    acknowledged: [],
    refused: [],
    opened: false,
    closed: false,
    killedAt: 0n,
    code: null,
    signal: null,
    stderr: '',
  };
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(
        new Error(
          `the process hangs behind ${life.intents} intents and ${life.acknowledged.length} acks: ${life.stderr}`,
        ),
      );
    }, timeoutMs);
    let rest = '';
    (child.stdio[3] as Readable).setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        note(line, life);
        listen(line, life, child);
      }
    });
    (child.stderr as Readable).setEncoding('utf8').on('data', (text: string) => {
      life.stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      life.code = code;
      life.signal = signal;
      resolve(life);
    });
  });
}

function note(line: string, life: Life): void {
  const [word = '', number = '', third = '', fourth = ''] = line.split(' ');
  if (word === 'opened') life.opened = true;
  if (word === 'closed') life.closed = true;
  if (word === 'i') life.intents = Number(number) + 1;
  if (word === 'a') life.acknowledged.push({ write: Number(number), seq: BigInt(third), at: BigInt(fourth) });
  if (word === 'e') life.refused.push({ write: Number(number), code: third, seq: fourth });
}

/** What a store must hold: the survived writes of all lives, in order, and the state that they make. */
export class Oracle {
  readonly state = new Map<string, string>();
  /** Up to here the log was judged: the judge's own last write. */
  #judged: Position | 'oldest' = 'oldest';
  #lastSeq = 0n;
  #marks = 0;

  /**
   * Judges the store behind some lives, and writes a mark of its own: behind it begins the next life.
   * `mustHave`: acknowledgements that this death must not lose. Returns how many of their writes survived. Throws
   * what is wrong.
   */
  async judge(db: Database, lives: readonly Life[], mustHave: (ack: Acknowledged) => boolean): Promise<number> {
    this.#compareReads(db);
    this.#marks += 1;
    const mark = await db.put(markKey, `${this.#marks}`);
    const changes = await changesBetween(db, this.#judged, mark.position.seq);
    must(changes.pop()?.firstSeq === mark.firstSeq, 'the last batch is not the mark');
    let survived = 0;
    for (const life of lives) {
      const seqs = this.#takeLife(life, changes);
      survived += seqs.size;
      for (const ack of life.acknowledged) {
        const seq = seqs.get(ack.write);
        if (seq === undefined) must(!mustHave(ack), `write ${ack.write}, acknowledged at seq ${ack.seq}, is lost`);
        else must(seq === ack.seq, `write ${ack.write}: acknowledged at ${ack.seq}, found at ${seq}`);
      }
    }
    must(changes.length === 0, `batch at seq ${changes[0]?.firstSeq} is no write in its turn`);
    this.state.set(markKey, `${this.#marks}`);
    this.#lastSeq = mark.position.seq;
    this.#judged = mark.position;
    this.#compareState(db);
    return survived;
  }

  /** Takes the batches of one life off the front: write number -> seq behind it. */
  #takeLife(life: Life, changes: Change[]): Map<number, bigint> {
    const refused = new Set(life.refused.map(({ write }) => write));
    const seqs = new Map<number, bigint>();
    for (let write = 0; write < life.intents; write += 1) {
      const change = changes[0];
      if (change === undefined) break;
      if (!sameOperations(operationsOf(life.seed, write), change)) {
        // A refused write that was never sequenced left no trace; one in doubt may have.
        if (refused.has(write)) continue;
        break;
      }
      must(change.firstSeq > this.#lastSeq, `seq ${change.firstSeq} behind ${this.#lastSeq}`);
      this.#lastSeq = change.position.seq;
      this.#apply(operationsOf(life.seed, write));
      seqs.set(write, change.position.seq);
      changes.shift();
    }
    return seqs;
  }

  #apply(operations: readonly WorkOperation[]): void {
    for (const operation of operations) {
      if (operation.op === 'put') this.state.set(operation.key, operation.value);
      else if (operation.op === 'del') this.state.delete(operation.key);
      else
        for (const key of [...this.state.keys()])
          if (key >= operation.gte && key < operation.lt) this.state.delete(key);
    }
  }

  /** What a range shows is what gets show. */
  #compareReads(db: Database): void {
    for (const [key, value] of db.range())
      must(db.get(key)?.equals(value) === true, `get of ${key} differs from the range`);
  }

  #compareState(db: Database): void {
    const found = [...db.range()].map(([key, value]) => [key.toString(), value.toString()] as const);
    const wanted = [...this.state].sort(([a], [b]) => (a < b ? -1 : 1));
    must(found.length === wanted.length, `${found.length} keys instead of ${wanted.length}`);
    for (const [index, [key, value]] of wanted.entries()) {
      must(found[index]?.[0] === key && found[index]?.[1] === value, `key ${key} is not what the log says`);
    }
  }
}

/** The batches behind a position, up to `end`, which is one of them. */
async function changesBetween(db: Database, from: Position | 'oldest', end: bigint): Promise<Change[]> {
  const found: Change[] = [];
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error('the change feed hangs')), 20_000);
  try {
    for await (const change of db.changes({ from, signal: abort.signal })) {
      found.push(change);
      if (change.position.seq >= end) break;
    }
    return found;
  } finally {
    clearTimeout(timer);
  }
}

function sameOperations(wanted: readonly WorkOperation[], change: Change): boolean {
  if (wanted.length !== change.operations.length) return false;
  return change.operations.every((found, index) => {
    const want = wanted[index];
    if (want === undefined || want.op !== found.op) return false;
    if (want.op === 'put' && found.op === 'put') {
      return found.key.toString() === want.key && found.value.toString() === want.value;
    }
    if (want.op === 'del' && found.op === 'del') return found.key.toString() === want.key;
    return (
      want.op === 'delRange' &&
      found.op === 'delRange' &&
      found.gte.toString() === want.gte &&
      found.lt?.toString() === want.lt
    );
  });
}

function must(fact: boolean, otherwise: string): asserts fact {
  if (!fact) throw new Error(otherwise);
}

/** A directory for one test file's stores. */
export function temporaryRoot(): { readonly path: (name: string) => string; readonly remove: () => void } {
  const root = mkdtempSync(join(tmpdir(), 'gapless-crash-'));
  return { path: (name) => join(root, name), remove: () => rmSync(root, { recursive: true, force: true }) };
}

/** Opens, lets `work` run, closes whatever happens. */
export async function withStore<T>(path: string, options: OpenOptions, work: (db: Database) => Promise<T>): Promise<T> {
  const db = await open(path, options);
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}

/** Relative path -> hash of every file below a directory. */
export function hashTree(root: string, below = ''): Map<string, string> {
  const hashes = new Map<string, string>();
  for (const entry of readdirSync(join(root, below), { withFileTypes: true })) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) {
      hashes.set(`${path}/`, 'directory');
      for (const [inner, hash] of hashTree(root, path)) hashes.set(inner, hash);
    } else
      hashes.set(
        path,
        createHash('sha256')
          .update(readFileSync(join(root, path)))
          .digest('hex'),
      );
  }
  return hashes;
}

/** A generator of whole numbers below a bound, the same for the same seed. */
export function seeded(seed: number): (below: number) => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/**
 * A Target over an open database: what the data commands do on a directory, and what the status address does for its
 * clients. The thread that opened the database.
 */
import type { Batch, Database, View } from '../index.js';
import type { Position } from '../position.js';
import type {
  DigestAnswer,
  ReadAnswer,
  ScanQuery,
  ScanRow,
  Target,
  TextOperation,
  WriteAnswer,
  WriteFlags,
} from './target.js';

/** Rows of one view, and where it stands. Call `close` in the end: it releases the view. */
export interface OpenScan {
  readonly position: Position;
  readonly rows: Iterable<ScanRow>;
  close(): void;
}

export class DatabaseTarget implements Target {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async get(key: Buffer): Promise<ReadAnswer> {
    const view = this.#database.view();
    try {
      return { found: view.getEntry(key), position: view.position };
    } finally {
      view.close();
    }
  }

  async write(operations: readonly TextOperation[], flags: WriteFlags): Promise<WriteAnswer> {
    const batch = this.#database.batch();
    for (const operation of operations) addOperation(batch, operation);
    const { position, firstSeq, results } = await batch.commit(flags);
    return { position, firstSeq, results };
  }

  openScan(query: ScanQuery): OpenScan {
    const view = this.#database.view();
    return { position: view.position, rows: rowsOf(view, query), close: () => view.close() };
  }

  async *scan(query: ScanQuery): AsyncGenerator<ScanRow, void, void> {
    const scan = this.openScan(query);
    try {
      yield* scan.rows;
    } finally {
      scan.close();
    }
  }

  digest(at: bigint | undefined, timeoutMs?: number): Promise<DigestAnswer> {
    return this.#database.digest({ at, timeoutMs });
  }

  async position(): Promise<Position> {
    return this.#database.position;
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}

function* rowsOf(view: View, query: ScanQuery): Generator<ScanRow, void, void> {
  const { prefix, from: gte, to: lt, limit, reverse, keys } = query;
  for (const [key, value] of view.range({ prefix, gte, lt, limit, reverse })) {
    const entry = view.getEntry(key);
    if (entry === undefined) throw new Error('broken invariant: a view lost a key between two reads');
    yield keys ? { key, version: entry.version } : { key, value, version: entry.version };
  }
}

function addOperation(batch: Batch, operation: TextOperation): void {
  switch (operation.op) {
    case 'put':
      batch.put(operation.key, operation.value);
      return;
    case 'del':
      batch.del(operation.key);
      return;
    case 'delRange':
      batch.delRange(operation.range);
      return;
    case 'increment':
      batch.increment(operation.key, operation.by);
      return;
    case 'check':
      batch.check(operation.key, operation.version);
  }
}

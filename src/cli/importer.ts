/**
 * Moves the entries of a source into a target, batch by batch: while one batch waits for its acknowledgement the next
 * one is read. Used by `gapless import` and by the demo.
 */
import { createError } from '../errors.js';
import type { Position } from '../position.js';
import type { AckLog } from './ack-log.js';
import type { ImportSource, SourceEntry } from './import-source.js';
import type { Target, WriteFlags } from './target.js';
import { UsageError } from './usage.js';

/** A batch ends early rather than grow beyond this. */
export const batchBytesMax: number = 8 * 1024 * 1024;

/**
 * Groups entries: at most `entriesMax`, and not beyond `batchBytesMax` unless one entry alone is larger. When the
 * source fails, what came before the failure is still given.
 */
export async function* batches(
  entries: AsyncIterable<SourceEntry>,
  entriesMax: number,
): AsyncGenerator<readonly SourceEntry[], void, void> {
  let batch: SourceEntry[] = [];
  let bytes = 0;
  let failure: { readonly error: unknown } | undefined;
  const iterator = entries[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await iterator.next().catch((error: unknown) => {
        failure = { error };
        return undefined;
      });
      if (next === undefined || next.done === true) break;
      const size = next.value.key.length + next.value.value.length;
      if (batch.length > 0 && (batch.length >= entriesMax || bytes + size > batchBytesMax)) {
        yield batch;
        batch = [];
        bytes = 0;
      }
      batch.push(next.value);
      bytes += size;
    }
    if (batch.length > 0) yield batch;
  } finally {
    await iterator.return?.();
  }
  if (failure !== undefined) throw failure.error;
}

export interface ImportPlan {
  readonly source: ImportSource;
  readonly target: Target;
  readonly entriesPerBatch: number;
  /** Stands before each key. */
  readonly prefix: Buffer;
  readonly flags: WriteFlags;
  readonly ackLog: AckLog | undefined;
  readonly onBatch: (soFar: ImportCounts) => void;
}

export interface ImportCounts {
  readonly entries: number;
  /** Of keys and values. */
  readonly bytes: number;
  readonly batches: number;
}

export interface ImportResult extends ImportCounts {
  /** Undefined: nothing was written. */
  readonly position: Position | undefined;
}

export async function importEntries(plan: ImportPlan): Promise<ImportResult> {
  const { target, prefix, flags, ackLog } = plan;
  const iterator = batches(plan.source.entries, plan.entriesPerBatch);
  let result: ImportResult = { entries: 0, bytes: 0, batches: 0, position: undefined };
  try {
    let next = await iterator.next();
    while (!next.done) {
      const entries = next.value.map(({ key, value }) => ({ key: Buffer.concat([prefix, key]), value }));
      const writing = target.write(
        entries.map((entry) => ({ op: 'put', ...entry }) as const),
        flags,
      );
      const reading = settled(iterator.next());
      // The acknowledgement comes first: what was acknowledged is reported even if the source fails meanwhile.
      const [{ position, firstSeq }, following] = await bothSettled(writing, reading);
      const keys = entries.map(({ key }) => key);
      await ackLog?.acknowledge(firstSeq, keys);
      const bytes = entries.reduce((total, { key, value }) => total + key.length + value.length, 0);
      result = {
        entries: result.entries + entries.length,
        bytes: result.bytes + bytes,
        batches: result.batches + 1,
        position,
      };
      plan.onBatch(result);
      if ('error' in following) throw afterWrites(following.error, result);
      next = following.value;
    }
  } finally {
    await iterator.return();
  }
  return result;
}

/** A usage error says that nothing was touched; behind the first batch that would be wrong. */
function afterWrites(error: unknown, { entries }: ImportCounts): unknown {
  if (!(error instanceof UsageError)) return error;
  const message = `${error.message}; the ${entries} entries before it are written`;
  return createError('IO', message, { cause: error, details: { entries } });
}

type Settled<T> = { readonly value: T } | { readonly error: unknown };

function settled<T>(work: Promise<T>): Promise<Settled<T>> {
  return work.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}

/** Waits for both, so that nothing is left running when the first one fails. */
async function bothSettled<A, B>(first: Promise<A>, second: Promise<B>): Promise<readonly [A, B]> {
  const [outcome, other] = await Promise.all([settled(first), second]);
  if ('error' in outcome) throw outcome.error;
  return [outcome.value, other];
}

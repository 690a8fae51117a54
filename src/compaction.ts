/**
 * Compaction on demand: merges a range down to the bottom, in the background thread of the engine. This side only waits
 * in short steps, so that closing and the caller's signal end it. The thread that opened the store.
 */
import type { NativeCompaction, NativeStore } from './binding/contract.js';
import { isEmptyRange, type KeyRange, toBounds } from './bounds.js';
import { abortError } from './errors.js';
import { refuseUnknown } from './options.js';

/** Bytes of all runs before and after. */
export type Compaction = NativeCompaction;

export interface CompactOptions {
  /** Stops waiting and merging; what was merged stays so. */
  readonly signal?: AbortSignal | undefined;
}

/** `check` throws CLOSED when the database is closing. */
export async function compactRange(
  store: NativeStore,
  range: KeyRange,
  options: CompactOptions,
  check: () => void,
): Promise<Compaction> {
  refuseUnknown(options, ['signal'], '');
  const { signal } = options;
  const bounds = toBounds(range);
  if (signal?.aborted) throw abortError(signal);
  if (isEmptyRange(bounds)) {
    const { runBytes } = store.storeReport();
    return { bytesBefore: runBytes, bytesAfter: runBytes };
  }
  const lower = bounds.lower.length === 0 ? null : bounds.lower;
  const compaction = store.compactStart(lower, bounds.upper ?? null);
  let isEnded = false;
  try {
    for (;;) {
      const ended = await store.compactWait(compaction);
      isEnded = ended !== null;
      if (ended !== null) return ended;
      check();
      if (signal?.aborted) throw abortError(signal);
    }
  } finally {
    if (!isEnded) store.compactCancel(compaction);
  }
}

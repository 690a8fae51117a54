/**
 * A worker thread's handle on the store that its tasks belong to. One a thread: a pool serves one store. The handle is
 * given up when the thread ends.
 */
import type { NativeStore } from '../binding/contract.js';
import { loadAddon } from '../binding/load.js';

const attached = new Map<bigint, NativeStore>();

/** The handle of `token`, attached at the first call. Throws NOT_OPEN. */
export function attachedStore(token: bigint): NativeStore {
  const known = attached.get(token);
  if (known !== undefined) return known;
  // Tasks wait for nothing that the engine would wake them for.
  const store = loadAddon().attachStore(token, () => undefined);
  attached.set(token, store);
  return store;
}

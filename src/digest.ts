/** The digest of a state: a sum over all live entries, equal on every node at equal positions. */
import type { NativeStore } from './binding/contract.js';
import type { Position } from './position.js';

export interface Digest {
  readonly position: Position;
  readonly keys: number;
  /** Key and value bytes. */
  readonly bytes: number;
  /** 32 hex digits. */
  readonly digest: string;
}

/** Shard by shard in background threads; the view must stay open until this settles, which is behind all of them. */
export async function digestOfView(store: NativeStore, view: number, position: Position): Promise<Digest> {
  const { shards } = store.identity();
  const settled = await Promise.allSettled(
    Array.from({ length: shards }, (_, shard) => store.digestShard(view, shard)),
  );
  const parts = settled.map((part) => {
    if (part.status === 'rejected') throw part.reason;
    return part.value;
  });
  const sum = parts.reduce((total, part) => BigInt.asUintN(128, total + part.sum), 0n);
  return {
    position,
    keys: parts.reduce((total, { keys }) => total + keys, 0),
    bytes: parts.reduce((total, { bytes }) => total + bytes, 0),
    digest: sum.toString(16).padStart(32, '0'),
  };
}

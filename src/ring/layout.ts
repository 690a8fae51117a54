/**
 * Byte layout of the ring, the replication backlog in shared memory. Offsets only; no logic. Table: docs/RING.md.
 *
 * One producer (the sequencer, native) and many readers share this memory. Invariant, for every observer:
 * oldest <= next and next - oldest <= capacity. Only native code stores; a reader learns that it was overtaken by
 * loading `oldest` again after copying.
 */

/** Byte offsets of the header words and of the data, as in native/ring/ring.h. */
export const ringLayout = {
  magic: 0,
  capacity: 128,
  generation: 256,
  next: 384,
  oldest: 512,
  shipping: 640,
  durable: 768,
  applied: 896,
  epoch: 1024,
  notify: 1152,
  data: 1280,
} as const;

export const ringMagic = 'GPLSRNG1';
export const ringCapacityMin = 64;

/** Bytes of the SharedArrayBuffer for a ring of this capacity. */
export function ringBytes(capacity: number): number {
  return ringLayout.data + capacity;
}

/**
 * Assertions of our own invariants; on in production. What a caller or a peer can get wrong is never asserted: that is
 * a TypeError, a RangeError or a typed error. Pure; any thread.
 */

/** Throws when an invariant of gaplessdb itself is broken: a bug, never an input. */
export function assert(condition: boolean, fact: string): asserts condition {
  if (!condition) throw new Error(`broken invariant: ${fact}`);
}

/** The value, which our own logic says is there. */
export function present<T>(value: T | undefined | null, fact: string): T {
  if (value === undefined || value === null) throw new Error(`broken invariant: ${fact}`);
  return value;
}

/** Ends a switch over a closed union; does not compile while a member is missing. */
export function unreachable(value: never): never {
  throw new Error(`broken invariant: unexpected ${JSON.stringify(value)}`);
}

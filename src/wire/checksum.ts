/**
 * CRC32C for frames. The addon's implementation is passed in where it is loaded; this is the one without it (tests,
 * command line). Pure; any thread.
 */
import { createRequire } from 'node:module';

/** Continues `crc` (0 at the start) over `bytes`; the result is unsigned. */
export type Checksum = (crc: number, bytes: Uint8Array) => number;

/** CRC32C in JavaScript: correct everywhere, about a tenth of the addon's speed. */
export function portableChecksum(): Checksum {
  // The package has no types for this file, and its main file is another polynomial.
  const require = createRequire(import.meta.url);
  const { buf } = require('crc-32/crc32c.js') as { buf(bytes: Uint8Array, seed: number): number };
  return (crc, bytes) => buf(bytes, crc) >>> 0;
}

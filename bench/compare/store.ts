/**
 * What an engine must offer to take part: the same few calls, each in the fastest public form that the engine has. One
 * file an engine below engines/; settings that make them equal stand in each `open`, and in bench/README.md.
 */

export interface Settings {
  /** `os`: acknowledged when a kill of the process cannot undo it; `sync`: nor a loss of power. */
  readonly durability: 'os' | 'sync';
  /** For blocks of files, and for memtables, where the engine has such. */
  readonly cacheBytes: number;
  readonly memtableBytes: number;
  readonly valueBytes: number;
}

/** Keys are strings of 16 characters, values Buffers. Every read returns what it found, so that it can be checked. */
export interface BenchStore {
  /** Atomic; resolved or returned when acknowledged at the durability of the store. */
  batch(keys: readonly string[], values: readonly Buffer[]): Promise<unknown> | undefined;
  put(key: string, value: Buffer): Promise<unknown> | undefined;
  /** Blocks until acknowledged, where the engine can. */
  putSync?(key: string, value: Buffer): void;
  get(key: string): Buffer | null | undefined;
  /** Bytes of the value, left in memory that is used again by the next call; -1: missing. */
  getInto?(key: string): number;
  /** All of them, in whatever form it comes in; the bytes of the values. */
  getMany(keys: readonly string[]): Promise<number> | number;
  /** Forward over everything, keys and values; how many there were. */
  scan(): Promise<number> | number;
  close(): Promise<unknown> | undefined;
}

export interface Engine {
  readonly name: string;
  /** Of the package that it comes from; "" for ours. */
  readonly packageName: string;
  open(dir: string, settings: Settings): Promise<BenchStore>;
}

export function bytesOf(values: Iterable<Uint8Array | null | undefined>): number {
  let bytes = 0;
  for (const value of values) bytes += value?.length ?? 0;
  return bytes;
}

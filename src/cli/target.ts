/**
 * What a data command works on: a directory opened here, or a node's status address. Both answer in the same shapes,
 * so that each command is written once. The status address itself answers through the same interface.
 */
import type { AckLevel } from '../options.js';
import type { Position, Version } from '../position.js';

export type DurabilityName = 'sync' | 'os' | 'memory';

/** One operation as the text interfaces know it, bytes decoded. */
export type TextOperation =
  | { readonly op: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly op: 'del'; readonly key: Buffer }
  | { readonly op: 'delRange'; readonly range: ByteRange }
  | { readonly op: 'increment'; readonly key: Buffer; readonly by: bigint }
  | { readonly op: 'check'; readonly key: Buffer; readonly version: Version | null };

export interface ByteRange {
  readonly gt?: Buffer;
  readonly gte?: Buffer;
  readonly lt?: Buffer;
  readonly lte?: Buffer;
  readonly prefix?: Buffer;
}

export interface WriteFlags {
  readonly durability?: DurabilityName | undefined;
  /** Replicas that must have the write at `level` before it is acknowledged; 0 or absent: none. */
  readonly replicas?: number | undefined;
  readonly level?: AckLevel | undefined;
  /** How long to wait for them. */
  readonly timeoutMs?: number | undefined;
}

export interface WriteAnswer {
  readonly position: Position;
  readonly firstSeq: bigint;
  readonly results: readonly bigint[];
}

export interface ReadAnswer {
  readonly found: { readonly value: Buffer; readonly version: Version } | undefined;
  readonly position: Position;
}

export interface ScanQuery {
  readonly prefix?: Buffer | undefined;
  readonly from?: Buffer | undefined;
  readonly to?: Buffer | undefined;
  readonly limit?: number | undefined;
  readonly reverse: boolean;
  readonly keys: boolean;
}

export interface ScanRow {
  readonly key: Buffer;
  /** Absent with `keys`. */
  readonly value?: Buffer;
  readonly version: Version;
}

export interface DigestAnswer {
  readonly position: Position;
  readonly keys: number;
  readonly bytes: number;
  readonly digest: string;
}

export interface Target {
  get(key: Buffer): Promise<ReadAnswer>;
  /** One atomic batch. */
  write(operations: readonly TextOperation[], flags: WriteFlags): Promise<WriteAnswer>;
  scan(query: ScanQuery): AsyncIterable<ScanRow>;
  digest(at: bigint | undefined): Promise<DigestAnswer>;
  /** What reads see now. */
  position(): Promise<Position>;
  close(): Promise<void>;
}

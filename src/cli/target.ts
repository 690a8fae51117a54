/**
 * What a data command works on: a directory opened here, or a node's status address. Both answer in the same shapes, so that
 * each command is written once.
 */
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
  readonly durability?: DurabilityName;
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
  readonly prefix?: Buffer;
  readonly from?: Buffer;
  readonly to?: Buffer;
  readonly limit?: number;
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
  close(): Promise<void>;
}

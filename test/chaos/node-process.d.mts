import type { OpenOptions } from '../../dist/index.js';

export interface ExitOf {
  readonly code: number | null;
  readonly signal: string | null;
}
export class NodeProcess {
  static start(dir: string, options?: OpenOptions, more?: { readonly watched?: boolean }): Promise<NodeProcess>;
  readonly dir: string;
  readonly nodeId: string;
  readonly pid: number;
  readonly events: readonly Readonly<Record<string, unknown>>[];
  readonly acknowledged: ReadonlyMap<number, number>;
  readonly acks: number;
  readonly loadEnds: readonly string[];
  ask<T = unknown>(method: string, args?: unknown): Promise<T>;
  saw(event: string, fields?: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>[];
  freeze(): void;
  thaw(): void;
  kill(): Promise<ExitOf>;
  close(): Promise<ExitOf>;
}
export function until(what: string, isSo: () => boolean | Promise<boolean>, timeoutMs?: number): Promise<void>;

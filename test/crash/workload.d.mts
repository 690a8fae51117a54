import type { Commit, Database } from '../../dist/index.js';

export type WorkOperation =
  | { readonly op: 'put'; readonly key: string; readonly value: string }
  | { readonly op: 'del'; readonly key: string }
  | { readonly op: 'delRange'; readonly gte: string; readonly lt: string };

export function operationsOf(seed: number, i: number): readonly WorkOperation[];
export function submit(db: Database, seed: number, i: number): Promise<Commit>;

import type { Database } from '../../dist/index.js';

export const accountSum: number;
export function writeGeneration(db: Database, generation: number, ballast?: number): Promise<void>;
export function inspect(read: (keys: string[]) => (Buffer | undefined)[], last: number): string | null;
export interface Watch {
  reads(): number;
  stop(): Promise<string[]>;
}
export function watchGenerations(db: Database): Watch;

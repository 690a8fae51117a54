/** A bar on stderr for what takes long while a node runs: only on a terminal, one line that is written over. */
import type { Database } from '../index.js';
import type { Output } from './output.js';

const width = 30;
const mib = 1024 * 1024;

export interface Advance {
  readonly done: number;
  readonly total: number;
  readonly etaMs: number | null;
}

export function barText(name: string, { done, total, etaMs }: Advance): string {
  const part = total === 0 ? 0 : Math.min(1, done / total);
  const full = Math.floor(part * width);
  const bar = `${'#'.repeat(full)}${'-'.repeat(width - full)}`;
  const size = `${(done / mib).toFixed(1)} of ${(total / mib).toFixed(1)} MiB`;
  const left = etaMs === null ? '' : `, ${Math.ceil(etaMs / 1000)} s left`;
  return `${name} [${bar}] ${Math.floor(part * 100)} %, ${size}${left}`;
}

/** Shows full syncs of the database as they advance, and wipes the line when they end. */
export function showFullSyncs(database: Pick<Database, 'on'>, output: Pick<Output, 'isTerminal' | 'overwrite'>): void {
  if (!output.isTerminal) return;
  let isShown = false;
  database.on('progress', (advance) => {
    isShown = true;
    output.overwrite(barText('full sync', advance));
  });
  const wipe = (): void => {
    if (isShown) output.overwrite('');
    isShown = false;
  };
  database.on('sync_done', wipe);
  database.on('sync_failed', wipe);
  database.on('closed', wipe);
}

/**
 * Verifying a store that is open: every record of the retained log is read back from disk and checked (CRCs, chain,
 * contiguity), `deep` also sums all live entries. The command `gapless verify` checks the other files of a directory
 * too, which nobody may have open then. The thread that opened the store.
 */
import type { NativeStore } from './binding/contract.js';
import { digestOfView } from './digest.js';
import { GaplessError } from './errors.js';
import type { Position } from './position.js';

export interface VerifyDamage {
  readonly kind: 'log';
  readonly file: string | null;
  readonly offset: number | null;
  readonly logOffset: string;
  readonly what: string;
}

export interface VerifyResult {
  readonly ok: boolean;
  readonly deep: boolean;
  /** Log bytes read. */
  readonly bytes: number;
  /** Up to here. */
  readonly position: Position;
  readonly damage: readonly VerifyDamage[];
}

const chunkBytes = 1024 * 1024;

export async function verifyOpen(store: NativeStore, deep: boolean, check: () => void): Promise<VerifyResult> {
  const position = store.shippingEnd();
  let at = store.logStats().floor;
  const from = at;
  while (at < position.offset) {
    check();
    try {
      at = (await store.readLogAsync(at, chunkBytes)).after.offset;
    } catch (error) {
      if (!(error instanceof GaplessError) || error.code !== 'CORRUPT') throw error;
      const damage = [damageOf(error, at)];
      return { ok: false, deep, bytes: Number(at - from), position, damage };
    }
  }
  if (deep) {
    const { view, position: pinned } = store.openView();
    try {
      await digestOfView(store, view, pinned);
    } finally {
      store.releaseView(view);
    }
  }
  return { ok: true, deep, bytes: Number(at - from), position, damage: [] };
}

function damageOf(error: GaplessError, at: bigint): VerifyDamage {
  const { file, offset, logOffset } = error.details;
  return {
    kind: 'log',
    file: typeof file === 'string' ? file : null,
    offset: typeof offset === 'number' ? offset : null,
    logOffset: `${typeof logOffset === 'number' ? logOffset : at}`,
    what: error.message,
  };
}

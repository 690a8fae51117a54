/**
 * Verifying a store that is open: every record of the retained log is read back from disk and checked (CRCs, chain,
 * contiguity), `deep` also reads every live entry from memtables and runs. The command `gapless verify` checks the
 * other files of a directory too, which nobody may have open then. The thread that opened the store.
 */
import type { NativeStore } from './binding/contract.js';
import { digestOfView } from './digest.js';
import { GaplessError } from './errors.js';
import type { Position } from './position.js';

export interface VerifyDamage {
  readonly kind: 'log' | 'run';
  readonly file: string | null;
  readonly offset: number | null;
  /** Of the log only. */
  readonly logOffset?: string;
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
  const damage: VerifyDamage[] = [];
  while (at < position.offset && damage.length === 0) {
    check();
    try {
      at = (await store.readLogAsync(at, chunkBytes)).after.offset;
    } catch (error) {
      damage.push(damageOf(corruption(error), 'log', at));
    }
  }
  if (deep) {
    check();
    const { view, position: pinned } = store.openView();
    try {
      await digestOfView(store, view, pinned);
    } catch (error) {
      damage.push(damageOf(corruption(error), 'run', at));
    } finally {
      store.releaseView(view);
    }
  }
  return { ok: damage.length === 0, deep, bytes: Number(at - from), position, damage };
}

/** Throws everything that is not CORRUPT. */
function corruption(error: unknown): GaplessError {
  if (error instanceof GaplessError && error.code === 'CORRUPT') return error;
  throw error;
}

function damageOf({ details, message }: GaplessError, kind: VerifyDamage['kind'], at: bigint): VerifyDamage {
  const { file, offset, logOffset } = details;
  return {
    kind,
    file: typeof file === 'string' ? file : null,
    offset: typeof offset === 'number' ? offset : null,
    ...(kind === 'log' ? { logOffset: `${typeof logOffset === 'number' ? logOffset : at}` } : {}),
    what: message,
  };
}

/** What a node tells of a suffix that it gave up: the event `divergence`. Pure. */
import type { NativeDivergence } from '../binding/contract.js';
import type { ReplicationEvent } from './ports.js';

type DivergenceEvent = Extract<ReplicationEvent, { readonly event: 'divergence' }>;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function divergenceEvent(lost: NativeDivergence, reason: DivergenceEvent['reason']): DivergenceEvent {
  const { common, to, records, operations, bytes } = lost;
  const file = lost.file === '' ? null : lost.file;
  return { event: 'divergence', common, to, records, operations, bytes, file, keys: lost.keys.map(keyText), reason };
}

function keyText(key: Buffer): string {
  try {
    return utf8.decode(key);
  } catch {
    return `hex:${key.toString('hex')}`;
  }
}

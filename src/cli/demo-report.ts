/** What the demo found, as JSON and as a small table. */
import type { Position } from '../position.js';
import type { Lag } from '../replication/ports.js';

export interface DemoReport {
  readonly ok: boolean;
  readonly files: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly writesPerSecond: number;
  readonly fullSync: { readonly ms: number; readonly bytes: number; readonly keys: number };
  readonly resyncs: {
    readonly ring: number;
    readonly wal: number;
    readonly rewind: number;
    readonly padding: number;
    readonly full: number;
  };
  readonly maxLag: Lag;
  readonly position: Position;
  readonly digest: { readonly primary: string; readonly replica: string };
  /** Keys of which a write was acknowledged. */
  readonly acknowledged: number;
  /** Of those, over both nodes: not found, or with other bytes. */
  readonly missing: number;
  readonly different: number;
}

export function reportText(report: DemoReport): string {
  const { fullSync, resyncs, maxLag, digest } = report;
  const tiers = Object.entries(resyncs).map(([tier, count]) => `${tier} ${count}`);
  const rows = [
    ['files', `${report.files}`],
    ['bytes', `${report.bytes}`],
    ['seconds', `${report.seconds}`],
    ['writes a second', `${report.writesPerSecond}`],
    ['full sync', `${fullSync.ms} ms, ${fullSync.bytes} bytes, ${fullSync.keys} keys`],
    ['resyncs', tiers.join(', ')],
    ['largest lag', `${maxLag.records} records, ${maxLag.bytes} bytes, ${maxLag.ms} ms`],
    ['position', `${report.position}`],
    ['digest, primary', digest.primary],
    ['digest, replica', digest.replica],
    ['acknowledged keys', `${report.acknowledged}`],
    ['missing', `${report.missing}`],
    ['different', `${report.different}`],
    ['result', report.ok ? 'equal: nothing was lost' : 'NOT EQUAL'],
  ];
  return rows.map(([name = '', value = '']) => `${name.padEnd(18)} ${value}`).join('\n');
}

/** GET /: the few facts that a person looks for first. No script, nothing loaded. */
import type { Database } from '../index.js';

export function statusPage(database: Database | undefined): string {
  const rows = database === undefined ? [['state', 'recovering']] : statusRows(database);
  const table = rows.map(([name = '', value = '']) => `<tr><th>${escapeHtml(name)}<td>${escapeHtml(value)}`).join('\n');
  return [
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>gaplessdb</title>',
    '<style>body{font:16px system-ui;margin:2rem}th{text-align:left;padding-right:2rem}</style>',
    `<h1>gaplessdb</h1><table>\n${table}\n</table>`,
    '',
  ].join('\n');
}

function statusRows(database: Database): string[][] {
  const { role, state, nodeId, clusterId, epoch, position, durable, link, replicas } = database.status();
  const lag = (value: { records: number; bytes: number; ms: number } | null): string =>
    value === null ? 'unknown' : `${value.records} records, ${value.bytes} bytes, ${value.ms} ms`;
  return [
    ['role', role],
    ['state', state],
    ['node', nodeId],
    ['cluster', clusterId ?? 'none yet'],
    ['epoch', epoch],
    ['position', `${position}`],
    ['durable', `${durable}`],
    ...(link === null ? [] : [['primary', `${link.primary}: ${link.state}, lag ${lag(link.lag)}`]]),
    ...replicas.map((replica) => ['replica', `${replica.nodeId}: ${replica.state}, lag ${lag(replica.lag)}`]),
  ];
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/**
 * Endpoints on the node itself: health, status, metrics, events, waiting, roles, snapshots,
 * compaction, replicas.
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createError, GaplessError } from '../errors.js';
import type { Database, WaitLevel } from '../index.js';
import { type Position, parsePosition } from '../position.js';
import { metricsText } from './metrics.js';
import type { NodeCell } from './node-cell.js';
import type { Exchange, Route } from './status-exchange.js';
import { statusPage } from './status-page.js';
import { isSnapshotName, oneOf, parseHostPort, parseU64 } from './text.js';
import { UsageError } from './usage.js';

export const nodeRoutes: readonly Route[] = [
  { method: 'GET', path: '/healthz', query: [], isOpen: true, handle: health },
  { method: 'GET', path: '/readyz', query: [], handle: ready },
  { method: 'GET', path: '/status', query: [], handle: async (exchange) => exchange.json(200, exchange.node.status()) },
  { method: 'GET', path: '/metrics', query: [], handle: metrics },
  { method: 'GET', path: '/events', query: [], handle: events },
  { method: 'GET', path: '/plan', query: [], handle: plan },
  { method: 'GET', path: '/wait', query: ['seq', 'position', 'level', 'timeoutMs'], handle: wait },
  { method: 'POST', path: '/promote', query: [], handle: promote },
  { method: 'POST', path: '/demote', query: [], handle: demote },
  { method: 'POST', path: '/resync', query: [], handle: resync },
  { method: 'POST', path: '/snapshot', query: [], handle: snapshot },
  { method: 'POST', path: '/compact', query: [], handle: compact },
  { method: 'DELETE', path: '/replicas/', query: [], handle: removeReplica },
  { method: 'GET', path: '/', query: [], handle: page },
];

async function health(exchange: Exchange): Promise<void> {
  const { state } = exchange.node;
  const ok = state !== 'poisoned';
  exchange.json(ok ? 200 : 503, { ok, state });
}

async function ready(exchange: Exchange): Promise<void> {
  const readiness = exchange.node.readiness();
  exchange.json(readiness.ready ? 200 : 503, readiness);
}

async function metrics(exchange: Exchange): Promise<void> {
  const text = metricsText(exchange.node.openDatabase);
  exchange.bytes(200, 'text/plain; version=0.0.4', Buffer.from(text, 'utf8'));
}

async function page(exchange: Exchange): Promise<void> {
  exchange.bytes(200, 'text/html; charset=utf-8', Buffer.from(statusPage(exchange.node.openDatabase), 'utf8'), {
    'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'",
  });
}

async function events(exchange: Exchange): Promise<void> {
  if (!exchange.hub.subscribe(exchange.response)) {
    throw createError('TOO_MANY', 'too many clients listen to the events of this node');
  }
}

async function wait(exchange: Exchange): Promise<void> {
  const { target, node, timeoutMs, signal } = exchange;
  const { query } = target;
  const level = oneOf(query.text('level'), ['visible', 'durable', 'commit'] as const, 'level') ?? 'visible';
  const seq = query.text('seq');
  const position = query.text('position');
  if (seq !== undefined && position !== undefined) throw new UsageError('give seq or position, not both');
  if (seq === undefined && position === undefined) {
    throw new UsageError('name what to wait for: seq=N or position=EPOCH:SEQ:OFFSET:CHAIN');
  }
  const { database } = node;
  const { clock } = node;
  const began = clock.monotonic();
  const limits = { timeoutMs, signal };
  let reached = true;
  try {
    if (position !== undefined) await database.waitFor(parsePosition(position), { level, ...limits });
    else await waitForSeq(node, parseU64(seq ?? '', 'seq'), level, limits);
  } catch (error) {
    if (!(error instanceof GaplessError) || error.code !== 'TIMEOUT') throw error;
    reached = false;
  }
  exchange.json(200, { reached, position: reachedAt(database, level), ms: Math.round(clock.monotonic() - began) });
}

/** How far the node is at a level. */
function reachedAt(database: Database, level: WaitLevel): Position {
  if (level === 'visible') return database.position;
  return level === 'durable' ? database.durable : database.status().commit;
}

const pollMs = 5;

/** Sequences have no event of their own: looked at often enough for people and scripts. */
async function waitForSeq(
  { clock, database }: NodeCell,
  seq: bigint,
  level: WaitLevel,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const until = clock.monotonic() + timeoutMs;
  while (reachedAt(database, level).seq < seq) {
    if (signal.aborted) throw createError('ABORTED', 'the client has gone');
    if (clock.monotonic() >= until) throw createError('TIMEOUT', `sequence ${seq} was not reached in ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

async function promote(exchange: Exchange): Promise<void> {
  const { epoch, force, handover } = await exchange.fields('epoch', 'force', 'handover');
  if (epoch !== undefined && !(Number.isInteger(epoch) && Number(epoch) >= 1 && Number(epoch) < 2 ** 32)) {
    throw new UsageError('"epoch" must be a term: a whole number from 1 on');
  }
  const options = {
    epoch: epoch === undefined ? undefined : Number(epoch),
    force: flag(force, 'force'),
    handover: flag(handover, 'handover'),
  };
  exchange.json(200, await exchange.node.database.replication.promote(options));
}

async function demote(exchange: Exchange): Promise<void> {
  const { follow } = await exchange.fields('follow');
  if (follow !== undefined && typeof follow !== 'string') throw new UsageError('"follow" must be HOST:PORT');
  const primary = follow === undefined ? undefined : parseHostPort(follow, '"follow"');
  exchange.json(200, await exchange.node.database.replication.demote({ follow: primary }));
}

async function plan(exchange: Exchange): Promise<void> {
  exchange.json(200, await exchange.node.database.replication.plan());
}

async function resync(exchange: Exchange): Promise<void> {
  const { full } = await exchange.fields('full');
  exchange.json(200, await exchange.node.database.replication.resync({ full: flag(full, 'full') }));
}

async function snapshot(exchange: Exchange): Promise<void> {
  const { name, compression } = await exchange.fields('name', 'compression');
  const database = exchange.node.readable;
  const chosen = name ?? `snapshot-${database.position.seq}`;
  if (typeof chosen !== 'string' || !isSnapshotName(chosen)) {
    throw new UsageError('"name" must be 1 to 64 of A-Z a-z 0-9 . _ -');
  }
  const kind =
    typeof compression === 'string' ? oneOf(compression, ['none', 'lz4'] as const, '"compression"') : undefined;
  if (compression !== undefined && kind === undefined) throw new UsageError('"compression" must be none or lz4');
  const folder = join(database.path, 'snapshots');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  exchange.json(200, await database.snapshot(join(folder, chosen), { compression: kind }));
}

/** Ends when it is done or the client has gone. */
async function compact(exchange: Exchange): Promise<void> {
  await exchange.fields();
  const { bytesBefore, bytesAfter } = await exchange.node.readable.compact({}, { signal: exchange.signal });
  exchange.json(200, { bytesBefore, bytesAfter });
}

async function removeReplica(exchange: Exchange): Promise<void> {
  const node = exchange.target.path.slice('/replicas/'.length);
  if (!/^[0-9a-f]{32}$/.test(node)) throw new UsageError('NODE must be 32 lower-case hex digits');
  const removed = await exchange.node.database.replication.removeReplica(node);
  if (!removed) throw createError('NOT_FOUND', `no replica ${node} is known`);
  exchange.json(200, { removed });
}

function flag(value: unknown, name: string): boolean {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') throw new UsageError(`"${name}" must be true or false`);
  return value;
}

/**
 * Endpoints on entries: /kv, /scan, /batch, /digest. Writes on a replica answer READ_ONLY with the primary's address.
 */
import { createError, GaplessError } from '../errors.js';
import type { Database } from '../index.js';
import { parsePosition, parseVersion } from '../position.js';
import { DatabaseTarget } from './database-target.js';
import { type Query, requestKey } from './http-request.js';
import { valueBytesMax } from './import-source.js';
import { countWrites, parseOperations } from './operations.js';
import { batchJson, digestJson, rowJson, writeVersion } from './render.js';
import type { Exchange, Route } from './status-exchange.js';
import type { ScanQuery, TextOperation, WriteAnswer, WriteFlags } from './target.js';
import { oneOf, parseCount, parseU64 } from './text.js';
import { UsageError } from './usage.js';

/** A batch of 128 MiB as base64 lines, with room for what stands around it. */
const batchBodyBytesMax = 192 * 1024 * 1024;
const scanLimitDefault = 1000;
const scanLimitMax = 100_000;
/** Text of an answer that is gathered before it is sent. */
const scanChunkBytes = 64 * 1024;

const keyNames = ['key', 'key64'] as const;
const writeNames = ['durability', 'replicas', 'level', 'timeoutMs'] as const;

export const dataRoutes: readonly Route[] = [
  { method: 'GET', path: '/kv', query: [...keyNames, 'minPosition', 'maxLagMs', 'timeoutMs'], handle: getKey },
  { method: 'HEAD', path: '/kv', query: [...keyNames, 'minPosition', 'maxLagMs', 'timeoutMs'], handle: getKey },
  { method: 'PUT', path: '/kv', query: [...keyNames, ...writeNames, 'ifVersion'], handle: putKey },
  { method: 'DELETE', path: '/kv', query: [...keyNames, ...writeNames, 'ifVersion'], handle: deleteKey },
  { method: 'GET', path: '/scan', query: ['prefix', 'from', 'to', 'limit', 'reverse', 'keys'], handle: scan },
  { method: 'POST', path: '/batch', query: writeNames, handle: batch },
  { method: 'GET', path: '/digest', query: ['at', 'timeoutMs'], handle: digest },
];

async function getKey(exchange: Exchange): Promise<void> {
  const { target, node } = exchange;
  const key = requestKey(target);
  const database = node.readable;
  await waitToRead(exchange, database);
  const { found, position } = await new DatabaseTarget(database).get(key);
  const place = { 'X-Gapless-Position': `${position}` };
  if (found === undefined) {
    exchange.fail(createError('NOT_FOUND', 'there is no such key'), place);
    return;
  }
  const headers = { ...place, 'X-Gapless-Version': `${found.version}` };
  exchange.bytes(200, 'application/octet-stream', found.value, headers);
}

/** `minPosition` and `maxLagMs`: the read waits until this node is as far. */
async function waitToRead({ target, signal, timeoutMs }: Exchange, database: Database): Promise<void> {
  const { query } = target;
  const min = query.text('minPosition');
  const lag = query.text('maxLagMs');
  if (min === undefined && lag === undefined) return;
  await database.getAsync('', {
    minPosition: min === undefined ? undefined : parsePosition(min),
    maxLagMs: lag === undefined ? undefined : parseCount(lag, 'maxLagMs'),
    timeoutMs,
    signal,
  });
}

async function putKey(exchange: Exchange): Promise<void> {
  const key = requestKey(exchange.target);
  const conditions = conditionOf(exchange.target.query, key);
  const flags = writeFlags(exchange);
  const value = await exchange.body(valueBytesMax, 'VALUE_TOO_LARGE');
  const answer = await write(exchange, [...conditions, { op: 'put', key, value }], flags);
  exchange.json(200, { position: answer.position, version: writeVersion(answer) });
}

async function deleteKey(exchange: Exchange): Promise<void> {
  const key = requestKey(exchange.target);
  const conditions = conditionOf(exchange.target.query, key);
  const flags = writeFlags(exchange);
  const { position } = await write(exchange, [...conditions, { op: 'del', key }], flags);
  exchange.json(200, { position });
}

function conditionOf(query: Query, key: Buffer): TextOperation[] {
  const text = query.text('ifVersion');
  if (text === undefined) return [];
  return [{ op: 'check', key, version: text === 'null' ? null : parseVersion(text) }];
}

function writeFlags({ target, timeoutMs }: Exchange): WriteFlags {
  const { query } = target;
  const hasTimeout = query.text('timeoutMs') !== undefined;
  const replicas = query.text('replicas');
  return {
    durability: oneOf(query.text('durability'), ['sync', 'os', 'memory'] as const, 'durability'),
    replicas: replicas === undefined ? undefined : parseCount(replicas, 'replicas', 0, 64),
    level: oneOf(query.text('level'), ['received', 'durable', 'applied'] as const, 'level'),
    timeoutMs: hasTimeout ? timeoutMs : undefined,
  };
}

/** READ_ONLY on a replica, with the address of its primary. */
async function write(
  { node }: Exchange,
  operations: readonly TextOperation[],
  flags: WriteFlags,
): Promise<WriteAnswer> {
  const { database } = node;
  try {
    return await new DatabaseTarget(database).write(operations, flags);
  } catch (error) {
    if (!(error instanceof GaplessError) || error.code !== 'READ_ONLY') throw error;
    const details = { primary: database.status().link?.primary ?? null };
    throw createError('READ_ONLY', 'this node is a replica: write to its primary', { details, cause: error });
  }
}

async function batch(exchange: Exchange): Promise<void> {
  const flags = writeFlags(exchange);
  const operations = parseOperations((await exchange.body(batchBodyBytesMax)).toString('utf8'));
  const count = countWrites(operations);
  if (count === 0) throw new UsageError('the batch has no operation that writes');
  exchange.json(200, batchJson(await write(exchange, operations, flags), count));
}

async function digest(exchange: Exchange): Promise<void> {
  const text = exchange.target.query.text('at');
  const at = text === undefined ? undefined : parseU64(text, 'at');
  const target = new DatabaseTarget(exchange.node.readable);
  exchange.json(200, digestJson(await target.digest(at, exchange.timeoutMs)));
}

/** One view for the whole answer, sent as fast as the client reads. */
async function scan(exchange: Exchange): Promise<void> {
  const { target, node, response, signal } = exchange;
  const query = scanQueryOf(target.query);
  const { position, rows, close } = new DatabaseTarget(node.readable).openScan(query);
  try {
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson', 'X-Gapless-Position': `${position}` });
    let text = '';
    for (const row of rows) {
      text += `${JSON.stringify(rowJson(row, false))}\n`;
      if (text.length < scanChunkBytes) continue;
      await send(exchange, text);
      text = '';
      if (signal.aborted) return;
    }
    response.end(text);
  } finally {
    close();
  }
}

/** Resolves when the answer can take more, or nobody wants it any more. */
function send({ response, signal }: Exchange, text: string): Promise<void> {
  if (response.write(text) || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const settle = (): void => {
      response.removeListener('drain', settle);
      response.removeListener('close', settle);
      resolve();
    };
    response.once('drain', settle);
    response.once('close', settle);
  });
}

function scanQueryOf(query: Query): ScanQuery {
  const limit = query.text('limit');
  return {
    prefix: query.bytes('prefix'),
    from: query.bytes('from'),
    to: query.bytes('to'),
    limit: limit === undefined ? scanLimitDefault : parseCount(limit, 'limit', 0, scanLimitMax),
    reverse: flagOf(query, 'reverse'),
    keys: flagOf(query, 'keys'),
  };
}

function flagOf(query: Query, name: string): boolean {
  const text = query.text(name);
  if (text === undefined || text === '0') return false;
  if (text === '1' || text === '') return true;
  throw new UsageError(`${name} must be 0 or 1, not "${text}"`);
}

/** The status address: every endpoint, its guards, its limits, its errors. */
import { writeFileSync } from 'node:fs';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bearerToken } from '../../dist/cli/remote.js';
import { cli, codeOf, http, type Json, type Node, place, serve, stopAll } from './harness.js';

let node: Node;
let url: string;

beforeAll(async () => {
  node = await serve([place('store'), '--listen', '127.0.0.1:0', '--status-host', 'node.example,other.example']);
  ({ url } = node);
});
afterAll(stopAll);

describe('keys', () => {
  test('are written and read as bytes, with version and position', async () => {
    const value = Buffer.from([0, 255, 10, 13]);
    const put = await http(url, 'PUT', '/kv/a/b%2Fc%00%25', { body: value });
    expect(put.status).toBe(200);
    expect(Object.keys(put.json)).toEqual(['position', 'version']);
    const got = await http(url, 'GET', '/kv/a/b%2Fc%00%25');
    expect(got.status).toBe(200);
    expect(got.body.equals(value)).toBe(true);
    expect(got.headers['content-type']).toBe('application/octet-stream');
    const { epoch, seq } = put.json['version'] as Json;
    expect(got.headers['x-gapless-version']).toBe(`${epoch}:${seq}`);
    expect(got.headers['x-gapless-position']).toMatch(/^\d+\.\d+:\d+:\d+:[0-9a-f]{16}$/);
    const key64 = Buffer.from('a/b/c\0%').toString('base64url');
    expect((await http(url, 'GET', `/kv?key64=${key64}`)).body.equals(value)).toBe(true);
    expect((await http(url, 'GET', '/kv?key=a%2Fb%2Fc%00%25')).body.equals(value)).toBe(true);
  });
  test('that URL parsers would rewrite arrive as they are', async () => {
    for (const key of ['.', '..', '//', 'a/../b', '']) {
      const key64 = Buffer.from(key).toString('base64url');
      expect((await http(url, 'PUT', `/kv?key64=${key64}`, { body: `<${key}>` })).status).toBe(200);
      expect((await http(url, 'GET', `/kv/${key}`)).body.toString()).toBe(`<${key}>`);
      await http(url, 'DELETE', `/kv?key64=${key64}`);
    }
  });
  test('answer HEAD without a body', async () => {
    await http(url, 'PUT', '/kv/head', { body: '12345' });
    const { status, headers, body } = await http(url, 'HEAD', '/kv/head');
    expect([status, headers['content-length'], body.length]).toEqual([200, '5', 0]);
    expect((await http(url, 'HEAD', '/kv/nothead')).status).toBe(404);
  });
  test('that are missing are 404', async () => {
    const answer = await http(url, 'GET', '/kv/missing');
    expect([answer.status, codeOf(answer)]).toEqual([404, 'NOT_FOUND']);
    expect(answer.headers['content-type']).toBe('application/json');
  });
  test('are deleted, missing or not', async () => {
    await http(url, 'PUT', '/kv/gone', { body: '1' });
    for (let i = 0; i < 2; i += 1) {
      const answer = await http(url, 'DELETE', '/kv/gone');
      expect([answer.status, Object.keys(answer.json)]).toEqual([200, ['position']]);
    }
    expect((await http(url, 'GET', '/kv/gone')).status).toBe(404);
  });
  test('are written under a condition', async () => {
    const first = await http(url, 'PUT', '/kv/cond?ifVersion=null', { body: '1' });
    expect(first.status).toBe(200);
    const again = await http(url, 'PUT', '/kv/cond?ifVersion=null', { body: '2' });
    expect([again.status, codeOf(again)]).toEqual([409, 'CONFLICT']);
    const { epoch, seq } = first.json['version'] as Json;
    expect((await http(url, 'PUT', `/kv/cond?ifVersion=${epoch}:${seq}`, { body: '3' })).status).toBe(200);
    expect(codeOf(await http(url, 'DELETE', `/kv/cond?ifVersion=${epoch}:${seq}`))).toBe('CONFLICT');
    expect((await http(url, 'GET', '/kv/cond')).body.toString()).toBe('3');
  });
  test('wait for a position, or time out', async () => {
    const put = await http(url, 'PUT', '/kv/pos', { body: '1' });
    const { epoch, seq, offset, chain } = put.json['position'] as Record<string, string>;
    const here = `${epoch}:${seq}:${offset}:${chain}`;
    expect((await http(url, 'GET', `/kv/pos?minPosition=${here}&maxLagMs=10`)).status).toBe(200);
    const ahead = `${epoch}:${BigInt(seq ?? 0) + 9n}:${BigInt(offset ?? 0) + 8000n}:${chain}`;
    const late = await http(url, 'GET', `/kv/pos?minPosition=${ahead}&timeoutMs=50`);
    expect([late.status, codeOf(late)]).toEqual([504, 'TIMEOUT']);
  });
  test.each([
    ['GET', '/kv'],
    ['GET', '/kv?key=a&key64=YQ'],
    ['GET', '/kv?key64=a%2Bb'],
    ['GET', '/kv/%zz'],
    ['GET', '/kv/a?color=red'],
    ['GET', '/kv/a?timeoutMs=1&timeoutMs=2'],
    ['GET', '/kv/a?minPosition=here'],
    ['PUT', '/kv/a?durability=maybe'],
    ['PUT', '/kv/a?replicas=-1'],
    ['PUT', '/kv/a?ifVersion=7'],
    ['PUT', '/kv/a?expiresAt=5'],
  ])('%s %s is 400', async (method, path) => {
    const answer = await http(url, method, path, method === 'PUT' ? { body: '1' } : {});
    expect([answer.status, codeOf(answer)]).toEqual([400, 'USAGE']);
  });
  test('beyond the limits are 413', async () => {
    const long = await http(url, 'PUT', `/kv?key64=${Buffer.alloc(9000, 97).toString('base64url')}`, { body: '1' });
    expect(long.status).toBe(200);
    const head = { 'Content-Length': `${64 * 1024 * 1024 + 1}`, Expect: '100-continue' };
    const value = await raw(`PUT /kv/a HTTP/1.1\r\nHost: localhost\r\n${headText(head)}\r\n`);
    expect(value).toMatch(/^HTTP\/1\.1 413 /);
    expect(value).toContain('VALUE_TOO_LARGE');
    expect(value).not.toContain('100 Continue');
  });
});

test('a client that asks first is told to send its body', async () => {
  const head = { 'Content-Length': '5', Expect: '100-continue', Connection: 'close' };
  const { hostname, port } = new URL(url);
  const text = await new Promise<string>((resolve, reject) => {
    let received = '';
    const socket = connect(Number(port), hostname, () => {
      socket.write(`PUT /kv/asked HTTP/1.1\r\nHost: localhost\r\n${headText(head)}\r\n`);
    });
    socket.setTimeout(5000, () => socket.destroy(new Error('nobody asked for the body')));
    socket.on('data', (data) => {
      if (received === '') socket.write('12345');
      received += data.toString('latin1');
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(received));
  });
  expect(text).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
  expect((await http(url, 'GET', '/kv/asked')).body.toString()).toBe('12345');
});

function headText(headers: Record<string, string>): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
}

/** Sends bytes as they are; resolves with everything that comes until the node closes the connection. */
function raw(text: string, quietMs = 7000): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let received = '';
    const socket = connect(Number(port), hostname, () => socket.write(text));
    socket.setTimeout(quietMs, () => socket.destroy(new Error(`the node keeps the connection; it said: ${received}`)));
    socket.on('data', (data) => {
      received += data.toString('latin1');
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(received));
  });
}

describe('batches', () => {
  const post = (body: string, query = ''): ReturnType<typeof http> => http(url, 'POST', `/batch${query}`, { body });
  test('are one atomic write', async () => {
    const { status, json } = await post(
      '{"op":"put","key":"b1","value":"1"}\n{"op":"increment","key":"bn","by":"4"}\n',
    );
    expect(status).toBe(200);
    expect(Object.keys(json)).toEqual(['position', 'firstSeq', 'operations', 'results']);
    expect(json).toMatchObject({ operations: 2, results: ['4'] });
    const failed = await post(
      '{"op":"put","key":"b2","value":"1"}\n{"op":"check","key":"b1","version":null}',
      '?durability=os',
    );
    expect([failed.status, codeOf(failed)]).toEqual([409, 'CONFLICT']);
    expect((await http(url, 'GET', '/kv/b2')).status).toBe(404);
  });
  test('with a wrong line write nothing and name the line', async () => {
    const answer = await post('{"op":"put","key":"b3","value":"1"}\n\n{"op":"put","key":"b4","valeu":"1"}');
    expect(answer.status).toBe(400);
    expect(answer.json).toMatchObject({ error: { code: 'USAGE', details: { line: 3 } } });
    expect((await http(url, 'GET', '/kv/b3')).status).toBe(404);
    expect((await post('')).status).toBe(400);
  });
  test('beyond the limit are 413 before they are read', async () => {
    const head = { 'Content-Length': `${500 * 1024 * 1024}` };
    expect(await raw(`POST /batch HTTP/1.1\r\nHost: localhost\r\n${headText(head)}\r\n`)).toMatch(/^HTTP\/1\.1 413 /);
  });
  test('tell about counters that are none', async () => {
    await http(url, 'PUT', '/kv/text', { body: 'abc' });
    const answer = await post('{"op":"increment","key":"text","by":"1"}');
    expect([answer.status, codeOf(answer)]).toEqual([409, 'NOT_A_COUNTER']);
  });
});

describe('scans', () => {
  beforeAll(async () => {
    const lines = Array.from({ length: 2500 }, (_, i) => {
      return JSON.stringify({ op: 'put', key: `scan/${String(i).padStart(5, '0')}`, value: `${i}` });
    });
    await http(url, 'POST', '/batch', { body: lines.join('\n') });
  });
  const lines = (body: Buffer): Json[] => {
    return body
      .toString('utf8')
      .split('\n')
      .flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Json]));
  };
  test('give 1000 lines unless told otherwise, at one position', async () => {
    const { status, headers, body } = await http(url, 'GET', '/scan?prefix=scan%2F');
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('application/x-ndjson');
    expect(headers['x-gapless-position']).toMatch(/^\d+\.\d+:/);
    expect(lines(body).length).toBe(1000);
    expect(lines(body)[0]).toEqual({ key: 'scan/00000', value: '0', version: expect.anything() });
    const all = await http(url, 'GET', '/scan?prefix=scan%2F&limit=100000');
    expect(lines(all.body).length).toBe(2500);
    expect((await http(url, 'GET', '/scan?limit=100001')).status).toBe(400);
  });
  test('know bounds, direction and keys', async () => {
    const { body } = await http(url, 'GET', '/scan?from=scan%2F00010&to=scan%2F00013&reverse=1&keys=1');
    expect(lines(body).map(({ key }) => key)).toEqual(['scan/00012', 'scan/00011', 'scan/00010']);
    expect(lines(body)[0]).not.toHaveProperty('value');
  });
  test('of the command go on page after page, both ways', async () => {
    const keys = Array.from({ length: 2500 }, (_, i) => `scan/${String(i).padStart(5, '0')}`);
    const words = ['scan', url, '--prefix', 'scan/', '--keys'];
    expect((await cli(words)).stdout.toString().trim().split('\n')).toEqual(keys);
    expect((await cli([...words, '--reverse'])).stdout.toString().trim().split('\n')).toEqual([...keys].reverse());
    expect((await cli([...words, '--limit', '1500'])).stdout.toString().trim().split('\n')).toEqual(
      keys.slice(0, 1500),
    );
  });
});

describe('digests and waiting', () => {
  test('digest is that of the directory command', async () => {
    const { status, json } = await http(url, 'GET', '/digest');
    expect(status).toBe(200);
    expect(Object.keys(json)).toEqual(['position', 'keys', 'bytes', 'digest']);
    const { seq } = json['position'] as Record<string, string>;
    expect((await http(url, 'GET', `/digest?at=${seq}`)).json).toEqual(json);
    const resync = await http(url, 'POST', '/resync');
    expect([resync.status, resync.json['error']]).toMatchObject([409, { code: 'ALREADY_PRIMARY', retryable: false }]);
    const passed = await http(url, 'GET', '/digest?at=1');
    expect([passed.status, codeOf(passed)]).toEqual([409, 'POSITION_UNAVAILABLE']);
    const late = await http(url, 'GET', `/digest?at=${BigInt(seq ?? 0) + 5n}&timeoutMs=50`);
    expect(late.status).toBe(504);
  });
  test('wait answers whether it was reached', async () => {
    const here = await http(url, 'GET', '/wait?seq=1&level=durable');
    expect(here.json).toMatchObject({ reached: true });
    expect(Object.keys(here.json)).toEqual(['reached', 'position', 'ms']);
    expect((await http(url, 'GET', '/wait?seq=999999&timeoutMs=40')).json).toMatchObject({ reached: false });
    for (const query of ['', '?seq=1&position=x', '?seq=x', '?seq=1&level=seen', '?position=x']) {
      expect((await http(url, 'GET', `/wait${query}`)).status, query).toBe(400);
    }
    for (const [query, message] of [
      ['', 'name what to wait for: seq=N or position=EPOCH:SEQ:OFFSET:CHAIN'],
      ['?seq=1&position=x', 'give seq or position, not both'],
    ]) {
      expect((await http(url, 'GET', `/wait${query}`)).json['error']).toMatchObject({ code: 'USAGE', message });
    }
    const other = await http(url, 'GET', '/wait?position=9.9:1:8:0000000000000000&timeoutMs=40');
    expect([other.status, codeOf(other)]).toEqual([409, 'POSITION_NOT_IN_HISTORY']);
  });
});

describe('the node', () => {
  test('is healthy and ready', async () => {
    expect((await http(url, 'GET', '/healthz')).json).toEqual({ ok: true, state: 'serving' });
    const ready = await http(url, 'GET', '/readyz');
    expect([ready.status, ready.json['ready']]).toEqual([200, true]);
  });
  test('tells its status', async () => {
    const { json } = await http(url, 'GET', '/status');
    expect(Object.keys(json)).toEqual([
      'version',
      'pid',
      'uptimeMs',
      'role',
      'state',
      'reason',
      'clusterId',
      'nodeId',
      'epoch',
      'position',
      'durable',
      'commit',
      'promised',
      'undoFloor',
      'replicas',
      'link',
      'resync',
      'recovery',
      'inconsistent',
      'counters',
      'ring',
      'log',
      'store',
      'eventLoopDelayMs',
      'memory',
    ]);
    expect(json).toMatchObject({ pid: node.pid, role: 'primary', state: 'serving', link: null, replicas: [] });
    expect(json['store']).toMatchObject({
      checkpoint: { epoch: '0.0', seq: '0', offset: '0', chain: '0000000000000000' },
    });
    const command = await cli(['status', url, '--json']);
    expect(Object.keys(command.lines[0] ?? {})).toEqual(Object.keys(json));
  });
  test('tells its metrics', async () => {
    const { headers, body } = await http(url, 'GET', '/metrics');
    expect(headers['content-type']).toBe('text/plain; version=0.0.4');
    const text = body.toString();
    for (const line of [
      'gapless_up 1',
      'gapless_role{role="primary"} 1',
      'gapless_poisoned 0',
      'gapless_epoch_term 1',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    for (const name of [
      'store_bytes{kind="live"}',
      'store_bytes{kind="total"}',
      'memtable_bytes',
      'cache_hits_total',
      'cache_misses_total',
      'write_stall_seconds_total',
      'oldest_view_seconds',
    ]) {
      expect(text).toContain(`\ngapless_${name} `);
    }
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(
        /^(# (HELP|TYPE) gapless_\w+ .+|gapless_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?\d+(\.\d+)?(e-?\d+)?)$/,
      );
    }
  });
  test('shows a page', async () => {
    const { status, headers, body } = await http(url, 'GET', '/');
    expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(body.toString()).toContain('<th>role<td>primary');
  });
  test('writes snapshots below its directory', async () => {
    const { status, json } = await http(url, 'POST', '/snapshot', { body: '{"name":"first"}' });
    expect(status).toBe(200);
    expect(Object.keys(json)).toEqual(['path', 'position', 'flows', 'keys', 'bytes', 'ms']);
    expect((await cli(['snapshot', 'verify', String(json['path'])])).code).toBe(0);
    expect(codeOf(await http(url, 'POST', '/snapshot', { body: '{"name":"first"}' }))).toBe('EXISTS');
    expect((await cli(['snapshot', 'create', url, 'snapshots/second', '--json'])).lines[0]).toMatchObject({ flows: 4 });
    for (const body of [
      '{"name":"../up"}',
      '{"name":".."}',
      '{"name":1}',
      '{"nmae":"x"}',
      '{',
      '[]',
      '{"compression":"gz"}',
    ]) {
      expect((await http(url, 'POST', '/snapshot', { body })).status, body).toBe(400);
    }
  });
  test('compacts', async () => {
    await http(url, 'PUT', '/kv/compacted', { body: 'x'.repeat(5000) });
    const { status, json } = await http(url, 'POST', '/compact');
    expect(status).toBe(200);
    expect(Object.keys(json)).toEqual(['bytesBefore', 'bytesAfter']);
    expect(json['bytesAfter']).toBeGreaterThan(5000);
    const { store } = (await http(url, 'GET', '/status')).json as { store: Json };
    expect(store['runs']).toBeGreaterThan(0);
    expect(store['checkpoint']).toMatchObject({ epoch: '1.0' });
    expect((store['bytes'] as Json)['total']).toBeGreaterThan(Number(json['bytesAfter']));
    expect((await http(url, 'POST', '/compact', { body: '{"from":"a"}' })).status).toBe(400);
    expect((await http(url, 'GET', '/compact')).status).toBe(405);
    const command = await cli(['compact', url, '--json']);
    expect(Object.keys(command.lines[0] ?? {})).toEqual(['bytesBefore', 'bytesAfter']);
    expect((await cli(['compact', 'http://127.0.0.1:1', '--json'])).error['code']).toBe('IO');
  });
  test('refuses what a primary cannot do', async () => {
    expect(codeOf(await http(url, 'POST', '/promote'))).toBe('ALREADY_PRIMARY');
    for (const body of ['{"epoch":0}', '{"epoch":"2"}', '{"force":1}', '{"term":2}']) {
      expect((await http(url, 'POST', '/promote', { body })).status, body).toBe(400);
    }
    const gone = await http(url, 'DELETE', `/replicas/${'0'.repeat(32)}`);
    expect([gone.status, codeOf(gone)]).toEqual([404, 'NOT_FOUND']);
    expect((await http(url, 'DELETE', '/replicas/x')).status).toBe(400);
  });
  test('streams its events', async () => {
    const text = await new Promise<string>((resolve, reject) => {
      const request = httpGet(`${url}/events`, (response: IncomingMessage) => {
        expect(response.headers['content-type']).toBe('text/event-stream');
        let received = '';
        response.on('data', (data: Buffer) => {
          const isFirst = received === '';
          received += data.toString();
          if (isFirst) http(url, 'POST', '/snapshot', { body: '{"name":"evented"}' }).catch(reject);
          if (!received.includes('data: ')) return;
          request.destroy();
          resolve(received);
        });
      });
      request.on('error', reject);
    });
    const [, line = ''] = /^data: (.*)$/m.exec(text) ?? [];
    expect(text).toContain('event: snapshot\n');
    expect(JSON.parse(line)).toMatchObject({ event: 'snapshot', position: { epoch: '1.0' } });
  });
});

describe('requests that are refused', () => {
  test('unknown paths are 404, unknown methods 405 with those that would do', async () => {
    const nowhere = await http(url, 'GET', '/nowhere');
    expect([nowhere.status, codeOf(nowhere)]).toEqual([404, 'NOT_FOUND']);
    const method = await http(url, 'POST', '/status');
    expect([method.status, codeOf(method), method.headers.allow]).toEqual([405, 'USAGE', 'GET']);
    expect((await http(url, 'PATCH', '/kv/a')).headers.allow).toBe('GET, HEAD, PUT, DELETE');
  });
  test('origins and foreign hosts are 403, wherever they go', async () => {
    for (const path of ['/healthz', '/status', '/kv/a', '/nowhere']) {
      for (const headers of [
        { Origin: 'http://localhost' },
        { Host: 'evil.example' },
        { Host: 'localhost.evil.example:80' },
      ]) {
        expect((await http(url, 'GET', path, { headers })).status, `${path} ${JSON.stringify(headers)}`).toBe(403);
      }
    }
    for (const host of ['localhost', '127.0.0.1:80', '[::1]:1', 'node.example:5', 'other.example']) {
      expect((await http(url, 'GET', '/healthz', { headers: { Host: host } })).status, host).toBe(200);
    }
  });
  test('nobody gets CORS headers', async () => {
    const { headers } = await http(url, 'GET', '/status');
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
  test('a head beyond 16 KiB, or one that does not end, ends the connection', async () => {
    const long = await raw(`GET /status HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(17_000)}\r\n\r\n`);
    expect(long).toMatch(/ 431 /);
    expect(long).toContain('{"error":{"code":"USAGE"');
    const began = performance.now();
    expect(await raw('GET /status HTTP/1.1\r\nHost: localhost\r\n', 9000)).toMatch(/^HTTP\/1\.1 408 /);
    expect(performance.now() - began).toBeLessThan(8000);
  });
});

describe('with a secret', () => {
  let secret: string;
  let guarded: Node;
  beforeAll(async () => {
    secret = place('secret');
    writeFileSync(secret, 'correct horse battery staple\n');
    guarded = await serve([place('store'), '--secret-file', secret]);
  });
  test('everything but /healthz wants the token', async () => {
    expect((await http(guarded.url, 'GET', '/healthz')).status).toBe(200);
    const token = bearerToken(Buffer.from('correct horse battery staple'));
    for (const authorization of [
      undefined,
      'Bearer ',
      `Bearer ${token.slice(1)}`,
      `bearer ${token}`,
      `Bearer ${'0'.repeat(64)}`,
    ]) {
      const headers: Record<string, string> = authorization === undefined ? {} : { Authorization: authorization };
      for (const path of ['/status', '/readyz', '/kv/a', '/', '/nowhere', '/metrics', '/events']) {
        const answer = await http(guarded.url, 'GET', path, { headers });
        expect([answer.status, codeOf(answer)], path).toEqual([401, 'AUTH_FAILED']);
      }
    }
    const headers = { Authorization: `Bearer ${token}` };
    expect((await http(guarded.url, 'GET', '/status', { headers })).status).toBe(200);
  });
  test('a body is not asked for before the token is seen', async () => {
    url = guarded.url;
    try {
      const head = { 'Content-Length': '1000000', Expect: '100-continue' };
      const text = await raw(`PUT /kv/a HTTP/1.1\r\nHost: localhost\r\n${headText(head)}\r\n`);
      expect(text).toMatch(/^HTTP\/1\.1 401 /);
      expect(text).not.toContain('100 Continue');
    } finally {
      ({ url } = node);
    }
  });
  test('commands derive the token from the file', async () => {
    const denied = await cli(['put', guarded.url, 'a', '1', '--json']);
    expect([denied.code, denied.error['code']]).toEqual([1, 'AUTH_FAILED']);
    expect((await cli(['put', guarded.url, 'a', '1', '--secret-file', secret])).code).toBe(0);
    const read = await cli(['get', guarded.url, 'a'], { env: { GAPLESS_SECRET_FILE: secret } });
    expect([read.code, read.stdout.toString()]).toEqual([0, '1']);
  });
});

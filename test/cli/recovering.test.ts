/** The status address before there is a database behind it, and slow readers of its events. */
import { PassThrough, Writable } from 'node:stream';
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../dist/base/clock.js';
import { EventHub } from '../../dist/cli/event-hub.js';
import { NodeCell } from '../../dist/cli/node-cell.js';
import { Output } from '../../dist/cli/output.js';
import { StatusServer } from '../../dist/cli/status-server.js';
import { open } from '../../dist/index.js';
import { codeOf, http, place, stopAll } from './harness.js';

const servers: StatusServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close(100);
  await stopAll();
});

async function bind(cell: NodeCell, stdout: NodeJS.WritableStream = new PassThrough()): Promise<string> {
  const hub = new EventHub(systemClock(), stdout);
  const options = { address: { host: '127.0.0.1', port: 0 }, token: undefined, allowedHosts: [] };
  const server = await StatusServer.bind(cell, hub, options);
  servers.push(server);
  return `http://127.0.0.1:${server.address.port}`;
}

describe('a node that recovers', () => {
  test('is healthy, not ready, and says so to everybody else', async () => {
    const cell = new NodeCell(systemClock());
    const url = await bind(cell);
    const health = await http(url, 'GET', '/healthz');
    expect([health.status, health.json]).toEqual([200, { ok: true, state: 'recovering' }]);
    const ready = await http(url, 'GET', '/readyz');
    expect(ready.status).toBe(503);
    expect(ready.json).toEqual({ ready: false, state: 'recovering', phase: 'replay', progress: null });
    const status = await http(url, 'GET', '/status');
    expect([status.status, status.json['state'], status.json['role']]).toEqual([200, 'recovering', null]);
    for (const [method, path] of [
      ['GET', '/kv/a'],
      ['PUT', '/kv/a'],
      ['GET', '/scan'],
      ['GET', '/digest'],
    ] as const) {
      const answer = await http(url, method, path, method === 'PUT' ? { body: '1' } : {});
      expect([answer.status, codeOf(answer)], path).toEqual([503, 'NOT_READY']);
    }
    expect((await http(url, 'GET', '/metrics')).body.toString()).toContain('gapless_up 1\n');
    expect((await http(url, 'GET', '/')).body.toString()).toContain('recovering');
  });
  test('that closes takes nothing any more', async () => {
    const cell = new NodeCell(systemClock());
    const url = await bind(cell);
    const database = await open(place('store'));
    cell.opened(database);
    expect((await http(url, 'PUT', '/kv/a', { body: '1' })).status).toBe(200);
    cell.closing();
    const refused = await http(url, 'PUT', '/kv/a', { body: '2' });
    expect([refused.status, codeOf(refused)]).toEqual([409, 'CLOSED']);
    expect((await http(url, 'GET', '/readyz')).json).toMatchObject({ ready: false, state: 'closing' });
    await database.close();
  });
  test('answers a replica without a state with NOT_READY', async () => {
    const cell = new NodeCell(systemClock());
    const url = await bind(cell);
    const database = await open(place('store'), { asReplica: true });
    cell.opened(database);
    for (const path of ['/kv/a', '/scan', '/digest']) {
      const answer = await http(url, 'GET', path);
      expect([answer.status, codeOf(answer)], path).toEqual([503, 'NOT_READY']);
    }
    const write = await http(url, 'PUT', '/kv/a', { body: '1' });
    expect(write.status).toBe(409);
    expect(write.json).toMatchObject({ error: { code: 'READ_ONLY', details: { primary: null } } });
    expect((await http(url, 'GET', '/readyz')).status).toBe(503);
    await database.close();
  });
});

describe('events', () => {
  test('are dropped rather than kept for a stdout that nobody reads', () => {
    const stuck = new Writable({ highWaterMark: 1, write: () => undefined });
    const hub = new EventHub(systemClock(), stuck);
    for (let i = 0; i < 5000; i += 1) hub.publish({ event: 'link', text: 'x'.repeat(1000) });
    expect(stuck.writableLength).toBeLessThan(2 * 1024 * 1024);
    expect(stuck.writableLength).toBeGreaterThan(1024 * 1024);
  });
  test('end for a client that reads too slowly', async () => {
    const cell = new NodeCell(systemClock());
    const hub = new EventHub(systemClock(), new PassThrough().resume());
    const options = { address: { host: '127.0.0.1', port: 0 }, token: undefined, allowedHosts: [] };
    const server = await StatusServer.bind(cell, hub, options);
    servers.push(server);
    const { connect } = await import('node:net');
    const socket = connect(server.address.port, '127.0.0.1');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    socket.write('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await new Promise((resolve) => socket.once('readable', resolve));
    for (let i = 0; i < 60; i += 1) {
      for (let n = 0; n < 200; n += 1) hub.publish({ event: 'link', text: 'x'.repeat(1000) });
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.resume();
    await closed;
  });
});

describe('stdout', () => {
  test('that is gone rejects instead of waiting for ever', async () => {
    const stdout = new PassThrough();
    stdout.on('error', () => undefined);
    stdout.destroy();
    const output = new Output({ stdout, stderr: new PassThrough() }, false);
    await expect(output.raw('text')).rejects.toThrow('destroyed');
  });
  test('that is full is waited for', async () => {
    const stdout = new PassThrough({ highWaterMark: 4 });
    const output = new Output({ stdout, stderr: new PassThrough() }, true);
    let isDone = false;
    const first = output.line({ a: 1 });
    const second = output.line({ a: 2 }).then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isDone).toBe(false);
    stdout.resume();
    await Promise.all([first, second]);
  });
});

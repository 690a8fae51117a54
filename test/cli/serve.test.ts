/** The life of a served node: order of events, signals, refusals, locks, and two nodes that replicate. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { serveFlags, servePlan } from '../../dist/cli/serve-flags.js';
import { parseCommand, UsageError } from '../../dist/cli/usage.js';
import { cli, http, type Json, mainPath, place, serve, start, stopAll } from './harness.js';

afterEach(stopAll);

const names = (events: readonly Json[]): unknown[] => events.map(({ event }) => event);

describe('a node', () => {
  test('tells listening, recovery and ready in this order, and closed at its end', async () => {
    const dir = place('store');
    const node = await serve([dir, '--listen', '127.0.0.1:0']);
    expect(names(node.events)).toEqual(['listening', 'recovery', 'ready']);
    const [listening, recovery, ready] = node.events;
    expect(Object.keys(listening ?? {})).toEqual(['event', 'time', 'pid', 'dir', 'status']);
    expect(listening).toMatchObject({ pid: node.pid, dir, status: { host: '127.0.0.1' } });
    expect(recovery).toMatchObject({ outcome: 'skipped', reason: 'new', gap: '0', cut: null });
    expect(recovery).toHaveProperty('ms');
    expect(recovery).toHaveProperty('position.chain');
    expect(Object.keys(ready ?? {})).toEqual([
      'event',
      'time',
      'pid',
      'dir',
      'role',
      'clusterId',
      'nodeId',
      'epoch',
      'position',
      'listen',
      'status',
      'follow',
    ]);
    expect(ready).toMatchObject({ role: 'primary', epoch: '0.0', listen: { host: '127.0.0.1' }, follow: null });
    expect(ready?.['status']).toEqual(listening?.['status']);
    await cli(['put', node.url, 'a', '1']);
    node.signal('SIGTERM');
    expect(await node.exit).toEqual({ code: 0, stderr: '' });
    expect(node.events.at(-1)).toMatchObject({ event: 'closed', position: { seq: '2' } });
    expect((await cli(['get', dir, 'a'])).stdout.toString()).toBe('1');
  });
  test('has no status address when asked, and lives on', async () => {
    const node = await serve([place('store'), '--no-status']);
    expect(node.events[0]).toMatchObject({ event: 'listening', status: null });
    expect(node.events.at(-1)).toMatchObject({ event: 'ready', status: null });
    await new Promise((resolve) => setTimeout(resolve, 300));
    node.signal('SIGINT');
    expect((await node.exit).code).toBe(0);
  });
  test('outlives the reader of its stdout', async () => {
    const node = await serve([place('store')]);
    node.closeStdout();
    for (const key of ['a', 'b']) expect((await cli(['put', node.url, key, '1'])).code).toBe(0);
    expect((await cli(['get', node.url, 'b'])).stdout.toString()).toBe('1');
    node.signal('SIGTERM');
    expect((await node.exit).code).toBe(0);
  });
  test('keeps its directory to itself', async () => {
    const dir = place('store');
    const node = await serve([dir]);
    for (const words of [
      ['get', dir, 'a'],
      ['put', dir, 'a', '1'],
      ['stat', dir],
      ['verify', dir],
      ['log', dir],
      ['digest', dir],
    ]) {
      const { code, error } = await cli([...words, '--json']);
      expect([code, error['code']], words[0]).toEqual([1, 'LOCKED']);
      expect(error['details']).toMatchObject({ pid: node.pid, host: expect.any(String) });
    }
    const second = start(['serve', dir, '--json']);
    const { code, stderr } = await second.exit;
    expect(code).toBe(1);
    expect(JSON.parse(stderr.trim())).toMatchObject({ error: { code: 'LOCKED', details: { pid: node.pid } } });
    expect(names(second.events)).toEqual(['listening', 'recovery']);
    expect(second.events[1]).toMatchObject({ outcome: 'refused', reason: 'locked' });
  });
  test('that was killed cuts nothing that it acknowledged', async () => {
    const dir = place('store');
    const node = await serve([dir]);
    for (let i = 0; i < 20; i += 1) await cli(['put', node.url, `k${i}`, '1']);
    node.signal('SIGKILL');
    await node.exit;
    const again = await serve([dir]);
    expect(again.events[1]).toMatchObject({ event: 'recovery', position: { seq: '21' } });
    expect((await cli(['scan', again.url, '--keys'])).stdout.toString().trim().split('\n').length).toBe(20);
  });
});

describe('a refused start', () => {
  test('on a foreign directory is an event and a typed error', async () => {
    const dir = place('other');
    mkdirSync(dir);
    writeFileSync(join(dir, 'somebody.txt'), 'else');
    const node = start(['serve', dir, '--json']);
    const { code, stderr } = await node.exit;
    expect(code).toBe(1);
    expect(JSON.parse(stderr.trim())).toMatchObject({ error: { code: 'NOT_A_STORE' } });
    expect(node.events[1]).toMatchObject({ event: 'recovery', outcome: 'refused', reason: 'not_a_store' });
    expect(readFileSync(join(dir, 'somebody.txt'), 'utf8')).toBe('else');
  });
  test('on a port that is in use is IO', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as { port: number };
    for (const flag of ['--status', '--listen']) {
      const { code, stderr } = await start(['serve', place('store'), flag, `127.0.0.1:${port}`, '--json']).exit;
      expect(code, flag).toBe(1);
      expect(JSON.parse(stderr.trim().split('\n').at(-1) ?? ''), flag).toMatchObject({ error: { code: 'IO' } });
    }
    taken.close();
  });
});

describe('flags of serve', () => {
  const syntax = {
    name: 'serve',
    operands: 'DIR',
    minOperands: 1,
    maxOperands: 1,
    summary: '',
    example: '',
    flags: serveFlags(),
  };
  const plan = (...words: string[]): ReturnType<typeof servePlan> => servePlan(parseCommand(syntax, ['dir', ...words]));

  test('have defaults', () => {
    expect(plan()).toEqual({
      directory: 'dir',
      listen: undefined,
      follow: undefined,
      status: { host: '127.0.0.1', port: 0 },
      statusHosts: [],
      secretFile: undefined,
      insecure: false,
      options: { replication: {} },
    });
  });
  test('are the options in kebab case, with sizes', () => {
    const words =
      '--ring-bytes 1m --durability os --shards 2 --flows 3 --accept-loss --sync-rate-bytes 5k --heartbeat-ms 50';
    expect(plan(...words.split(' '), '--replication-enable-sequence-padding', 'no', '--new-node-id').options).toEqual({
      ringBytes: 1 << 20,
      durability: 'os',
      shards: 2,
      newNodeId: true,
      replication: {
        syncConnections: 3,
        acceptLoss: true,
        syncRateBytes: 5120,
        heartbeatMs: 50,
        sequencePadding: false,
      },
    });
    const store = '--memtable-bytes 1m --cache-bytes 0 --merge-rate-bytes 2m --compression lz4'.split(' ');
    expect(plan(...store).options).toEqual({
      memtableBytes: 1 << 20,
      cacheBytes: 0,
      mergeRateBytes: 2 << 20,
      compression: 'lz4',
      replication: {},
    });
    expect(plan('--create-if-missing', 'no').options.createIfMissing).toBe(false);
  });
  test.each([
    ['--ring-bytes', '1000000'],
    ['--ring-bytes', '1x'],
    ['--memtable-bytes', '255k'],
    ['--memtable-bytes', '5g'],
    ['--compression', 'zip'],
    ['--shards', '65'],
    ['--shards', '1.5'],
    ['--durability', 'yes'],
    ['--flows', '0'],
    ['--create-if-missing', 'maybe'],
    ['--replication-enable-sequence-padding', 'true'],
  ])('refuse %s %s by the name of the flag', (flag, value) => {
    expect(() => plan(flag, value)).toThrow(UsageError);
    expect(() => plan(flag, value)).toThrow(`${flag} `);
  });
  test('say what they take', () => {
    expect(() => plan('--ring-bytes', '1000')).toThrow(
      'serve: --ring-bytes must be a power of two from 65536 to 1073741824, not 1000',
    );
    expect(() => plan('--flows', '0')).toThrow('serve: --flows must be a whole number from 1 to 16, not 0');
  });
  test('refuse other addresses than loopback without a secret', () => {
    for (const flag of ['--listen', '--status']) {
      expect(() => plan(flag, '0.0.0.0:0')).toThrow(UsageError);
      expect(() => plan(flag, 'example.org:0')).toThrow(UsageError);
      expect(() => plan(flag, '[::]:0')).toThrow(UsageError);
      for (const fine of ['127.0.0.1:0', '127.1.2.3:0', '[::1]:0', 'localhost:0'])
        expect(() => plan(flag, fine)).not.toThrow();
      expect(plan(flag, '0.0.0.0:0', '--insecure').insecure).toBe(true);
      expect(plan(flag, '0.0.0.0:0', '--secret-file', 'f').secretFile).toBe('f');
    }
    expect(() => plan('--status', '127.0.0.1:0', '--no-status')).toThrow(UsageError);
  });
  test('refuse a URL in place of the directory', () => {
    expect(() => servePlan(parseCommand(syntax, ['http://127.0.0.1:1']))).toThrow(UsageError);
  });
  test('exit 2 and leave no directory behind', () => {
    const dir = place('store');
    const { status } = spawnSync(process.execPath, [mainPath, 'serve', dir, '--status', '0.0.0.0:0']);
    expect(status).toBe(2);
    expect(() => readFileSync(dir)).toThrow('ENOENT');
  });
});

describe('a reader that leaves', () => {
  test('ends a scan quietly', async () => {
    const dir = place('store');
    const lines = Array.from({ length: 2000 }, (_, i) => JSON.stringify({ key: `k${i}`, value: 'x'.repeat(200) }));
    await cli(['import', dir, '-', '--batch', '1000'], { stdin: lines.join('\n') });
    const script = `"${process.execPath}" "${mainPath}" scan "${dir}" | head -n 1; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(stdout).toBe(`k0\t${'x'.repeat(200)}\n0\n`);
  });
});

describe('two nodes', () => {
  test('replicate, wait for each other, and are promoted', async () => {
    const primary = await serve([place('primary'), '--listen', '127.0.0.1:0']);
    for (let i = 0; i < 50; i += 1) await http(primary.url, 'PUT', `/kv/k${i}`, { body: 'x'.repeat(100) });
    const ready = await primary.until('ready');
    const { host, port } = ready['listen'] as { host: string; port: number };
    const follow = `${host}:${port}`;
    const replica = await serve([place('replica'), '--follow', follow]);
    expect(replica.events.find(({ event }) => event === 'ready')).toMatchObject({ role: 'replica', follow });
    await replica.until('streaming');
    const put = (await cli(['put', primary.url, 'last', '1', '--replicas', '1', '--level', 'applied', '--json']))
      .lines[0];
    const position = put?.['position'] as Json;
    const text = [position['epoch'], position['seq'], position['offset'], position['chain']].join(':');
    const waited = await cli(['wait', replica.url, '--position', text, '--level', 'durable', '--json']);
    expect(waited.code).toBe(0);
    expect(waited.lines[0]).toMatchObject({ reached: true, position });
    const [ours, theirs] = [await cli(['digest', primary.url, '--json']), await cli(['digest', replica.url, '--json'])];
    expect(theirs.lines[0]).toEqual(ours.lines[0]);
    expect((await http(replica.url, 'GET', '/readyz')).status).toBe(200);
    expect((await cli(['get', replica.url, 'last'])).stdout.toString()).toBe('1');

    const refused = await cli(['put', replica.url, 'x', '1', '--json']);
    expect(refused.error).toMatchObject({ code: 'READ_ONLY', details: { primary: follow } });
    const list = (await cli(['replica', 'list', primary.url, '--json'])).lines[0]?.['replicas'] as Json[];
    expect(list).toMatchObject([{ state: 'streaming', stalled: false }]);
    expect((await cli(['promote', primary.url, '--json'])).error['code']).toBe('ALREADY_PRIMARY');

    const promoted = await cli(['promote', replica.url, '--json']);
    expect(promoted.code, promoted.stderr).toBe(0);
    expect(Object.keys(promoted.lines[0] ?? {})).toEqual(['role', 'epoch', 'position']);
    expect(promoted.lines[0]).toMatchObject({ role: 'primary', epoch: '2.0' });
    expect((await cli(['put', replica.url, 'x', '1'])).code).toBe(0);
    expect((await cli(['status', replica.url, '--json'])).lines[0]).toMatchObject({ role: 'primary', link: null });
  });

  test('hand the role over by command, and back, and refuse a write that too few would hold', async () => {
    const listen = ['--listen', '127.0.0.1:0', '--heartbeat-ms', '100'];
    const policy = ['--ack-replicas', '1', '--ack-level', 'applied', '--on-too-few-replicas', 'error'];
    const one = await serve([place('one'), ...listen, ...policy]);
    const alone = await cli(['put', one.url, 'a', '1', '--json']);
    expect(alone.error).toMatchObject({
      code: 'NOT_ENOUGH_REPLICAS',
      retryable: true,
      details: { needed: 1, have: 0 },
    });
    expect((await cli(['put', one.url, 'a', '0', '--replicas', '0'])).code).toBe(0);
    const { host, port } = (await one.until('ready'))['listen'] as { host: string; port: number };
    const two = await serve([place('two'), ...listen, ...policy, '--follow', `${host}:${port}`]);
    await two.until('streaming');
    expect((await cli(['put', one.url, 'a', '1'])).code).toBe(0);
    expect((await cli(['get', two.url, 'a'])).stdout.toString()).toBe('1');
    const promoted = await cli(['promote', two.url, '--handover', '--json']);
    expect(promoted.code, promoted.stderr).toBe(0);
    expect(promoted.lines[0]).toMatchObject({ role: 'primary', epoch: '2.0' });
    expect(await one.until('role')).toMatchObject({ role: 'replica', cause: 'handover' });
    await one.until('streaming');
    const back = await http(one.url, 'POST', '/promote', { body: JSON.stringify({ handover: true, epoch: 7 }) });
    expect(back.status).toBe(200);
    expect((await cli(['status', one.url, '--json'])).lines[0]).toMatchObject({ role: 'primary', epoch: '7.0' });
  });
});

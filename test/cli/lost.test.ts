/** Failback over processes, and what remains of it: plan, events, the files of lost/ with their commands. */
import { afterEach, describe, expect, test } from 'vitest';
import { cli, type Json, type Node, place, serve, stopAll } from './harness.js';

afterEach(stopAll);

const quick = ['--heartbeat-ms', '100', '--timeout-ms', '5000'];

function listenOf(node: Node): string {
  const ready = node.events.find(({ event }) => event === 'ready');
  const { host, port } = (ready?.['listen'] ?? {}) as Json;
  return `${host}:${port}`;
}

async function stop(node: Node): Promise<void> {
  node.signal('SIGTERM');
  expect((await node.exit).code).toBe(0);
}

/** An old primary, closed, with four batches that its successor, which runs, does not have. */
async function failedOver(dir: string): Promise<Node> {
  const successorDir = place('successor');
  const old = await serve([dir, '--listen', '127.0.0.1:0', ...quick]);
  await cli(['batch', old.url], { stdin: '{"op":"put","key":"a","value":"1"}\n{"op":"put","key":"b","value":"1"}\n' });
  const replica = await serve([successorDir, '--follow', listenOf(old), ...quick]);
  await replica.until('streaming');
  await stop(replica);
  await cli(['put', old.url, 'lost', 'x']);
  await cli(['del', old.url, 'a']);
  await cli(['put', old.url, 'b', '2']);
  await cli(['batch', old.url], {
    stdin: '{"op":"delRange","gte":"c","lt":"d"}\n{"op":"put","key":"k","value":"v"}\n',
  });
  await stop(old);
  const successor = await serve([successorDir, '--listen', '127.0.0.1:0', '--loss-limit-bytes', '1', ...quick]);
  expect((await cli(['promote', successor.url])).code).toBe(0);
  await cli(['put', successor.url, 'b', 'theirs']);
  return successor;
}

describe('lost', () => {
  test('a plan says what would be given up; accepted, it is undone, kept, shown and replayed', async () => {
    const dir = place('old');
    const successor = await failedOver(dir);
    const follow = ['--follow', listenOf(successor), ...quick];
    const asked = await serve([dir, ...follow]);
    await asked.until('needs_operator');
    const [plan] = (await cli(['status', asked.url, '--plan', '--json'])).lines;
    expect(plan).toMatchObject({ tier: 'stop', reason: 'lost_limit_exceeded', bytes: null });
    // The record of the replica's slot may have come too late for the replica.
    expect(plan?.['lost']).toMatchObject({ operations: 5 });
    expect(plan).toHaveProperty('common.seq');
    expect((await cli(['get', asked.url, 'lost'])).stdout.toString()).toBe('x');
    await stop(asked);

    const back = await serve([dir, ...follow, '--accept-loss']);
    const divergence = await back.until('divergence');
    expect(divergence).toMatchObject({
      operations: 5,
      keys: ['lost', 'a', 'b', 'c', 'k'],
      reason: 'rewind',
    });
    await back.until('streaming');
    expect((await cli(['get', back.url, 'lost'])).code).toBe(1);
    expect((await cli(['get', back.url, 'a'])).stdout.toString()).toBe('1');
    expect((await cli(['status', back.url, '--plan', '--json'])).lines[0]).toMatchObject({ tier: 'ring', lost: null });
    const file = String(divergence['file']);
    expect((await cli(['lost', 'list', dir, '--json'])).error).toMatchObject({ code: 'LOCKED' });
    // A file of lost/ is never changed: these read it beside the node that runs.
    const shown = (await cli(['lost', 'show', dir, file, '--values', '--json'])).lines.filter(
      ({ kind }) => kind !== 'config',
    );
    expect(shown.map(({ kind }) => kind)).toEqual(['batch', 'batch', 'batch', 'batch']);
    expect(shown[0]).toMatchObject({ operations: [{ op: 'put', key: 'lost', value: 'x' }] });
    const replayed = await cli(['lost', 'replay', dir, file, '--to', successor.url, '--if-unchanged', '--json']);
    const firstSeq = shown[2]?.['firstSeq'];
    expect(replayed.lines[0]).toMatchObject({ applied: 3, skipped: 1, skippedBatches: [{ firstSeq, key: 'b' }] });
    expect((await cli(['get', successor.url, 'lost'])).stdout.toString()).toBe('x');
    expect((await cli(['get', successor.url, 'b'])).stdout.toString()).toBe('theirs');
    expect((await cli(['get', successor.url, 'a'])).code).toBe(1);
    const again = await cli(['lost', 'replay', dir, file, '--to', successor.url, '--json']);
    expect(again.lines[0]).toMatchObject({ applied: 4, skipped: 0, skippedBatches: [] });
    expect((await cli(['get', successor.url, 'b'])).stdout.toString()).toBe('2');
    await stop(back);

    const { files } = (await cli(['lost', 'list', dir, '--json'])).lines[0] as { files: Json[] };
    expect(files).toEqual([expect.objectContaining({ file, operations: 5, reason: 'rewind' })]);
    expect(files[0]).toHaveProperty('from.seq');
    expect((await cli(['stat', dir, '--json'])).lines[0]).toMatchObject({ lost: 1 });
  });

  test('a name that is none, a file that is missing or damaged, and a missing URL are told', async () => {
    const dir = place('store');
    await cli(['put', dir, 'a', '1']);
    expect((await cli(['lost', 'list', dir, '--json'])).lines).toEqual([{ files: [] }]);
    for (const name of ['1.1-2-3.log', '../STATE', 'STATE']) {
      const missing = await cli(['lost', 'show', dir, name]);
      expect(missing.code).toBe(1);
      expect(missing.stderr).toMatch(/NOT_FOUND|no such file/);
    }
    expect((await cli(['lost', 'replay', dir, '1.1-2-3.log'])).code).toBe(2);
  });
});

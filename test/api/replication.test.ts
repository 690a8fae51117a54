// db.replication as callers get it: arguments, refusals, and what errors and status say.
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { temporary } from './temporary.js';

const temp = temporary();
const anywhere = { host: '127.0.0.1', port: 0 } as const;

describe('arguments of replication', () => {
  test('are refused by name before anything happens', async () => {
    const { replication } = await temp.open();
    const wrong: [() => Promise<unknown>, RegExp][] = [
      [() => replication.listen({ frob: 1 } as never), /option "frob" is unknown/],
      [() => replication.listen({ hosts: 'a', port: 1 } as never), /"hosts" is unknown; did you mean "host"/],
      [() => replication.listen({ port: 0 } as never), /option "host" must be a host name or address, not undefined/],
      [() => replication.listen({ host: '127.0.0.1' } as never), /option "port" must be .* 0 to 65535, not undefined/],
      [() => replication.listen({ host: '127.0.0.1', port: 65_536 }), /option "port" must be .*, not 65536/],
      [
        () => replication.listen({ ...anywhere, insecure: 1 } as never),
        /option "insecure" must be true or false, not 1/,
      ],
      [() => replication.listen(undefined as never), /options must be an object, not undefined/],
      [() => replication.listen({ host: '0.0.0.0', port: 0 }), /needs a secret/],
      [() => replication.follow('127.0.0.1:1' as never), /options must be an object, not "127/],
      [() => replication.follow(anywhere), /option "port" must be .* 1 to 65535, not 0/],
      [() => replication.follow({ host: 'h', port: 1, acceptLos: true } as never), /did you mean "acceptLoss"/],
      [() => replication.promote({ epoch: '2' } as never), /option "epoch" must be a whole number .*, not "2"/],
      [() => replication.promote({ forse: true } as never), /did you mean "force"/],
      [() => replication.demote({ follow: '127.0.0.1:1' } as never), /option "follow" must be an object/],
      [() => replication.resync({ full: 'yes' } as never), /option "full" must be true or false, not "yes"/],
    ];
    for (const [call, message] of wrong) await expect(call()).rejects.toThrow(message);
    expect(replication.status()).toMatchObject({ listen: null, follow: null });
  });

  test('of a wait are checked too', async () => {
    const db = await temp.open();
    const { position } = await db.put('a', '1');
    const { replication } = db;
    await expect(replication.waitFor(position, { replicas: 0 })).rejects.toThrow(
      /"replicas" must be .* 1 to 64, not 0/,
    );
    await expect(replication.waitFor(position, { level: 'frob' } as never)).rejects.toThrow(/"level" must be one of/);
    await expect(replication.waitFor(position, { timeOutMs: 1 } as never)).rejects.toThrow(/did you mean "timeoutMs"/);
    await expect(replication.waitFor(position, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'IN_DOUBT' });
  });
});

describe('a refusal of replication', () => {
  test('to listen on a port in use names the address', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const db = await temp.open();
    const failure = await db.replication.listen({ host: '127.0.0.1', port }).catch((error) => error);
    taken.close();
    expect(failure.code).toBe('IO');
    expect(failure.details).toEqual({ host: '127.0.0.1', port, errno: 98 });
    expect(failure.message).toContain(`127.0.0.1:${port}`);
  });

  test('to resync a primary is final', async () => {
    const db = await temp.open();
    const failure = await db.replication.resync().catch((error) => error);
    expect([failure.code, failure.retryable]).toEqual(['ALREADY_PRIMARY', false]);
    expect(failure.message).toContain('primary');
    await db.close();
    await expect(db.replication.resync()).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

test('status names the checkpoint that a replay would begin at', async () => {
  const path = temp.path();
  const db = await temp.open({}, path);
  await db.put('a', '1');
  expect(db.status().store.checkpoint).toMatchObject({ seq: 0n, offset: 0n });
  const follower = await temp.open({ asReplica: true });
  const { host, port } = await db.replication.listen(anywhere);
  await follower.replication.follow({ host, port });
  const { position } = await db.put('b', '2');
  await db.replication.waitFor(position, { level: 'applied', timeoutMs: 20_000 });
  const { checkpoint } = follower.status().store;
  expect(checkpoint?.offset).toBeGreaterThan(0n);
  expect(checkpoint?.offset).toBe(BigInt(follower.status().log.floor));
});

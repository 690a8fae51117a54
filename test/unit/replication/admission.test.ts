// Who is let in: one session a node id, and so many connections of strangers and of full syncs, however they arrive.
import { expect, test } from 'vitest';
import { ManualClock } from '../../../dist/base/clock.js';
import type { Progress } from '../../../dist/binding/progress.js';
import type { Connection, ConnectionHandler } from '../../../dist/replication/connection.js';
import { defaultReplicationOptions, type ReplicationPorts } from '../../../dist/replication/ports.js';
import { Primary, type PrimaryHooks, unauthenticatedMax } from '../../../dist/replication/primary.js';
import type { PrimarySession } from '../../../dist/replication/primary-session.js';
import { ResyncTally } from '../../../dist/replication/resync-tally.js';
import type { Channel } from '../../../dist/replication/transport.js';
import type { Hello } from '../../../dist/wire/hello.js';

const noHooks: PrimaryHooks = { upstream: () => undefined, handover: () => undefined, isSyncing: () => false };

test('two connections that come for a dead one at the same time are not both admitted', async () => {
  const ports = {
    clock: new ManualClock(),
    options: defaultReplicationOptions,
    store: { identity: () => ({ nodeId: 'primary' }) },
  } as unknown as ReplicationPorts;
  const connect = (): never => {
    throw new Error('nobody connects here');
  };
  const primary = new Primary(ports, {} as Progress, new ResyncTally(), connect, noHooks);
  const session = (isAlive: boolean): PrimarySession =>
    ({
      nodeId: 'replica',
      connection: { isOpen: true, isAlive: () => Promise.resolve(isAlive), destroy: () => undefined },
    }) as unknown as PrimarySession;
  const dead = session(false);
  expect(await primary.admit(dead, 'replica')).toBeNull();
  const one = session(true);
  const two = session(true);
  const answers = await Promise.all([primary.admit(one, 'replica'), primary.admit(two, 'replica')]);
  expect(answers).toEqual([null, 'duplicate_node_id']);
  expect(primary.sessions).toEqual([one]);
});

/** A primary whose connections are only counted. `arrive` returns what the primary made of a connection. */
async function listening() {
  let accept: (channel: Channel) => void = () => undefined;
  const made: { handler: ConnectionHandler; isGone: boolean; failure: unknown }[] = [];
  const ports = {
    clock: new ManualClock(),
    options: defaultReplicationOptions,
    store: {
      identity: () => ({ nodeId: 'primary' }),
      logStats: () => ({ floor: 0n }),
      meta: () => ({ slots: [] }),
    },
    network: {
      listen: async (_address: unknown, given: (channel: Channel) => void) => {
        accept = given;
        return { address: { host: 'here', port: 1 } };
      },
    },
  } as unknown as ReplicationPorts;
  const connect = (_channel: Channel, handler: ConnectionHandler): Connection => {
    const mine = { handler, isGone: false, failure: undefined as unknown };
    made.push(mine);
    return {
      handOver: (next: ConnectionHandler) => {
        mine.handler = next;
      },
      destroy: () => {
        mine.isGone = true;
      },
      fail: (_reason: unknown, error: unknown) => {
        mine.failure = error;
      },
    } as unknown as Connection;
  };
  const primary = new Primary(ports, {} as Progress, new ResyncTally(), connect, noHooks);
  await primary.listen({ host: 'here', port: 1 });
  const arrive = () => {
    accept({ destroy: () => undefined } as unknown as Channel);
    return made[made.length - 1] as (typeof made)[number];
  };
  return { primary, made, arrive };
}

test('of the strangers that arrive in one turn of the event loop only the newest 128 stay', async () => {
  const { made, arrive } = await listening();
  for (let i = 0; i < 3 * unauthenticatedMax; i++) arrive();
  expect(made).toHaveLength(3 * unauthenticatedMax);
  expect(made.filter(({ isGone }) => !isGone)).toHaveLength(unauthenticatedMax);
  expect(made.slice(-unauthenticatedMax).some(({ isGone }) => isGone)).toBe(false);
});

test('data connections are admitted for a full sync under way, sixteen a node', async () => {
  const { primary, arrive } = await listening();
  const joining = { purpose: 'data', nodeId: 'replica' } as Hello;
  const early = arrive();
  early.handler.authenticated(joining);
  expect(early.failure).toMatchObject({ code: 'EVICTED' });
  const session = { nodeId: 'replica', sync: {}, connection: { isOpen: true } } as unknown as PrimarySession;
  await primary.admit(session, 'replica');
  const joined = Array.from({ length: 17 }, () => {
    const connection = arrive();
    connection.handler.authenticated(joining);
    return connection;
  });
  expect(joined.map(({ failure }) => failure).filter((failure) => failure !== undefined)).toEqual([
    expect.objectContaining({ code: 'TOO_MANY' }),
  ]);
  joined[3]?.handler.closed({ reason: null, error: undefined, told: null, wasAuthenticated: true });
  const next = arrive();
  next.handler.authenticated(joining);
  expect(next.failure).toBeUndefined();
});

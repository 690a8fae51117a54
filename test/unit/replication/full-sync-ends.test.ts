// Both ends of a full sync without a store: what a peer can make the sender keep, and whose fault a failure is.
import type { MessagePort } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { ManualClock } from '../../../dist/base/clock.js';
import { seededRandom } from '../../../dist/base/prng.js';
import { createError } from '../../../dist/errors.js';
import { emptyPosition } from '../../../dist/position.js';
import type { Connection, ConnectionEnd, ConnectionHandler } from '../../../dist/replication/connection.js';
import { FullSyncSink } from '../../../dist/replication/full-sync-sink.js';
import { FullSyncSource } from '../../../dist/replication/full-sync-source.js';
import { defaultReplicationOptions, type ReplicationPorts } from '../../../dist/replication/ports.js';
import type { Frame, FrameOf } from '../../../dist/wire/frames.js';
import type { FlowCredit, FlowTask } from '../../../dist/workers/replication-tasks.js';

const mib = 1024 * 1024;
const meta = { position: emptyPosition() };

test('a peer that grants credit and does not read cannot make the sender keep more than 16 MiB', async () => {
  const ports: MessagePort[] = [];
  const source = new FullSyncSource(
    {
      clock: new ManualClock(),
      random: seededRandom(1),
      options: defaultReplicationOptions,
      store: { token: 1n, pin: () => ({ id: 1n, shards: 1, meta }), releasePin: () => undefined },
      tasks: {
        streamFlow: async ({ port }: FlowTask) => {
          ports.push(port);
          port.on('message', ({ credit }: FlowCredit) => {
            port.postMessage({ kind: 'data', bytes: new Uint8Array(credit) });
          });
        },
      },
    } as unknown as ReplicationPorts,
    'node',
    'new_replica',
  );
  let handler: ConnectionHandler | undefined;
  const connection = {
    unsent: 0,
    handOver: (given: ConnectionHandler) => {
      handler = given;
    },
    send: (frame: Frame) => {
      if (frame.type === 'FLOW_DATA') connection.unsent += frame.bytes.length;
    },
    close: () => undefined,
  };
  source.serve(connection as unknown as Connection, 0, () => undefined);
  const { syncId } = source;
  handler?.frame({ type: 'FLOW_REQUEST', syncId, flow: 0, offset: 0n, credit: BigInt(mib) }, '1.0');
  for (let i = 0; i < 40; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    handler?.frame({ type: 'FLOW_CREDIT', flow: 0, credit: BigInt(mib) }, '1.0');
  }
  expect(connection.unsent).toBeGreaterThan(8 * mib);
  expect(connection.unsent).toBeLessThanOrEqual(16 * mib);
  source.end();
  for (const port of ports) port.close();
});

test('a data connection takes the place of a former one of its number, and there are sixteen numbers', () => {
  const source = new FullSyncSource(
    {
      clock: new ManualClock(),
      random: seededRandom(1),
      options: defaultReplicationOptions,
      store: { token: 1n, pin: () => ({ id: 1n, shards: 1, meta }), releasePin: () => undefined },
    } as unknown as ReplicationPorts,
    'node',
    'new_replica',
  );
  const closed: string[] = [];
  const connect = (name: string, number: number): void => {
    const connection = { handOver: () => undefined, close: () => closed.push(name) };
    source.serve(connection as unknown as Connection, number, () => undefined);
  };
  connect('first', 15);
  connect('other', 0);
  connect('again', 15);
  expect(closed).toEqual(['first']);
  expect(() => connect('beyond', 16)).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  source.end();
});

const begin: FrameOf<'SNAPSHOT_BEGIN'> = {
  type: 'SNAPSHOT_BEGIN',
  syncId: '00'.repeat(16),
  reason: 'below_wal_floor',
  position: emptyPosition(),
  flows: 1,
  compression: 'none',
  estimatedBytes: 0n,
  estimatedEntries: 0n,
  resumed: false,
  metaState: new Uint8Array(8),
};

/** Whether a data connection that ends so counts as the link's fault; undefined: the sync did not fail. */
function blamed(end: Partial<ConnectionEnd>): boolean | undefined {
  let isLinks: boolean | undefined;
  let handler: ConnectionHandler | undefined;
  const sink = new FullSyncSink(begin, '11'.repeat(16), {
    ports: {
      clock: new ManualClock(),
      options: { ...defaultReplicationOptions, syncConnections: 1 },
      tools: { decodeMetaState: () => meta, encodeToken: () => new Uint8Array(8) },
      store: { beginGeneration: () => ({}) },
      emit: () => undefined,
    } as unknown as ReplicationPorts,
    dial: (given) => {
      handler = given;
      return new Promise(() => undefined);
    },
    complete: () => undefined,
    failed: (_error, isLink) => {
      isLinks = isLink;
    },
  });
  sink.start();
  handler?.closed({ reason: null, error: createError('IO', 'gone'), told: null, wasAuthenticated: true, ...end });
  return isLinks;
}

test('a data connection that breaks is the fault of the link, what the primary says is not', () => {
  expect(blamed({})).toBe(true);
  expect(blamed({ reason: 'timeout' })).toBe(true);
  expect(blamed({ reason: 'protocol' })).toBe(false);
  const told = { type: 'ERROR', code: 'CORRUPT', reason: null, message: 'damaged', retryAfterMs: 0 } as const;
  expect(blamed({ told })).toBe(false);
});

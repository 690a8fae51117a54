// Both ends of a full sync without a store: what a peer can make the sender keep, and whose fault a failure is.
import type { MessagePort } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { ManualClock } from '../../../dist/base/clock.js';
import { seededRandom } from '../../../dist/base/prng.js';
import { createError } from '../../../dist/errors.js';
import { emptyPosition } from '../../../dist/position.js';
import type { Connection, ConnectionEnd, ConnectionHandler } from '../../../dist/replication/connection.js';
import type { SyncEnding } from '../../../dist/replication/flow-fetcher.js';
import { FullSyncSink } from '../../../dist/replication/full-sync-sink.js';
import { FullSyncSource } from '../../../dist/replication/full-sync-source.js';
import { defaultReplicationOptions, type ReplicationPorts } from '../../../dist/replication/ports.js';
import { SharedSnapshots } from '../../../dist/replication/shared-snapshots.js';
import type { Frame, FrameOf } from '../../../dist/wire/frames.js';
import type { FlowCredit, FlowTask } from '../../../dist/workers/replication-tasks.js';

const mib = 1024 * 1024;
const meta = { position: emptyPosition() };
const pinnedStore = {
  token: 1n,
  pin: () => ({ id: 1n, shards: 1, meta }),
  checkPin: () => undefined,
  releasePin: () => undefined,
  shippingEnd: () => emptyPosition(),
};

function sourceOf(ports: object): FullSyncSource {
  const known = {
    clock: new ManualClock(),
    random: seededRandom(1),
    options: defaultReplicationOptions,
    store: pinnedStore,
    ...ports,
  } as unknown as ReplicationPorts;
  const joiner = { nodeId: 'node', position: emptyPosition(), resume: null };
  return new FullSyncSource(known, new SharedSnapshots(known), joiner, 'new_replica');
}

test('a peer that grants credit and does not read cannot make the sender keep more than 16 MiB', async () => {
  const ports: MessagePort[] = [];
  const source = sourceOf({
    tasks: {
      streamFlow: async ({ port }: FlowTask) => {
        ports.push(port);
        port.on('message', ({ credit }: FlowCredit) => {
          port.postMessage({ kind: 'data', bytes: new Uint8Array(credit) });
        });
      },
    },
  });
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
  source.end(true);
  for (const port of ports) port.close();
});

test('a data connection takes the place of a former one of its number, and there are sixteen numbers', () => {
  const source = sourceOf({});
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
  source.end(true);
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

/** How a data connection that ends so ends the sync; undefined: not at all. `redials`: another one is dialled. */
function ended(end: Partial<ConnectionEnd>): { readonly ending: SyncEnding | undefined; readonly redials: boolean } {
  let ending: SyncEnding | undefined;
  const handlers: ConnectionHandler[] = [];
  const clock = new ManualClock();
  const sink = FullSyncSink.announced(begin, '11'.repeat(16), {
    ports: {
      clock,
      random: seededRandom(1),
      options: { ...defaultReplicationOptions, syncConnections: 1 },
      tools: { decodeMetaState: () => meta, encodeToken: () => new Uint8Array(8) },
      store: { beginGeneration: () => ({ remember: () => undefined }) },
      emit: () => undefined,
    } as unknown as ReplicationPorts,
    dial: (given) => {
      handlers.push(given);
      return new Promise(() => undefined);
    },
    complete: () => undefined,
    failed: (_error, how) => {
      ending = how;
    },
  });
  sink.start();
  handlers[0]?.closed({ reason: null, error: createError('IO', 'gone'), told: null, wasAuthenticated: true, ...end });
  clock.advance(1000);
  return { ending, redials: handlers.length > 1 };
}

test('a data connection that breaks is dialled again; what the primary says of it ends the sync', () => {
  const again = { ending: undefined, redials: true };
  expect(ended({})).toEqual(again);
  expect(ended({ reason: 'timeout' })).toEqual(again);
  const told = { type: 'ERROR', code: 'CORRUPT', reason: null, message: 'damaged', retryAfterMs: 0 } as const;
  expect(ended({ told: { ...told, code: 'TOO_MANY', reason: 'too_many' } })).toEqual(again);
  const broken = { ending: 'broken', redials: false };
  expect(ended({ reason: 'protocol' })).toEqual(broken);
  expect(ended({ told })).toEqual(broken);
  expect(ended({ told: { ...told, code: 'EVICTED', reason: 'hold_expired' } })).toEqual(broken);
  // The session is over, the snapshot perhaps is not.
  expect(ended({ told: { ...told, code: 'EVICTED' } })).toEqual({ ending: 'link', redials: false });
});

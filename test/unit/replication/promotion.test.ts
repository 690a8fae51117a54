// What a controller does about a promotion that fails when the store has begun it, over a store that only has a role.
import { expect, test } from 'vitest';
import { ManualClock } from '../../../dist/base/clock.js';
import { seededRandom } from '../../../dist/base/prng.js';
import { progressFlags, progressWords } from '../../../dist/binding/contract.js';
import { createError } from '../../../dist/errors.js';
import { Connection, type ConnectionEnd } from '../../../dist/replication/connection.js';
import { ReplicationController } from '../../../dist/replication/controller.js';
import { defaultReplicationOptions, type ReplicationPorts } from '../../../dist/replication/ports.js';
import { portableChecksum } from '../../../dist/wire/checksum.js';
import { MemoryChannel } from './memory-channel.js';

const clusterId = '11'.repeat(16);
const settle = async (): Promise<void> => {
  for (let i = 0; i < 100; i++) await Promise.resolve();
};

/** A replica's controller, the connection of the primary that it follows, and the terms that this one heard of. */
async function following() {
  const clock = new ManualClock();
  const random = seededRandom(3);
  const node = { isPrimary: false, term: 1 };
  const heard: number[] = [];
  const ends: ConnectionEnd[] = [];
  let dials = 0;
  let promote: () => void = () => undefined;
  const store = {
    progress: (out: BigUint64Array) => {
      const { acknowledging, complete, primary } = progressFlags;
      out[progressWords.visible] = 1n;
      out[progressWords.flags] = acknowledging | complete | (node.isPrimary ? primary : 0n);
      out[progressWords.ownEpoch] = BigInt(node.term);
    },
    state: () => ({ highestTerm: node.term }),
    identity: () => ({ nodeId: '22'.repeat(16), clusterId, shards: 1 }),
    meta: () => ({ epochs: [], slots: [], padded: [] }),
    logStats: () => ({ floor: 0n }),
    finishTickets: async () => undefined,
    keptCheckpoints: () => [],
    promote: () =>
      new Promise((_resolve, reject) => {
        promote = () => reject(createError('NO_SPACE', 'no space for the record of a new epoch'));
      }),
  };
  const serve = (channel: MemoryChannel): Connection =>
    new Connection(
      channel,
      {
        side: 'primary',
        purpose: 'control',
        nodeId: '33'.repeat(16),
        clusterId,
        secret: undefined,
        clock,
        random,
        checksum: portableChecksum(),
        heartbeatMs: 1_000_000,
        timeoutMs: 2_000_000,
        epoch: () => '1.0',
        highestTerm: () => 1,
        seeTerm: async (term) => {
          heard.push(term);
        },
      },
      {
        authenticated: () => undefined,
        frame: () => undefined,
        drained: () => undefined,
        beat: () => undefined,
        closed: (end) => ends.push(end),
      },
    );
  const controller = new ReplicationController({
    store,
    clock,
    random,
    options: { ...defaultReplicationOptions, heartbeatMs: 100, timeoutMs: 1_000_000 },
    tools: { crc32c: (bytes: Uint8Array, crc: number) => portableChecksum()(crc, bytes) },
    network: {
      dial: async () => {
        dials++;
        const [ours, theirs] = [new MemoryChannel(), new MemoryChannel()];
        [ours.peer, theirs.peer] = [theirs, ours];
        serve(theirs);
        return ours;
      },
    },
    tasks: { close: async () => undefined },
    isSync: true,
    version: 'test',
    asksFull: () => null,
    ring: () => null,
    emit: () => undefined,
    news: () => undefined,
  } as unknown as ReplicationPorts);
  await controller.follow({ host: 'there', port: 1 });
  await settle();
  return { controller, clock, node, heard, ends, dials: () => dials, endPromotion: () => promote() };
}

test('a promotion that fails as a primary of a new term tells no peer of it, and dials nobody', async () => {
  const { controller, clock, node, heard, ends, dials, endPromotion } = await following();
  expect(dials()).toBe(1);
  const promoting = controller.promote();
  await settle();
  node.isPrimary = true;
  node.term = 2;
  controller.progressed();
  clock.advance(150);
  await settle();
  endPromotion();
  await expect(promoting).rejects.toMatchObject({ code: 'NO_SPACE' });
  await settle();
  clock.advance(60_000);
  await settle();
  expect(heard).toEqual([]);
  expect(ends).toHaveLength(1);
  expect(dials()).toBe(1);
  expect(controller.status()).toMatchObject({ state: 'serving', follow: null });
  await controller.close();
});

test('a promotion that changed nothing leaves the node following', async () => {
  const { controller, clock, dials, endPromotion } = await following();
  const promoting = controller.promote();
  await settle();
  endPromotion();
  await expect(promoting).rejects.toMatchObject({ code: 'NO_SPACE' });
  await settle();
  clock.advance(1);
  await settle();
  expect(dials()).toBe(2);
  expect(controller.status()).toMatchObject({ follow: 'there:1' });
  await controller.close();
});

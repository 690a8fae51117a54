// A connection over channels in memory, with a clock that only moves when told.
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../../dist/base/clock.js';
import { seededRandom } from '../../../dist/base/prng.js';
import { emptyPosition } from '../../../dist/position.js';
import { Connection, type ConnectionEnd, type ConnectionOptions } from '../../../dist/replication/connection.js';
import { portableChecksum } from '../../../dist/wire/checksum.js';
import type { Frame } from '../../../dist/wire/frames.js';
import { MemoryChannel } from './memory-channel.js';

interface End {
  readonly channel: MemoryChannel;
  readonly connection: Connection;
  readonly frames: Frame[];
  readonly ends: ConnectionEnd[];
  readonly terms: number[];
  epoch: string;
  seen: Promise<void>;
  isAuthenticated: boolean;
}

/** Replica and primary. `isSilent`: nothing of the replica arrives. */
function pair(
  clock: ManualClock,
  secrets: readonly (string | undefined)[] = [undefined, undefined],
  isSilent = false,
): [End, End] {
  const channels = [new MemoryChannel(), new MemoryChannel()] as const;
  [channels[0].peer, channels[1].peer] = [isSilent ? undefined : channels[1], channels[0]];
  const make = (index: 0 | 1): End => {
    const secret = secrets[index];
    let highest = 1;
    const options: ConnectionOptions = {
      side: index === 0 ? 'replica' : 'primary',
      purpose: 'control',
      nodeId: `${index + 1}`.repeat(32),
      clusterId: '0'.repeat(32),
      secret: secret === undefined ? undefined : Buffer.from(secret),
      clock,
      random: seededRandom(index),
      checksum: portableChecksum(),
      heartbeatMs: 100,
      timeoutMs: 1000,
      epoch: () => end.epoch,
      highestTerm: () => highest,
      seeTerm: async (term) => {
        await end.seen;
        end.terms.push(term);
        highest = term;
      },
    };
    const state = { frames: [], ends: [], terms: [], epoch: '1.0', seen: Promise.resolve(), isAuthenticated: false };
    const end: End = Object.assign(state, {
      channel: channels[index],
      connection: new Connection(channels[index], options, {
        authenticated: () => {
          end.isAuthenticated = true;
        },
        frame: (frame) => end.frames.push(frame),
        drained: () => undefined,
        beat: () => undefined,
        closed: (how) => end.ends.push(how),
      }),
    });
    return end;
  };
  return [make(0), make(1)];
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await Promise.resolve();
};
const endFrame: Frame = { type: 'FLOW_END', flow: 1, crc: 2 };
const answer: Frame = {
  type: 'ANSWER',
  verdict: 'accept',
  position: emptyPosition(),
  details: '',
};

describe('a connection', () => {
  test('authenticates both sides with one secret, and neither with two', async () => {
    const [replica, primary] = pair(new ManualClock(), ['one secret', 'one secret']);
    await settle();
    expect([replica.isAuthenticated, primary.isAuthenticated]).toEqual([true, true]);
    const [other, refusing] = pair(new ManualClock(), ['one secret', 'another']);
    await settle();
    expect([other.isAuthenticated, refusing.isAuthenticated]).toEqual([false, false]);
    expect(refusing.ends[0]).toMatchObject({ reason: 'auth', wasAuthenticated: false });
    // The hello, and not a byte behind the wrong proof.
    expect(refusing.channel.sentBytes).toBe(128);
  });

  test('is dropped after five seconds without a proof', async () => {
    const clock = new ManualClock();
    const [, primary] = pair(clock, [undefined, undefined], true);
    await settle();
    clock.advance(4999);
    await settle();
    expect(primary.ends).toHaveLength(0);
    clock.advance(1);
    await settle();
    expect(primary.ends[0]).toMatchObject({ reason: 'timeout', wasAuthenticated: false });
    expect(primary.channel.sentBytes).toBe(0);
  });

  test('delivers a frame of a higher term only once the term is durable', async () => {
    const [replica, primary] = pair(new ManualClock());
    await settle();
    let isDurable = (): void => undefined;
    primary.seen = new Promise((resolve) => {
      isDurable = resolve;
    });
    replica.epoch = '4.0';
    replica.connection.send(answer);
    replica.connection.send(answer);
    await settle();
    expect(primary.frames).toHaveLength(0);
    isDurable();
    await settle();
    expect(primary.terms).toEqual([4]);
    expect(primary.frames).toHaveLength(2);
  });

  test('speaks every heartbeat, and is lost after the silence that was agreed', async () => {
    const clock = new ManualClock();
    const [replica, primary] = pair(clock);
    await settle();
    for (let i = 0; i < 30; i++) {
      clock.advance(100);
      await settle();
    }
    expect([replica.ends, primary.ends]).toEqual([[], []]);
    // From now on the primary hears nothing.
    replica.channel.peer = undefined;
    for (let i = 0; i < 12; i++) {
      clock.advance(100);
      await settle();
    }
    expect(primary.ends[0]).toMatchObject({ reason: 'timeout' });
  });

  test('answers what the protocol does not allow with one error', async () => {
    const [replica, primary] = pair(new ManualClock());
    await settle();
    replica.connection.send(endFrame);
    await settle();
    expect(primary.frames).toHaveLength(0);
    expect(primary.ends[0]).toMatchObject({ reason: 'protocol' });
    expect(replica.ends[0]?.told).toMatchObject({ code: 'PROTOCOL', reason: 'protocol' });
  });

  test('holds frames back until it is released, and is not lost meanwhile', async () => {
    const clock = new ManualClock();
    const [replica, primary] = pair(clock);
    await settle();
    primary.connection.hold();
    replica.connection.send(answer);
    for (let i = 0; i < 30; i++) {
      clock.advance(100);
      await settle();
    }
    expect(primary.frames).toHaveLength(0);
    expect(primary.ends).toHaveLength(0);
    primary.connection.release();
    await settle();
    expect(primary.frames).toHaveLength(1);
  });

  test('keeps no answers for a peer that asks and does not read', async () => {
    const [replica, primary] = pair(new ManualClock());
    await settle();
    const ask = async (): Promise<number> => {
      const before = primary.channel.sentBytes;
      replica.connection.send({ type: 'PING', time: 1n, echo: null });
      await settle();
      return primary.channel.sentBytes - before;
    };
    expect(await ask()).toBeGreaterThan(0);
    primary.channel.unsent = 64 * 1024 * 1024;
    expect(await ask()).toBe(0);
  });

  test('tells a peer that lives from one that does not', async () => {
    const clock = new ManualClock();
    const [replica, primary] = pair(clock);
    await settle();
    const alive = primary.connection.isAlive(50);
    await settle();
    clock.advance(50);
    expect(await alive).toBe(true);
    replica.channel.peer = undefined;
    const gone = primary.connection.isAlive(50);
    await settle();
    clock.advance(50);
    expect(await gone).toBe(false);
  });
});

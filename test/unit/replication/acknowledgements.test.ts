import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../../dist/base/clock.js';
import { createPosition, type Position } from '../../../dist/position.js';
import { type Acknowledged, AckWaiters, reachedBy } from '../../../dist/replication/acknowledgements.js';

const at = (offset: number): Position =>
  createPosition('1.0', BigInt(offset / 8), BigInt(offset), offset.toString(16).padStart(16, '0'));
const replica = (received: number, durable = received, applied = durable): Acknowledged => ({
  received: at(received),
  durable: at(durable),
  applied: at(applied),
});

describe('how far enough replicas are', () => {
  test('is the k-th largest at the level', () => {
    const three = [replica(80, 40, 8), replica(64, 64, 64), replica(16)];
    expect(reachedBy(1, 'received', three)?.offset).toBe(80n);
    expect(reachedBy(2, 'received', three)?.offset).toBe(64n);
    expect(reachedBy(2, 'durable', three)?.offset).toBe(40n);
    expect(reachedBy(3, 'applied', three)?.offset).toBe(8n);
  });

  test('is nothing while there are too few', () => {
    expect(reachedBy(2, 'durable', [replica(80)])).toBeUndefined();
  });
});

describe('waiting for replicas', () => {
  const setup = (): { clock: ManualClock; promised: bigint[]; waiters: AckWaiters } => {
    const clock = new ManualClock();
    const promised: bigint[] = [];
    return { clock, promised, waiters: new AckWaiters(clock, ({ offset }) => promised.push(offset)) };
  };

  test('ends in order of positions, whatever the order of calls, and promises before it tells', async () => {
    const { promised, waiters } = setup();
    const ended: number[] = [];
    for (const offset of [40, 16, 64]) {
      void waiters.wait(at(offset), 1, 'durable', 1000, undefined).then(() => ended.push(offset));
    }
    waiters.advance([replica(48)]);
    expect(promised).toEqual([40n]);
    await Promise.resolve();
    await Promise.resolve();
    expect(ended).toEqual([16, 40]);
    expect(waiters.size).toBe(1);
  });

  test('a level below the asked one is not enough', () => {
    const { waiters } = setup();
    void waiters.wait(at(40), 1, 'applied', 1000, undefined);
    waiters.advance([replica(80, 80, 32)]);
    expect(waiters.size).toBe(1);
    waiters.advance([replica(80, 80, 40)]);
    expect(waiters.size).toBe(0);
  });

  test('the time is up in doubt, with the position, and undoes nothing for the others', async () => {
    const { clock, waiters } = setup();
    const early = waiters.wait(at(40), 1, 'durable', 100, undefined);
    const late = waiters.wait(at(40), 1, 'durable', 1000, undefined);
    clock.advance(100);
    await expect(early).rejects.toMatchObject({ code: 'IN_DOUBT', details: { position: at(40) } });
    waiters.advance([replica(40)]);
    await expect(late).resolves.toBeUndefined();
  });

  test('a signal ends only its own wait', async () => {
    const { waiters } = setup();
    const controller = new AbortController();
    const aborted = waiters.wait(at(40), 1, 'durable', 1000, controller.signal);
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    expect(waiters.size).toBe(0);
  });

  test('a fenced node rejects them all', async () => {
    const { waiters } = setup();
    const all = [1, 2].map((replicas) => waiters.wait(at(40), replicas, 'durable', 1000, undefined));
    waiters.rejectAll((position) => new Error(`fenced at ${position.offset}`));
    for (const each of all) await expect(each).rejects.toThrow('fenced at 40');
  });
});

// Slots over a log that gives holds up by itself.
import { expect, test } from 'vitest';
import { createPosition, type Position } from '../../../dist/position.js';
import type { LogSource } from '../../../dist/replication/ports.js';
import { Slots } from '../../../dist/replication/slots.js';

const at = (offset: bigint): Position => createPosition('1.0', offset, offset, '0123456789abcdef');

test('a hold that the log gave up holds nothing: it is begun anew, and its floor does not count', () => {
  const alive = new Map<bigint, bigint>();
  let last = 0n;
  const slots = new Slots(
    {
      addHold: (_kind: number, _name: string, offset: bigint) => {
        alive.set(++last, offset);
        return last;
      },
      moveHold: (hold: bigint, offset: bigint) => alive.set(hold, offset),
      releaseHold: (hold: bigint) => alive.delete(hold),
      holdIsAlive: (hold: bigint) => alive.has(hold),
    } as unknown as LogSource,
    1,
  );
  slots.hold('slow', 10n);
  slots.advance('slow', at(20n));
  slots.hold('quick', 10n);
  slots.advance('quick', at(90n));
  expect(slots.undoFloor()?.offset).toBe(20n);
  alive.delete(1n);
  expect(slots.undoFloor()?.offset).toBe(90n);
  slots.hold('slow', 30n);
  expect([...alive.values()].sort()).toEqual([30n, 90n]);
  slots.advance('slow', at(40n));
  alive.delete(last);
  slots.advance('slow', at(40n));
  expect([...alive.values()].sort()).toEqual([40n, 90n]);
});

test('a named slot counts from where the log begins until its node comes, that of this node itself never', () => {
  const held: string[] = [];
  const slots = new Slots(
    {
      identity: () => ({ nodeId: 'own' }),
      logStats: () => ({ floor: 30n }),
      meta: () => ({ slots: [{ nodeId: 'own' }, { nodeId: 'away' }] }),
      positionAt: at,
      addHold: (_kind: number, name: string, offset: bigint) => BigInt(held.push(`${name} ${offset}`)),
      moveHold: () => undefined,
      holdIsAlive: () => true,
    } as unknown as LogSource,
    1,
  );
  slots.adoptNamed();
  expect(held).toEqual(['away 30']);
  expect(slots.undoFloor()?.offset).toBe(30n);
  slots.advance('away', at(50n));
  expect(slots.undoFloor()?.offset).toBe(50n);
});

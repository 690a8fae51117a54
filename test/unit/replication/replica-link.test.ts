// What a link says, and what it no longer says once it is over.
import { expect, test } from 'vitest';
import { ManualClock } from '../../../dist/base/clock.js';
import { emptyPosition, type Position } from '../../../dist/position.js';
import type { Connection } from '../../../dist/replication/connection.js';
import { type LinkOwner, ReplicaLink } from '../../../dist/replication/replica-link.js';
import type { Frame } from '../../../dist/wire/frames.js';

const at = (epoch: string, offset: bigint): Position => ({ ...emptyPosition(), epoch, offset }) as Position;

test('what a node has in a term of its own is not acknowledged to the primary that it followed', async () => {
  const said: Frame[] = [];
  const connection = { isOpen: true, send: (frame: Frame) => said.push(frame), hold() {}, speakEvery() {} };
  const progress = { durable: at('1.0', 8n), visible: at('1.0', 8n), isComplete: true, isBelowFormerMark: false };
  const owner = {
    ports: {
      clock: new ManualClock(),
      options: { timeoutMs: 1000 },
      store: { identity: () => ({ clusterId: 'ab' }), state: () => ({ highestTerm: 1 }) },
    },
    progress,
    queue: { received: at('1.0', 8n), idle: () => Promise.resolve(), forgetWaiting() {} },
    highestTerm: () => 1,
    decided() {},
    changed() {},
  };
  const link = new ReplicaLink(owner as unknown as LinkOwner);
  link.attach(connection as unknown as Connection);
  link.frame({ type: 'WELCOME', clusterId: 'ab', nodeId: 'cd', timeoutMs: 1000 } as unknown as Frame, '1.0');
  link.frame({ type: 'DECISION', tier: 'ring', reason: null, from: at('1.0', 8n) } as unknown as Frame, '1.0');
  expect(link.state).toBe('catching_up');
  link.beat();
  expect(said.filter(({ type }) => type === 'ACK')).toHaveLength(1);
  await link.quiesce();
  said.length = 0;
  progress.durable = at('2.0', 72n);
  progress.visible = at('2.0', 72n);
  link.moved();
  link.beat();
  await new Promise((resolve) => setImmediate(resolve));
  expect(said).toEqual([]);
});

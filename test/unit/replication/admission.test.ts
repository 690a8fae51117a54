// One session a node id, however its connections arrive.
import { expect, test } from 'vitest';
import { ManualClock } from '../../../dist/base/clock.js';
import type { Progress } from '../../../dist/binding/progress.js';
import { defaultReplicationOptions, type ReplicationPorts } from '../../../dist/replication/ports.js';
import { Primary } from '../../../dist/replication/primary.js';
import type { PrimarySession } from '../../../dist/replication/primary-session.js';
import { ResyncTally } from '../../../dist/replication/resync-tally.js';

test('two connections that come for a dead one at the same time are not both admitted', async () => {
  const ports = {
    clock: new ManualClock(),
    options: defaultReplicationOptions,
    store: { identity: () => ({ nodeId: 'primary' }) },
  } as unknown as ReplicationPorts;
  const primary = new Primary(ports, {} as Progress, new ResyncTally(), () => {
    throw new Error('nobody connects here');
  });
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

/**
 * What must not be lost between links and wakes: records received for a link that ended, and news that no write
 * brings.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { converged, TestCluster, until } from './nodes.js';
import { startWriters } from './workload.js';

let cluster: TestCluster;
beforeEach(() => {
  cluster = new TestCluster();
});
afterEach(async () => {
  await cluster.end();
});

describe('a replica that is told to follow again in the middle of a stream', () => {
  test('shows what it had received and goes on', async () => {
    const primary = await cluster.primary();
    const replica = await cluster.replica(primary.address);
    const writers = startWriters(primary.db, { writers: 8 });
    for (let round = 0; round < 5; round++) {
      await until('streaming', () => replica.saw('streaming').length > round);
      const before = replica.db.position.offset;
      await until('records', () => replica.db.position.offset > before + 10_000n);
      await replica.db.replication.follow(primary.address);
    }
    await writers.stop();
    await converged(primary, replica, 8000);
    writers.check(replica.db);
  });
});

describe('news that comes without a write', () => {
  test('an acknowledgement ends a wait for the commit position', async () => {
    const primary = await cluster.primary({ replication: { ackReplicas: 1 } });
    await cluster.replica(primary.address);
    await until('the replica', () => primary.saw('replica', { state: 'streaming' }).length > 0);
    for (let round = 0; round < 20; round++) {
      const { position } = await primary.db.put('key', `${round}`);
      await primary.db.waitFor(position, { level: 'commit', timeoutMs: 3000 });
    }
  });

  test('a link that comes back ends a wait for a small lag', async () => {
    const primary = await cluster.primary();
    await primary.db.put('key', '1');
    const replica = await cluster.replica(primary.address);
    // Its slot is the last record: behind that nothing moves on either side.
    await until('the slot', () => primary.db.position.seq >= 3n);
    await converged(primary, replica);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await replica.db.replication.follow({ host: '127.0.0.1', port: 1 });
    const read = replica.db.getAsync('key', { maxLagMs: 1000, timeoutMs: 5000 });
    await replica.db.replication.follow(primary.address);
    await expect(read).resolves.toEqual(Buffer.from('1'));
  });
});

// A primary under a file coordinator that writes for ever and says what was acknowledged, a key a line.
import { writeSync } from 'node:fs';
import { fileCoordinator, open } from '../../dist/index.js';

const [dir, directory, leaseMs] = process.argv.slice(2);
const say = (line) => writeSync(1, `${line}\n`);
const db = await open(dir, { replication: { heartbeatMs: 50, timeoutMs: 1000 } });
const { port } = await db.replication.listen({ host: '127.0.0.1', port: 0 });
const coordinator = fileCoordinator({ directory, leaseMs: Number(leaseMs) });
await db.replication.coordinate({ coordinator, onError: (error) => say(`error ${error.message}`) });
say(`listening ${port}`);
for (let i = 0; ; i += 1) {
  try {
    await db.put(`key-${i}`, 'x', { replicas: 1 });
    say(`ack key-${i}`);
  } catch (error) {
    say(`refused ${error.code}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * Fills a store and then waits to be killed: `writer.js <dir> <records> <operations a record>`. Says 'written' once
 * everything has been handed to the kernel, where a SIGKILL cannot reach it.
 */
import { open } from 'gaplessdb';
import { keyAt, valueAt, values } from '../data.js';

const [dir = '', records = '0', operations = '1'] = process.argv.slice(2);
const db = await open(dir, { durability: 'os' });
const pool = values();
let index = 0;
for (let number = 0; number < Number(records); number += 1) {
  const batch = db.batch();
  for (const end = index + Number(operations); index < end; index += 1) batch.put(keyAt(index), valueAt(pool, index));
  const commit = batch.commit({ durability: 'memory' });
  if (number % 1000 === 0) await commit;
}
await db.put('last', 'record', { durability: 'os' });
process.send?.({ written: index });
setInterval(() => undefined, 1000);

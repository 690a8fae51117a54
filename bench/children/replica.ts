/**
 * A replica in a process of its own: `replica.js <dir> <host> <port> <durability>`. It says when it follows the stream;
 * then it answers `{ watch: true }` by looking every millisecond how far it can see, and `{ report: true }` with what
 * it saw. A stamp in the stream says which burst of the primary it belongs to, so that each burst gives one lag, also
 * when several appear at once.
 */
import { type Durability, open } from 'gaplessdb';
import { latencyOf, newHistogram, now, record } from '../drivers.js';
import { type Stamp, stampKey } from '../stamps.js';

const [dir = '', host = '', port = '', durability = 'os'] = process.argv.slice(2);
const db = await open(dir, { asReplica: true, durability: durability as Durability });
const lags = newHistogram();
let seen = -1;
let timer: NodeJS.Timeout | undefined;

function look(): void {
  const text = db.get(stampKey)?.toString();
  if (text === undefined) return;
  const { number, begunNs, everyNs } = JSON.parse(text) as Stamp;
  const at = now();
  for (; seen < number; seen += 1) record(lags, at - (begunNs + (seen + 1) * everyNs));
}

function report(): void {
  look();
  clearInterval(timer);
  process.send?.({ latency: latencyOf(lags), bursts: seen + 1, offset: `${db.position.offset}` });
}

process.on('message', (message: { readonly watch?: true; readonly report?: true }) => {
  if (message.watch) timer = setInterval(look, 1);
  if (message.report) report();
});
let syncMs: number | null = null;
db.on('sync_done', (event) => {
  syncMs = event.ms;
});
db.on('streaming', () => process.send?.({ streamingNs: now(), syncMs, offset: `${db.position.offset}` }));
db.on('needs_operator', (event) => {
  process.stderr.write(`replica: ${event.details}\n`);
  process.exit(1);
});
await db.replication.follow({ host, port: Number(port) });

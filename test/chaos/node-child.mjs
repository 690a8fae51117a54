// One database as a process, for tests that kill, freeze and restart nodes. Its parent asks by IPC and hears events
// and, while a load runs, every acknowledgement: what the parent heard of was acknowledged, whatever happens to this
// process.
//
// The load: each writer owns a sequence key, and counts each of its commits in the same batch. So on every node, at
// every position, `own-w` = `count-w`, and `shared` is the sum of all; a record that is lost or applied twice breaks
// that.
import { seededRandom } from '../../dist/base/prng.js';
import { describeError, open } from '../../dist/index.js';
import { inspect, writeGeneration } from './generations.mjs';

let db;
let writers = [];
let isWriting = false;
let watch;

const send = (message) => {
  if (process.connected) process.send(message, () => undefined);
};

const methods = {
  async open({ dir, options, watched }) {
    db = await open(dir, options);
    db.onAny((event) => send({ event: JSON.parse(JSON.stringify(event, plain)) }));
    if (watched === true) startWatching();
    return place();
  },
  listen: (address) => db.replication.listen(address),
  follow: (address) => db.replication.follow(address),
  resync: (options) => db.replication.resync(options),
  promote: (options) => db.replication.promote(options),
  demote: (options) => db.replication.demote(options),
  status: () => db.status(),
  digest: () => db.digest(),
  put: ({ key, value }) => db.put(key, value),
  get: ({ key }) => db.get(key)?.toString() ?? null,
  place: () => place(),
  rss: () => process.memoryUsage().rss,
  counts: ({ writers: count }) => counts(count),
  load: (options) => startLoad(options),
  async stopLoad() {
    isWriting = false;
    await Promise.all(writers);
    writers = [];
  },
  async stopWatching() {
    const result = { wrong: watch.wrong, reads: watch.reads };
    watch.isOver = true;
    watch = undefined;
    return result;
  },
  async close() {
    await db.close();
  },
};

process.on('message', async ({ id, method, args }) => {
  try {
    send({ id, result: JSON.parse(JSON.stringify((await methods[method](args)) ?? null, plain)) });
  } catch (error) {
    send({ id, error: describeError(error).body });
  }
});
process.on('disconnect', () => process.exit(3));

function plain(_, value) {
  return typeof value === 'bigint' ? `${value}` : value;
}

function place() {
  const { position, durable } = db;
  const { nodeId, counters } = db.status();
  return { position: `${position}`, seq: `${position.seq}`, durable: `${durable}`, nodeId, ...counters };
}

/** Numbers of each writer at one position, for the oracles of the parent. */
function counts(count) {
  const view = db.view();
  const number = (key) => Number(view.get(key) ?? 0);
  try {
    const own = Array.from({ length: count }, (_, i) => number(`own-${i}`));
    const counted = Array.from({ length: count }, (_, i) => number(`count-${i}`));
    return { position: `${view.position}`, own, counted, shared: number('shared') };
  } finally {
    view.close();
  }
}

async function startLoad({ writers: count, seed, keys, pauseMs, generations }) {
  isWriting = true;
  if (db.get('sessions') === undefined) await writeGeneration(db, 0);
  writers = Array.from({ length: count }, (_, writer) => write(writer, { seed, keys, pauseMs }));
  if (generations) writers.push(writeGenerations(pauseMs));
  for (const each of writers) each.catch((error) => send({ loadEnded: describeError(error).body.code }));
}

async function write(writer, { seed, keys, pauseMs }) {
  const random = seededRandom(seed * 100 + writer);
  const key = (i) => `data-${String(i).padStart(6, '0')}`;
  for (let i = Number(db.get(`own-${writer}`) ?? 0) + 1; isWriting; i++) {
    const at = random.below(keys);
    const batch = db.batch().increment('shared').increment(`count-${writer}`).put(`own-${writer}`, `${i}`);
    const dice = random.below(20);
    if (dice === 0) batch.delRange({ gte: key(at), lt: key(at + 5) });
    else if (dice < 4) batch.del(key(at));
    else batch.put(key(at), `${writer}:${i}:${'x'.repeat(random.below(200))}`);
    const { position } = await batch.commit();
    send({ ack: { writer, i, position: `${position}` } });
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

async function writeGenerations(pauseMs) {
  for (let generation = Number(db.get('sessions')) + 1; isWriting; generation++) {
    await writeGeneration(db, generation, generation % 50 === 0 ? 200_000 : 0);
    await new Promise((resolve) => setTimeout(resolve, pauseMs + 5));
  }
}

/**
 * Reads whole generations, and the counts, whatever the node is doing. A state that is not there yet is not looked
 * at.
 */
function startWatching() {
  const mine = { wrong: [], reads: 0, last: 0, isOver: false };
  watch = mine;
  const look = () => {
    if (mine.isOver || mine.wrong.length > 0) return;
    if (db.get('sessions') !== undefined || mine.last > 0) {
      const fault = inspect((wanted) => db.getMany(wanted), mine.last) ?? countFault();
      if (fault !== null) mine.wrong.push(fault);
      mine.last = Math.max(mine.last, Number(db.get('sessions') ?? 0));
      mine.reads++;
    }
    setTimeout(look, 3);
  };
  look();
}

function countFault() {
  const { position, own, counted, shared } = counts(32);
  const odd = own.findIndex((value, i) => value !== counted[i]);
  if (odd >= 0) return `at ${position}: own-${odd} is ${own[odd]}, count-${odd} is ${counted[odd]}`;
  const sum = own.reduce((total, value) => total + value, 0);
  return sum === shared ? null : `at ${position}: shared is ${shared}, the sum is ${sum}`;
}

// Three nodes as processes, one of them the primary under load; faults at random until the time is over. Each round:
// one fault, then a quiet point at which the oracles look. Oracles, by name:
//
//   acknowledged-never-lost   what the parent heard acknowledged is there, after every restart and on every node
//   prefix                    on every node, at any moment: whole batches, counters that fit their sequence keys
//   digest-equality           equal positions, equal digests; and a node's digest is the primary's log replayed up to
// it
//   exact-full-syncs          full syncs begun and ended are those that were asked for, and the first of each new node
//   epoch-uniqueness          no two nodes have an epoch that different records began
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '../../dist/base/prng.js';
import { digestDirectory, readLogRecords } from '../../dist/index.js';
import { CutProxy } from './cut-proxy.mjs';
import { NodeProcess, until } from './node-process.mjs';

const writers = 16;
const epochRecord = 2;
const options = {
  ringBytes: 256 * 1024,
  segmentBytes: 1024 * 1024,
  replication: { heartbeatMs: 50, timeoutMs: 800, fullSyncsMax: 0 },
};

export async function runChaos({ seed, ms, say }) {
  const world = new World(seed, say);
  const deadline = performance.now() + ms;
  try {
    await world.begin();
    while (performance.now() < deadline) await world.round();
    await world.end();
  } catch (error) {
    world.failures.push(`round ${world.figures.rounds}: ${error.stack}`);
  } finally {
    await world.remove();
  }
  return { failures: [...world.failures, ...world.void()], figures: world.figures };
}

class World {
  failures = [];
  figures = {
    rounds: 0,
    cuts: 0,
    'kills of a primary': 0,
    'kills of a replica': 0,
    freezes: 0,
    promotions: 0,
    'full syncs predicted and ended': 0,
    'decisions ring': 0,
    'decisions wal': 0,
    'decisions full': 0,
    'commits acknowledged': 0,
    'whole reads': 0,
    'digests compared': 0,
    epochs: 0,
  };
  #random;
  #say;
  #root = mkdtempSync(join(tmpdir(), 'gapless-chaos-'));
  /** Each: dir, process, proxy (in front of its listening port), address. */
  #nodes = [];
  #primary;
  /** Highest acknowledged number by writer, of all primaries. */
  #acknowledged = new Map();
  #loads = 0;
  #began = performance.now();

  constructor(seed, say) {
    this.#random = seededRandom(seed);
    this.#say = say;
  }

  async begin() {
    for (let i = 0; i < 3; i++) this.#nodes.push({ name: `node-${i}`, dir: join(this.#root, `node-${i}`) });
    for (const node of this.#nodes) {
      await this.#start(node, node === this.#nodes[0]);
      node.proxy = await CutProxy.start();
    }
    this.#primary = this.#nodes[0];
    await this.#listen(this.#primary);
    await this.#load();
    for (const node of this.#replicas()) {
      await this.#follow(node);
      await until(`${node.name} to join`, () => node.process.saw('sync_done').length === 1);
      this.#expectSyncs(node, 1);
    }
  }

  async round() {
    this.figures.rounds++;
    const faults = [
      ['cuts', () => this.#cutLinks()],
      ['long cut', () => this.#longCut()],
      ['kill of a replica', () => this.#killReplica()],
      ['kill of a primary', () => this.#killPrimary()],
      ['freeze', () => this.#freeze()],
      ['full sync', () => this.#fullSync()],
      ['kill in a full sync', () => this.#killInSync()],
      ['promotion', () => this.#promote()],
    ];
    const [name, fault] = faults[this.#random.below(faults.length)];
    await pause(50 + this.#random.below(200));
    const seconds = ((performance.now() - this.#began) / 1000).toFixed(1);
    this.#say(`round ${this.figures.rounds} at ${seconds} s: ${name}`);
    try {
      await fault();
      await this.#quietPoint();
    } catch (error) {
      throw new Error(`${name}: ${error.message}`, { cause: error });
    }
  }

  /** The logs of all nodes, once nobody writes them: every digest that was seen, replayed; every epoch, compared. */
  async end() {
    await this.#quietPoint({ isLast: true });
    for (const node of this.#nodes) await this.#stop(node, 'close');
    const begun = new Map();
    for (const node of this.#nodes) {
      for await (const { kind, epoch, chain } of readLogRecords(node.dir, (node.base ?? 0n) + 1n)) {
        if (kind !== epochRecord) continue;
        if ((begun.get(epoch) ?? chain) !== chain) this.failures.push(`epoch-uniqueness: ${epoch} began twice`);
        begun.set(epoch, chain);
      }
    }
    this.figures.epochs = begun.size;
  }

  void() {
    const faults = ['cuts', 'kills of a primary', 'kills of a replica', 'freezes', 'full syncs predicted and ended'];
    const missing = faults.filter((name) => this.figures[name] === 0);
    // A short run cannot have everything.
    return this.figures.rounds < 24 ? [] : missing.map((name) => `void: no ${name}`);
  }

  async remove() {
    for (const { process, proxy } of this.#nodes) {
      await process?.kill();
      await proxy?.close();
    }
    rmSync(this.#root, { recursive: true, force: true });
  }

  // -- faults --

  async #cutLinks() {
    for (let i = 0; i < 5; i++) {
      this.figures.cuts += this.#primary.proxy.cut();
      await pause(this.#random.below(150));
    }
  }

  /** Longer than the ring remembers. */
  async #longCut() {
    const { proxy, process } = this.#primary;
    proxy.isDown = true;
    this.figures.cuts += proxy.cut();
    const before = process.acks;
    await until('writes beyond the ring', () => process.acks > before + 1500, 60_000);
    proxy.isDown = false;
  }

  async #killReplica() {
    const node = this.#someReplica();
    await this.#stop(node, 'kill');
    this.figures['kills of a replica']++;
    await pause(this.#random.below(300));
    await this.#start(node, false);
    await this.#follow(node);
  }

  async #killPrimary() {
    const node = this.#primary;
    await this.#stop(node, 'kill');
    this.figures['kills of a primary']++;
    await this.#start(node, true);
    await this.#checkAcknowledged(node, 'restarted');
    await this.#listen(node);
    await this.#load();
  }

  async #freeze() {
    const node = this.#nodes[this.#random.below(3)];
    node.process.freeze();
    this.figures.freezes++;
    await pause(300 + this.#random.below(1200));
    node.process.thaw();
  }

  /** Asked for, cut somewhere in the middle, ended all the same: once. */
  async #fullSync() {
    const node = this.#someReplica();
    const { process } = node;
    await this.#streaming(node);
    const done = process.saw('sync_done').length;
    await process.ask('resync', { full: true });
    if (this.#random.below(2) === 0) {
      await pause(this.#random.below(60));
      this.figures.cuts += this.#primary.proxy.cut();
    }
    await until('the sync', () => process.saw('sync_done').length > done, 60_000);
    this.#expectSyncs(node, 1);
  }

  /** Whoever asked for it is gone with the process; the old state is whole, or the new one is. */
  async #killInSync() {
    const node = this.#someReplica();
    await this.#streaming(node);
    const begun = node.process.saw('sync_start').length;
    await node.process.ask('resync', { full: true });
    await until('the sync to begin', () => node.process.saw('sync_start').length > begun);
    await pause(this.#random.below(80));
    await this.#stop(node, 'kill', { isSyncOpen: true });
    this.figures['kills of a replica']++;
    await this.#start(node, false);
    await this.#follow(node);
  }

  /** A planned change: nothing is lost in between, so nobody needs a full sync. */
  async #promote() {
    const old = this.#primary;
    await this.#quiet();
    const next = this.#someReplica();
    await this.#equal();
    if (this.#random.below(2) === 0) {
      await this.#stop(old, 'kill');
      this.figures['kills of a primary']++;
      await next.process.ask('promote', {});
      await this.#start(old, false);
    } else {
      await next.process.ask('promote', {});
      await old.process.ask('demote', {});
    }
    this.figures.promotions++;
    this.#primary = next;
    await this.#listen(next);
    for (const node of this.#replicas()) await this.#follow(node);
    await this.#load();
  }

  // -- oracles --

  /** Nobody writes, all are equal, and every oracle looks. Then the load goes on. */
  async #quietPoint({ isLast = false } = {}) {
    const sampled = await this.#sample();
    await this.#quiet();
    await this.#equal();
    for (const node of this.#nodes) await this.#checkAcknowledged(node, 'quiet');
    await this.#checkSample(sampled);
    for (const node of this.#nodes) this.#checkSyncs(node);
    if (!isLast) await this.#load();
  }

  /** A replica's digest in the middle of it all, to be compared with the log. */
  async #sample() {
    const { position, digest } = await this.#someReplica().process.ask('digest');
    return { seq: BigInt(position.seq), digest };
  }

  async #checkSample({ seq, digest }) {
    if (this.#random.below(4) !== 0) return;
    const copy = join(this.#root, 'copy');
    cpSync(this.#primary.dir, copy, { recursive: true });
    try {
      const replayed = await digestDirectory(copy, seq);
      this.figures['digests compared']++;
      if (replayed.digest !== digest) this.failures.push(`digest-equality: a replica at ${seq} had another state`);
    } catch (error) {
      // A base above it: this primary was synced in full since.
      if (error.code !== 'POSITION_UNAVAILABLE') throw error;
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  }

  async #equal() {
    for (const node of this.#replicas()) {
      await until(`${node.name} to be equal`, async () => {
        const places = await Promise.all([this.#primary, node].map(({ process }) => process.ask('place')));
        return places[0].position === places[1].position;
      }, 60_000);
    }
    // A slot that is named meanwhile moves all of them: look again.
    const digests = await Promise.all(this.#nodes.map(({ process }) => process.ask('digest')));
    const [first, ...rest] = digests.map(({ position, digest }) => ({ at: JSON.stringify(position), digest }));
    if (rest.some(({ at }) => at !== first.at)) return await this.#equal();
    this.figures['digests compared'] += rest.length;
    if (rest.some(({ digest }) => digest !== first.digest)) {
      throw new Error(`digest-equality: ${JSON.stringify(digests)}`);
    }
  }

  async #checkAcknowledged(node, when) {
    const { own, counted, shared, position } = await node.process.ask('counts', { writers });
    for (const [writer, i] of this.#acknowledged) {
      if (own[writer] >= i) continue;
      const what = `own-${writer} is ${own[writer]}, and ${i} was acknowledged`;
      throw new Error(`acknowledged-never-lost: ${when}, ${node.name} at ${position}: ${what}`);
    }
    const sum = own.reduce((total, value) => total + value, 0);
    if (own.some((value, i) => value !== counted[i]) || sum !== shared) {
      throw new Error(`prefix: ${when}, ${node.name} at ${position}: ${own} / ${counted} / ${shared}`);
    }
  }

  /** Full syncs that this process of the node must have ended. */
  #expectSyncs(node, more) {
    node.expected += more;
    this.figures['full syncs predicted and ended'] += more;
  }

  #checkSyncs(node, isSyncOpen = false) {
    const done = node.process.saw('sync_done');
    const allowed = isSyncOpen ? node.expected + 1 : node.expected;
    if (done.length < node.expected || done.length > allowed) {
      throw new Error(`exact-full-syncs: ${node.name} ended ${done.length}, not ${node.expected}`);
    }
    const base = done.at(-1)?.position.seq;
    if (base !== undefined) node.base = BigInt(base);
  }

  // -- nodes --

  #replicas() {
    return this.#nodes.filter((node) => node !== this.#primary);
  }
  #someReplica() {
    return this.#replicas()[this.#random.below(2)];
  }

  async #start(node, isPrimary) {
    node.expected = 0;
    node.isListening = false;
    node.process = await NodeProcess.start(node.dir, { ...options, asReplica: !isPrimary }, { watched: true });
  }

  async #listen(node) {
    // A node that was demoted goes on listening, and may be promoted again.
    if (node.isListening) return;
    node.proxy.target = await node.process.ask('listen', { host: '127.0.0.1', port: 0 });
    node.isListening = true;
  }

  #follow(node) {
    return node.process.ask('follow', { host: '127.0.0.1', port: this.#primary.proxy.port });
  }

  /** What the parent knows of a process is kept before it goes. */
  async #stop(node, how, { isSyncOpen = false } = {}) {
    const { process } = node;
    await this.#look(node);
    await (how === 'close' ? process.close() : process.kill());
    this.#keep(process);
    // The last messages of a killed process may have ended with it: a switch may be unheard.
    this.#checkSyncs(node, isSyncOpen);
    node.process = undefined;
    if (isSyncOpen) node.base = await baseOf(node);
  }

  async #look(node) {
    const { wrong, reads } = await node.process.ask('stopWatching');
    this.figures['whole reads'] += reads;
    for (const fault of wrong) this.failures.push(`prefix: ${node.name}: ${fault}`);
  }

  #keep(process) {
    for (const [writer, i] of process.acknowledged) {
      this.#acknowledged.set(writer, Math.max(i, this.#acknowledged.get(writer) ?? 0));
    }
    this.figures['commits acknowledged'] += process.acks;
    // Both sides report a decision: the replica's word counts.
    for (const { tier } of process.saw('resync', { nodeId: process.nodeId })) {
      this.figures[`decisions ${tier}`] = (this.figures[`decisions ${tier}`] ?? 0) + 1;
    }
  }

  async #streaming(node) {
    await until(`${node.name} to stream`, async () => (await node.process.ask('status')).link?.state === 'streaming');
  }

  async #load() {
    const seed = ++this.#loads;
    await this.#primary.process.ask('load', { writers, seed, keys: 3000, pauseMs: 4, generations: true });
  }

  /** The load ends; what it acknowledged is known. */
  async #quiet() {
    const { process } = this.#primary;
    await process.ask('stopLoad');
    if (process.loadEnds.length > 0) throw new Error(`a writer ended: ${process.loadEnds}`);
    for (const [writer, i] of process.acknowledged) {
      this.#acknowledged.set(writer, Math.max(i, this.#acknowledged.get(writer) ?? 0));
    }
  }
}

/** Where the log of a closed directory begins. */
async function baseOf({ dir, base = 0n }) {
  try {
    for await (const _ of readLogRecords(dir, base + 1n)) break;
    return base;
  } catch (error) {
    if (error.code !== 'EVICTED') throw error;
    const { position } = await digestDirectory(dir);
    return position.seq;
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

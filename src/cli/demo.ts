/**
 * demo: the whole system on real input. A primary and a replica as processes, an import, a full sync under writes, a
 * short and a long cut of the link, a SIGKILL of the primary; at the end both digests and every acknowledged byte are
 * compared.
 */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createError } from '../errors.js';
import { toPosition } from '../position.js';
import { type Command, type Context, exitDone, exitNo } from './command.js';
import { checkEntries, Feed, measureSource, noInput, type SourceSize } from './demo-feed.js';
import { Link } from './demo-link.js';
import { NodeProcess } from './demo-process.js';
import { type DemoReport, reportText } from './demo-report.js';
import { LagWatch } from './demo-watch.js';
import { openImportSource } from './import-source.js';
import { queryText, Remote } from './remote.js';
import { RemoteTarget } from './remote-target.js';
import { formatHostPort } from './text.js';
import { UsageError } from './usage.js';

const ringBytes = 1024 * 1024;
const waitMs = 60_000;
const stopMs = 12_000;
/** How long the link stays cut at least, so that both sides notice. */
const cutMs = 300;

export const demoCommand: Command = {
  syntax: {
    name: 'demo',
    operands: '[SOURCE]',
    minOperands: 0,
    maxOperands: 1,
    summary: 'Primary, replica, full sync under writes, cut links, SIGKILL: and both nodes are proven equal.',
    example: 'gapless demo ./node_modules',
    flags: { keep: { type: 'string', value: 'DIR', help: 'keep both data directories in DIR, which must not exist' } },
  },
  async run(context, parsed) {
    const source = parsed.operands[0] ?? defaultSource();
    const size = await measureSource(source);
    if (size.entries === 0) throw new UsageError(`demo: there is nothing to import in ${source}`);
    const keep = parsed.text('keep');
    if (keep !== undefined) await mkdir(keep);
    const directory = keep ?? (await mkdtemp(join(tmpdir(), 'gapless-demo-')));
    const demo = new Demo(context, source, size, directory);
    try {
      const report = await demo.run();
      await context.output.answer(report, reportText(report));
      return report.ok ? exitDone : exitNo;
    } catch (error) {
      throw demo.causeOf(error);
    } finally {
      await demo.end();
      if (keep === undefined) await rm(directory, { recursive: true, force: true });
    }
  },
};

function interruption(): Error {
  return createError('ABORTED', 'the demo was interrupted');
}

/** The packages that this one was installed with: its own node_modules, or the one it stands in. */
function defaultSource(): string {
  const own = fileURLToPath(new URL('../../node_modules', import.meta.url));
  return existsSync(own) ? own : fileURLToPath(new URL('../../..', import.meta.url));
}

class Demo {
  readonly #context: Context;
  readonly #source: string;
  readonly #size: SourceSize;
  readonly #directory: string;
  readonly #children = new Set<NodeProcess>();
  #link: Link | undefined;
  #watch: LagWatch | undefined;
  readonly #interrupted = new AbortController();

  constructor(context: Context, source: string, size: SourceSize, directory: string) {
    this.#context = context;
    this.#source = source;
    this.#size = size;
    this.#directory = directory;
    process.once('exit', this.#killAll);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, this.#interrupt);
  }

  async run(): Promise<DemoReport> {
    const began = this.#context.clock.monotonic();
    this.#say(`${this.#size.entries} files, ${this.#size.bytes} bytes in ${this.#source}`);
    let primary = await this.#startPrimary('127.0.0.1:0', '127.0.0.1:0');
    const status = primary.address('status');
    const listen = primary.address('listen');
    const remote = remoteOf(status);
    const { entries } = await openImportSource(this.#source, noInput());
    const feed = new Feed({
      clock: this.#context.clock,
      target: new RemoteTarget(remote),
      entries,
      total: this.#size.entries,
      signal: this.#interrupted.signal,
    });
    await feed.importTo(0.25);

    this.#say(`${feed.imported} files in; a replica joins under writes`);
    const link = await Link.to(listen);
    this.#link = link;
    const replica = await this.#join(feed, link);
    const replicaRemote = remoteOf(replica.address('status'));
    this.#watch = new LagWatch([remote, replicaRemote]);

    await this.#cutShort(feed, link, replica);
    await this.#cutLong(feed, link, replica);
    primary = await this.#killPrimary(feed, primary, replica, formatHostPort(listen), formatHostPort(status));
    await feed.importTo(1);

    this.#say('everything is in; comparing both nodes');
    await this.#watch.stop();
    const compared = await this.#compare(feed, remote, replicaRemote);
    const seconds = (this.#context.clock.monotonic() - began) / 1000;
    const { ok, ...rest } = compared;
    return {
      ok,
      files: this.#size.entries,
      bytes: this.#size.bytes,
      seconds: Math.round(seconds * 10) / 10,
      writesPerSecond: feed.writesPerSecond,
      fullSync: fullSyncOf(replica),
      resyncs: await resyncsOf(replicaRemote),
      maxLag: this.#watch.largest,
      ...rest,
    };
  }

  /** Ends every process and the link, whatever happened. */
  async end(): Promise<void> {
    process.removeListener('exit', this.#killAll);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, this.#interrupt);
    await this.#watch?.stop();
    await Promise.all([...this.#children].map((child) => child.stop(stopMs)));
    await this.#link?.close();
  }

  /** What an interruption broke is not worth telling. */
  causeOf(error: unknown): unknown {
    return this.#interrupted.signal.aborted ? interruption() : error;
  }

  async #startPrimary(listen: string, status: string): Promise<NodeProcess> {
    const flags = ['--listen', listen, '--status', status, '--ring-bytes', `${ringBytes}`];
    return await this.#start('primary', flags);
  }

  async #start(name: 'primary' | 'replica', flags: readonly string[]): Promise<NodeProcess> {
    this.#requireGoing();
    return await NodeProcess.start(name, [join(this.#directory, name), ...flags], (node) => this.#children.add(node));
  }

  /** Starts the replica while writes go on; resolves when it streams. */
  async #join(feed: Feed, link: Link): Promise<NodeProcess> {
    const flags = ['--follow', formatHostPort(link.address), '--ring-bytes', `${ringBytes}`];
    const starting = this.#start('replica', flags);
    const replica = await feed.importWhile(starting, 0.5);
    await feed.importWhile(replica.until('streaming', waitMs), 0.5);
    return replica;
  }

  async #cutShort(feed: Feed, link: Link, replica: NodeProcess): Promise<void> {
    this.#say('the link is cut for a moment: the replica resumes from the ring');
    const mark = replica.mark;
    link.cut();
    await feed.touch();
    await sleep(cutMs);
    link.mend();
    await replica.until('streaming', waitMs, mark);
  }

  async #cutLong(feed: Feed, link: Link, replica: NodeProcess): Promise<void> {
    this.#say('the link is cut until the ring has gone by: the replica resumes from the segments');
    const mark = replica.mark;
    link.cut();
    await Promise.all([feed.grow(2 * ringBytes, 0.75), sleep(cutMs)]);
    link.mend();
    await feed.importWhile(replica.until('streaming', waitMs, mark), 0.85);
  }

  async #killPrimary(
    feed: Feed,
    primary: NodeProcess,
    replica: NodeProcess,
    listen: string,
    status: string,
  ): Promise<NodeProcess> {
    this.#say('the primary is killed in mid-write and started again');
    const mark = replica.mark;
    const inFlight = feed.touch();
    const killed = primary.kill();
    const restarted = killed.then(() => {
      this.#children.delete(primary);
      return this.#startPrimary(listen, status);
    });
    const [again] = await Promise.all([restarted, inFlight]);
    await feed.importWhile(replica.until('streaming', waitMs, mark), 0.95);
    return again;
  }

  async #compare(feed: Feed, primary: Remote, replica: Remote): Promise<Compared> {
    const { position: head } = await primary.json('GET', '/status');
    const position = toPosition(head);
    const query = queryText({ position: position.toString(), timeoutMs: waitMs });
    const waited = await replica.json('GET', `/wait?${query}`);
    if (waited['reached'] !== true) throw createError('TIMEOUT', `the replica did not reach ${position}`);
    const targets = [primary, replica].map((remote) => new RemoteTarget(remote));
    const digests = await Promise.all(targets.map((target) => target.digest(undefined)));
    const checks = await Promise.all(targets.map((target) => checkEntries(target, feed.acknowledged)));
    const missing = checks.reduce((total, check) => total + check.missing, 0);
    const different = checks.reduce((total, check) => total + check.different, 0);
    const [ours, theirs] = digests;
    if (ours === undefined || theirs === undefined) throw new Error('broken invariant: two nodes give two digests');
    const isEqual = `${ours.position}` === `${theirs.position}` && ours.digest === theirs.digest;
    return {
      ok: isEqual && missing === 0 && different === 0 && feed.acknowledged.size > 0,
      position,
      digest: { primary: ours.digest, replica: theirs.digest },
      acknowledged: feed.acknowledged.size,
      missing,
      different,
    };
  }

  #say(text: string): void {
    this.#context.output.note(`demo: ${text}`);
  }

  readonly #killAll = (): void => {
    for (const child of this.#children) child.killNow();
  };

  /** Every wait ends with its process. */
  readonly #interrupt = (): void => {
    this.#interrupted.abort();
    this.#killAll();
  };

  #requireGoing(): void {
    if (this.#interrupted.signal.aborted) throw interruption();
  }
}

type Compared = Pick<DemoReport, 'ok' | 'position' | 'digest' | 'acknowledged' | 'missing' | 'different'>;

function remoteOf(address: { readonly host: string; readonly port: number }): Remote {
  return new Remote({ url: `http://${formatHostPort(address)}`, timeoutMs: waitMs + 5000 });
}

function fullSyncOf(replica: NodeProcess): DemoReport['fullSync'] {
  const done = replica.event('sync_done');
  return { ms: Number(done?.['ms'] ?? 0), bytes: Number(done?.['bytes'] ?? 0), keys: Number(done?.['entries'] ?? 0) };
}

async function resyncsOf(replica: Remote): Promise<DemoReport['resyncs']> {
  const { resync } = await replica.json('GET', '/status');
  const counts = (typeof resync === 'object' && resync !== null ? resync : {}) as Readonly<Record<string, unknown>>;
  const count = (tier: string): number => Number(counts[tier] ?? 0);
  return {
    ring: count('ring'),
    wal: count('wal'),
    rewind: count('rewind'),
    padding: count('padding'),
    full: count('full'),
  };
}

/**
 * serve: a node as a process. Order of life: status address, event `listening`, recovery, event `recovery`, ports,
 * event `ready`, work, a signal, event `closed`. One object a process.
 */
import type { Clock } from '../base/clock.js';
import { createError } from '../errors.js';
import { type Database, open } from '../index.js';
import { type Command, type Context, exitDone, exitNo } from './command.js';
import { EventHub } from './event-hub.js';
import { NodeCell } from './node-cell.js';
import { errorBody } from './output.js';
import { showFullSyncs } from './progress-bar.js';
import { bearerToken, readSecret } from './remote.js';
import { type ServePlan, serveFlags, servePlan } from './serve-flags.js';
import { StatusServer } from './status-server.js';
import { formatHostPort, type HostPort } from './text.js';

/** How long a close may wait for what is in flight. */
const closeMsMax = 10_000;
/** And how long answers may take to reach their clients behind it. */
const answerMsMax = 500;

export const serveCommand: Command = {
  syntax: {
    name: 'serve',
    operands: 'DIR',
    minOperands: 1,
    maxOperands: 1,
    summary: 'Runs a node on DIR; its events are JSON lines on stdout, the line "ready" says where it listens.',
    example: 'gapless serve ./data --listen 127.0.0.1:4100 --status 127.0.0.1:4000',
    flags: serveFlags(),
  },
  async run(context, parsed) {
    const plan = servePlan(parsed);
    const secret = plan.secretFile === undefined ? undefined : await readSecret(plan.secretFile);
    return await new Service(context, plan, secret).run();
  },
};

/** The signals that end a node. */
const endSignals = ['SIGTERM', 'SIGINT'] as const;

class Service {
  readonly #context: Context;
  readonly #clock: Clock;
  readonly #plan: ServePlan;
  readonly #secret: Buffer | undefined;
  readonly #hub: EventHub;
  readonly #cell: NodeCell;
  readonly #ending = new AbortController();
  #server: StatusServer | undefined;

  constructor(context: Context, plan: ServePlan, secret: Buffer | undefined) {
    this.#context = context;
    this.#clock = context.clock;
    this.#plan = plan;
    this.#secret = secret;
    this.#hub = new EventHub(context.clock, context.output.stdout);
    this.#cell = new NodeCell(context.clock);
  }

  async run(): Promise<number> {
    const onSignal = (): void => {
      if (this.#ending.signal.aborted) process.exit(exitNo);
      this.#ending.abort();
    };
    for (const signal of endSignals) process.on(signal, onSignal);
    // Nothing else may keep the event loop alive: a node without a status address, for instance.
    const alive = setInterval(() => undefined, 60_000);
    try {
      return await this.#live();
    } finally {
      clearInterval(alive);
      for (const signal of endSignals) process.removeListener(signal, onSignal);
      await this.#server?.close(answerMsMax);
    }
  }

  async #live(): Promise<number> {
    const { directory: dir, status } = this.#plan;
    if (status !== undefined) await this.#bindStatus(status);
    this.#hub.publish({ event: 'listening', pid: process.pid, dir, status: this.#server?.address ?? null });
    const database = await this.#recover();
    if (database === undefined) return exitDone;
    try {
      await this.#start(database);
      await this.#ended();
    } catch (error) {
      await this.#close(database);
      throw error;
    }
    return await this.#close(database);
  }

  async #bindStatus(address: HostPort): Promise<void> {
    const token = this.#secret === undefined ? undefined : bearerToken(this.#secret);
    const { statusHosts: allowedHosts } = this.#plan;
    this.#server = await StatusServer.bind(this.#cell, this.#hub, { address, token, allowedHosts });
  }

  /** Opens the database; undefined: a signal came first. A refusal is reported as the event `recovery`. */
  async #recover(): Promise<Database | undefined> {
    const began = this.#clock.monotonic();
    const { directory, follow, options, tls } = this.#plan;
    const replication = { ...options.replication, secret: this.#secret, tls };
    const asReplica = follow === undefined ? {} : { asReplica: true };
    let database: Database;
    try {
      database = await open(directory, { ...options, ...asReplica, replication, signal: this.#ending.signal });
    } catch (error) {
      if (this.#ending.signal.aborted) return undefined;
      const reason = errorBody(error).code.toLowerCase();
      const ms = Math.round(this.#clock.monotonic() - began);
      const refused = { outcome: 'refused', reason, gap: null, ms, position: null, cut: null };
      this.#hub.publish({ event: 'recovery', ...refused });
      throw error;
    }
    const recovered = new Promise<void>((resolve) => database.on('recovery', () => resolve()));
    database.onAny((event) => this.#hub.publish({ ...event }));
    showFullSyncs(database, this.#context.output);
    this.#cell.opened(database);
    await recovered;
    return database;
  }

  async #start(database: Database): Promise<void> {
    const { directory: dir, listen, follow, insecure, options } = this.#plan;
    const bound = listen === undefined ? null : await database.replication.listen({ ...listen, insecure });
    if (follow !== undefined) {
      await database.replication.follow({ ...follow, acceptLoss: options.replication?.acceptLoss });
    }
    const { role, clusterId, nodeId, epoch, position } = database.status();
    this.#hub.publish({
      event: 'ready',
      pid: process.pid,
      dir,
      role,
      clusterId,
      nodeId,
      epoch,
      position,
      listen: bound === null ? null : { host: bound.host, port: bound.port },
      status: this.#server?.address ?? null,
      follow: follow === undefined ? null : formatHostPort(follow),
    });
  }

  /** Resolves when a signal came. */
  #ended(): Promise<void> {
    const { signal } = this.#ending;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  async #close(database: Database): Promise<number> {
    this.#cell.closing();
    const late = new Promise<'late'>((resolve) => {
      setTimeout(() => resolve('late'), closeMsMax).unref();
    });
    const outcome = await Promise.race([database.close(), late]);
    if (outcome !== 'late') return exitDone;
    const message = `the node did not close within ${closeMsMax} ms`;
    this.#context.output.failure(createError('TIMEOUT', message, { details: { timeoutMs: closeMsMax } }));
    return exitNo;
  }
}

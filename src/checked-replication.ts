/**
 * `db.replication` as callers get it: arguments are checked by name before the controller hears of them, and what it
 * refuses says where. Keeps no state of its own; the thread that opened the store.
 */
import { createError, GaplessError } from './errors.js';
import { checkOption, type OptionSpec, refuseUnknown, replicationOptionTable, requireRecord } from './options.js';
import { type Position, toPosition } from './position.js';
import type { SyncPlan } from './replication/plan.js';
import type {
  CoordinateOptions,
  DemoteOptions,
  FollowOptions,
  HostPort,
  ListenOptions,
  Promoted,
  PromoteOptions,
  Replication,
  ReplicationStatus,
  ReplicaWaitOptions,
  WriteWaitOptions,
} from './replication/ports.js';

const portMax = 65_535;
const u32Max = 0xffff_ffff;
const replicasMax = 64;
const flag: OptionSpec = { type: 'flag', default: false, store: false, help: '' };

export class CheckedReplication implements Replication {
  readonly #inner: Replication;
  readonly #isPrimary: () => boolean;
  readonly #requireInHistory: (position: Position) => void;

  constructor(inner: Replication, isPrimary: () => boolean, requireInHistory: (position: Position) => void) {
    this.#inner = inner;
    this.#isPrimary = isPrimary;
    this.#requireInHistory = requireInHistory;
  }

  async listen(options: ListenOptions): Promise<HostPort> {
    checkAddress(options, 0, ['insecure']);
    checkFlag('insecure', options.insecure);
    try {
      return await this.#inner.listen(options);
    } catch (error) {
      throw withAddress(error, options);
    }
  }

  async follow(options: FollowOptions): Promise<void> {
    checkAddress(options, 1, ['acceptLoss']);
    checkFlag('acceptLoss', options.acceptLoss);
    await this.#inner.follow(options);
  }

  async promote(options: PromoteOptions = {}): Promise<Promoted> {
    requireRecord('options', options);
    refuseUnknown(options, ['epoch', 'force', 'handover'], '');
    if (options.epoch !== undefined) checkOption('epoch', count(0, u32Max), options.epoch);
    checkFlag('force', options.force);
    checkFlag('handover', options.handover);
    return await this.#inner.promote(options);
  }

  async demote(options: DemoteOptions = {}): Promise<{ readonly role: 'replica'; readonly position: Position }> {
    requireRecord('options', options);
    refuseUnknown(options, ['follow'], '');
    if (options.follow !== undefined) {
      requireRecord('option "follow"', options.follow);
      checkAddress(options.follow, 1, [], 'follow.');
    }
    return await this.#inner.demote(options);
  }

  async coordinate(options: CoordinateOptions): Promise<void> {
    requireRecord('options', options);
    refuseUnknown(options, ['coordinator', 'onError'], '');
    requireRecord('option "coordinator"', options.coordinator);
    if (typeof options.onError !== 'function') {
      throw new TypeError(`option "onError" must be a function, not ${typeof options.onError}`);
    }
    await this.#inner.coordinate(options);
  }

  async plan(): Promise<SyncPlan> {
    return await this.#inner.plan();
  }

  status(): ReplicationStatus {
    return this.#inner.status();
  }

  async waitFor(position: Position, options: ReplicaWaitOptions = {}): Promise<void> {
    const wanted = toPosition(position);
    requireRecord('options', options);
    refuseUnknown(options, ['replicas', 'level', 'timeoutMs', 'signal'], '');
    const { replicas, level, timeoutMs, signal } = options;
    if (replicas !== undefined) checkOption('replicas', count(1, replicasMax), replicas);
    if (level !== undefined) checkOption('level', replicationOptionTable.ackLevel, level);
    if (timeoutMs !== undefined) checkOption('timeoutMs', count(0, u32Max), timeoutMs);
    if (signal !== undefined) checkOption('signal', { ...flag, type: 'signal', default: undefined }, signal);
    this.#requireInHistory(wanted);
    await this.#inner.waitFor(wanted, options);
  }

  waitForReplicas(position: Position, options: WriteWaitOptions = {}): Promise<void> {
    return this.#inner.waitForReplicas(position, options);
  }

  requireReplicas(replicas: number): void {
    this.#inner.requireReplicas(replicas);
  }

  async resync(options: { readonly full?: boolean | undefined } = {}): ReturnType<Replication['resync']> {
    requireRecord('options', options);
    refuseUnknown(options, ['full'], '');
    checkFlag('full', options.full);
    if (this.#isPrimary()) {
      throw createError('ALREADY_PRIMARY', 'this node is a primary: only a replica resyncs, from the one it follows');
    }
    return await this.#inner.resync(options);
  }

  async removeReplica(nodeId: string): Promise<boolean> {
    return await this.#inner.removeReplica(nodeId);
  }

  progressed(): void {
    this.#inner.progressed();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

function count(least: number, most: number): OptionSpec {
  return { type: 'count', default: least, least, most, store: false, help: '' };
}

function checkFlag(name: string, value: unknown): void {
  if (value !== undefined) checkOption(name, flag, value);
}

function checkAddress(options: HostPort, portLeast: number, others: readonly string[], prefix = ''): void {
  requireRecord('options', options);
  refuseUnknown(options, ['host', 'port', ...others], prefix);
  const { host, port } = options as { readonly host: unknown; readonly port: unknown };
  if (typeof host !== 'string' || host === '') {
    const found = typeof host === 'string' ? '""' : String(host);
    throw new TypeError(`option "${prefix}host" must be a host name or address, not ${found}`);
  }
  checkOption(`${prefix}port`, count(portLeast, portMax), port);
}

/** The operating system's refusal, with the address that it was asked for. */
function withAddress(error: unknown, { host, port }: HostPort): unknown {
  if (!(error instanceof GaplessError) || error.code !== 'IO') return error;
  const { errno } = error.details;
  const details = { host, port, ...(errno === undefined ? {} : { errno: Math.abs(errno) }) };
  return createError('IO', error.message, { details, cause: error.cause ?? error });
}

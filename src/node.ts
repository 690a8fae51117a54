/**
 * What stands behind one Database: the handle, its memory, its promises, its helpers in other threads, and their life.
 * The thread that opened the store.
 *
 * The engine wakes this thread when something moved (`#woken`): commits are resolved first, then waits, then
 * replication, then events. Close goes the other way round: nothing new, replication, what is pending, threads, store.
 */

import { AckGate } from './ack-gate.js';
import { type Clock, systemClock } from './base/clock.js';
import {
  compressionCodes,
  type DurabilityName,
  durabilityCodes,
  type NativeAddon,
  type NativeOpenOptions,
  type NativeReader,
  type NativeStore,
} from './binding/contract.js';
import { loadAddon } from './binding/load.js';
import { Progress } from './binding/progress.js';
import { Committer } from './committer.js';
import { abortError, createError, GaplessError } from './errors.js';
import { Events } from './events.js';
import { type OpenOptions, type Options, optionTable, resolveOptions } from './options.js';
import { divergenceEvent } from './replication/divergence.js';
import type { Replication, ReplicationPorts } from './replication/ports.js';
import { allocateRing, RingReader } from './ring/reader.js';
import { RingWaiter } from './ring/wait.js';
import { KeyScratch, ValueSlab } from './scratch.js';
import { recoveryStatus } from './status.js';
import { KeepAlive, Waits } from './waits.js';
import { type SnapshotTasks, snapshotTasks } from './workers/snapshot-tasks.js';

export type ReplicationFactory = (node: Node, ports: Pick<ReplicationPorts, 'ring' | 'emit' | 'news'>) => Replication;

/** How long a close waits for replicas at most: less than the time that `serve` has for all of it. */
const replicasMsMax = 5000;

interface OpenRing {
  readonly memory: SharedArrayBuffer;
  readonly reader: RingReader;
  readonly waiter: RingWaiter;
}

export class Node {
  readonly path: string;
  readonly options: Options;
  readonly addon: NativeAddon;
  readonly store: NativeStore;
  readonly clock: Clock = systemClock();
  readonly progress: Progress;
  readonly committer: Committer;
  readonly gate: AckGate;
  readonly waits: Waits;
  readonly events: Events;
  readonly scratch: KeyScratch = new KeyScratch();
  readonly reader: NativeReader;
  readonly slab: ValueSlab = new ValueSlab();
  readonly openedAt: number;
  readonly #makeReplication: ReplicationFactory;
  readonly #running = new Set<Promise<unknown>>();
  #replication: Replication | undefined;
  #snapshots: SnapshotTasks | undefined;
  #ring: OpenRing | undefined;
  #closing: Promise<void> | undefined;
  #seen: { noSpace: boolean; stopped: boolean; epoch: string };

  /** Opens the directory, or joins the engine that this process has open on it. */
  static async open(path: string, given: OpenOptions, makeReplication: ReplicationFactory): Promise<Node> {
    if (typeof path !== 'string' || path === '') throw new TypeError('the path must be a string that is not empty');
    const options = resolveOptions(given);
    if (options.signal?.aborted) throw abortError(options.signal);
    const addon = loadAddon();
    let node: Node | undefined;
    const store = await addon.openStore(path, nativeOptions(given, options), () => node?.woken());
    if (options.signal?.aborted) {
      await store.close();
      throw abortError(options.signal);
    }
    node = new Node(path, options, addon, store, makeReplication);
    node.#reportRecovery();
    return node;
  }

  private constructor(
    path: string,
    options: Options,
    addon: NativeAddon,
    store: NativeStore,
    makeReplication: ReplicationFactory,
  ) {
    this.path = path;
    this.options = options;
    this.addon = addon;
    this.store = store;
    this.reader = store.makeReader(this.scratch.bytes);
    this.#makeReplication = makeReplication;
    this.openedAt = this.clock.monotonic();
    this.progress = new Progress(store);
    const alive = new KeepAlive(store);
    const level = durabilityName(store.state().durability);
    this.committer = new Committer(store, level, alive, this.progress.stops, () => this.woken());
    this.gate = new AckGate({
      committer: this.committer,
      policy: options.replication,
      alive,
      takesWrites: () => {
        this.progress.refresh();
        return this.progress.isPrimary && this.progress.isAcknowledging;
      },
      replication: () => this.replication,
    });
    this.waits = new Waits(alive, this.clock);
    this.events = new Events(this.clock);
    this.#seen = {
      noSpace: this.progress.isNoSpace,
      stopped: !this.progress.isAcknowledging,
      epoch: this.progress.ownEpoch,
    };
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** Throws CLOSED. */
  readonly check = (): void => {
    if (this.#closing !== undefined) throw createError('CLOSED', 'the database is closed');
  };

  /** Close waits for it. */
  track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    const forget = (): boolean => this.#running.delete(work);
    work.then(forget, forget);
    return work;
  }

  get snapshots(): SnapshotTasks {
    this.#snapshots ??= snapshotTasks(Math.min(2, this.store.identity().shards));
    return this.#snapshots;
  }

  /** Replication, if somebody asked for it. */
  get startedReplication(): Replication | undefined {
    return this.#replication;
  }

  get replication(): Replication {
    if (this.#replication === undefined) {
      this.check();
      this.#replication = this.#makeReplication(this, {
        ring: () => this.#offeredRing(),
        emit: (event) => this.events.emit(event),
        news: () => this.waits.progressed(),
      });
    }
    return this.#replication;
  }

  get ringReader(): RingReader | null {
    return this.#ring?.reader ?? null;
  }

  woken(): void {
    if (this.#closing !== undefined && this.committer.pending === 0) return;
    this.progress.refresh();
    this.committer.progressed(this.progress);
    this.waits.progressed();
    this.#replication?.progressed();
    this.#ring?.waiter.wake();
    this.#noteChanges();
  }

  /** Ends what runs and gives the handle up. Idempotent: every call gets the same promise. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // The assignment in close() comes first: from here on nothing new begins.
    await Promise.resolve();
    // What replicas may still acknowledge has its time; beyond it, closing leaves it in doubt.
    await this.#settled(this.gate.settled(), Math.min(this.options.replication.ackTimeoutMs, replicasMsMax));
    await this.#replication?.close();
    await this.committer.drained();
    this.waits.closeAll(createError('CLOSED', 'the database was closed'));
    await Promise.allSettled(this.#running);
    await this.#snapshots?.close();
    this.progress.refresh();
    const position = this.progress.visible;
    await this.store.close();
    this.events.emit({ event: 'closed', position });
  }

  /** Resolves when `work` has, at the latest after `ms`. */
  #settled(work: Promise<void>, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.clock.after(ms, resolve);
      void work.then(() => {
        cancel();
        resolve();
      });
    });
  }

  #offeredRing(): SharedArrayBuffer | null {
    if (this.#ring !== undefined) return this.#ring.memory;
    const memory = allocateRing(this.options.ringBytes);
    if (!this.store.offerRing(new Uint8Array(memory))) return null;
    this.#ring = { memory, reader: new RingReader(memory), waiter: new RingWaiter(memory) };
    return memory;
  }

  #noteChanges(): void {
    const { isNoSpace: noSpace, isAcknowledging: acknowledging, ownEpoch } = this.progress;
    if (noSpace !== this.#seen.noSpace) {
      this.#seen.noSpace = noSpace;
      const message = noSpace ? 'the disk is full: commits are refused' : 'there is room again';
      this.events.emit({ event: noSpace ? 'no_space' : 'space_back', code: 'NO_SPACE', message, file: null });
    }
    if (!acknowledging && !this.#seen.stopped) this.#notePoisoned();
    this.#seen.stopped = !acknowledging;
    if (ownEpoch !== this.#seen.epoch) {
      this.#seen.epoch = ownEpoch;
      this.#noteEpoch(ownEpoch);
    }
  }

  #notePoisoned(): void {
    const { stop } = this.store.state();
    if (!(stop instanceof GaplessError) || stop.code !== 'POISONED') return;
    const { file } = stop.details;
    const place = typeof file === 'string' ? file : null;
    this.events.emit({ event: 'poisoned', code: stop.code, message: stop.message, file: place });
  }

  /** Only runs of a term begin by themselves; a promotion is reported by who asked for it. */
  #noteEpoch(epoch: string): void {
    const entry = this.store.meta().epochs.find((candidate) => candidate.epoch === epoch);
    if (entry === undefined || entry.cause !== 'open') return;
    const { before: position, cause, nodeId } = entry;
    this.events.emit({ event: 'epoch', epoch, position, cause, nodeId });
  }

  /** Behind the turn in which the caller gets the database and may add its listeners. */
  #reportRecovery(): void {
    const report = this.store.recovery();
    const position = this.progress.visible;
    setImmediate(() => {
      this.events.emit({ event: 'recovery', ...recoveryStatus(report), position });
      if (report.rewound !== null) this.events.emit(divergenceEvent(report.rewound, 'rewind'));
      if (report.cut === null) return;
      const { file, fileOffset: offset, bytes } = report.cut;
      this.events.emit({ event: 'tail_cut', file, offset, bytes });
    }).unref();
  }
}

function durabilityName(code: number): DurabilityName {
  for (const [name, known] of Object.entries(durabilityCodes)) if (known === code) return name as DurabilityName;
  throw new Error(`broken invariant: unknown durability ${code}`);
}

/** Options of the engine that were named; what a single open decides always goes along. */
function nativeOptions(given: OpenOptions, options: Options): NativeOpenOptions {
  const native: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(optionTable)) {
    if (spec.store && (given as Record<string, unknown>)[name] !== undefined) {
      native[name] = options[name as keyof Options];
    }
  }
  if (given.durability !== undefined) native['durability'] = durabilityCodes[options.durability];
  if (given.compression !== undefined) native['compression'] = compressionCodes[options.compression];
  for (const name of ['createIfMissing', 'errorIfExists', 'asReplica', 'newNodeId'] as const) {
    if (given[name] !== undefined) native[name] = options[name];
  }
  return native;
}

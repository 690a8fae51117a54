/**
 * The pinned states that full syncs are served from. Joiners share one where they can, and one that went away in
 * mid-sync finds it again for `snapshotHoldMs`. One object a primary, on the controller's thread.
 *
 * Invariant: a pin lives while somebody takes flows of it, or may come back for them; it goes with the last of these.
 */
import type { CancelTimer } from '../base/clock.js';
import type { NativePin } from '../binding/contract.js';
import { GaplessError } from '../errors.js';
import { type Position, positionsEqual } from '../position.js';
import type { ResumeToken } from '../wire/fields.js';
import { Pacer } from './pacer.js';
import type { ReplicationPorts } from './ports.js';

/** A joiner that would have to catch up on more log than this gets a snapshot of its own. */
const sharedLogBytesMax = 64n * 1024n * 1024n;

export class SharedSnapshot {
  /** The word that data connections join with, and that a replica names to go on. */
  readonly id: string;
  readonly pin: NativePin;
  /** Sessions that take flows of it, with their node ids: a node may come back before its former session has ended. */
  readonly users: Map<object, string> = new Map();
  readonly away: Map<string, CancelTimer> = new Map();

  constructor(id: string, pin: NativePin) {
    this.id = id;
    this.pin = pin;
  }

  /** The state that is sent; the log goes on behind it. */
  get position(): Position {
    return this.pin.meta.position;
  }
  get isWanted(): boolean {
    return this.users.size > 0 || this.away.size > 0;
  }
}

export class SharedSnapshots {
  /** Of all full syncs together. */
  readonly pacer: Pacer;
  readonly #ports: ReplicationPorts;
  readonly #live = new Map<string, SharedSnapshot>();

  constructor(ports: ReplicationPorts) {
    this.#ports = ports;
    this.pacer = new Pacer(ports.clock, ports.options.syncRateBytes);
  }

  /** The one that the node has a part of, if it is still there and its log connects; else undefined. */
  resume(user: object, nodeId: string, point: ResumeToken): SharedSnapshot | undefined {
    const snapshot = this.#live.get(point.syncId);
    if (snapshot === undefined || !this.#isHeld(snapshot) || !this.#connects(snapshot, point.position)) {
      this.forget(nodeId);
      return undefined;
    }
    return this.#use(snapshot, user, nodeId);
  }

  /** One that holds everything up to `notBelow`: another joiner's if it is young enough. Throws POISONED. */
  take(user: object, nodeId: string, notBelow: Position): SharedSnapshot {
    this.forget(nodeId);
    const end = this.#ports.store.shippingEnd().offset;
    for (const snapshot of this.#live.values()) {
      const { offset } = snapshot.position;
      if (offset < notBelow.offset || end - offset > sharedLogBytesMax || !this.#isHeld(snapshot)) continue;
      return this.#use(snapshot, user, nodeId);
    }
    const id = Buffer.from(this.#ports.random.bytes(16)).toString('hex');
    const snapshot = new SharedSnapshot(id, this.#ports.store.pin(`sync-${nodeId}`));
    this.#live.set(id, snapshot);
    return this.#use(snapshot, user, nodeId);
  }

  /** Throws EVICTED once the pinned state was given up. */
  check(snapshot: SharedSnapshot): void {
    this.#ports.store.checkPin(snapshot.pin.id);
  }

  /** A session ended: its node has a new state installed, or may come back. */
  leave(snapshot: SharedSnapshot, user: object, isDone: boolean): void {
    const nodeId = snapshot.users.get(user);
    if (nodeId === undefined) return;
    snapshot.users.delete(user);
    const { clock, options } = this.#ports;
    const isBack = [...snapshot.users.values()].includes(nodeId);
    if (!isDone && !isBack && this.#live.get(snapshot.id) === snapshot) {
      snapshot.away.get(nodeId)?.();
      const gone = clock.after(options.snapshotHoldMs, () => {
        snapshot.away.delete(nodeId);
        this.#releaseUnwanted(snapshot);
      });
      snapshot.away.set(nodeId, gone);
    }
    this.#releaseUnwanted(snapshot);
  }

  /** Whatever the node had a part of, it does not go on with it. */
  forget(nodeId: string): void {
    for (const snapshot of [...this.#live.values()]) {
      snapshot.away.get(nodeId)?.();
      snapshot.away.delete(nodeId);
      this.#releaseUnwanted(snapshot);
    }
  }

  /** Idempotent. */
  close(): void {
    this.pacer.close();
    this.clear();
  }

  /** The history was replaced: what is pinned belongs to the former one. */
  clear(): void {
    for (const snapshot of [...this.#live.values()]) {
      for (const cancel of snapshot.away.values()) cancel();
      snapshot.away.clear();
      snapshot.users.clear();
      this.#releaseUnwanted(snapshot);
    }
  }

  #use(snapshot: SharedSnapshot, user: object, nodeId: string): SharedSnapshot {
    snapshot.away.get(nodeId)?.();
    snapshot.away.delete(nodeId);
    snapshot.users.set(user, nodeId);
    return snapshot;
  }

  #isHeld(snapshot: SharedSnapshot): boolean {
    try {
      this.check(snapshot);
      return true;
    } catch (error) {
      if (error instanceof GaplessError && error.code === 'EVICTED') return false;
      throw error;
    }
  }

  /** A peer may lie about what it has. */
  #connects(snapshot: SharedSnapshot, end: Position): boolean {
    const { store } = this.#ports;
    if (end.offset < snapshot.position.offset) return false;
    if (positionsEqual(end, snapshot.position)) return true;
    if (end.offset > store.shippingEnd().offset) return false;
    try {
      return positionsEqual(store.positionAt(end.offset), end);
    } catch (error) {
      if (error instanceof GaplessError) return false;
      throw error;
    }
  }

  #releaseUnwanted(snapshot: SharedSnapshot): void {
    if (snapshot.isWanted || !this.#live.delete(snapshot.id)) return;
    try {
      this.#ports.store.releasePin(snapshot.pin.id);
    } catch (error) {
      // A socket may end behind the store: its pins went with it.
      if (!(error instanceof GaplessError) || error.code !== 'CLOSED') throw error;
    }
  }
}

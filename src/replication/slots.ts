/**
 * The holds that keep the log for replicas: one a node id, durable by name (CONFIG records), not by position. One
 * object a controller, on its thread.
 *
 * Invariant: a node that may stream has its hold before its decision is made, and the hold never passes what the node
 * has acknowledged as durable. A hold beyond its cap is given up by the engine, then begun anew.
 */
import { holdKinds, recordKinds, submitWords } from '../binding/contract.js';
import type { Position } from '../position.js';
import type { LogSource } from './ports.js';

interface Slot {
  hold: bigint | undefined;
  position: Position | undefined;
  offset: bigint;
  isNamed: boolean;
}

const slotCreated = 1;
const slotRemoved = 2;

export class Slots {
  readonly #log: LogSource;
  readonly #maxBytes: number;
  readonly #slots = new Map<string, Slot>();

  constructor(log: LogSource, maxBytes: number) {
    this.#log = log;
    this.#maxBytes = maxBytes;
  }

  /**
   * Holds the log, from its beginning, for every slot that the state names but this node's own (a promoted replica has
   * one): nobody knows yet how far those nodes are.
   */
  adoptNamed(): void {
    for (const { nodeId } of this.#log.meta().slots) {
      const slot = this.#slots.get(nodeId);
      if (slot !== undefined) slot.isNamed = true;
      else if (nodeId !== this.#log.identity().nodeId) this.#slots.set(nodeId, this.#unknown(nodeId));
    }
  }

  /** Holds the log from `offset` on, or from further back if the slot does. Throws EVICTED if it is gone. */
  hold(nodeId: string, offset: bigint): void {
    const slot = this.#slots.get(nodeId);
    if (slot !== undefined && this.#isHeld(slot) && slot.offset <= offset) return;
    const begun = this.#begin(nodeId, offset);
    if (slot?.hold !== undefined) this.#log.releaseHold(slot.hold);
    this.#slots.set(nodeId, { ...begun, isNamed: slot?.isNamed ?? false });
  }

  /** The node has everything before `position`, durably. */
  advance(nodeId: string, position: Position): void {
    const slot = this.#slots.get(nodeId);
    if (slot === undefined || position.offset < slot.offset) return;
    slot.position = position;
    if (position.offset === slot.offset && this.#isHeld(slot)) return;
    slot.offset = position.offset;
    try {
      if (slot.hold === undefined) slot.hold = this.#begin(nodeId, position.offset).hold;
      else this.#log.moveHold(slot.hold, position.offset);
    } catch {
      // Given up by the engine, beyond its cap. The node's next read of the log says so; until then there is no hold.
      this.#forget(slot);
    }
  }

  /** Writes the slot's CONFIG record at the node's first streaming. Requires: this node is the primary. */
  name(nodeId: string): void {
    const slot = this.#slots.get(nodeId);
    if (slot === undefined || slot.isNamed) return;
    if (!this.#log.meta().slots.some((other) => other.nodeId === nodeId)) this.#record(slotCreated, nodeId);
    slot.isNamed = true;
  }

  /** The session is over: a node that never streamed leaves nothing behind. */
  leave(nodeId: string): void {
    const slot = this.#slots.get(nodeId);
    if (slot === undefined || slot.isNamed) return;
    this.#drop(nodeId, slot);
  }

  /** By command: the node will not come back. Returns false if there is no such slot. */
  remove(nodeId: string): boolean {
    const slot = this.#slots.get(nodeId);
    const isNamed = this.#log.meta().slots.some((other) => other.nodeId === nodeId);
    if (isNamed) this.#record(slotRemoved, nodeId);
    if (slot !== undefined) this.#drop(nodeId, slot);
    return isNamed || slot !== undefined;
  }

  /** The lowest position that some slot's node has acknowledged as durable; undefined: no slot, or none known. */
  undoFloor(): Position | undefined {
    let least: Position | undefined;
    for (const slot of this.#slots.values()) {
      const { position } = slot;
      if (position === undefined || !this.#isHeld(slot)) continue;
      if (least === undefined || position.offset < least.offset) least = position;
    }
    return least;
  }

  close(): void {
    for (const { hold } of this.#slots.values()) if (hold !== undefined) this.#log.releaseHold(hold);
    this.#slots.clear();
  }

  #unknown(nodeId: string): Slot {
    const position = this.#log.positionAt(this.#log.logStats().floor);
    return { ...this.#begin(nodeId, position.offset), position, isNamed: true };
  }

  #begin(nodeId: string, offset: bigint): { hold: bigint; position: undefined; offset: bigint } {
    return { hold: this.#log.addHold(holdKinds.slot, nodeId, offset, this.#maxBytes), position: undefined, offset };
  }

  /** The engine gives a hold up without a word; its position then keeps nothing back. */
  #isHeld(slot: Slot): boolean {
    if (slot.hold !== undefined && !this.#log.holdIsAlive(slot.hold)) this.#forget(slot);
    return slot.hold !== undefined;
  }

  #forget(slot: Slot): void {
    if (slot.hold !== undefined) this.#log.releaseHold(slot.hold);
    slot.hold = undefined;
  }

  #drop(nodeId: string, slot: Slot): void {
    this.#forget(slot);
    this.#slots.delete(nodeId);
  }

  #record(kind: number, nodeId: string): void {
    const body = Buffer.alloc(24);
    body.writeUInt8(kind);
    body.write(nodeId, 8, 'hex');
    this.#log.submitControl(recordKinds.config, body, new BigUint64Array(submitWords.count));
  }
}

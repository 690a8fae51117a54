/**
 * What a node does about a coordinator: asks for the lease, renews it, leads while it has one, and follows who has it
 * otherwise. One object a controller, on its thread; one step at a time.
 *
 * Invariant: the deadline that the engine checks is counted from before the request was sent, and ends `marginOf`
 * before the lease. So nothing here need be in time for two nodes never to acknowledge at once: neither the timer nor
 * this thread.
 */
import type { CancelTimer, Clock } from '../base/clock.js';
import { noLease } from '../binding/contract.js';
import type { Coordinator, Lease } from './coordinator.js';
import type { HostPort } from './ports.js';

/** The node as its elector moves it. */
export interface ElectedNode {
  readonly nodeId: string;
  readonly address: HostPort | null;
  readonly highestTerm: number;
  /** Term of the newest record that it shows. */
  readonly dataTerm: number;
  /** Primary, and not fenced. */
  readonly isLeading: boolean;
  readonly isPromotable: boolean;
  setLease(deadlineMs: bigint): void;
  leaseClockMs(): bigint;
  /** Resolves when the term is durable. */
  seeTerm(term: number): Promise<void>;
  promote(term: number): Promise<void>;
  /** Makes it a replica of the node there; null: of nobody yet. Does nothing if it is that already. */
  follow(address: HostPort | null): Promise<void>;
}

/** Of the lease: clocks of other steps, and the way of an acknowledgement to its caller. */
export function marginOf(leaseMs: number): number {
  return Math.max(20, Math.ceil(leaseMs / 10));
}

export class Elector {
  readonly #coordinator: Coordinator;
  readonly #node: ElectedNode;
  readonly #clock: Clock;
  readonly #failed: (error: unknown) => void;
  #lease: Lease | undefined;
  #timer: CancelTimer = () => undefined;
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** `failed`: the coordinator, or the node, could not do a step; it is tried again. */
  constructor(coordinator: Coordinator, node: ElectedNode, clock: Clock, failed: (error: unknown) => void) {
    this.#coordinator = coordinator;
    this.#node = node;
    this.#clock = clock;
    this.#failed = failed;
    // Whoever was primary before has no right to it without a lease.
    if (Number.isFinite(coordinator.leaseMs)) node.setLease(node.leaseClockMs());
    else node.setLease(noLease);
  }

  /** Resolves behind the first step. */
  async start(): Promise<void> {
    this.#run();
    await this.#running;
  }

  /** The lease is left to run out: nobody leads before what is on its way here has been answered. */
  async close(limitMs: number): Promise<void> {
    this.#isClosed = true;
    this.#timer();
    // A coordinator that does not answer holds nobody up: its lease is not used any more.
    let cancel: CancelTimer = () => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = this.#clock.after(limitMs, resolve);
    });
    await Promise.race([this.#running, late]);
    cancel();
  }

  #run(): void {
    this.#running = this.#step()
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        if (this.#isClosed) return;
        const { leaseMs } = this.#coordinator;
        this.#timer = this.#clock.after(Number.isFinite(leaseMs) ? Math.ceil(leaseMs / 4) : 1000, () => this.#run());
      });
  }

  async #step(): Promise<void> {
    if (this.#lease !== undefined && (await this.#goOn(this.#lease))) return;
    this.#lease = undefined;
    const last = await this.#coordinator.observe();
    const { nodeId } = this.#node;
    if (last?.isHeld === true && last.lease.nodeId !== nodeId) {
      await this.#node.seeTerm(last.lease.term);
      await this.#node.follow(last.lease.address);
      return;
    }
    // Who has not seen the last term may lack what was acknowledged in it.
    const isBehind = last !== null && last.lease.nodeId !== nodeId && this.#node.dataTerm < last.lease.term;
    if (this.#isClosed || isBehind || !this.#node.isPromotable) return;
    await this.#campaign();
  }

  /** False: the lease is over. */
  async #goOn(lease: Lease): Promise<boolean> {
    const asked = this.#node.leaseClockMs();
    if (!this.#node.isLeading) {
      // It ran out here, whatever the coordinator says: the next one is for another term.
      await this.#coordinator.resign(lease);
      return false;
    }
    if (!(await this.#coordinator.renew(lease))) return false;
    this.#hold(asked);
    return true;
  }

  async #campaign(): Promise<void> {
    const { nodeId, address, highestTerm } = this.#node;
    const asked = this.#node.leaseClockMs();
    const lease = await this.#coordinator.acquire({ nodeId, address, highestTerm });
    if (lease === null) return;
    if (this.#isClosed) {
      await this.#coordinator.resign(lease);
      return;
    }
    this.#lease = lease;
    this.#hold(asked);
    // A decision that stands over restarts is for a term that was begun already.
    if (this.#node.isLeading && this.#node.dataTerm === lease.term) return;
    try {
      await this.#node.promote(lease.term);
    } catch (error) {
      this.#lease = undefined;
      await this.#coordinator.resign(lease);
      throw error;
    }
  }

  #hold(askedAt: bigint): void {
    const { leaseMs } = this.#coordinator;
    if (Number.isFinite(leaseMs)) this.#node.setLease(askedAt + BigInt(leaseMs - marginOf(leaseMs)));
  }
}

/**
 * Who is primary, where somebody outside the cluster decides it: the interface of a driver, and the driver for a
 * decision that never changes. A lease gives one node the right to be primary in one term until it runs out; terms only
 * rise. Pure; the elector (elector.ts) calls it on the controller's thread.
 */
import type { HostPort } from './ports.js';

export interface Lease {
  /** The term that its holder may begin, or go on with. */
  readonly term: number;
  readonly nodeId: string;
  /** Where the holder accepts replicas; null: nowhere. */
  readonly address: HostPort | null;
}

export interface Candidate {
  readonly nodeId: string;
  readonly address: HostPort | null;
  /** The highest term that it has seen: a lease is for one above. */
  readonly highestTerm: number;
}

export interface Coordinator {
  /**
   * How long a lease holds, counted by the holder from the moment at which it asked; a driver counts from a later one.
   * Infinity: for as long as the driver says so.
   */
  readonly leaseMs: number;
  /** The lease that was given last, and whether it holds still; null: there never was one. */
  observe(): Promise<{ readonly lease: Lease; readonly isHeld: boolean } | null>;
  /** A lease for a term above all that were ever given; null: another node holds one, or was quicker. */
  acquire(candidate: Candidate): Promise<Lease | null>;
  /** False: it is over, or was given to another node. */
  renew(lease: Lease): Promise<boolean>;
  /** Gives it up, so that others need not wait. Nothing happens if it is over. */
  resign(lease: Lease): Promise<void>;
}

/** The operator has decided: this node, in this term, until somebody starts the nodes with another decision. */
export function staticCoordinator(decision: Lease): Coordinator {
  const lease = { ...decision };
  return {
    leaseMs: Number.POSITIVE_INFINITY,
    observe: async () => ({ lease, isHeld: true }),
    acquire: async ({ nodeId, highestTerm }) => {
      return nodeId === lease.nodeId && highestTerm <= lease.term ? lease : null;
    },
    renew: async ({ nodeId, term }) => nodeId === lease.nodeId && term === lease.term,
    resign: async () => undefined,
  };
}

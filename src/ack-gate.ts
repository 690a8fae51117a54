/**
 * A write's acknowledgement by replicas, in front of the committer and behind it: refused before it is sequenced where
 * the policy says so, resolved once its own node and the replicas have it. One object a handle; the thread that opened
 * it. A write that asks for no replicas costs one comparison.
 */
import { type Commit, checkWriteOptions, type WriteOptions } from './commit.js';
import type { Committer } from './committer.js';
import type { OperationEncoder } from './encoder.js';
import type { ReplicationOptions } from './options.js';
import type { Replication, ReplicaWaitOptions } from './replication/ports.js';
import type { KeepAlive } from './waits.js';

export interface AckGateOptions {
  readonly committer: Pick<Committer, 'commit'>;
  readonly policy: Pick<ReplicationOptions, 'ackReplicas' | 'ackLevel' | 'ackTimeoutMs'>;
  readonly alive: KeepAlive;
  /** False: the committer refuses the write by itself. */
  readonly takesWrites: () => boolean;
  readonly replication: () => Pick<Replication, 'requireReplicas' | 'waitForReplicas'>;
}

export class AckGate {
  readonly #parts: AckGateOptions;
  readonly #waiting = new Set<Promise<unknown>>();

  constructor(parts: AckGateOptions) {
    this.#parts = parts;
  }

  /** Never throws. NOT_ENOUGH_REPLICAS: nothing was written. IN_DOUBT: it was, and replicas did not say so in time. */
  commit(batch: OperationEncoder, options: WriteOptions | undefined): Promise<Commit> {
    const { committer, policy } = this.#parts;
    if (options === undefined && policy.ackReplicas === 0) return committer.commit(batch, undefined);
    let demand: ReplicaWaitOptions | undefined;
    try {
      demand = this.#demand(options);
    } catch (error) {
      return Promise.reject(error);
    }
    const own = committer.commit(batch, options);
    return demand === undefined ? own : this.#held(own, demand);
  }

  /** Resolves once no write waits for replicas. */
  async settled(): Promise<void> {
    while (this.#waiting.size > 0) await Promise.allSettled(this.#waiting);
  }

  #demand(options: WriteOptions | undefined): ReplicaWaitOptions | undefined {
    if (options !== undefined) checkWriteOptions(options);
    const { policy, takesWrites, replication } = this.#parts;
    const replicas = options?.replicas ?? policy.ackReplicas;
    if (replicas === 0 || !takesWrites()) return undefined;
    if (options?.signal?.aborted !== true) replication().requireReplicas(replicas);
    const level = options?.level ?? policy.ackLevel;
    const timeoutMs = options?.timeoutMs ?? policy.ackTimeoutMs;
    return { replicas, level, timeoutMs, signal: options?.signal };
  }

  /** Its own node first: what is not safe here is acknowledged by nobody. */
  #held(own: Promise<Commit>, demand: ReplicaWaitOptions): Promise<Commit> {
    const { alive, replication } = this.#parts;
    const wait = async (): Promise<Commit> => {
      const commit = await own;
      await replication().waitForReplicas(commit.position, { ...demand, isWrite: true });
      return commit;
    };
    alive.hold();
    const held = wait().finally(() => {
      this.#waiting.delete(held);
      alive.release();
    });
    this.#waiting.add(held);
    return held;
  }
}

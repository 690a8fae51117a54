/**
 * A planned change of primary without loss, as both sides see it. On the controllers' threads.
 *
 *   successor (replica)                 primary
 *   HANDOVER  ------------------------>  takes no more writes: durably a replica, everything synced
 *   ACK ...   ------------------------>  until the successor has applied and synced all of it
 *             <------------------------  GRANT {term}, and never a primary again in a lower term
 *   begins the term                      follows the successor
 *
 * Invariant: behind GRANT only the successor may begin a term by this handover; before it only the primary may, and
 * begins a higher one if the successor does not get there in time. A GRANT that is lost leaves two equal replicas, and
 * an operator promotes one of them.
 */
import type { CancelTimer, Clock } from '../base/clock.js';
import { createError } from '../errors.js';
import type { Position } from '../position.js';
import type { FrameOf } from '../wire/frames.js';
import type { Acknowledged } from './acknowledgements.js';
import type { HostPort } from './ports.js';

/** The replica that is to take over, as its primary sees it. */
export interface Successor {
  readonly nodeId: string;
  /** Whether its acknowledgements count. */
  readonly isInReach: boolean;
  readonly acknowledged: Acknowledged | undefined;
  /** Of its end of the connection. */
  readonly host: string;
  grant(term: number, position: Position, details: string): void;
}

/** Where the old primary finds its successor; undefined: it does not listen. */
export function addressOf(successor: Successor, { host, port }: FrameOf<'HANDOVER'>): HostPort | undefined {
  if (port < 1 || port > 65_535) return undefined;
  return { host: host === '' ? successor.host : host, port };
}

/** What a listening node tells of itself; nothing where any address would do. */
export function listenWords(address: HostPort | null): { readonly host: string; readonly port: number } {
  if (address === null) return { host: '', port: 0 };
  const isAny = address.host === '0.0.0.0' || address.host === '::';
  return { host: isAny ? '' : address.host, port: address.port };
}

/** The host of "1.2.3.4:5" or "[::1]:5". */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

/** Waits until one replica has applied and synced everything up to `end`; looked at with each acknowledgement. */
export class LastRecords {
  readonly done: Promise<void>;
  readonly #successor: Successor;
  readonly #end: Position;
  readonly #cancel: CancelTimer;
  #settle: (error?: Error) => void = () => undefined;

  constructor(clock: Clock, successor: Successor, end: Position, timeoutMs: number) {
    this.#successor = successor;
    this.#end = end;
    this.done = new Promise((resolve, reject) => {
      this.#settle = (error) => {
        this.#cancel();
        if (error === undefined) resolve();
        else reject(error);
      };
    });
    this.#cancel = clock.after(timeoutMs, () => {
      this.#settle(createError('TIMEOUT', `the successor did not have everything within ${timeoutMs} ms`));
    });
  }

  look(): void {
    const { acknowledged, isInReach } = this.#successor;
    if (!isInReach) this.#settle(createError('NOT_READY', 'the successor left, or is not consistent any more'));
    else if (acknowledged !== undefined && holds(acknowledged, this.#end)) this.#settle();
  }
}

function holds({ durable, applied }: Acknowledged, end: Position): boolean {
  return durable.offset >= end.offset && applied.offset >= end.offset;
}

/** The successor's question, and the answer that it waits for. One at a time. */
export class HandoverRequest {
  #answer: ((answer: FrameOf<'GRANT'> | Error) => void) | undefined;

  /** Rejects with what `giveUp` is told, with NOT_READY for a refusal, or with TIMEOUT. */
  ask(clock: Clock, timeoutMs: number, send: () => void): Promise<FrameOf<'GRANT'>> {
    return new Promise((resolve, reject) => {
      const cancel = clock.after(timeoutMs, () => {
        this.giveUp(createError('TIMEOUT', `no answer to the handover within ${timeoutMs} ms`));
      });
      this.#answer = (answer) => {
        this.#answer = undefined;
        cancel();
        if (answer instanceof Error) reject(answer);
        else if (answer.term === 0) reject(createError('NOT_READY', `the primary keeps its role: ${answer.details}`));
        else resolve(answer);
      };
      send();
    });
  }

  answered(grant: FrameOf<'GRANT'>): void {
    this.#answer?.(grant);
  }

  giveUp(error: Error): void {
    this.#answer?.(error);
  }
}

/**
 * The acknowledgement log of an import: `seq<TAB>key` lines in one write(2) per acknowledged batch, straight to the
 * file descriptor, never earlier than the acknowledgement and never buffered here. FILE may be a pipe or a FIFO.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createError } from '../errors.js';
import { escapeBytes } from './text.js';

/** Lines of the keys of one batch, of which the first operation has sequence `firstSeq`. */
export function ackLines(firstSeq: bigint, keys: readonly Buffer[]): string {
  return keys.map((key, index) => `${firstSeq + BigInt(index)}\t${escapeBytes(key)}\n`).join('');
}

/** Pause before another try where the pipe is full and does not block. */
const retryMs = 2;

/**
 * A descriptor that this process was started with: written as it is, since a socket pair cannot be opened by its
 * name.
 */
function inheritedFd(path: string): number | undefined {
  if (path === '/dev/stdout') return 1;
  if (path === '/dev/stderr') return 2;
  const match = /^\/(?:dev|proc\/self)\/fd\/(\d{1,6})$/.exec(path);
  return match === null ? undefined : Number(match[1]);
}

export class AckLog {
  readonly #path: string;
  readonly #fd: number;
  readonly #isInherited: boolean;

  /** Appends to FILE, creating it. Opening a FIFO waits for its reader. Throws IO. */
  constructor(path: string) {
    this.#path = path;
    const inherited = inheritedFd(path);
    this.#isInherited = inherited !== undefined;
    if (inherited !== undefined) {
      this.#fd = inherited;
      return;
    }
    try {
      this.#fd = openSync(path, 'a', 0o600);
    } catch (cause) {
      throw this.#failure('open', cause);
    }
  }

  async acknowledge(firstSeq: bigint, keys: readonly Buffer[]): Promise<void> {
    const bytes = Buffer.from(ackLines(firstSeq, keys), 'utf8');
    let at = 0;
    while (at < bytes.length) {
      try {
        at += writeSync(this.#fd, bytes, at);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EAGAIN') throw this.#failure('write', cause);
        await sleep(retryMs);
      }
    }
  }

  close(): void {
    if (!this.#isInherited) closeSync(this.#fd);
  }

  #failure(verb: string, cause: unknown): Error {
    const { message, errno = 0 } = cause as NodeJS.ErrnoException;
    const details = { file: this.#path, errno: Math.abs(errno) };
    return createError('IO', `${verb} the acknowledgement log: ${message}`, { cause, details });
  }
}

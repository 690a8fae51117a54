/**
 * A node of the demo: `gapless serve` as a child process, its event lines, and waiting for one of them. Every wait
 * ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createError } from '../errors.js';
import { parseObject } from './remote.js';
import type { HostPort } from './text.js';

export type EventLine = Readonly<Record<string, unknown>>;

interface Waiter {
  readonly wanted: (event: EventLine) => boolean;
  readonly resolve: (event: EventLine) => void;
  readonly reject: (error: Error) => void;
}

const stderrKept = 4096;
const readyMsMax = 60_000;

export class NodeProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #events: EventLine[] = [];
  readonly #waiters = new Set<Waiter>();
  readonly #exit: Promise<void>;
  #stderr = '';
  #hasExited = false;

  private constructor(name: string, args: readonly string[]) {
    this.name = name;
    const main = fileURLToPath(new URL('./main.js', import.meta.url));
    const child = spawn(process.execPath, [main, 'serve', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => this.#note(parseObject(line)));
    child.stderr.on('data', (text: Buffer) => {
      this.#stderr = (this.#stderr + text.toString('utf8')).slice(-stderrKept);
    });
    this.#exit = new Promise((resolve) => {
      const ended = (): void => {
        this.#hasExited = true;
        const error = createError('IO', `${name} ended: ${this.#stderr.trim() || 'without a word'}`);
        for (const waiter of this.#waiters) waiter.reject(error);
        this.#waiters.clear();
        resolve();
      };
      child.once('close', ended);
      child.once('error', ended);
    });
  }

  /** Starts a node and waits until it is ready. */
  static async start(
    name: string,
    args: readonly string[],
    onStart: (node: NodeProcess) => void,
  ): Promise<NodeProcess> {
    const node = new NodeProcess(name, args);
    onStart(node);
    await node.until('ready', readyMsMax);
    return node;
  }

  /** Events so far: a mark for `until`. */
  get mark(): number {
    return this.#events.length;
  }

  /** The newest event of that name. */
  event(name: string): EventLine | undefined {
    return this.#events.filter(({ event }) => event === name).at(-1);
  }

  /** An address that the event `ready` told. */
  address(of: 'status' | 'listen'): HostPort {
    const address = this.event('ready')?.[of];
    const { host, port } = (address ?? {}) as { readonly host?: unknown; readonly port?: unknown };
    if (typeof host !== 'string' || typeof port !== 'number')
      throw createError('IO', `${this.name} told no ${of} address`);
    return { host, port };
  }

  /** The first event of that name behind the mark. Rejects with TIMEOUT, or when the process ends. */
  async until(name: string, timeoutMs: number, mark = 0): Promise<EventLine> {
    const wanted = ({ event }: EventLine): boolean => event === name;
    const found = this.#events.slice(mark).find(wanted);
    if (found !== undefined) return found;
    if (this.#hasExited) throw createError('IO', `${this.name} ended: ${this.#stderr.trim()}`);
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<EventLine>((resolve, reject) => {
        const waiter: Waiter = { wanted, resolve, reject };
        this.#waiters.add(waiter);
        timer = setTimeout(() => {
          this.#waiters.delete(waiter);
          reject(createError('TIMEOUT', `${this.name} did not report "${name}" within ${timeoutMs} ms`));
        }, timeoutMs);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** SIGKILL, and gone when this resolves. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exit;
  }

  /** SIGTERM; SIGKILL if it does not end in time. */
  async stop(timeoutMs: number): Promise<void> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), timeoutMs);
    await this.#exit;
    clearTimeout(timer);
  }

  /** For the end of the process, where nothing can be waited for. */
  killNow(): void {
    if (!this.#hasExited) this.#child.kill('SIGKILL');
  }

  #note(event: EventLine): void {
    this.#events.push(event);
    for (const waiter of this.#waiters) {
      if (!waiter.wanted(event)) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(event);
    }
  }
}

/** Helper processes of a trial: forked with IPC, one message each way at a time, ended with the trial. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export class Helper {
  readonly #child: ChildProcess;
  #failed: Error | undefined;

  /** `file` is the compiled name below children/. */
  constructor(file: string, args: readonly string[]) {
    const path = fileURLToPath(new URL(`./children/${file}`, import.meta.url));
    this.#child = fork(path, args, { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.once('exit', (code, signal) => {
      if (code !== 0 && signal !== 'SIGKILL') this.#failed = new Error(`${file} ended with ${code ?? signal}`);
    });
  }

  send(message: object): void {
    this.#child.send(message);
  }

  /** The next message. Requires: nobody else waits for one. */
  async message<T>(): Promise<T> {
    const ended = new AbortController();
    const exit = once(this.#child, 'exit', { signal: ended.signal }).then(() => {
      throw this.#failed ?? new Error('a helper process ended without an answer');
    });
    try {
      const [message] = await Promise.race([once(this.#child, 'message', { signal: ended.signal }), exit]);
      return message as T;
    } finally {
      ended.abort();
      exit.catch(() => undefined);
    }
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }

  async exited(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    if (this.#failed !== undefined) throw this.#failed;
  }
}

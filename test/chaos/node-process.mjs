// A database in a process of its own, seen from its parent. Kills and freezes only the process that it started.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const childPath = fileURLToPath(new URL('./node-child.mjs', import.meta.url));

export class NodeProcess {
  events = [];
  /** Highest number that was acknowledged, by writer. */
  acknowledged = new Map();
  acks = 0;
  /** Codes that ended writers of the load. */
  loadEnds = [];
  #child;
  #asked = new Map();
  #count = 0;
  #exited;

  /** Starts the process and opens the directory. `options`: those of open. */
  static async start(dir, options = {}, { watched = false } = {}) {
    const node = new NodeProcess();
    node.dir = dir;
    node.#child = fork(childPath, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: 'json' });
    node.#child.on('message', (message) => node.#hear(message));
    // 'close' comes behind the last message.
    node.#exited = new Promise((resolve) => {
      node.#child.once('close', (code, signal) => resolve(node.#gone(code, signal)));
    });
    ({ nodeId: node.nodeId } = await node.ask('open', { dir, options, watched }));
    return node;
  }

  get pid() {
    return this.#child.pid;
  }

  ask(method, args) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => this.#settle(id, ({ reject: refuse }) => refuse(hung(method, this.dir))), hangMs);
      this.#asked.set(id, { method, resolve, reject, late });
      this.#child.send({ id, method, args }, (error) => {
        if (error) this.#settle(id, ({ reject: refuse }) => refuse(error));
      });
    });
  }

  saw(event, fields = {}) {
    const wanted = Object.entries({ event, ...fields });
    return this.events.filter((each) => wanted.every(([name, value]) => each[name] === value));
  }

  freeze() {
    this.#child.kill('SIGSTOP');
  }
  thaw() {
    this.#child.kill('SIGCONT');
  }

  /** Resolves when it is gone and every message that it sent has been heard. */
  async kill() {
    this.#child.kill('SIGCONT');
    this.#child.kill('SIGKILL');
    return this.#exited;
  }

  /** A clean end: of the database first, then of the process. */
  async close() {
    await this.ask('close');
    return this.kill();
  }

  #hear(message) {
    if (message.ack !== undefined) {
      const { writer, i } = message.ack;
      this.acknowledged.set(writer, i);
      this.acks++;
    } else if (message.event !== undefined) this.events.push(message.event);
    else if (message.loadEnded !== undefined) this.loadEnds.push(message.loadEnded);
    else this.#settle(message.id, ({ resolve, reject, method }) => {
      if (message.error === undefined) resolve(message.result);
      else reject(Object.assign(new Error(`${method}: ${message.error.message}`), { code: message.error.code }));
    });
  }

  #settle(id, how) {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    clearTimeout(asked?.late);
    if (asked !== undefined) how(asked);
  }

  #gone(code, signal) {
    for (const id of [...this.#asked.keys()]) {
      this.#settle(id, ({ reject, method }) => reject(new Error(`${method}: the process ended (${code ?? signal})`)));
    }
    return { code, signal };
  }
}

/** Nothing that a node is asked takes so long, on the slowest machine. */
const hangMs = 45_000;

function hung(method, dir) {
  return new Error(`no-hang: ${dir} has not answered ${method} for ${hangMs / 1000} s`);
}

export async function until(what, isSo, timeoutMs = 30_000) {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (await isSo()) return;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * Running commands for tests: here with streams of our own, or as the program itself where a process matters.
 * Every child is stopped by `stopAll`, which each suite calls behind its tests.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../dist/base/clock.js';
import { run } from '../../dist/cli/run.js';

export const mainPath: string = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export type Json = Record<string, unknown>;

export interface CliResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
  /** Lines of stdout as JSON. */
  readonly lines: Json[];
  /** The error object of the last line of stderr. */
  readonly error: Json;
}

class Sink extends Writable {
  readonly parts: Buffer[] = [];
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.parts.push(Buffer.from(chunk));
    done();
  }
  get bytes(): Buffer {
    return Buffer.concat(this.parts);
  }
}

async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}

export interface CliInput {
  readonly stdin?: string | Buffer;
  readonly env?: Record<string, string>;
}

/** One command in this process. */
export async function cli(words: readonly string[], input: CliInput = {}): Promise<CliResult> {
  const stdout = new Sink();
  const stderr = new Sink();
  const stdin = once(Buffer.from(input.stdin ?? ''));
  const code = await run(words, { streams: { stdout, stderr }, stdin, env: input.env ?? {}, clock: systemClock() });
  return result(code, stdout.bytes, stderr.bytes.toString('utf8'));
}

function result(code: number, stdout: Buffer, stderr: string): CliResult {
  return {
    code,
    stdout,
    stderr,
    get lines() {
      const text = stdout.toString('utf8');
      return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Json]));
    },
    get error() {
      const last = stderr.trimEnd().split('\n').at(-1) ?? '';
      return (JSON.parse(last) as { error: Json }).error;
    },
  };
}

const children = new Set<ChildProcessByStdio<null, Readable, Readable>>();

export interface Node {
  readonly pid: number;
  readonly events: Json[];
  readonly url: string;
  /** Rejects when the process ends first, or after ten seconds. */
  until(event: string, from?: number): Promise<Json>;
  signal(name: NodeJS.Signals): void;
  /** Stops reading stdout, as a reader that went away. */
  closeStdout(): void;
  readonly exit: Promise<{ readonly code: number | null; readonly stderr: string }>;
}

/** `gapless serve` as a process; resolves when it is ready. */
export async function serve(args: readonly string[]): Promise<Node> {
  const node = start(['serve', ...args]);
  await node.until('ready');
  return node;
}

export function start(args: readonly string[]): Node {
  const child = spawn(process.execPath, [mainPath, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  const events: Json[] = [];
  const listeners = new Set<() => void>();
  let stderr = '';
  let hasExited = false;
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString('utf8');
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push(JSON.parse(line) as Json);
    for (const look of listeners) look();
  });
  const exit = new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.once('close', (code) => {
      children.delete(child);
      hasExited = true;
      for (const look of listeners) look();
      resolve({ code, stderr });
    });
  });
  const until = (event: string, from = 0): Promise<Json> =>
    new Promise((resolve, reject) => {
      const finish = (act: () => void): void => {
        clearTimeout(timer);
        listeners.delete(look);
        act();
      };
      const timer = setTimeout(() => finish(() => reject(new Error(`no event ${event}; ${stderr}`))), 20_000);
      const look = (): void => {
        const found = events.slice(from).find((line) => line['event'] === event);
        if (found !== undefined) finish(() => resolve(found));
        else if (hasExited) finish(() => reject(new Error(`the process ended: ${stderr}`)));
      };
      listeners.add(look);
      look();
    });
  return {
    pid: child.pid ?? 0,
    events,
    exit,
    until,
    signal: (name) => void child.kill(name),
    closeStdout: () => child.stdout.destroy(),
    get url() {
      const first = events.find((line) => line['event'] === 'listening');
      if (first === undefined) throw new Error('there is no event "listening"');
      const { host, port } = first['status'] as { host: string; port: number };
      return `http://${host}:${port}`;
    },
  };
}

const folders: string[] = [];

/** A path in a new temporary folder. */
export function place(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'gapless-cli-'));
  folders.push(folder);
  return join(folder, name);
}

export async function stopAll(): Promise<void> {
  for (const child of children) child.kill('SIGKILL');
  await Promise.all([...children].map((child) => new Promise((resolve) => child.once('close', resolve))));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly json: Json;
}

export interface HttpRequest {
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
}

/** One request as it is written: the path is not normalised. */
export function http(base: string, method: string, path: string, options: HttpRequest = {}): Promise<HttpAnswer> {
  const { hostname, port } = new URL(base);
  const payload = options.body === undefined ? undefined : Buffer.from(options.body);
  const length = payload === undefined ? {} : { 'Content-Length': `${payload.length}` };
  const headers = { ...length, ...options.headers };
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, method, path, headers, agent: false }, async (incoming) => {
      const parts: Buffer[] = [];
      for await (const part of incoming) parts.push(Buffer.from(part));
      const body = Buffer.concat(parts);
      resolve({
        status: incoming.statusCode ?? 0,
        headers: incoming.headers,
        body,
        get json() {
          return JSON.parse(body.toString('utf8')) as Json;
        },
      });
    });
    outgoing.on('error', reject);
    outgoing.end(payload);
  });
}

/** The code of an error answer. */
export function codeOf(answer: HttpAnswer): unknown {
  return (answer.json['error'] as Json)['code'];
}

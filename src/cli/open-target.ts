/**
 * From words of the command line to what they name: a Target for DIR or URL, the client of a URL, flags of writes.
 */
import { type OpenOptions, open } from '../index.js';
import type { Context } from './command.js';
import { DatabaseTarget } from './database-target.js';
import { Remote, readSecret } from './remote.js';
import { RemoteTarget } from './remote-target.js';
import type { DurabilityName, Target, WriteFlags } from './target.js';
import { oneOf, parseCount } from './text.js';
import { type ParsedCommand, UsageError } from './usage.js';

const timeoutMsDefault = 30_000;
/** What a node may need beyond the time that a request lets it wait. */
const graceMs = 5000;

export function isUrl(text: string): boolean {
  return text.startsWith('http://') || text.startsWith('https://');
}

/** The word at `index`; parseCommand has seen that it is there. */
export function operand(parsed: ParsedCommand, index: number): string {
  const word = parsed.operands[index];
  if (word === undefined) throw new UsageError('missing argument');
  return word;
}

export function requireUrl(text: string, command: string): string {
  if (!isUrl(text))
    throw new UsageError(`${command} works on a node's status address (http://HOST:PORT), not "${text}"`);
  return text;
}

export function requireDirectory(text: string, command: string): string {
  if (isUrl(text)) throw new UsageError(`${command} works on a directory that is not open, not on a URL`);
  if (text === '') throw new UsageError(`${command} needs the path of a directory`);
  return text;
}

/** A client of the status address `url`, with the secret and the patience of the flags. */
export async function openRemote(context: Context, parsed: ParsedCommand, url: string, waitsMs = 0): Promise<Remote> {
  const path = parsed.text('secret-file') ?? context.env['GAPLESS_SECRET_FILE'];
  const secret = path === undefined || path === '' ? undefined : await readSecret(path);
  const timeoutMs = timeoutOf(parsed) ?? timeoutMsDefault;
  return new Remote({ url, secret, timeoutMs: Math.max(timeoutMs, waitsMs + graceMs) });
}

export function timeoutOf(parsed: ParsedCommand): number | undefined {
  const text = parsed.text('timeout-ms');
  return text === undefined ? undefined : parseCount(text, '--timeout-ms', 1, 2 ** 31 - 1);
}

/** `read`: changes nothing, the directory must hold a store; `write`: it is created if need be. */
export async function openTarget(
  context: Context,
  parsed: ParsedCommand,
  where: string,
  access: 'read' | 'write',
): Promise<Target> {
  if (isUrl(where)) {
    const waitsMs = parsed.text('replicas') === undefined ? 0 : (timeoutOf(parsed) ?? timeoutMsDefault);
    return new RemoteTarget(await openRemote(context, parsed, where, waitsMs));
  }
  if (where === '') throw new UsageError('the path of the directory is empty');
  const options: OpenOptions = access === 'read' ? { readOnly: true, createIfMissing: false } : {};
  return new DatabaseTarget(await open(where, options));
}

/** Runs `work` on DIR or URL and closes it in the end. */
export async function withTarget<T>(
  context: Context,
  parsed: ParsedCommand,
  access: 'read' | 'write',
  work: (target: Target) => Promise<T>,
): Promise<T> {
  const target = await openTarget(context, parsed, operand(parsed, 0), access);
  let result: T;
  try {
    result = await work(target);
  } catch (error) {
    // What the command ran into is worth more than what closing says about it.
    await target.close().catch(() => undefined);
    throw error;
  }
  await target.close();
  return result;
}

const durabilities: readonly DurabilityName[] = ['sync', 'os', 'memory'];
const levels = ['received', 'durable', 'applied'] as const;

export function durabilityOf(text: string | undefined): DurabilityName | undefined {
  return oneOf(text, durabilities, '--durability');
}

/** Flags of a single write. `--level` and `--timeout-ms` say how replicas are waited for. */
export function writeFlagsOf(parsed: ParsedCommand): WriteFlags {
  const durability = durabilityOf(parsed.text('durability'));
  const text = parsed.text('replicas');
  const level = oneOf(parsed.text('level'), levels, '--level');
  if (text === undefined) {
    if (level !== undefined) throw new UsageError('--level says what --replicas must have done; it needs --replicas');
    return { durability };
  }
  const replicas = parseCount(text, '--replicas', 0, 64);
  if (!isUrl(operand(parsed, 0)))
    throw new UsageError('--replicas needs a URL: a directory opened here has no replicas');
  return { durability, replicas, level, timeoutMs: timeoutOf(parsed) };
}

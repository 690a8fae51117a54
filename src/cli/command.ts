/**
 * What a command is: its syntax and one function from its words to an exit code. Commands get everything that belongs
 * to the process (streams, environment, clock) in a Context, so that tests can run them in their own process.
 */
import type { Clock } from '../base/clock.js';
import type { Output } from './output.js';
import type { CommandSyntax, Flag, ParsedCommand } from './usage.js';

export const exitDone = 0;
/** Failed, or the answer is no. */
export const exitNo = 1;
export const exitUsage = 2;

export interface Context {
  readonly output: Output;
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

export interface Command {
  readonly syntax: CommandSyntax;
  /** Resolves with the exit code; what it throws is reported as the error of the command. */
  readonly run: (context: Context, parsed: ParsedCommand) => Promise<number>;
}

/** A syntax of which the number of operands may be left to a default. */
export type CommandSyntaxOf = Omit<CommandSyntax, 'minOperands' | 'maxOperands'> &
  Partial<Pick<CommandSyntax, 'minOperands' | 'maxOperands'>>;

/** Flags of every command that may speak to a status address. */
export const remoteFlags: Readonly<Record<string, Flag>> = {
  'secret-file': { type: 'string', value: 'FILE', help: 'secret of the cluster (or GAPLESS_SECRET_FILE)' },
  'timeout-ms': { type: 'string', value: 'N', help: 'longest silence of the node (30000)' },
};

export const base64Flag: Readonly<Record<string, Flag>> = {
  base64: { type: 'boolean', help: 'KEY and VALUE are base64, and are printed so' },
};

export const durabilityFlag: Readonly<Record<string, Flag>> = {
  durability: { type: 'string', value: 'M', help: 'sync, os or memory: when the write is acknowledged' },
};

/** Flags of every single write. */
export const writeFlags: Readonly<Record<string, Flag>> = {
  ...durabilityFlag,
  replicas: { type: 'string', value: 'K', help: 'wait for so many replicas (URL only)' },
  level: { type: 'string', value: 'L', help: 'what they must have done: received, durable, applied' },
  ...remoteFlags,
};

/** All bytes of a stream. */
export async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

/** Every command, in the order in which help lists them, and finding the one that was meant. */
import type { Command } from './command.js';
import { batchCommand, delCommand, digestCommand, getCommand, putCommand, scanCommand } from './data-commands.js';
import { demoCommand } from './demo.js';
import { logCommand, repairCommand, statCommand, verifyCommand } from './directory-commands.js';
import { importCommand } from './import-command.js';
import {
  demoteCommand,
  promoteCommand,
  replicaListCommand,
  replicaRemoveCommand,
  resyncCommand,
  statusCommand,
  tokenCommand,
  waitCommand,
} from './node-commands.js';
import { serveCommand } from './serve.js';
import {
  snapshotCreateCommand,
  snapshotInfoCommand,
  snapshotRestoreCommand,
  snapshotVerifyCommand,
} from './snapshot-commands.js';
import { UsageError, unknownCommand } from './usage.js';

export const commands: readonly Command[] = [
  importCommand,
  getCommand,
  putCommand,
  delCommand,
  batchCommand,
  scanCommand,
  statCommand,
  digestCommand,
  verifyCommand,
  logCommand,
  repairCommand,
  snapshotCreateCommand,
  snapshotInfoCommand,
  snapshotVerifyCommand,
  snapshotRestoreCommand,
  serveCommand,
  statusCommand,
  waitCommand,
  promoteCommand,
  demoteCommand,
  resyncCommand,
  replicaListCommand,
  replicaRemoveCommand,
  tokenCommand,
  demoCommand,
];

export interface Found {
  readonly command: Command;
  /** The words behind the command's name. */
  readonly rest: readonly string[];
}

/** A name is one word, or two (`snapshot create`). */
export function findCommand(words: readonly string[]): Found {
  const [first = '', second = ''] = words;
  const one = commands.find(({ syntax }) => syntax.name === first);
  if (one !== undefined) return { command: one, rest: words.slice(1) };
  const two = commands.find(({ syntax }) => syntax.name === `${first} ${second}`);
  if (two !== undefined) return { command: two, rest: words.slice(2) };
  const family = commands.map(({ syntax }) => syntax.name).filter((name) => name.startsWith(`${first} `));
  if (family.length > 0)
    throw new UsageError(`${first} is one of: ${family.map((name) => `gapless ${name}`).join(', ')}`);
  throw unknownCommand(first, [...new Set(commands.map(({ syntax }) => syntax.name.split(' ')[0] ?? ''))]);
}

/** The text of `gapless --help`. */
export function overview(): string {
  const rows = commands.map(
    ({ syntax }) => `  ${`${syntax.name} ${syntax.operands}`.trimEnd().padEnd(34)} ${syntax.summary}`,
  );
  return [
    'gapless COMMAND ...',
    '',
    'An argument that starts with http:// or https:// is the status address of a node, any other DIR a directory.',
    '',
    ...rows,
    '',
    'gapless COMMAND --help says more. Exit codes: 0 done, 1 failed or the answer is no, 2 usage.',
    '',
  ].join('\n');
}

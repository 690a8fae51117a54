/** Every command, in the order in which help lists them, and finding the one that was meant. */
import type { Command } from './command.js';
import { compactCommand } from './compact-command.js';
import { batchCommand, delCommand, digestCommand, getCommand, putCommand, scanCommand } from './data-commands.js';
import { demoCommand } from './demo.js';
import { logCommand, repairCommand, statCommand, verifyCommand } from './directory-commands.js';
import { importCommand } from './import-command.js';
import { lostListCommand, lostReplayCommand, lostShowCommand } from './lost-commands.js';
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
  lostListCommand,
  lostShowCommand,
  lostReplayCommand,
  compactCommand,
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
  const family = familyOf(first);
  if (family.length > 0)
    throw new UsageError(`${first} is one of: ${family.map(({ syntax }) => `gapless ${syntax.name}`).join(', ')}`);
  throw unknownCommand(first, [...new Set(commands.map(({ syntax }) => syntax.name.split(' ')[0] ?? ''))]);
}

/** The commands of two words that begin with this one. */
function familyOf(first: string): readonly Command[] {
  return commands.filter(({ syntax }) => syntax.name.startsWith(`${first} `));
}

/** The text of `gapless snapshot --help`; undefined if these words do not ask for it. */
export function familyHelp(words: readonly string[]): string | undefined {
  const [first = '', second] = words;
  const family = familyOf(first);
  if (family.length === 0 || second !== '--help') return undefined;
  const names = family.map(({ syntax }) => `gapless ${syntax.name}`).join(', ');
  return [`${names}:`, '', ...family.map(summaryRow), '', 'Each of them with --help says more.', ''].join('\n');
}

function summaryRow({ syntax }: Command): string {
  return `  ${`${syntax.name} ${syntax.operands}`.trimEnd().padEnd(34)} ${syntax.summary}`;
}

/** The text of `gapless --help`. */
export function overview(): string {
  return [
    'gapless COMMAND ...',
    '',
    'An argument that starts with http:// or https:// is the status address of a node, any other DIR a directory.',
    '',
    ...commands.map(summaryRow),
    '',
    'gapless COMMAND --help says more. Exit codes: 0 done, 1 failed or the answer is no, 2 usage.',
    '',
  ].join('\n');
}

/**
 * From the words of a command line to an exit code. Everything of the process comes in as arguments.
 */

import { packageVersion } from '../index.js';
import { type Command, type Context, exitDone, exitUsage } from './command.js';
import { familyHelp, findCommand, overview } from './commands.js';
import { Output, type Streams } from './output.js';
import { helpText, type ParsedCommand, parseCommand, UsageError } from './usage.js';

export type Process = Omit<Context, 'output'> & { readonly streams: Streams };

/** Runs one command; never rejects. */
export async function run(words: readonly string[], process: Process): Promise<number> {
  const output = new Output(process.streams, words.includes('--json'));
  try {
    const [first] = words;
    if (first === undefined) {
      output.note(overview());
      return exitUsage;
    }
    if (first === '--help' || first === '-h' || first === 'help') return await print(output, overview());
    if (first.startsWith('-') && first !== '--version') throw flagFirst(words);
    if (first === '--version') return await print(output, `${packageVersion()}\n`);
    const family = familyHelp(words);
    if (family !== undefined) return await print(output, family);
    const { command, rest } = findCommand(words);
    const parsed = parseCommand(command.syntax, rest);
    if (parsed.has('help')) return await print(output, helpText(command.syntax));
    return await runCommand(command, parsed, process, new Output(process.streams, parsed.has('json')));
  } catch (error) {
    if (isLostStdout(error)) return exitDone;
    return output.failure(error);
  }
}

/** Flags belong to a command, so they stand behind it. */
function flagFirst(words: readonly string[]): UsageError {
  const at = words.findIndex((word) => !word.startsWith('-'));
  if (at < 0) return new UsageError('no command is given; try: gapless --help');
  return new UsageError(`the command comes first: gapless ${words[at]} ... ${words.slice(0, at).join(' ')}`);
}

async function runCommand(command: Command, parsed: ParsedCommand, process: Process, output: Output): Promise<number> {
  const { stdin, env, clock } = process;
  try {
    return await command.run({ output, stdin, env, clock }, parsed);
  } catch (error) {
    if (isLostStdout(error)) return exitDone;
    return output.failure(error);
  }
}

/** The reader of stdout went away (`gapless scan ... | head`): nobody is left who could be told. */
function isLostStdout(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, syscall } = error as NodeJS.ErrnoException;
  return code === 'ERR_STREAM_DESTROYED' || (code === 'EPIPE' && syscall === 'write');
}

async function print(output: Output, text: string): Promise<number> {
  await output.raw(text);
  return exitDone;
}

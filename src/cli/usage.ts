/**
 * Reading a command line: one table entry a command says what it takes; everything else is a usage error (exit 2),
 * found before anything is touched. Flags are those of INTERFACES in kebab case.
 */
import { parseArgs } from 'node:util';

/** Exit 2: unknown command or flag, wrong type, missing argument. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  /** What the error object says besides the message. */
  readonly details: Readonly<Record<string, unknown>> = {};
}

/** A flag: `string` takes a value, `boolean` none. `value` is how the value is called in help. */
export interface Flag {
  readonly type: 'string' | 'boolean';
  readonly value?: string;
  readonly help: string;
}

export interface CommandSyntax {
  readonly name: string;
  /** For instance `DIR|URL KEY`. */
  readonly operands: string;
  readonly minOperands: number;
  readonly maxOperands: number;
  readonly summary: string;
  readonly example: string;
  readonly flags: Readonly<Record<string, Flag>>;
}

export interface ParsedCommand {
  readonly operands: readonly string[];
  /** Value of a string flag. */
  text(flag: string): string | undefined;
  has(flag: string): boolean;
}

/** Flags of every command. */
export const commonFlags: Readonly<Record<string, Flag>> = {
  json: { type: 'boolean', help: 'write JSON lines to stdout' },
  help: { type: 'boolean', help: 'show this help' },
};

/** Edit distance with adjacent transpositions counted as two edits; small words only. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + cost));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The nearest known word, if one is near enough to be meant. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  const ranked = known.map((candidate) => ({ candidate, edits: distance(word, candidate) }));
  ranked.sort((a, b) => a.edits - b.edits);
  const best = ranked[0];
  return best !== undefined && best.edits <= Math.max(1, Math.floor(word.length / 3)) ? best.candidate : undefined;
}

function hint(word: string, known: readonly string[], prefix: string): string {
  const near = suggest(word, known);
  return near === undefined ? '' : `; did you mean "${prefix}${near}"`;
}

export function unknownCommand(name: string, known: readonly string[]): UsageError {
  return new UsageError(`unknown command "${name}"${hint(name, known, '')}; try: gapless --help`);
}

/** Parses the words behind the command's name. Throws UsageError; nothing was touched. */
export function parseCommand(syntax: CommandSyntax, words: readonly string[]): ParsedCommand {
  const flags = { ...commonFlags, ...syntax.flags };
  const { tokens } = parseArgs({
    args: [...words],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: flags,
  });
  const operands: string[] = [];
  const values = new Map<string, string | true>();
  for (const token of tokens) {
    if (token.kind === 'positional') operands.push(token.value);
    if (token.kind !== 'option') continue;
    const flag = Object.hasOwn(flags, token.name) ? flags[token.name] : undefined;
    if (flag === undefined || !token.rawName.startsWith('--')) {
      throw new UsageError(
        `${syntax.name}: unknown flag "${token.rawName}"${hint(token.name, Object.keys(flags), '--')}`,
      );
    }
    if (values.has(token.name)) throw new UsageError(`${syntax.name}: --${token.name} is given twice`);
    values.set(token.name, flagValue(syntax.name, token.name, flag, token.value));
  }
  if (!values.has('help')) checkOperands(syntax, operands);
  return {
    operands,
    text: (flag) => {
      const value = values.get(flag);
      return value === true ? undefined : value;
    },
    has: (flag) => values.has(flag),
  };
}

function flagValue(command: string, name: string, flag: Flag, value: string | undefined): string | true {
  if (flag.type === 'boolean' && value !== undefined) throw new UsageError(`${command}: --${name} takes no value`);
  if (flag.type === 'string' && value === undefined) {
    throw new UsageError(`${command}: --${name} needs a value (${flag.value ?? 'VALUE'})`);
  }
  return value ?? true;
}

function checkOperands(syntax: CommandSyntax, operands: readonly string[]): void {
  if (operands.length < syntax.minOperands) {
    throw new UsageError(`${syntax.name}: missing argument; usage: gapless ${syntax.name} ${syntax.operands}`);
  }
  const extra = operands[syntax.maxOperands];
  if (extra !== undefined) throw new UsageError(`${syntax.name}: unexpected argument "${extra}"`);
}

/** The text of `--help` for one command. */
export function helpText(syntax: CommandSyntax): string {
  const rows = Object.entries({ ...syntax.flags, ...commonFlags }).map(([name, flag]) => {
    const left = `  --${name}${flag.type === 'string' ? ` ${flag.value ?? 'VALUE'}` : ''}`;
    return `${left.padEnd(36)} ${flag.help}`;
  });
  return [
    `gapless ${syntax.name} ${syntax.operands}`.trimEnd(),
    '',
    syntax.summary,
    '',
    ...rows,
    '',
    `Example: ${syntax.example}`,
    '',
  ].join('\n');
}

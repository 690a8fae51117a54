/** Reading command lines: what is taken, what is refused, and what is said then. */
import { describe, expect, test } from 'vitest';
import { commands, findCommand, overview } from '../../dist/cli/commands.js';
import { helpText, parseCommand, suggest, UsageError } from '../../dist/cli/usage.js';
import { cli } from './harness.js';

const syntax = {
  name: 'thing',
  operands: 'DIR KEY',
  minOperands: 1,
  maxOperands: 2,
  summary: 'Does a thing.',
  example: 'gapless thing ./data',
  flags: {
    limit: { type: 'string', value: 'N', help: 'at most N' },
    keys: { type: 'boolean', help: 'keys only' },
  },
} as const;

describe('a command line', () => {
  test('gives operands and flags in any order', () => {
    const parsed = parseCommand(syntax, ['--limit', '5', 'dir', '--keys', 'key', '--json']);
    expect(parsed.operands).toEqual(['dir', 'key']);
    expect(parsed.text('limit')).toBe('5');
    expect(parsed.has('keys')).toBe(true);
    expect(parsed.has('json')).toBe(true);
    expect(parsed.has('help')).toBe(false);
  });
  test('takes --flag=value, and operands that begin with a dash behind --', () => {
    const parsed = parseCommand(syntax, ['--limit=7', 'dir', '--', '--key']);
    expect(parsed.text('limit')).toBe('7');
    expect(parsed.operands).toEqual(['dir', '--key']);
  });
  test('takes a lone dash as an operand', () => {
    expect(parseCommand(syntax, ['dir', '-']).operands).toEqual(['dir', '-']);
  });
  test.each([
    [['dir', '--limt', '5'], 'unknown flag "--limt"; did you mean "--limit"'],
    [['dir', '-k'], 'unknown flag "-k"'],
    [['dir', '--limit'], '--limit needs a value (N)'],
    [['dir', '--keys=yes'], '--keys takes no value'],
    [['dir', '--limit', '1', '--limit', '2'], '--limit is given twice'],
    [[], 'missing argument; usage: gapless thing DIR KEY'],
    [['dir', 'key', 'more'], 'unexpected argument "more"'],
  ])('refuses %j', (words, message) => {
    expect(() => parseCommand(syntax, words)).toThrow(UsageError);
    expect(() => parseCommand(syntax, words)).toThrow(message);
  });
  test('asks for help without its operands', () => {
    expect(parseCommand(syntax, ['--help']).has('help')).toBe(true);
  });
});

describe('suggestions', () => {
  test.each([
    ['digets', 'digest'],
    ['snapshto', 'snapshot'],
    ['stats', 'stat'],
    ['frobnicate', undefined],
    ['x', undefined],
  ])('for %s: %s', (word, wanted) => {
    expect(suggest(word, ['digest', 'snapshot', 'stat', 'verify'])).toBe(wanted);
  });
});

describe('the program', () => {
  test('exits 2 for an unknown command and names the nearest one', async () => {
    const { code, stderr, stdout } = await cli(['digets', 'dir']);
    expect(code).toBe(2);
    expect(stdout.length).toBe(0);
    expect(stderr).toContain('unknown command "digets"; did you mean "digest"');
  });
  test('exits 2 with a JSON error when --json stands on the line', async () => {
    const { code, error } = await cli(['frobnicate', '--json']);
    expect(code).toBe(2);
    expect(error).toMatchObject({ code: 'USAGE', retryable: false, details: {} });
  });
  test('names the commands of a family', async () => {
    const { code, stderr } = await cli(['snapshot', 'crate']);
    expect(code).toBe(2);
    expect(stderr).toContain('gapless snapshot create');
  });
  test('has help for a family', async () => {
    for (const [family, name] of [
      ['snapshot', 'snapshot restore SNAP DIR'],
      ['replica', 'replica list URL'],
    ] as const) {
      const { code, stdout } = await cli([family, '--help']);
      expect([code, stdout.toString().includes(name)], family).toEqual([0, true]);
    }
  });
  test('says that a command comes first', async () => {
    const none = await cli(['--json']);
    expect([none.code, none.error['code'], none.error['message']]).toEqual([
      2,
      'USAGE',
      'no command is given; try: gapless --help',
    ]);
    const behind = await cli(['--json', 'get', 'dir', 'key']);
    expect([behind.code, behind.error['message']]).toEqual([2, 'the command comes first: gapless get ... --json']);
    expect((await cli(['--frob'])).stderr).toContain('no command is given');
    expect((await cli(['get', '--json', '--help'])).code).toBe(0);
  });
  test('shows the overview for --help, and fails without a word', async () => {
    expect((await cli(['--help'])).stdout.toString()).toBe(overview());
    expect((await cli([])).code).toBe(2);
  });
  test('tells its version', async () => {
    expect((await cli(['--version'])).stdout.toString()).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
  test('has help with an example that parses, for every command', async () => {
    for (const { syntax: each } of commands) {
      const { code, stdout } = await cli([...each.name.split(' '), '--help']);
      expect(code, each.name).toBe(0);
      expect(stdout.toString()).toBe(helpText(each));
      expect(stdout.toString()).toContain(`Example: gapless ${each.name}`);
      const words = each.example.replaceAll('"', '').split(' ').slice(1);
      const { command, rest } = findCommand(words);
      expect(command.syntax.name).toBe(each.name);
      const maxOperands = each.name === 'put' ? 4 : each.maxOperands;
      expect(() => parseCommand({ ...each, maxOperands }, rest), each.example).not.toThrow();
    }
  });
});

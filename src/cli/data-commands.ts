/**
 * get, put, del, batch, scan and digest: the commands on entries, the same on a directory and on a URL.
 */
import { readFile } from 'node:fs/promises';
import { digestDirectory } from '../index.js';
import {
  base64Flag,
  type Command,
  type Context,
  exitDone,
  exitNo,
  readAll,
  remoteFlags,
  writeFlags,
} from './command.js';
import { isUrl, operand, withTarget, writeFlagsOf } from './open-target.js';
import { countWrites, parseOperations } from './operations.js';
import { batchJson, digestJson, digestText, field, foundJson, rowJson, rowText, writeVersion } from './render.js';
import type { ScanQuery, TextOperation } from './target.js';
import { argumentBytes, parseCount, parseU64 } from './text.js';
import { type ParsedCommand, UsageError } from './usage.js';

function keyOf(parsed: ParsedCommand): Buffer {
  return argumentBytes(operand(parsed, 1), parsed.has('base64'), 'KEY');
}

export const getCommand: Command = {
  syntax: {
    name: 'get',
    operands: 'DIR|URL KEY',
    minOperands: 2,
    maxOperands: 2,
    summary: 'Writes the value of KEY to stdout as it is; exit 1 if there is none.',
    example: 'gapless get ./data user:1',
    flags: { ...base64Flag, ...remoteFlags },
  },
  async run(context, parsed) {
    const key = keyOf(parsed);
    const { output } = context;
    const base64 = parsed.has('base64');
    const { found, position } = await withTarget(context, parsed, 'read', (target) => target.get(key));
    if (found === undefined) {
      if (output.json) await output.line({ ...field('key', key, base64), found: false, position });
      return exitNo;
    }
    const { value, version } = found;
    if (output.json) await output.line(foundJson(key, value, version, position, base64));
    else await output.raw(base64 ? `${value.toString('base64')}\n` : value);
    return exitDone;
  },
};

export const putCommand: Command = {
  syntax: {
    name: 'put',
    operands: 'DIR|URL KEY VALUE|-',
    minOperands: 3,
    maxOperands: 3,
    summary: 'Writes one entry; "-" takes the value from stdin.',
    example: 'gapless put ./data user:1 "some text"',
    flags: { ...base64Flag, ...writeFlags },
  },
  async run(context, parsed) {
    const key = keyOf(parsed);
    const word = operand(parsed, 2);
    const flags = writeFlagsOf(parsed);
    const value = word === '-' ? await readAll(context.stdin) : argumentBytes(word, parsed.has('base64'), 'VALUE');
    const answer = await withTarget(context, parsed, 'write', (target) =>
      target.write([{ op: 'put', key, value }], flags),
    );
    const version = writeVersion(answer);
    await context.output.answer({ position: answer.position, version }, `${answer.position}`);
    return exitDone;
  },
};

export const delCommand: Command = {
  syntax: {
    name: 'del',
    operands: 'DIR|URL KEY',
    minOperands: 2,
    maxOperands: 2,
    summary: 'Deletes one key; a missing key is no error.',
    example: 'gapless del ./data user:1',
    flags: { ...base64Flag, ...writeFlags },
  },
  async run(context, parsed) {
    const key = keyOf(parsed);
    const flags = writeFlagsOf(parsed);
    const { position } = await withTarget(context, parsed, 'write', (target) =>
      target.write([{ op: 'del', key }], flags),
    );
    await context.output.answer({ position }, `${position}`);
    return exitDone;
  },
};

export const batchCommand: Command = {
  syntax: {
    name: 'batch',
    operands: 'DIR|URL [FILE|-]',
    minOperands: 1,
    maxOperands: 2,
    summary: 'Commits the operations of FILE or stdin (NDJSON, one a line) as one atomic batch.',
    example: 'gapless batch ./data operations.ndjson',
    flags: writeFlags,
  },
  async run(context, parsed) {
    const flags = writeFlagsOf(parsed);
    const operations = await readOperationsOf(context, parsed.operands[1] ?? '-');
    const answer = await withTarget(context, parsed, 'write', (target) => target.write(operations, flags));
    await context.output.answer(batchJson(answer, countWrites(operations)), `${answer.position}`);
    return exitDone;
  },
};

async function readOperationsOf({ stdin }: Context, source: string): Promise<TextOperation[]> {
  const reading = source === '-' ? readAll(stdin) : readFile(source);
  const bytes = await reading;
  const operations = parseOperations(bytes.toString('utf8'));
  if (countWrites(operations) === 0) throw new UsageError('batch: there is no operation that writes');
  return operations;
}

export const scanCommand: Command = {
  syntax: {
    name: 'scan',
    operands: 'DIR|URL',
    minOperands: 1,
    maxOperands: 1,
    summary: 'Writes entries in key order, one a line: key, tab, value, control bytes as %XX.',
    example: 'gapless scan ./data --prefix user: --limit 10',
    flags: {
      prefix: { type: 'string', value: 'S', help: 'keys that begin with S' },
      from: { type: 'string', value: 'K', help: 'from K on, inclusive' },
      to: { type: 'string', value: 'K', help: 'up to K, exclusive' },
      limit: { type: 'string', value: 'N', help: 'at most N entries' },
      reverse: { type: 'boolean', help: 'from the last key to the first' },
      keys: { type: 'boolean', help: 'keys only' },
      ...base64Flag,
      ...remoteFlags,
    },
  },
  async run(context, parsed) {
    const query = scanQueryOf(parsed);
    const base64 = parsed.has('base64');
    const { output } = context;
    await withTarget(context, parsed, 'read', async (target) => {
      for await (const row of target.scan(query)) {
        if (output.json) await output.line(rowJson(row, base64));
        else await output.raw(`${rowText(row, base64)}\n`);
      }
    });
    return exitDone;
  },
};

function scanQueryOf(parsed: ParsedCommand): ScanQuery {
  const bytes = (flag: string): Buffer | undefined => {
    const text = parsed.text(flag);
    return text === undefined ? undefined : argumentBytes(text, parsed.has('base64'), `--${flag}`);
  };
  const prefix = bytes('prefix');
  const from = bytes('from');
  const to = bytes('to');
  if (prefix !== undefined && (from !== undefined || to !== undefined)) {
    throw new UsageError('scan: give --prefix, or --from and --to, not both');
  }
  const limit = parsed.text('limit');
  return {
    prefix,
    from,
    to,
    limit: limit === undefined ? undefined : parseCount(limit, '--limit'),
    reverse: parsed.has('reverse'),
    keys: parsed.has('keys'),
  };
}

export const digestCommand: Command = {
  syntax: {
    name: 'digest',
    operands: 'DIR|URL',
    minOperands: 1,
    maxOperands: 1,
    summary: 'The digest of all live entries: equal on every node at equal positions.',
    example: 'gapless digest ./data --at 4711',
    flags: {
      at: { type: 'string', value: 'SEQ', help: 'at the record that ends with this sequence' },
      ...remoteFlags,
    },
  },
  async run(context, parsed) {
    const text = parsed.text('at');
    const at = text === undefined ? undefined : parseU64(text, '--at');
    const where = operand(parsed, 0);
    const answer = isUrl(where)
      ? await withTarget(context, parsed, 'read', (target) => target.digest(at))
      : await digestDirectory(where, at ?? null);
    await context.output.answer(digestJson(answer), digestText(answer));
    return exitDone;
  },
};

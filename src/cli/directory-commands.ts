/**
 * stat, verify, log and repair: commands on a directory that nobody has open. A live one answers LOCKED.
 */
import { type NativeVerifyReport, readLogRecords, repairDirectory, statDirectory, verifyDirectory } from '../index.js';
import type { Position } from '../position.js';
import { type Command, type Context, exitDone, exitNo } from './command.js';
import { operand, requireDirectory } from './open-target.js';
import { recordJson, recordText } from './record-json.js';
import { parseCount, parseU64 } from './text.js';
import { type ParsedCommand, UsageError } from './usage.js';

type Damage = NativeVerifyReport['damage'][number];

function directoryOf(parsed: ParsedCommand, command: string): string {
  return requireDirectory(operand(parsed, 0), command);
}

export const statCommand: Command = {
  syntax: {
    name: 'stat',
    operands: 'DIR',
    minOperands: 1,
    maxOperands: 1,
    summary: 'What a directory holds: identity, positions, epochs, log, sizes, snapshots.',
    example: 'gapless stat ./data',
    flags: {},
  },
  async run({ output }, parsed) {
    const report = await statDirectory(directoryOf(parsed, 'stat'));
    const text = Object.entries(report).map(([name, value]) => {
      return `${name}: ${typeof value === 'object' ? JSON.stringify(value) : `${value}`}`;
    });
    await output.answer(report, text.join('\n'));
    return exitDone;
  },
};

/** Files are named relative to the directory that was asked about. */
function belowRoot(file: string, root: string): string {
  const prefix = root.endsWith('/') ? root : `${root}/`;
  return file.startsWith(prefix) ? file.slice(prefix.length) : file;
}

/** `logOffset` and `seq` belong to damage of the log only. */
export function damageJson(damage: Damage, root: string): object {
  const { kind, offset, logOffset, what, seq } = damage;
  const file = belowRoot(damage.file, root);
  if (kind !== 'log') return { kind, file, offset, what };
  return { kind, file, offset, logOffset: `${logOffset}`, what, seq: `${seq}` };
}

export function damageText({ kind, file, offset, what }: Damage, root: string): string {
  return `${belowRoot(file, root)} at byte ${offset}: ${kind} ${what}`;
}

/** The answer of verify, of a directory or of a snapshot. */
export async function answerVerify(
  { output }: Context,
  root: string,
  report: NativeVerifyReport,
  deep: boolean,
  position: Position | null,
): Promise<number> {
  const { files, bytes, damage } = report;
  if (damage.length === 0) {
    await output.answer(
      { ok: true, deep, files, bytes, position },
      `ok: ${files} files, ${bytes} bytes${position === null ? '' : `, at ${position}`}`,
    );
    return exitDone;
  }
  const text = damage.map((one) => damageText(one, root)).join('\n');
  await output.answer({ ok: false, deep, damage: damage.map((one) => damageJson(one, root)) }, text);
  return exitNo;
}

export const verifyCommand: Command = {
  syntax: {
    name: 'verify',
    operands: 'DIR',
    minOperands: 1,
    maxOperands: 1,
    summary: 'Checks every file of a directory; exit 1 and the list of damage if there is any.',
    example: 'gapless verify ./data --deep',
    flags: { deep: { type: 'boolean', help: 'replay the log and compute the digest too' } },
  },
  async run(context, parsed) {
    const deep = parsed.has('deep');
    const path = directoryOf(parsed, 'verify');
    const report = await verifyDirectory(path, deep);
    return await answerVerify(context, path, report, deep, report.position);
  },
};

export const logCommand: Command = {
  syntax: {
    name: 'log',
    operands: 'DIR',
    minOperands: 1,
    maxOperands: 1,
    summary: 'Writes the records of the log, one a line with --json.',
    example: 'gapless log ./data --from 42 --limit 10',
    flags: {
      from: { type: 'string', value: 'SEQ', help: 'begin with the record that holds SEQ' },
      limit: { type: 'string', value: 'N', help: 'at most N records' },
      values: { type: 'boolean', help: 'with the values of puts' },
    },
  },
  async run({ output }, parsed) {
    const path = directoryOf(parsed, 'log');
    const from = parsed.text('from');
    const limit = parsed.text('limit');
    const fromSeq = from === undefined ? undefined : parseU64(from, '--from');
    let left = limit === undefined ? Number.POSITIVE_INFINITY : parseCount(limit, '--limit');
    const values = parsed.has('values');
    if (left <= 0) return exitDone;
    for await (const record of readLogRecords(path, fromSeq)) {
      if (output.json) await output.line(recordJson(record, values));
      else await output.raw(`${recordText(record, values)}\n`);
      left -= 1;
      if (left <= 0) break;
    }
    return exitDone;
  },
};

export const repairCommand: Command = {
  syntax: {
    name: 'repair',
    operands: 'DIR',
    minOperands: 1,
    maxOperands: 1,
    summary: 'Says what is damaged and what cutting the log there would lose; with both flags cuts it.',
    example: 'gapless repair ./data --truncate-at 8128 --yes',
    flags: {
      'truncate-at': {
        type: 'string',
        value: 'OFFSET',
        help: 'cut the log at this log offset; what is cut goes to lost/',
      },
      yes: { type: 'boolean', help: 'needed with --truncate-at' },
    },
  },
  async run({ output }, parsed) {
    const path = directoryOf(parsed, 'repair');
    const text = parsed.text('truncate-at');
    if ((text === undefined) === parsed.has('yes')) {
      throw new UsageError(
        'repair: --truncate-at OFFSET and --yes go together: both cut the log, neither only reports',
      );
    }
    const at = text === undefined ? null : parseU64(text, '--truncate-at');
    const report = await repairDirectory(path, at);
    const { from, records, operations, bytes } = report;
    const suffix = { from, records, operations, bytes };
    const command = report.wouldDrop ? `gapless repair ${path} --truncate-at ${from.offset} --yes` : null;
    const answer = {
      damage: report.damage.map((one) => damageJson(one, path)),
      wouldDrop: report.wouldDrop ? suffix : null,
      dropped: report.dropped ? suffix : null,
      saved: report.saved === '' ? null : report.saved,
      command,
      ...(report.advice === '' ? {} : { advice: report.advice }),
    };
    const lines = report.damage.map((one) => damageText(one, path));
    if (report.dropped)
      lines.push(`dropped ${records} records (${bytes} bytes) from ${from}, saved as ${report.saved}`);
    else if (command !== null) lines.push(`would drop ${records} records (${bytes} bytes) from ${from}: ${command}`);
    if (report.advice !== '') lines.push(report.advice);
    if (lines.length === 0) lines.push('nothing is damaged');
    await output.answer(answer, lines.join('\n'));
    return report.dropped || report.damage.length === 0 ? exitDone : exitNo;
  },
};

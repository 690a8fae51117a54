/**
 * import: a tree of files, NDJSON, CSV or TSV into a directory or a node, with an acknowledgement log for those who
 * check.
 */
import { AckLog } from './ack-log.js';
import { type Command, durabilityFlag, exitDone, remoteFlags } from './command.js';
import { openImportSource } from './import-source.js';
import { type ImportCounts, importEntries } from './importer.js';
import { durabilityOf, operand, withTarget } from './open-target.js';
import { Progress } from './progress.js';
import { parseCount } from './text.js';
import { UsageError } from './usage.js';

/** The most operations that a batch may have. */
const batchOperationsMax = 1_000_000;

export const importCommand: Command = {
  syntax: {
    name: 'import',
    operands: 'DIR|URL SOURCE',
    minOperands: 2,
    maxOperands: 2,
    summary: 'Writes the files of a tree, or the lines of a .ndjson, .csv or .tsv file ("-": NDJSON from stdin).',
    example: 'gapless import ./data ./node_modules --ack-log acknowledged.tsv',
    flags: {
      batch: { type: 'string', value: 'N', help: 'entries per atomic batch (100)' },
      'ack-log': { type: 'string', value: 'FILE', help: 'seq<TAB>key of each write, once it is acknowledged' },
      prefix: { type: 'string', value: 'S', help: 'stands before every key' },
      from: { type: 'string', value: 'KIND', help: 'kind of SOURCE; by default what it looks like' },
      ...durabilityFlag,
      ...remoteFlags,
    },
  },
  async run(context, parsed) {
    const from = parsed.text('from');
    if (from !== undefined) throw new UsageError(`import: --from ${from} is not part of this version`);
    const entriesPerBatch = parseCount(parsed.text('batch') ?? '100', '--batch', 1, batchOperationsMax);
    const durability = durabilityOf(parsed.text('durability'));
    const prefix = Buffer.from(parsed.text('prefix') ?? '', 'utf8');
    const source = await openImportSource(operand(parsed, 1), context.stdin);
    const began = context.clock.monotonic();
    const progress = new Progress(context);
    const ackPath = parsed.text('ack-log');
    const result = await withTarget(context, parsed, 'write', async (target) => {
      const ackLog = ackPath === undefined ? undefined : new AckLog(ackPath);
      try {
        const onBatch = progress.note(
          (counts: ImportCounts) => `${counts.entries} entries, ${counts.bytes} bytes acknowledged`,
        );
        const flags = { durability };
        const done = await importEntries({ source, target, entriesPerBatch, prefix, flags, ackLog, onBatch });
        return { ...done, position: done.position ?? (await target.position()) };
      } finally {
        ackLog?.close();
      }
    });
    const { entries, bytes, batches, position } = result;
    const skipped = source.skipped();
    const ms = Math.round(context.clock.monotonic() - began);
    const counts = `${entries} entries, ${bytes} bytes in ${batches} batches, ${skipped} skipped`;
    const text = `${counts}, ${ms} ms, at ${position}`;
    await context.output.answer({ entries, bytes, batches, skipped, ms, position }, text);
    return exitDone;
  },
};

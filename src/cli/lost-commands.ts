/**
 * lost list, lost show and lost replay: what a history gave up, and writing it again to the present primary. A file of
 * lost/ is never changed, so that show and replay read it beside a node that runs; list takes the directory's lock.
 */
import { GaplessError } from '../errors.js';
import { type LostRecord, listLost, type Operation, readLostRecords, readOperations } from '../index.js';
import type { Position, Version } from '../position.js';
import { type Command, exitDone, remoteFlags } from './command.js';
import { openRemote, operand, requireDirectory, requireUrl } from './open-target.js';
import { recordJson, recordText } from './record-json.js';
import { RemoteTarget } from './remote-target.js';
import type { Target, TextOperation } from './target.js';
import { bytesField } from './text.js';
import { UsageError } from './usage.js';

const batchKind = 1;

export const lostListCommand: Command = {
  syntax: {
    name: 'lost list',
    operands: 'DIR',
    minOperands: 1,
    maxOperands: 1,
    summary: 'The files of lost/: what was taken out of the history of a directory.',
    example: 'gapless lost list ./data',
    flags: {},
  },
  async run({ output }, parsed) {
    const files = await listLost(requireDirectory(operand(parsed, 0), 'lost list'));
    const lines = files.map(({ file, operations, bytes, time, reason }) => {
      return `${file}\t${operations} operations\t${bytes} bytes\t${new Date(time).toISOString()}\t${reason}`;
    });
    if (output.json) await output.line({ files });
    else if (lines.length > 0) await output.raw(`${lines.join('\n')}\n`);
    return exitDone;
  },
};

export const lostShowCommand: Command = {
  syntax: {
    name: 'lost show',
    operands: 'DIR FILE',
    minOperands: 2,
    maxOperands: 2,
    summary: 'Writes the records of a file of lost/, one a line with --json.',
    example: 'gapless lost show ./data 1.1-43-51.log --values',
    flags: { values: { type: 'boolean', help: 'with the values of puts' } },
  },
  async run({ output }, parsed) {
    const values = parsed.has('values');
    const directory = requireDirectory(operand(parsed, 0), 'lost show');
    for await (const record of readLostRecords(directory, operand(parsed, 1))) {
      if (output.json) await output.line(record.isWhole ? recordJson(record, values) : damagedJson(record));
      else await output.raw(`${record.isWhole ? recordText(record, values) : damagedText(record)}\n`);
    }
    return exitDone;
  },
};

function damagedJson({ before, body }: LostRecord): object {
  return { offset: `${before.offset}`, bytes: body.length, kind: 'damaged' };
}

function damagedText({ before, body }: LostRecord): string {
  return `${before.offset} damaged ${body.length} bytes`;
}

export const lostReplayCommand: Command = {
  syntax: {
    name: 'lost replay',
    operands: 'DIR FILE',
    minOperands: 2,
    maxOperands: 2,
    summary: 'Writes the batches of a file of lost/ again, to the present primary.',
    example: 'gapless lost replay ./data 1.1-43-51.log --to http://127.0.0.1:4001 --if-unchanged',
    flags: {
      to: { type: 'string', value: 'URL', help: 'status address of the primary' },
      'if-unchanged': { type: 'boolean', help: 'skip batches that touch a key written since' },
      ...remoteFlags,
    },
  },
  async run(context, parsed) {
    const directory = requireDirectory(operand(parsed, 0), 'lost replay');
    const url = parsed.text('to');
    if (url === undefined) throw new UsageError('lost replay: --to URL is missing');
    const remote = await openRemote(context, parsed, requireUrl(url, 'lost replay --to'));
    const replay = new Replay(new RemoteTarget(remote), parsed.has('if-unchanged'));
    for await (const record of readLostRecords(directory, operand(parsed, 1))) await replay.take(record);
    const answer = await replay.answer();
    const { applied, skipped, position, skippedBatches } = answer;
    const lines = skippedBatches.map(({ firstSeq, key, key64 }) => `skipped ${firstSeq}: ${key ?? key64} was written`);
    lines.push(`${applied} batches written, ${skipped} skipped, at ${position}`);
    await context.output.answer(answer, lines.join('\n'));
    return exitDone;
  },
};

interface SkippedBatch {
  readonly firstSeq: string;
  readonly key?: string;
  readonly key64?: string;
}

/** The batches of one file on their way, in order. */
class Replay {
  readonly #target: Target;
  readonly #ifUnchanged: boolean;
  /** Where the history was cut: what is newer was written since. */
  #common: bigint | undefined;
  /** Sequences that this replay wrote itself. */
  readonly #own: { readonly epoch: string; readonly first: bigint; readonly last: bigint }[] = [];
  readonly #skipped: SkippedBatch[] = [];
  #applied = 0;
  #position: Position | undefined;

  constructor(target: Target, ifUnchanged: boolean) {
    this.#target = target;
    this.#ifUnchanged = ifUnchanged;
  }

  async take(record: LostRecord): Promise<void> {
    if (record.isWhole) this.#common ??= record.firstSeq - 1n;
    if (!record.isWhole || record.kind !== batchKind) return;
    const operations = readOperations(record.body, record.firstSeq);
    const checks: TextOperation[] = [];
    const touched = this.#ifUnchanged ? await this.#written(operations, checks) : undefined;
    if (touched !== undefined) {
      this.#skip(record, touched);
      return;
    }
    try {
      const { position, firstSeq } = await this.#target.write([...checks, ...operations.map(textOperation)], {});
      this.#own.push({ epoch: position.epoch, first: firstSeq, last: position.seq });
      this.#position = position;
      this.#applied += 1;
    } catch (error) {
      // Written between our look and our write.
      if (!(error instanceof GaplessError) || error.code !== 'CONFLICT' || checks.length === 0) throw error;
      this.#skip(record, firstKey(operations));
    }
  }

  async answer(): Promise<{
    readonly applied: number;
    readonly skipped: number;
    readonly position: Position;
    readonly skippedBatches: readonly SkippedBatch[];
  }> {
    const position = this.#position ?? (await this.#target.position());
    return { applied: this.#applied, skipped: this.#skipped.length, position, skippedBatches: this.#skipped };
  }

  #skip({ firstSeq }: LostRecord, key: Buffer): void {
    this.#skipped.push({ firstSeq: `${firstSeq}`, ...bytesField('key', key) });
  }

  /** The first key of the batch that somebody wrote since; `checks` make the write itself find out the same. */
  async #written(operations: readonly Operation[], checks: TextOperation[]): Promise<Buffer | undefined> {
    for (const operation of operations) {
      if (operation.op === 'delRange') {
        const { gte: from, lt } = operation;
        const range = { from, to: lt ?? undefined, reverse: false, keys: true };
        for await (const { key, version } of this.#target.scan(range)) if (this.#isNews(version)) return key;
        continue;
      }
      const { key } = operation;
      const { found } = await this.#target.get(key);
      if (found !== undefined && this.#isNews(found.version)) return key;
      checks.push({ op: 'check', key, version: found?.version ?? null });
    }
    return undefined;
  }

  #isNews({ epoch, seq }: Version): boolean {
    if (seq <= (this.#common ?? 0n)) return false;
    return !this.#own.some((own) => own.epoch === epoch && seq >= own.first && seq <= own.last);
  }
}

function firstKey(operations: readonly Operation[]): Buffer {
  const [first] = operations;
  if (first === undefined) return Buffer.alloc(0);
  return first.op === 'delRange' ? first.gte : first.key;
}

function textOperation(operation: Operation): TextOperation {
  if (operation.op === 'put') return { op: 'put', key: operation.key, value: operation.value };
  if (operation.op === 'del') return { op: 'del', key: operation.key };
  const { gte, lt } = operation;
  return { op: 'delRange', range: lt === null ? { gte } : { gte, lt } };
}

/**
 * snapshot create, info, verify and restore. `create` on a URL writes below the node's own `snapshots/`.
 */
import { basename } from 'node:path';
import { open, restoreSnapshot, snapshotInfo, verifySnapshot } from '../index.js';
import { type Command, exitDone, remoteFlags } from './command.js';
import { answerVerify } from './directory-commands.js';
import { isUrl, openRemote, operand, requireDirectory } from './open-target.js';
import { isSnapshotName, oneOf, parseCount } from './text.js';
import { UsageError } from './usage.js';

export const snapshotCreateCommand: Command = {
  syntax: {
    name: 'snapshot create',
    operands: 'DIR|URL OUT',
    minOperands: 2,
    maxOperands: 2,
    summary: 'Writes a snapshot into the new directory OUT (URL: a name below the snapshots/ of the node).',
    example: 'gapless snapshot create ./data ./backup',
    flags: {
      compression: { type: 'string', value: 'C', help: 'none or lz4 (none)' },
      ...remoteFlags,
    },
  },
  async run(context, parsed) {
    const where = operand(parsed, 0);
    const out = operand(parsed, 1);
    const compression = oneOf(parsed.text('compression'), ['none', 'lz4'] as const, '--compression');
    if (isUrl(where)) {
      const name = basename(out);
      if (!isSnapshotName(name) || ![name, `snapshots/${name}`].includes(out)) {
        throw new UsageError(`snapshot create: on a URL, OUT is a name of 1 to 64 of A-Z a-z 0-9 . _ -, not "${out}"`);
      }
      const remote = await openRemote(context, parsed, where);
      const answer = await remote.json('POST', '/snapshot', {
        name,
        ...(compression === undefined ? {} : { compression }),
      });
      await context.output.answer(answer, `${String(answer['path'])}: ${JSON.stringify(answer)}`);
      return exitDone;
    }
    const database = await open(where, { createIfMissing: false });
    try {
      const { path, position, flows, keys, bytes, ms } = await database.snapshot(out, { compression });
      const text = `${path}: ${keys} keys, ${bytes} bytes in ${flows} flows, ${ms} ms, at ${position}`;
      await context.output.answer({ path, position, flows, keys, bytes, ms }, text);
    } finally {
      await database.close();
    }
    return exitDone;
  },
};

export const snapshotInfoCommand: Command = {
  syntax: {
    name: 'snapshot info',
    operands: 'SNAP',
    minOperands: 1,
    maxOperands: 1,
    summary: 'What a snapshot says about itself.',
    example: 'gapless snapshot info ./backup',
    flags: {},
  },
  async run({ output }, parsed) {
    const path = requireDirectory(operand(parsed, 0), 'snapshot info');
    const { clusterId, createdMs: time, compression, flows, meta } = await snapshotInfo(path);
    const answer = {
      position: meta.position,
      clusterId,
      time,
      compression,
      flows: flows.map(({ flow, fileBytes, entries, crc }) => ({
        flow,
        file: `flow-${`${flow}`.padStart(5, '0')}`,
        bytes: fileBytes,
        entries,
        crc: crc.toString(16).padStart(8, '0'),
      })),
      epochs: meta.epochs.map(({ epoch, before, chain, nodeId, cause, time: began }) => {
        return { epoch, from: before, chain, nodeId, cause, time: began };
      }),
      cursors: meta.cursors.map(({ name, position }) => ({ consumer: name, position })),
    };
    const text = Object.entries(answer).map(([name, value]) => {
      return `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`;
    });
    await output.answer(answer, text.join('\n'));
    return exitDone;
  },
};

export const snapshotVerifyCommand: Command = {
  syntax: {
    name: 'snapshot verify',
    operands: 'SNAP',
    minOperands: 1,
    maxOperands: 1,
    summary: 'Checks every byte of a snapshot; exit 1 and the list of damage if there is any.',
    example: 'gapless snapshot verify ./backup',
    flags: {},
  },
  async run(context, parsed) {
    const path = requireDirectory(operand(parsed, 0), 'snapshot verify');
    const report = await verifySnapshot(path);
    const position = report.damage.length === 0 ? (await snapshotInfo(path)).meta.position : null;
    return await answerVerify(context, path, report, false, position);
  },
};

export const snapshotRestoreCommand: Command = {
  syntax: {
    name: 'snapshot restore',
    operands: 'SNAP DIR',
    minOperands: 2,
    maxOperands: 2,
    summary: 'Makes the new directory DIR from a snapshot; it appears complete or not at all.',
    example: 'gapless snapshot restore ./backup ./restored --new-cluster',
    flags: {
      'new-cluster': { type: 'boolean', help: 'give it a cluster id of its own: it shall never meet the old nodes' },
      shards: { type: 'string', value: 'F', help: 'partitions of the new directory' },
    },
  },
  async run({ output, clock }, parsed) {
    const snapshot = requireDirectory(operand(parsed, 0), 'snapshot restore');
    const target = requireDirectory(operand(parsed, 1), 'snapshot restore');
    const text = parsed.text('shards');
    const shards = text === undefined ? undefined : parseCount(text, '--shards', 1, 64);
    const began = clock.monotonic();
    const options = { newCluster: parsed.has('new-cluster'), shards };
    const { position, keys, bytes } = await restoreSnapshot(snapshot, target, options);
    const ms = Math.round(clock.monotonic() - began);
    await output.answer({ position, keys, bytes, ms }, `${keys} keys, ${bytes} bytes, ${ms} ms, at ${position}`);
    return exitDone;
  },
};

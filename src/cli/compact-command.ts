/**
 * compact: merges everything on demand, in a directory opened here or in a running node.
 */
import { open } from '../index.js';
import { type Command, exitDone, remoteFlags } from './command.js';
import { isUrl, openRemote, operand } from './open-target.js';

/** How long a node may take where no --timeout-ms says less: merging everything can take hours. */
const patienceMs = 24 * 60 * 60 * 1000;

export const compactCommand: Command = {
  syntax: {
    name: 'compact',
    operands: 'DIR|URL',
    minOperands: 1,
    maxOperands: 1,
    summary: 'Gives back now what was overwritten and deleted, instead of bit by bit.',
    example: 'gapless compact ./data',
    flags: remoteFlags,
  },
  async run(context, parsed) {
    const where = operand(parsed, 0);
    if (isUrl(where)) {
      const waitsMs = parsed.text('timeout-ms') === undefined ? patienceMs : 0;
      const remote = await openRemote(context, parsed, where, waitsMs);
      const answer = await remote.json('POST', '/compact');
      await context.output.answer(answer, `${String(answer['bytesBefore'])} -> ${String(answer['bytesAfter'])} bytes`);
      return exitDone;
    }
    const database = await open(where, { createIfMissing: false });
    try {
      const { bytesBefore, bytesAfter } = await database.compact();
      await context.output.answer({ bytesBefore, bytesAfter }, `${bytesBefore} -> ${bytesAfter} bytes`);
    } finally {
      await database.close();
    }
    return exitDone;
  },
};

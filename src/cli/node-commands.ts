/**
 * Commands on a running node through its status address: status, wait, promote, demote, resync, replica list and
 * remove; and token, which needs only the secret.
 */
import { parsePosition } from '../position.js';
import { type Command, type CommandSyntaxOf, type Context, exitDone, exitNo, remoteFlags } from './command.js';
import { openRemote, operand, requireUrl, timeoutOf } from './open-target.js';
import { bearerToken, queryText, type Remote, readSecret } from './remote.js';
import { oneOf, parseCount, parseHostPort, parseU64 } from './text.js';
import { type ParsedCommand, UsageError } from './usage.js';

function remoteOf(context: Context, parsed: ParsedCommand, name: string, waitsMs = 0): Promise<Remote> {
  return openRemote(context, parsed, requireUrl(operand(parsed, 0), name), waitsMs);
}

/** A command of one request: its answer is printed as it came. */
function nodeCommand(
  syntax: CommandSyntaxOf,
  request: (parsed: ParsedCommand) => { readonly method: string; readonly path: string; readonly body?: object },
  exitOf: (answer: Record<string, unknown>) => number = () => exitDone,
): Command {
  return {
    syntax: { minOperands: 1, maxOperands: 1, ...syntax, flags: { ...syntax.flags, ...remoteFlags } },
    async run(context, parsed) {
      const { method, path, body } = request(parsed);
      const waitsMs = timeoutOf(parsed) ?? 0;
      const remote = await remoteOf(context, parsed, syntax.name, waitsMs);
      const answer = await remote.json(method, path, body);
      await context.output.answer(answer, readable(answer));
      return exitOf(answer);
    },
  };
}

/** One field a line. */
function readable(answer: Record<string, unknown>): string {
  return Object.entries(answer)
    .map(([name, value]) => `${name}: ${typeof value === 'object' ? JSON.stringify(value) : `${value}`}`)
    .join('\n');
}

export const statusCommand: Command = nodeCommand(
  {
    name: 'status',
    operands: 'URL',
    summary: 'The whole status of a node.',
    example: 'gapless status http://127.0.0.1:4000',
    flags: { plan: { type: 'boolean', help: 'what a replica would do to follow its primary again' } },
  },
  (parsed) => ({ method: 'GET', path: parsed.has('plan') ? '/plan' : '/status' }),
);

export const waitCommand: Command = nodeCommand(
  {
    name: 'wait',
    operands: 'URL',
    summary: 'Waits until a node has reached a sequence or a position; exit 1 if it did not in time.',
    example: 'gapless wait http://127.0.0.1:4001 --seq 4711 --level durable --timeout-ms 5000',
    flags: {
      seq: { type: 'string', value: 'N', help: 'the sequence to reach' },
      position: { type: 'string', value: 'P', help: 'the position to reach: epoch:seq:offset:chain' },
      level: { type: 'string', value: 'L', help: 'visible, durable or commit (visible)' },
    },
  },
  (parsed) => {
    const seq = parsed.text('seq');
    const position = parsed.text('position');
    if ((seq === undefined) === (position === undefined)) throw new UsageError('wait: give --seq or --position');
    const query = {
      seq: seq === undefined ? undefined : parseU64(seq, '--seq'),
      position: position === undefined ? undefined : parsePosition(position).toString(),
      level: oneOf(parsed.text('level'), ['visible', 'durable', 'commit'] as const, '--level'),
      timeoutMs: timeoutOf(parsed) ?? 30_000,
    };
    return { method: 'GET', path: `/wait?${queryText(query)}` };
  },
  (answer) => (answer['reached'] === true ? exitDone : exitNo),
);

export const promoteCommand: Command = nodeCommand(
  {
    name: 'promote',
    operands: 'URL',
    summary: 'Makes a replica the primary, with a new term; the old primary is fenced when it meets the term.',
    example: 'gapless promote http://127.0.0.1:4001',
    flags: {
      epoch: { type: 'string', value: 'TERM', help: 'the new term; by default the highest seen plus one' },
      force: { type: 'boolean', help: 'although the state is not known to be complete' },
      handover: { type: 'boolean', help: 'without loss: the primary stops writing first, and follows this node' },
    },
  },
  (parsed) => {
    const text = parsed.text('epoch');
    const epoch = text === undefined ? {} : { epoch: parseCount(text, '--epoch', 1, 2 ** 32 - 1) };
    const flags = ['force', 'handover'].filter((flag) => parsed.has(flag)).map((flag) => [flag, true]);
    return { method: 'POST', path: '/promote', body: { ...epoch, ...Object.fromEntries(flags) } };
  },
);

export const demoteCommand: Command = nodeCommand(
  {
    name: 'demote',
    operands: 'URL',
    summary: 'Makes a primary a replica.',
    example: 'gapless demote http://127.0.0.1:4000 --follow 127.0.0.1:4101',
    flags: { follow: { type: 'string', value: 'H:P', help: 'the primary to follow from now on' } },
  },
  (parsed) => {
    const follow = parsed.text('follow');
    if (follow !== undefined) parseHostPort(follow, '--follow');
    return { method: 'POST', path: '/demote', body: follow === undefined ? {} : { follow } };
  },
);

export const resyncCommand: Command = nodeCommand(
  {
    name: 'resync',
    operands: 'URL',
    summary: 'Makes a replica shake hands again.',
    example: 'gapless resync http://127.0.0.1:4001 --full',
    flags: { full: { type: 'boolean', help: 'ask for a full sync' } },
  },
  (parsed) => ({ method: 'POST', path: '/resync', body: parsed.has('full') ? { full: true } : {} }),
);

export const replicaListCommand: Command = {
  syntax: {
    name: 'replica list',
    operands: 'URL',
    minOperands: 1,
    maxOperands: 1,
    summary: 'The replicas of a primary.',
    example: 'gapless replica list http://127.0.0.1:4000',
    flags: remoteFlags,
  },
  async run(context, parsed) {
    const remote = await remoteOf(context, parsed, 'replica list');
    const { replicas } = await remote.json('GET', '/status');
    const list: readonly unknown[] = Array.isArray(replicas) ? replicas : [];
    const text = list.map((replica) => JSON.stringify(replica)).join('\n');
    if (context.output.json) await context.output.line({ replicas: list });
    else if (text !== '') await context.output.raw(`${text}\n`);
    return exitDone;
  },
};

export const replicaRemoveCommand: Command = nodeCommand(
  {
    name: 'replica remove',
    operands: 'URL NODE',
    minOperands: 2,
    maxOperands: 2,
    summary: 'Gives up the slot of a replica that is gone for good.',
    example: 'gapless replica remove http://127.0.0.1:4000 c0ffee00c0ffee00c0ffee00c0ffee00',
    flags: {},
  },
  (parsed) => {
    const node = operand(parsed, 1);
    if (!/^[0-9a-f]{32}$/.test(node)) throw new UsageError(`NODE must be 32 lower-case hex digits, not "${node}"`);
    return { method: 'DELETE', path: `/replicas/${node}` };
  },
);

export const tokenCommand: Command = {
  syntax: {
    name: 'token',
    operands: '',
    minOperands: 0,
    maxOperands: 0,
    summary: 'Prints the bearer token that a secret gives.',
    example: 'gapless token --secret-file cluster.secret',
    flags: { 'secret-file': { type: 'string', value: 'FILE', help: 'secret of the cluster (or GAPLESS_SECRET_FILE)' } },
  },
  async run({ output, env }, parsed) {
    const path = parsed.text('secret-file') ?? env['GAPLESS_SECRET_FILE'];
    if (path === undefined || path === '') throw new UsageError('token: --secret-file is missing');
    const token = bearerToken(await readSecret(path));
    await output.answer({ token }, token);
    return exitDone;
  },
};

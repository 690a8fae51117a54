/**
 * Flags of `serve`: its own, and every option of the option tables in kebab case. Pure; every mistake is a usage error
 * before anything is touched.
 */
import { isIP } from 'node:net';
import {
  checkValue,
  type OpenOptions,
  type OptionSpec,
  optionTable,
  type ReplicationOptionsGiven,
  replicationOptionTable,
  type TlsFiles,
} from '../options.js';
import { requireDirectory } from './open-target.js';
import { type HostPort, parseHostPort, parseSize } from './text.js';
import { type Flag, type ParsedCommand, UsageError } from './usage.js';

/** Options that have a flag of another name, or none. */
const otherNames: Readonly<Record<string, string | null>> = {
  syncConnections: 'flows',
  sequencePadding: 'replication-enable-sequence-padding',
  secret: null,
  tls: null,
  signal: null,
  asReplica: null,
};

interface OptionFlag {
  readonly flag: string;
  readonly option: string;
  readonly spec: OptionSpec;
  readonly isReplication: boolean;
}

function flagName(option: string): string | null {
  const other = otherNames[option];
  return other === undefined ? option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`) : other;
}

function optionFlags(): OptionFlag[] {
  const of = (table: Readonly<Record<string, OptionSpec>>, isReplication: boolean): OptionFlag[] =>
    Object.entries(table).flatMap(([option, spec]) => {
      const flag = flagName(option);
      return flag === null ? [] : [{ flag, option, spec, isReplication }];
    });
  return [...of(optionTable, false), ...of(replicationOptionTable, true)];
}

/** Switches say yes by being there; those that are on by default, or that INTERFACES writes so, take yes or no. */
function takesWord({ flag, spec }: OptionFlag): boolean {
  return spec.type !== 'flag' || spec.default || flag === 'replication-enable-sequence-padding';
}

function valueWord(spec: OptionSpec): string {
  if (spec.type === 'flag') return 'yes|no';
  if (spec.type === 'choice') return spec.choices.join('|');
  return spec.type === 'count' && spec.isBytes === true ? 'SIZE' : 'N';
}

const ownFlags: Readonly<Record<string, Flag>> = {
  listen: { type: 'string', value: 'H:P', help: 'accept replicas here' },
  follow: { type: 'string', value: 'H:P', help: 'be a replica of the primary there' },
  status: { type: 'string', value: 'H:P', help: 'status address (127.0.0.1:0)' },
  'no-status': { type: 'boolean', help: 'no status address' },
  'status-host': { type: 'string', value: 'NAMES', help: 'host names, by commas, that requests may use' },
  'secret-file': { type: 'string', value: 'FILE', help: 'shared secret of the cluster, needed off loopback' },
  'tls-cert': { type: 'string', value: 'FILE', help: 'certificate of this node (PEM), for the replication port' },
  'tls-key': { type: 'string', value: 'FILE', help: 'its key' },
  'tls-ca': { type: 'string', value: 'FILE', help: 'the authority that signs the certificates of all nodes' },
  insecure: { type: 'boolean', help: 'bind other addresses than loopback without a secret' },
};

export function serveFlags(): Readonly<Record<string, Flag>> {
  const flags: Record<string, Flag> = { ...ownFlags };
  for (const one of optionFlags()) {
    const { help } = one.spec;
    const fallback = one.spec.type === 'count' || one.spec.type === 'choice' ? ` (${one.spec.default})` : '';
    flags[one.flag] = takesWord(one)
      ? { type: 'string', value: valueWord(one.spec), help: `${help}${fallback}` }
      : { type: 'boolean', help };
  }
  return flags;
}

export interface ServePlan {
  readonly directory: string;
  readonly listen: HostPort | undefined;
  readonly follow: HostPort | undefined;
  readonly status: HostPort | undefined;
  readonly statusHosts: readonly string[];
  readonly secretFile: string | undefined;
  readonly insecure: boolean;
  readonly tls: TlsFiles | undefined;
  /** Without the secret, which is in a file. */
  readonly options: OpenOptions;
}

export function servePlan(parsed: ParsedCommand): ServePlan {
  const address = (flag: string): HostPort | undefined => {
    const text = parsed.text(flag);
    return text === undefined ? undefined : parseHostPort(text, `--${flag}`);
  };
  if (parsed.has('no-status') && parsed.has('status'))
    throw new UsageError('serve: --status and --no-status exclude each other');
  const [directory = ''] = parsed.operands;
  requireDirectory(directory, 'serve');
  const plan: ServePlan = {
    directory,
    listen: address('listen'),
    follow: address('follow'),
    status: parsed.has('no-status') ? undefined : (address('status') ?? { host: '127.0.0.1', port: 0 }),
    statusHosts: (parsed.text('status-host') ?? '').split(',').filter((name) => name !== ''),
    secretFile: parsed.text('secret-file'),
    insecure: parsed.has('insecure'),
    tls: tlsFiles(parsed),
    options: openOptions(parsed),
  };
  if (plan.secretFile === undefined && !plan.insecure) {
    if (plan.tls === undefined) requireLoopback(plan.listen, '--listen');
    requireLoopback(plan.status, '--status');
  }
  return plan;
}

function tlsFiles(parsed: ParsedCommand): TlsFiles | undefined {
  const [cert, key, ca] = ['tls-cert', 'tls-key', 'tls-ca'].map((flag) => parsed.text(flag));
  if (cert === undefined && key === undefined && ca === undefined) return undefined;
  if (cert === undefined || key === undefined || ca === undefined) {
    throw new UsageError('serve: --tls-cert, --tls-key and --tls-ca belong together');
  }
  return { cert, key, ca };
}

function requireLoopback(address: HostPort | undefined, flag: string): void {
  if (address === undefined || isLoopback(address.host)) return;
  throw new UsageError(
    `serve: ${flag} ${address.host} is not on loopback: give --secret-file, or --insecure if everybody may connect`,
  );
}

export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

function openOptions(parsed: ParsedCommand): OpenOptions {
  const top: Record<string, unknown> = {};
  const replication: Record<string, unknown> = {};
  for (const one of optionFlags()) {
    if (!parsed.has(one.flag)) continue;
    const value = checkedValue(one, parsed.text(one.flag));
    (one.isReplication ? replication : top)[one.option] = value;
  }
  return { ...(top as OpenOptions), replication: replication as ReplicationOptionsGiven };
}

/** The option's value. Throws a UsageError that names the flag, as its user knows no option. */
function checkedValue(one: OptionFlag, text: string | undefined): unknown {
  const what = `serve: --${one.flag}`;
  try {
    return checkValue(what, one.spec, optionValue(one, text));
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}

/** The flag's word as the option's type; checkValue says whether it fits. */
function optionValue({ flag, spec }: OptionFlag, text: string | undefined): unknown {
  if (spec.type === 'flag') {
    if (text === undefined || text === 'yes') return true;
    if (text === 'no') return false;
    throw new UsageError(`serve: --${flag} takes yes or no, not "${text}"`);
  }
  if (spec.type !== 'count') return text;
  if (spec.isBytes === true) return parseSize(text ?? '', `serve: --${flag}`);
  if (!/^\d{1,16}$/.test(text ?? '')) throw new UsageError(`serve: --${flag} takes a whole number, not "${text}"`);
  return Number(text);
}

/**
 * Every option of `open`, once: name, type, default, limits, and whether it belongs to the store (to the first open in
 * a process) or to this handle. Pure; any thread. The command line builds its flags from the same table.
 */
export type Durability = 'sync' | 'os' | 'memory';
export type Compression = 'none' | 'lz4';
export type AckLevel = 'received' | 'durable' | 'applied';
export type TooFewReplicas = 'error' | 'block' | 'degrade';

/** Resolved: every option has a value; frozen. */
export interface Options {
  readonly durability: Durability;
  readonly flushIntervalMs: number;
  readonly syncIntervalMs: number;
  readonly pendingBytes: number;
  readonly shards: number;
  readonly segmentBytes: number;
  readonly logRetainBytes: number;
  readonly memtableBytes: number;
  readonly cacheBytes: number;
  readonly ringBytes: number;
  readonly compression: Compression;
  readonly viewMaxAgeMs: number;
  readonly snapshotHoldMs: number;
  readonly holdMaxBytes: number;
  readonly slotMaxBytes: number;
  readonly lostMaxBytes: number;
  readonly mergeRateBytes: number;
  readonly readOnly: boolean;
  readonly createIfMissing: boolean;
  readonly errorIfExists: boolean;
  readonly clockMaxAheadMs: number;
  readonly asReplica: boolean;
  readonly newNodeId: boolean;
  readonly signal: AbortSignal | undefined;
  readonly replication: ReplicationOptions;
}

export interface ReplicationOptions {
  readonly syncConnections: number;
  readonly syncRateBytes: number;
  readonly replicaMaxBytes: number;
  readonly maxReplicas: number;
  readonly heartbeatMs: number;
  readonly timeoutMs: number;
  readonly sequencePadding: boolean;
  readonly paddingMaxRecords: number;
  readonly paddingMaxBytes: number;
  readonly lossLimitBytes: number;
  readonly fullSyncsMax: number;
  readonly ackReplicas: number;
  readonly ackLevel: AckLevel;
  readonly ackTimeoutMs: number;
  readonly onTooFewReplicas: TooFewReplicas;
  /** Needed off loopback: 16 to 1024 bytes. */
  readonly secret: Uint8Array | undefined;
  /** Instead of a secret, or with one: certificates of both sides. */
  readonly tls: TlsFiles | undefined;
  readonly acceptLoss: boolean;
}

/** PEM files: own certificate with its chain, its key, and the authority that signs every node's. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

type Given<T> = { readonly [K in keyof T]?: T[K] | undefined };
export type ReplicationOptionsGiven = Omit<Given<ReplicationOptions>, 'secret'> & {
  readonly secret?: Uint8Array | string | undefined;
};
/** What `open` takes; whatever is absent has its default. */
export type OpenOptions = Omit<Given<Options>, 'replication'> & {
  readonly replication?: ReplicationOptionsGiven | undefined;
};

/** One row of the table. `store`: belongs to the first open of the path in a process. */
export type OptionSpec = { readonly store: boolean; readonly help: string } & (
  | {
      readonly type: 'count';
      readonly default: number;
      readonly least: number;
      readonly most: number;
      readonly isPowerOfTwo?: true;
      /** Sizes take the suffixes k, m, g on the command line. */
      readonly isBytes?: true;
    }
  | { readonly type: 'flag'; readonly default: boolean }
  | { readonly type: 'choice'; readonly default: string; readonly choices: readonly string[] }
  | { readonly type: 'secret'; readonly default: undefined }
  | { readonly type: 'tls'; readonly default: undefined }
  | { readonly type: 'signal'; readonly default: undefined }
);

const kib = 1024;
const mib = 1024 * kib;
const gib = 1024 * mib;
const most = Number.MAX_SAFE_INTEGER;
const u32Max = 0xffff_ffff;

function bytes(fallback: number, least: number, limit: number, store: boolean, help: string): OptionSpec {
  return { type: 'count', default: fallback, least, most: limit, isBytes: true, store, help };
}
function count(fallback: number, least: number, limit: number, store: boolean, help: string): OptionSpec {
  return { type: 'count', default: fallback, least, most: limit, store, help };
}
function flag(store: boolean, help: string, fallback = false): OptionSpec {
  return { type: 'flag', default: fallback, store, help };
}
function choice(choices: readonly string[], fallback: string, store: boolean, help: string): OptionSpec {
  return { type: 'choice', default: fallback, choices, store, help };
}

/** Options at the top level. */
export const optionTable: Readonly<Record<Exclude<keyof Options, 'replication'>, OptionSpec>> = {
  durability: choice(
    ['sync', 'os', 'memory'],
    'sync',
    true,
    'when a write is acknowledged: after fdatasync, the write call, at once',
  ),
  flushIntervalMs: count(50, 1, 10_000, true, 'durability memory: longest time unwritten'),
  syncIntervalMs: count(1000, 10, 60_000, true, 'durability os and memory: longest time unsynced'),
  pendingBytes: bytes(64 * mib, mib, gib, true, 'unwritten log before commits wait'),
  shards: count(4, 1, 64, true, 'partitions of the keys, at creation only'),
  segmentBytes: bytes(64 * mib, 64 * kib, gib, true, 'size of a log file'),
  logRetainBytes: bytes(256 * mib, 0, most, true, 'log kept beyond every need'),
  memtableBytes: bytes(64 * mib, 256 * kib, 4 * gib, true, 'newest writes kept in memory, of all shards together'),
  cacheBytes: bytes(64 * mib, 0, most, true, 'cache of what was read from runs'),
  ringBytes: {
    type: 'count',
    default: 16 * mib,
    least: 64 * kib,
    most: gib,
    isPowerOfTwo: true,
    isBytes: true,
    store: false,
    help: 'newest log kept in memory for replicas',
  },
  compression: choice(['none', 'lz4'], 'none', true, 'of runs and snapshots'),
  viewMaxAgeMs: count(600_000, 0, most, true, 'longest life of a view or range; 0: no limit'),
  snapshotHoldMs: count(600_000, 0, most, true, 'how long a snapshot waits for a joiner that went away'),
  holdMaxBytes: bytes(4 * gib, 0, most, true, 'log that any one hold may pin'),
  slotMaxBytes: bytes(gib, 0, most, true, 'log that a slot of a replica may pin'),
  lostMaxBytes: bytes(gib, 0, most, false, 'what lost/ may hold; beyond that an operator is needed'),
  mergeRateBytes: bytes(0, 0, most, true, 'bytes a second that background merging may write; 0: no limit'),
  readOnly: flag(true, 'take a shared lock and change nothing'),
  createIfMissing: flag(false, 'create the directory if it does not exist', true),
  errorIfExists: flag(false, 'fail if there is a store already'),
  clockMaxAheadMs: count(86_400_000, 0, most, true, 'how far ahead of our clock a record of a primary may be'),
  asReplica: flag(false, 'open the directory as a replica, turning it into one if it is not'),
  newNodeId: flag(false, 'give the directory, a copy of another one, a node id of its own'),
  signal: { type: 'signal', default: undefined, store: false, help: 'aborts the opening' },
};

/** Options of the group `replication`; their flags carry no prefix. */
export const replicationOptionTable: Readonly<Record<keyof ReplicationOptions, OptionSpec>> = {
  syncConnections: count(4, 1, 16, false, 'data connections of a full sync'),
  syncRateBytes: bytes(0, 0, most, false, 'bytes a second of a full sync; 0: no limit'),
  replicaMaxBytes: bytes(64 * mib, mib, most, false, 'unsent or unacknowledged bytes of a replica'),
  maxReplicas: count(64, 0, 64, false, 'replicas at one time'),
  heartbeatMs: count(1000, 10, u32Max, false, 'time between heartbeats'),
  timeoutMs: count(10_000, 50, u32Max, false, 'silence after which a link is lost'),
  sequencePadding: flag(false, 'prefer continuity to consistency where a suffix cannot be undone'),
  paddingMaxRecords: count(1000, 0, most, false, 'records that padding may skip'),
  paddingMaxBytes: bytes(mib, 0, most, false, 'bytes that padding may skip'),
  lossLimitBytes: bytes(64 * mib, 0, most, false, 'largest suffix given up without an operator'),
  fullSyncsMax: count(4, 0, u32Max, false, 'full syncs per replica, reason and ten minutes; 0: no limit'),
  ackReplicas: count(0, 0, 64, false, 'replicas that every write waits for'),
  ackLevel: choice(['received', 'durable', 'applied'], 'durable', false, 'what those replicas must have done'),
  ackTimeoutMs: count(10_000, 1, u32Max, false, 'how long a wait for replicas lasts'),
  onTooFewReplicas: choice(
    ['error', 'block', 'degrade'],
    'error',
    false,
    'too few in reach: refuse the write, wait for them, or go on without',
  ),
  secret: { type: 'secret', default: undefined, store: false, help: 'shared secret of the cluster, 16 to 1024 bytes' },
  tls: { type: 'tls', default: undefined, store: false, help: 'PEM files {cert, key, ca}: mutual TLS with all peers' },
  acceptLoss: flag(false, 'let a stop that protects data be overridden, for one handshake'),
};

/** The nearest known word, if it is near enough to be meant. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  let best: { readonly name: string; readonly edits: number } | undefined;
  for (const name of known) {
    const edits = editDistance(word.toLowerCase(), name.toLowerCase());
    if (best === undefined || edits < best.edits) best = { name, edits };
  }
  return best !== undefined && best.edits <= Math.max(1, Math.floor(word.length / 3)) ? best.name : undefined;
}

/** Checks and completes what `open` was given. Throws a TypeError or RangeError that says what to change. */
export function resolveOptions(given: OpenOptions = {}): Options {
  requireRecord('options', given);
  const { replication = {}, ...rest } = given;
  requireRecord('option "replication"', replication);
  refuseUnknown(given, [...Object.keys(optionTable), 'replication'], '');
  refuseUnknown(replication, Object.keys(replicationOptionTable), 'replication.');
  const options = {
    ...resolveGroup(optionTable, rest, ''),
    replication: Object.freeze(resolveGroup(replicationOptionTable, replication, 'replication.')),
  };
  return Object.freeze(options) as unknown as Options;
}

/** The store-wide options that were named; the others follow an engine that is open already. */
export function namedStoreOptions(given: OpenOptions): ReadonlySet<string> {
  const named = Object.entries(given).filter(([, value]) => value !== undefined);
  return new Set(named.map(([name]) => name));
}

/** Shared with the options of single calls. */
export function requireRecord(what: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${what} must be an object, not ${show(value)}`);
  }
}

/** Refuses names that `known` does not hold; shared with the options of single calls. */
export function refuseUnknown(given: object, known: readonly string[], prefix: string): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const near = suggest(name, known);
    const hint = near === undefined ? '' : `; did you mean "${prefix}${near}"?`;
    throw new TypeError(`option "${prefix}${name}" is unknown${hint}`);
  }
}

function resolveGroup(
  table: Readonly<Record<string, OptionSpec>>,
  given: Readonly<Record<string, unknown>>,
  prefix: string,
): Record<string, unknown> {
  const resolved: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(table)) {
    const value = given[name];
    resolved[name] = value === undefined ? spec.default : checkOption(`${prefix}${name}`, spec, value);
  }
  return resolved;
}

/** The value as it is kept. Throws in the one sentence shape: option "x" must be a, not b. */
export function checkOption(name: string, spec: OptionSpec, value: unknown): unknown {
  return checkValue(`option "${name}"`, spec, value);
}

/** The same where the caller knows the option by another name, which `what` is. */
export function checkValue(what: string, spec: OptionSpec, value: unknown): unknown {
  switch (spec.type) {
    case 'count':
      return checkCount(what, spec, value);
    case 'flag':
      if (typeof value !== 'boolean') throw wrongType(what, 'true or false', value);
      return value;
    case 'choice':
      if (typeof value !== 'string') throw wrongType(what, oneOf(spec.choices), value);
      if (!spec.choices.includes(value)) throw wrongRange(what, oneOf(spec.choices), value);
      return value;
    case 'secret':
      return checkSecret(what, value);
    case 'tls':
      return checkTls(what, value);
    case 'signal':
      if (!(value instanceof AbortSignal)) throw wrongType(what, 'an AbortSignal', value);
      return value;
  }
}

function checkCount(what: string, spec: OptionSpec & { readonly type: 'count' }, value: unknown): number {
  const kind = spec.isPowerOfTwo ? 'a power of two' : 'a whole number';
  const range = spec.most === most ? `of at least ${spec.least}` : `from ${spec.least} to ${spec.most}`;
  if (typeof value !== 'number') throw wrongType(what, `${kind} ${range}`, value);
  const fits = Number.isSafeInteger(value) && value >= spec.least && value <= spec.most;
  if (!fits || (spec.isPowerOfTwo && !Number.isInteger(Math.log2(value)))) {
    throw wrongRange(what, `${kind} ${range}`, value);
  }
  return value;
}

/** Copied, so that the caller may wipe what it gave. */
function checkSecret(what: string, value: unknown): Uint8Array {
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) throw wrongType(what, 'bytes or a string', value);
  const secret = Uint8Array.from(typeof value === 'string' ? Buffer.from(value) : value);
  if (secret.length < 16 || secret.length > 1024) throw wrongRange(what, '16 to 1024 bytes', `${secret.length} bytes`);
  return secret;
}

function checkTls(what: string, value: unknown): TlsFiles {
  const given: Readonly<Record<string, unknown>> = typeof value === 'object' && value !== null ? { ...value } : {};
  const { cert, key, ca, ...rest } = given;
  const isWhole = typeof cert === 'string' && typeof key === 'string' && typeof ca === 'string';
  if (!isWhole || Object.keys(rest).length > 0) throw wrongType(what, 'the paths {cert, key, ca}', value);
  return { cert, key, ca };
}

function oneOf(choices: readonly string[]): string {
  return `one of ${choices.map((name) => `"${name}"`).join(', ')}`;
}

function wrongType(what: string, wanted: string, value: unknown): TypeError {
  return new TypeError(`${what} must be ${wanted}, not ${show(value)}`);
}

function wrongRange(what: string, wanted: string, value: unknown): RangeError {
  return new RangeError(`${what} must be ${wanted}, not ${show(value)}`);
}

function show(value: unknown): string {
  if (typeof value === 'string') return `"${value.slice(0, 80)}"`;
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return typeof value === 'function' ? 'a function' : `${String(value)}`;
}

/** Insertions, deletions and replacements between two short words. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

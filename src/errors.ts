/**
 * Every error that gaplessdb throws or answers: one table, five families, one base class. Pure; any thread.
 *
 * Codes are API: stable within a major version, described one heading each in docs/ERRORS.md, and equal to the list in
 * native/base/status.h (a test compares the three). Nobody decides by message text. Mistakes in arguments are TypeError
 * or RangeError without a code; only HTTP and the command line call them USAGE.
 */

/** code: [family, HTTP status, retryable]. */
export const errorTable = {
  NOT_OPEN: ['StateError', 409, false],
  CLOSED: ['StateError', 409, false],
  LOCKED: ['StateError', 409, false],
  READ_ONLY: ['StateError', 409, false],
  OPTIONS_CONFLICT: ['StateError', 409, false],
  ALREADY_PRIMARY: ['StateError', 409, false],
  NOT_A_STORE: ['StateError', 409, false],
  EXISTS: ['StateError', 409, false],
  NOT_READY: ['StateError', 503, true],
  FENCED: ['StateError', 503, false],
  NEEDS_OPERATOR: ['StateError', 503, false],
  CONFLICT: ['StateError', 409, false],
  NOT_A_COUNTER: ['StateError', 409, false],
  COUNTER_OVERFLOW: ['StateError', 409, false],
  VIEW_EXPIRED: ['StateError', 409, false],
  HISTORY_CHANGED: ['StateError', 409, false],
  POSITION_NOT_IN_HISTORY: ['StateError', 409, false],
  POSITION_UNAVAILABLE: ['StateError', 409, false],
  NOT_A_RECORD_END: ['StateError', 409, false],
  CURSOR_AHEAD_OF_LOG: ['StateError', 409, false],
  KEY_TOO_LARGE: ['LimitError', 413, false],
  VALUE_TOO_LARGE: ['LimitError', 413, false],
  BATCH_TOO_LARGE: ['LimitError', 413, false],
  QUEUE_FULL: ['LimitError', 503, true],
  TOO_MANY: ['LimitError', 503, true],
  IO: ['StorageError', 500, false],
  POISONED: ['StorageError', 503, false],
  CORRUPT: ['StorageError', 500, false],
  FORMAT_UNSUPPORTED: ['StorageError', 500, false],
  STORE_AHEAD_OF_LOG: ['StorageError', 500, false],
  NO_SPACE: ['StorageError', 507, true],
  EVICTED: ['ReplicationError', 410, false],
  IN_DOUBT: ['ReplicationError', 504, false],
  NOT_ENOUGH_REPLICAS: ['ReplicationError', 504, true],
  TIMEOUT: ['ReplicationError', 504, true],
  AUTH_FAILED: ['ReplicationError', 401, false],
  CLUSTER_MISMATCH: ['ReplicationError', 409, false],
  EPOCH_CONFLICT: ['ReplicationError', 409, false],
  PROTOCOL: ['ReplicationError', 409, false],
  BEHIND_PROMISED: ['ReplicationError', 409, false],
  NOT_FOUND: ['StateError', 404, false],
  USAGE: ['TypeError', 400, false],
  ABORTED: ['AbortError', 499, false],
} as const;

/** Every code that can stand in an answer; USAGE only in HTTP and on the command line. */
export type AnyCode = keyof typeof errorTable;
/** The codes that a GaplessError carries. */
export type ErrorCode = Exclude<AnyCode, 'USAGE'>;

/** Named facts; those that many codes share are listed. */
export interface ErrorDetails {
  readonly [name: string]: unknown;
  /** A position (in-doubt writes: where to ask). */
  readonly position?: unknown;
  readonly errno?: number;
  readonly file?: string;
  /** Byte in `file`. */
  readonly offset?: number;
}

export interface ErrorContext {
  readonly details?: ErrorDetails;
  readonly cause?: unknown;
}

/** What an error looks like in JSON, on stderr and in HTTP answers. */
export interface ErrorBody {
  readonly code: AnyCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly details: ErrorDetails;
}

export class GaplessError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, context: ErrorContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.name = errorTable[code][0];
    this.code = code;
    this.retryable = errorTable[code][2];
    this.details = context.details ?? {};
  }

  /** The HTTP status of this error. */
  get status(): number {
    return errorTable[this.code][1];
  }

  /** True when the record may or may not be found later; `details.position` says where. */
  get inDoubt(): boolean {
    if (this.code === 'IN_DOUBT' || this.code === 'POISONED') return true;
    return this.code === 'FENCED' && this.details.position !== undefined;
  }

  toJSON(): ErrorBody {
    const { code, message, retryable } = this;
    return { code, message, retryable, details: plainDetails(this.details) };
  }
}

/** The call does not fit the state of the object or of the node: fix the order of calls, or the state. */
export class StateError extends GaplessError {}
/** Too much at once: send less, or later. */
export class LimitError extends GaplessError {}
/** The disk, or what is on it. */
export class StorageError extends GaplessError {}
/** Between nodes, and about what other nodes hold. */
export class ReplicationError extends GaplessError {}
/** The caller's signal fired. Its name is the one that the web platform uses. */
export class AbortError extends GaplessError {}

const families = { StateError, LimitError, StorageError, ReplicationError, AbortError } as const;

/** True for a code of the table, whatever its origin (native status, wire, HTTP answer). */
export function isErrorCode(code: string): code is AnyCode {
  return Object.hasOwn(errorTable, code);
}

/** Builds the error of a code, in the class of its family. */
export function createError(code: ErrorCode, message: string, context: ErrorContext = {}): GaplessError {
  return new families[errorTable[code][0]](code, message, context);
}

/** A Status as the addon hands it out. */
export interface NativeStatus {
  readonly code: string;
  readonly message: string;
  readonly errno?: number;
  readonly file?: string;
  readonly offset?: number;
  readonly details?: ErrorDetails;
}

/** Turns a native status into the error to throw. A malformed call is a TypeError, as one found in JavaScript is. */
export function errorFromStatus(status: NativeStatus, cause?: unknown): Error {
  const { errno, file, offset } = status;
  const details: ErrorDetails = {
    ...status.details,
    ...(errno === undefined || errno === 0 ? {} : { errno }),
    ...(file === undefined || file === '' ? {} : { file }),
    ...(offset === undefined || offset < 0 ? {} : { offset }),
  };
  const { code, message } = status;
  if (!isErrorCode(code)) throw new TypeError(`unknown native status ${code}: ${message}; rebuild the addon`);
  if (code === 'USAGE') return new TypeError(message, cause === undefined ? undefined : { cause });
  return createError(code, message, { details: code === 'CONFLICT' ? absentAsNull(details) : details, cause });
}

/** Details of a status are text: where a version would stand, none means that the key is absent. */
function absentAsNull(details: ErrorDetails): ErrorDetails {
  const { expected, actual } = details;
  return { ...details, expected: expected === '' ? null : expected, actual: actual === '' ? null : actual };
}

/** The aborted operation's error; the signal's reason becomes the cause. */
export function abortError(signal?: AbortSignal): GaplessError {
  return createError('ABORTED', 'the operation was aborted', { cause: signal?.reason });
}

/** The JSON form of anything that was thrown, and the HTTP status that belongs to it. */
export function describeError(error: unknown): { readonly status: number; readonly body: ErrorBody } {
  if (error instanceof GaplessError) return { status: error.status, body: error.toJSON() };
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof TypeError || error instanceof RangeError) {
    return { status: 400, body: { code: 'USAGE', message, retryable: false, details: {} } };
  }
  return { status: 500, body: { code: 'IO', message, retryable: false, details: {} } };
}

/** JSON knows no bigint: sequences and offsets are decimal strings there. Positions convert themselves. */
function plainDetails(details: ErrorDetails): ErrorDetails {
  const plain = Object.entries(details).map(([name, value]) => [name, typeof value === 'bigint' ? `${value}` : value]);
  return Object.fromEntries(plain);
}

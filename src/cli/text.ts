/**
 * How bytes appear in text interfaces: JSON fields, escaped lines, arguments. Pure; docs: INTERFACES conventions.
 *
 * `key`/`value` hold UTF-8 text; bytes that are not valid UTF-8 go into `key64`/`value64` (standard base64). Lines of
 * the acknowledgement log and of a plain scan escape control bytes, `%` and invalid UTF-8 as `%XX`.
 */
import { isUtf8 } from 'node:buffer';
import { UsageError } from './usage.js';

/** `{key: text}` or `{key64: base64}`. */
export function bytesField(name: 'key' | 'value', bytes: Buffer): Record<string, string> {
  return isUtf8(bytes) ? { [name]: bytes.toString('utf8') } : { [`${name}64`]: bytes.toString('base64') };
}

/** Length of the valid UTF-8 character at `at`, 0 if there is none. */
function characterBytes(bytes: Buffer, at: number): number {
  const first = bytes[at] ?? 0;
  const wanted = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (wanted === 0 || at + wanted > bytes.length) return 0;
  return isUtf8(bytes.subarray(at, at + wanted)) ? wanted : 0;
}

function percent(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}

/** Bytes below 0x20, 0x7F, `%` and invalid UTF-8 become `%XX`; the rest stays as it is. */
export function escapeBytes(bytes: Buffer): string {
  let text = '';
  let plainFrom = 0;
  for (let at = 0; at < bytes.length; ) {
    const byte = bytes[at] ?? 0;
    const length = characterBytes(bytes, at);
    if (length > 0 && byte >= 0x20 && byte !== 0x7f && byte !== 0x25) {
      at += length;
      continue;
    }
    text += bytes.toString('utf8', plainFrom, at) + percent(byte);
    at += 1;
    plainFrom = at;
  }
  return text + bytes.toString('utf8', plainFrom);
}

/** The inverse of escapeBytes; also what tests of the acknowledgement log use. */
export function unescapeBytes(text: string): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (let at = text.indexOf('%'); at >= 0; at = text.indexOf('%', at + 3)) {
    const code = text.slice(at + 1, at + 3);
    if (!/^[0-9A-F]{2}$/.test(code)) throw new UsageError(`"${text}" has a % that no two hex digits follow`);
    parts.push(Buffer.from(text.slice(from, at), 'utf8'), Buffer.from([Number.parseInt(code, 16)]));
    from = at + 3;
  }
  parts.push(Buffer.from(text.slice(from), 'utf8'));
  return Buffer.concat(parts);
}

/** Strict standard base64: anything else is a usage error, never half decoded. */
export function decodeBase64(text: string, what: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  // Only standard base64 comes back as it was; a pattern would overflow the stack on long values.
  if (bytes.toString('base64') !== text) throw new UsageError(`${what} is not standard base64`);
  return bytes;
}

/** Text of JSON as bytes. JSON can write half of a surrogate pair, which is no text and has no UTF-8. */
export function textBytes(text: string, what: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length !== text.length && !text.isWellFormed()) {
    throw new UsageError(`${what} holds half of a surrogate pair; give the bytes as ${what.slice(0, -1)}64"`);
  }
  return bytes;
}

/** A key or value from the command line: UTF-8, or base64 with `--base64`. */
export function argumentBytes(text: string, base64: boolean, what: string): Buffer {
  return base64 ? decodeBase64(text, what) : Buffer.from(text, 'utf8');
}

const sizeUnits: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** `4096`, `64k`, `1m`, `2g` (1024-based). */
export function parseSize(text: string, what: string): number {
  const match = /^(\d{1,15})([kmg]?)$/i.exec(text);
  const unit = sizeUnits[(match?.[2] ?? '?').toLowerCase()];
  const size = Number(match?.[1]) * (unit ?? Number.NaN);
  if (!Number.isSafeInteger(size))
    throw new UsageError(`${what} must be a size such as 4096, 64k, 1m or 2g, not "${text}"`);
  return size;
}

/** A decimal number within limits. */
export function parseCount(text: string, what: string, min = 0, max: number = Number.MAX_SAFE_INTEGER): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new UsageError(`${what} must be a whole number from ${min} to ${max}, not "${text}"`);
  }
  return value;
}

/** A 64-bit unsigned decimal number (sequence, offset). */
export function parseU64(text: string, what: string): bigint {
  const value = /^\d{1,20}$/.test(text) ? BigInt(text) : -1n;
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn)
    throw new UsageError(`${what} must be a decimal number, not "${text}"`);
  return value;
}

/** One of the known words, or undefined where there is none. */
export function oneOf<T extends string>(text: string | undefined, known: readonly T[], what: string): T | undefined {
  if (text === undefined) return undefined;
  const found = known.find((name) => name === text);
  if (found === undefined) throw new UsageError(`${what} must be one of ${known.join(', ')}, not "${text}"`);
  return found;
}

/** Names that a snapshot on a node may have. */
export function isSnapshotName(name: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(name) && !/^\.+$/.test(name);
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `127.0.0.1:4000`, `localhost:0`, `[::1]:4000`. */
export function parseHostPort(text: string, what: string): HostPort {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= 65535)) {
    throw new UsageError(`${what} must be HOST:PORT (IPv6 as [::1]:0), not "${text}"`);
  }
  return { host, port };
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

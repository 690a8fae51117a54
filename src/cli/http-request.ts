/**
 * What the status address takes from a request before anything else looks at it: path, query and key as bytes, guards
 * against browsers of other sites, the bearer token, and a bounded body. Pure but for reading the body.
 */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { createError } from '../errors.js';
import { UsageError } from './usage.js';

export const requestHeadBytesMax: number = 16 * 1024;
export const requestHeadTimeoutMs = 5000;

/** Path and query of a request target, still percent-encoded. */
export interface Target {
  readonly path: string;
  readonly query: Query;
}

/** Percent-decodes once, to bytes; a `%` without two hex digits is a usage error. */
export function percentDecode(text: string, plusIsSpace: boolean): Buffer {
  const bytes: number[] = [];
  const raw = Buffer.from(text, 'latin1');
  for (let at = 0; at < raw.length; at += 1) {
    const byte = raw[at] ?? 0;
    if (byte === 0x25) {
      const code = raw.toString('latin1', at + 1, at + 3);
      if (!/^[0-9A-Fa-f]{2}$/.test(code)) throw new UsageError('the request has a % that no two hex digits follow');
      bytes.push(Number.parseInt(code, 16));
      at += 2;
    } else {
      bytes.push(plusIsSpace && byte === 0x2b ? 0x20 : byte);
    }
  }
  return Buffer.from(bytes);
}

/** Query parameters by name; each at most once. */
export class Query {
  readonly #values = new Map<string, Buffer>();

  constructor(text: string) {
    for (const part of text.split('&')) {
      if (part === '') continue;
      const equals = part.indexOf('=');
      const name = percentDecode(equals < 0 ? part : part.slice(0, equals), true).toString('utf8');
      if (this.#values.has(name)) throw new UsageError(`query parameter "${name}" is given twice`);
      this.#values.set(name, percentDecode(equals < 0 ? '' : part.slice(equals + 1), true));
    }
  }

  bytes(name: string): Buffer | undefined {
    return this.#values.get(name);
  }

  text(name: string): string | undefined {
    return this.#values.get(name)?.toString('utf8');
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** Refuses parameters that the endpoint does not know. */
  allow(...names: readonly string[]): void {
    for (const name of this.#values.keys()) {
      if (!names.includes(name)) throw new UsageError(`unknown query parameter "${name}"`);
    }
  }
}

export function parseTarget(url: string): Target {
  const mark = url.indexOf('?');
  return mark < 0
    ? { path: url, query: new Query('') }
    : { path: url.slice(0, mark), query: new Query(url.slice(mark + 1)) };
}

/** The key of a /kv request: behind `/kv/`, or `?key=`, or `?key64=` (base64url). */
export function requestKey({ path, query }: Target): Buffer {
  if (path.startsWith('/kv/')) return percentDecode(path.slice('/kv/'.length), false);
  const plain = query.bytes('key');
  const encoded = query.text('key64');
  if (plain !== undefined && encoded === undefined) return plain;
  if (encoded !== undefined && plain === undefined && /^[A-Za-z0-9_-]*$/.test(encoded)) {
    return Buffer.from(encoded, 'base64url');
  }
  throw new UsageError('a key is needed: /kv/KEY, /kv?key=KEY or /kv?key64=BASE64URL');
}

/** Why a request is refused with 403 before anything else, or undefined. */
export function originRefusal(request: IncomingMessage, allowedHosts: readonly string[]): string | undefined {
  if (request.headers.origin !== undefined) return 'requests with an Origin header are refused';
  const host = request.headers.host ?? '';
  const name = host.startsWith('[') ? host.slice(1, host.indexOf(']')) : (host.split(':')[0] ?? '');
  if (isIP(name) !== 0 || name === 'localhost' || allowedHosts.includes(name)) return undefined;
  return `host "${name}" is neither an address nor localhost nor named by --status-host`;
}

/** Compares in constant time for equal lengths; `token` undefined: everybody may. */
export function isAuthorized(request: IncomingMessage, token: string | undefined): boolean {
  if (token === undefined) return true;
  const given = Buffer.from(request.headers.authorization ?? '', 'latin1');
  const wanted = Buffer.from(`Bearer ${token}`, 'latin1');
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

/**
 * Reads a body of at most `bytesMax`; more is `code` (413), and the rest stays unread. `invite` is called before the
 * first byte is waited for, unless the announced length is too much already.
 */
export async function readBody(
  request: IncomingMessage,
  bytesMax: number,
  code: 'VALUE_TOO_LARGE' | 'BATCH_TOO_LARGE',
  invite: () => void,
): Promise<Buffer> {
  const announced = Number(request.headers['content-length'] ?? 0);
  const tooLarge = (): Error => createError(code, `the body has more than ${bytesMax} bytes`);
  if (announced > bytesMax) throw tooLarge();
  invite();
  const parts: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop must not destroy the request: the refusal is still to be answered.
  for await (const part of request.iterator({ destroyOnReturn: false })) {
    const chunk = Buffer.from(part);
    bytes += chunk.length;
    if (bytes > bytesMax) throw tooLarge();
    parts.push(chunk);
  }
  return Buffer.concat(parts, bytes);
}

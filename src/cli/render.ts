/**
 * Answers of commands and of the status address as JSON, each shape written once. Positions and versions turn
 * themselves into JSON. Pure.
 */
import { createVersion, type Position, type Version } from '../position.js';
import type { DigestAnswer, ScanRow, WriteAnswer } from './target.js';
import { bytesField, escapeBytes } from './text.js';

/** `key` and `value` as text where they are UTF-8, or always as base64. */
export function field(name: 'key' | 'value', bytes: Buffer, base64: boolean): Record<string, string> {
  return base64 ? { [`${name}64`]: bytes.toString('base64') } : bytesField(name, bytes);
}

export function writeVersion({ position, firstSeq }: WriteAnswer): Version {
  return createVersion(position.epoch, firstSeq);
}

export function batchJson({ position, firstSeq, results }: WriteAnswer, operations: number): object {
  return { position, firstSeq: `${firstSeq}`, operations, results: results.map((result) => `${result}`) };
}

export function digestJson({ position, keys, bytes, digest }: DigestAnswer): object {
  return { position, keys, bytes, digest };
}

export function digestText({ position, keys, bytes, digest }: DigestAnswer): string {
  return `${digest} ${keys} ${bytes} ${position}`;
}

export function rowJson({ key, value, version }: ScanRow, base64: boolean): object {
  return { ...field('key', key, base64), ...(value === undefined ? {} : field('value', value, base64)), version };
}

/** Key, tab, value; escaped as in the acknowledgement log. */
export function rowText({ key, value }: ScanRow, base64: boolean): string {
  const text = (bytes: Buffer): string => (base64 ? bytes.toString('base64') : escapeBytes(bytes));
  return value === undefined ? text(key) : `${text(key)}\t${text(value)}`;
}

export function foundJson(key: Buffer, value: Buffer, version: Version, position: Position, base64: boolean): object {
  return { ...field('key', key, base64), found: true, ...field('value', value, base64), version, position };
}

/** Random frames, field by field from the table of frames. */
import fc from 'fast-check';
import { type AnyCode, errorTable } from '../../../dist/errors.js';
import { createPosition, type Position } from '../../../dist/position.js';
import type { FieldKinds } from '../../../dist/wire/fields.js';
import { type Frame, type FrameName, frames } from '../../../dist/wire/frames.js';
import { compressions, isFullReason, reasons, tiers, verdicts } from '../../../dist/wire/names.js';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const hex = (bytes: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((raw) => Buffer.from(raw).toString('hex'));
const epoch = fc.tuple(u32, u32).map(([term, run]) => `${term}.${run}`);
const position: fc.Arbitrary<Position> = fc
  .tuple(epoch, u64, u64, hex(8))
  .map(([at, seq, offset, chain]) => createPosition(at, seq, offset, chain));
const epochs = fc.array(fc.tuple(position, hex(8)), { maxLength: 20 }).map((facts) =>
  facts.map(([before, chain], i) => ({
    epoch: `${i + 1}.${i}`,
    before: createPosition(before.epoch, before.seq, BigInt(i * 64), before.chain),
    chain,
  })),
);
const text = fc.string({ maxLength: 200, unit: 'grapheme' });

const values: { readonly [K in keyof FieldKinds]: fc.Arbitrary<FieldKinds[K]> } = {
  u8: fc.integer({ min: 0, max: 255 }),
  u32,
  u64,
  ms: fc.maxSafeNat(),
  flag: fc.boolean(),
  id: hex(16),
  epoch,
  position,
  'position?': fc.option(position),
  'u64?': fc.option(u64),
  tier: fc.constantFrom(...tiers),
  'reason?': fc.option(fc.constantFrom(...reasons)),
  compression: fc.constantFrom(...compressions),
  verdict: fc.constantFrom(...verdicts),
  code: fc.constantFrom(...(Object.keys(errorTable) as AnyCode[])),
  text,
  blob: fc.uint8Array({ maxLength: 300 }),
  rest: fc
    .uint8Array({ minLength: 7, maxLength: 60 })
    .map((raw) => Uint8Array.from({ length: 8 * raw.length }, () => 7)),
  positions: fc.array(position, { maxLength: 64 }),
  epochs,
  'resume?': fc.option(fc.record({ syncId: hex(16), position })),
};

/** What the rules between fields demand. */
function obeyRules(frame: Frame): Frame {
  if (frame.type === 'SNAPSHOT_BEGIN') return { ...frame, flows: (frame.flows % 64) + 1 };
  if (frame.type === 'HANDSHAKE') return { ...frame, asksFull: isFullReason(frame.asksFull) ? frame.asksFull : null };
  if (frame.type !== 'DECISION') return frame;
  const hasReason = frame.tier === 'full' || frame.tier === 'stop' || frame.tier === 'padding';
  return { ...frame, reason: hasReason ? (frame.reason ?? 'operator') : null };
}

export const frameNames = Object.keys(frames) as FrameName[];

export function frameOf(name: FrameName): fc.Arbitrary<Frame> {
  const fields: Readonly<Record<string, keyof FieldKinds>> = frames[name].fields;
  const parts = Object.fromEntries(Object.entries(fields).map(([field, kind]) => [field, values[kind]]));
  return fc.record(parts).map((record) => obeyRules({ type: name, ...record } as unknown as Frame));
}

export const anyFrame: fc.Arbitrary<Frame> = fc.constantFrom(...frameNames).chain(frameOf);

// Back-off, limits of full syncs, pacing and lag: small machines over a clock that only moves when told.
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../../dist/base/clock.js';
import { seededRandom } from '../../../dist/base/prng.js';
import { createPosition, type Position } from '../../../dist/position.js';
import { Backoff } from '../../../dist/replication/backoff.js';
import { FullSyncLimits } from '../../../dist/replication/full-sync-limits.js';
import { LagMeter } from '../../../dist/replication/lag.js';
import { Pacer } from '../../../dist/replication/pacer.js';

describe('backing off', () => {
  test('doubles to its limit, with jitter below a quarter, and starts again after success', () => {
    const backoff = new Backoff(100, 1000, seededRandom(7));
    const waits = Array.from({ length: 6 }, () => backoff.next());
    for (const [i, step] of [100, 200, 400, 800, 1000, 1000].entries()) {
      expect(waits[i]).toBeLessThanOrEqual(step);
      expect(waits[i]).toBeGreaterThanOrEqual(step * 0.75);
    }
    backoff.reset();
    expect(backoff.next()).toBeLessThanOrEqual(100);
  });
});

describe('full syncs for one reason', () => {
  test('are allowed so many times in ten minutes, then again when time has passed', () => {
    const clock = new ManualClock();
    const limits = new FullSyncLimits(clock, 2);
    for (let i = 0; i < 2; i++) {
      expect(limits.allows('below_wal_floor')).toBe(true);
      limits.completed('below_wal_floor');
      clock.advance(60_000);
    }
    expect(limits.allows('below_wal_floor')).toBe(false);
    expect(limits.allows('chain_mismatch')).toBe(true);
    clock.advance(9 * 60_000);
    expect(limits.allows('below_wal_floor')).toBe(true);
  });

  test('for a new replica or by an operator are never too many; 0 is no limit', () => {
    const limits = new FullSyncLimits(new ManualClock(), 1);
    for (let i = 0; i < 5; i++) {
      limits.completed('new_replica');
      limits.completed('operator');
    }
    expect(limits.allows('new_replica')).toBe(true);
    expect(limits.allows('operator')).toBe(true);
    const unlimited = new FullSyncLimits(new ManualClock(), 0);
    for (let i = 0; i < 50; i++) unlimited.completed('below_wal_floor');
    expect(unlimited.allows('below_wal_floor')).toBe(true);
  });

  test('that fail eight times in a row end even for a new replica', () => {
    const limits = new FullSyncLimits(new ManualClock(), 0);
    for (let i = 0; i < 8; i++) {
      expect(limits.allows('new_replica')).toBe(true);
      limits.failed('new_replica');
    }
    expect(limits.allows('new_replica')).toBe(false);
  });

  test('eight failures in a row are too many, a success or an operator in between is not', () => {
    const limits = new FullSyncLimits(new ManualClock(), 4);
    for (let i = 0; i < 8; i++) {
      expect(limits.allows('hold_expired')).toBe(true);
      limits.failed('hold_expired');
    }
    expect(limits.allows('hold_expired')).toBe(false);
    expect(limits.allows('new_replica')).toBe(true);
    limits.forgive();
    expect(limits.allows('hold_expired')).toBe(true);
    for (let i = 0; i < 7; i++) limits.failed('hold_expired');
    limits.completed('hold_expired');
    limits.failed('hold_expired');
    expect(limits.allows('hold_expired')).toBe(true);
  });
});

describe('pacing', () => {
  test('grants at once without a limit, and at the rate with one', () => {
    const clock = new ManualClock();
    const granted: number[] = [];
    new Pacer(clock, 0).pace(1 << 30, () => granted.push(-1));
    expect(granted).toEqual([-1]);
    const pacer = new Pacer(clock, 1000);
    const start = clock.monotonic();
    for (const bytes of [500, 500, 1000]) pacer.pace(bytes, () => granted.push(clock.monotonic() - start));
    clock.advance(1999);
    expect(granted).toEqual([-1, 500, 1000]);
    clock.advance(1);
    expect(granted).toEqual([-1, 500, 1000, 2000]);
  });

  test('grants much in parts, so that a slow flow keeps moving', () => {
    const clock = new ManualClock();
    const pacer = new Pacer(clock, 100_000);
    const parts: number[] = [];
    pacer.pace(100_000, (part) => parts.push(part));
    clock.advance(500);
    expect(parts).toEqual([25_000, 25_000]);
    clock.advance(500);
    expect(parts.reduce((sum, part) => sum + part, 0)).toBe(100_000);
  });

  test('grants nothing more once it is closed', () => {
    const clock = new ManualClock();
    const pacer = new Pacer(clock, 1000);
    let granted = 0;
    pacer.pace(500, () => granted++);
    pacer.close();
    clock.advance(10_000);
    expect(granted).toBe(0);
  });
});

describe('lag', () => {
  const at = (offset: number): Position =>
    createPosition('1.0', BigInt(offset / 8), BigInt(offset), offset.toString(16).padStart(16, '0'));

  test('is zero at the end, and otherwise the age of the oldest record that is missing', () => {
    const lag = new LagMeter(10);
    lag.sawEnd(80n, 0);
    lag.sawEnd(160n, 1000);
    lag.sawEnd(240n, 2000);
    expect(lag.measure(at(240), at(240), 2000)).toEqual({ records: 0, bytes: 0, ms: 0 });
    lag.sawEnd(320n, 3000);
    lag.sawEnd(400n, 4000);
    expect(lag.measure(at(400), at(240), 5000)).toEqual({ records: 20, bytes: 160, ms: 2000 });
    expect(lag.measure(at(400), at(320), 5000)).toEqual({ records: 10, bytes: 80, ms: 1000 });
  });

  test('keeps a bounded number of samples', () => {
    const lag = new LagMeter(0);
    for (let i = 1; i < 100_000; i++) lag.sawEnd(BigInt(i * 8), i);
    const { ms } = lag.measure(at(800_000), at(0), 100_000);
    expect(ms).toBeGreaterThan(0);
    expect(ms).toBeLessThanOrEqual(100_000);
  });
});

/** A replica as its primary sees it: states, positions that never go back, lag, budget, stalls. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createPosition, emptyPosition, type Position } from '../../../dist/position.js';
import { type Acknowledgement, ReplicaProgress } from '../../../dist/replication/progress.js';
import type { SyncDecision } from '../../../dist/replication/sync-decision.js';

const at = (offset: number): Position =>
  offset === 0
    ? emptyPosition()
    : createPosition('1.0', BigInt(offset / 8), BigInt(offset), offset.toString(16).padStart(16, '0'));
const ack = (received: number, durable = received, applied = durable, counts = true): Acknowledgement => ({
  received: at(received),
  durable: at(durable),
  applied: at(applied),
  counts,
});
const limits = { maxBytes: 1000, timeoutMs: 10_000 };
const wal: SyncDecision = { tier: 'wal', from: at(800) };
const full: SyncDecision = { tier: 'full', reason: 'below_wal_floor', from: at(800), common: null, loss: null };

function following(end = 1600): ReplicaProgress {
  const progress = new ReplicaProgress(limits, ack(800), true, 0);
  progress.decided(wal, at(end), 0);
  return progress;
}

describe('the state', () => {
  test('follows the decision', () => {
    const stateAfter = (decision: SyncDecision): string => {
      const progress = new ReplicaProgress(limits, ack(800), true, 0);
      expect(progress.state).toBe('handshake');
      progress.decided(decision, at(1600), 0);
      return progress.state;
    };
    const refused = { from: at(800), common: null, loss: null };
    const loss = { bytes: 8n, seqs: 1n };
    expect(stateAfter(wal)).toBe('catching_up');
    expect(stateAfter({ ...wal, tier: 'ring' })).toBe('catching_up');
    expect(stateAfter(full)).toBe('full');
    expect(stateAfter({ tier: 'stop', reason: 'primary_regressed', ...refused })).toBe('stopped');
    expect(stateAfter({ tier: 'rewind', from: at(800), common: at(8), checkpoint: at(0), loss })).toBe('handshake');
  });
  test('is streaming at once when nothing is missing', () => {
    expect(following(800).state).toBe('streaming');
  });
  test('becomes streaming when what was there is applied, although the end moves on', () => {
    const progress = following(1600);
    progress.sentUpTo(at(2400));
    progress.acknowledge(ack(1592), at(2000), 1);
    expect(progress.state).toBe('catching_up');
    progress.acknowledge(ack(1600), at(2400), 2);
    expect(progress.state).toBe('streaming');
  });
  test('goes back to catching up beyond the budget, and is not streaming before it is within it again', () => {
    const progress = following(800);
    progress.sawEnd(at(1800), 1);
    expect(progress.state).toBe('streaming');
    progress.sawEnd(at(1808), 2);
    expect(progress.state).toBe('catching_up');
    progress.sentUpTo(at(8000));
    progress.acknowledge(ack(1808), at(8000), 3);
    expect(progress.state).toBe('catching_up');
    progress.acknowledge(ack(8000), at(8000), 4);
    expect(progress.state).toBe('streaming');
  });
  test('of a full sync ends with INSTALLED of its snapshot only', () => {
    const progress = new ReplicaProgress(limits, ack(800), false, 0);
    progress.decided(full, at(4000), 0);
    progress.snapshotBegan(at(4000), 1);
    expect(progress.view(at(4000), 1)).toMatchObject({ state: 'full', lag: null, inconsistent: true, tier: 'full' });
    progress.sentUpTo(at(4800));
    // Durable and applied are those of the old state, in another history perhaps.
    progress.acknowledge(ack(4400, 9000, 9000), at(4800), 2);
    expect(progress.acknowledged).toEqual({ received: at(4400), durable: at(4000), applied: at(4000) });
    expect(() => progress.installed(at(4008), at(4800), 3)).toThrow(/another snapshot/);
    progress.installed(at(4000), at(4800), 3);
    expect(progress.view(at(4800), 3)).toMatchObject({ state: 'catching_up', inconsistent: false });
    expect(() => progress.installed(at(4000), at(4800), 4)).toThrow(/INSTALLED in state/);
    progress.acknowledge(ack(4800), at(4800), 5);
    expect(progress.state).toBe('streaming');
  });
});

describe('an acknowledgement', () => {
  test('of what was not sent, or of more than was received, is a protocol error', () => {
    const progress = following();
    progress.sentUpTo(at(1200));
    expect(() => progress.acknowledge(ack(1208), at(1600), 1)).toThrow(/sent up to 1200/);
    expect(() => progress.acknowledge(ack(1200, 1208, 1200), at(1600), 1)).toThrow(/more than was received/);
    expect(() => progress.acknowledge(ack(1200, 1200, 1208), at(1600), 1)).toThrow(/more than was received/);
    expect(progress.acknowledged.received).toEqual(at(800));
  });
  test('that is older changes nothing', () => {
    const progress = following();
    progress.sentUpTo(at(1600));
    expect(progress.acknowledge(ack(1600, 1200, 1000), at(1600), 1)).toBe(true);
    expect(progress.acknowledge(ack(1200, 1000, 808), at(1600), 2)).toBe(false);
    expect(progress.acknowledged).toEqual({ received: at(1600), durable: at(1200), applied: at(1000) });
  });
  test('counts only while it streams, is consistent, says so, and is of our epoch', () => {
    const progress = following(800);
    expect(progress.countsFor('1.0', '1.0')).toBe(true);
    expect(progress.countsFor('1.0', '2.0')).toBe(false);
    progress.acknowledge(ack(800, 800, 800, false), at(800), 1);
    expect(progress.countsFor('1.0', '1.0')).toBe(false);
    expect(following(1600).countsFor('1.0', '1.0')).toBe(false);
    const padded = new ReplicaProgress(limits, ack(800), false, 0);
    padded.decided(wal, at(800), 0);
    expect(padded.state).toBe('streaming');
    expect(padded.countsFor('1.0', '1.0')).toBe(false);
  });
  test('never takes a position back, and never passes what was sent', () => {
    const step = fc.oneof(
      fc.record({ send: fc.integer({ min: 0, max: 60 }) }),
      fc.record({ ack: fc.tuple(fc.nat(400), fc.nat(400), fc.nat(400)) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const progress = new ReplicaProgress(limits, ack(0), true, 0);
        progress.decided({ tier: 'ring', from: at(0) }, at(3200), 0);
        let former = progress.view(at(3200), 0);
        for (const [now, each] of steps.entries()) {
          try {
            if ('send' in each) progress.sentUpTo(at(Number(former.sent.offset) + each.send * 8));
            else progress.acknowledge(ack(each.ack[0] * 8, each.ack[1] * 8, each.ack[2] * 8), at(3200), now);
          } catch (error) {
            expect(error).toMatchObject({ code: 'PROTOCOL' });
          }
          const view = progress.view(at(3200), now);
          for (const name of ['sent', 'received', 'durable', 'applied'] as const) {
            expect(view[name].offset).toBeGreaterThanOrEqual(former[name].offset);
          }
          expect(view.received.offset).toBeLessThanOrEqual(view.sent.offset);
          expect(view.durable.offset).toBeLessThanOrEqual(view.received.offset);
          expect(view.applied.offset).toBeLessThanOrEqual(view.received.offset);
          former = view;
        }
      }),
    );
  });
});

describe('the budget', () => {
  test('is what was sent and not received', () => {
    const progress = following();
    expect(progress.budgetBytes).toBe(1000);
    progress.sentUpTo(at(1600));
    expect([progress.outstandingBytes, progress.budgetBytes]).toEqual([800, 200]);
    progress.sentUpTo(at(4000));
    expect(progress.budgetBytes).toBe(0);
    progress.acknowledge(ack(4000, 800, 800), at(4000), 1);
    expect(progress.budgetBytes).toBe(1000);
  });
  test('is exceeded for good at four times its size in socket buffers', () => {
    expect(following().isTooSlow(4000)).toBe(false);
    expect(following().isTooSlow(4001)).toBe(true);
  });
});

describe('the view', () => {
  test('tells lag in records, bytes and time, and none while nothing is missing', () => {
    const progress = following(1600);
    progress.sawEnd(at(1600), 100);
    expect(progress.view(at(1600), 350).lag).toEqual({ records: 100, bytes: 800, ms: 250 });
    progress.sentUpTo(at(1600));
    progress.acknowledge(ack(1600), at(1600), 400);
    expect(progress.view(at(1600), 500).lag).toEqual({ records: 0, bytes: 0, ms: 0 });
  });
  test('says stalled after the timeout without progress, and never while nothing is missing', () => {
    const progress = following(1600);
    expect(progress.view(at(1600), 9_999).stalled).toBe(false);
    expect(progress.view(at(1600), 10_000).stalled).toBe(true);
    progress.sentUpTo(at(1600));
    progress.acknowledge(ack(1200), at(1600), 10_001);
    expect(progress.view(at(1600), 20_000).stalled).toBe(false);
    progress.acknowledge(ack(1200), at(1600), 20_002);
    expect(progress.view(at(1600), 20_002).stalled).toBe(true);
    progress.acknowledge(ack(1600), at(1600), 20_003);
    expect(progress.view(at(1600), 90_000).stalled).toBe(false);
    progress.sawEnd(at(1600), 90_000);
    expect(progress.view(at(2400), 90_001).stalled).toBe(false);
  });
});

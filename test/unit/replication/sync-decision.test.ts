/** Every line of the decision, every reason that it can give, and its soundness over random histories with forks. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createPosition, emptyPosition, positionsEqual } from '../../../dist/position.js';
import {
  decideSync,
  type LogAt,
  type PrimaryFacts,
  type ReplicaFacts,
  type SyncDecision,
} from '../../../dist/replication/sync-decision.js';
import { fullReasons } from '../../../dist/wire/names.js';
import {
  answersOf,
  cluster,
  commonPosition,
  History,
  primaryFacts,
  replicaFacts,
  trueCommon,
} from './history-model.js';

interface Changes {
  readonly replica?: Partial<ReplicaFacts>;
  readonly primary?: Partial<PrimaryFacts>;
  readonly at?: LogAt;
}

function decide(replica: History, primary: History, changes: Changes = {}): SyncDecision {
  const theirs = replicaFacts(replica, changes.replica);
  const ours = primaryFacts(primary, changes.primary);
  const answers = answersOf(primary, theirs, ours);
  const { at } = changes;
  if (at === undefined) return decideSync(theirs, ours, answers);
  return decideSync(theirs, ours, { ...answers, at: new Map([...answers.at.keys()].map((offset) => [offset, at])) });
}

/** "tier" or "tier reason". */
function answer(...call: Parameters<typeof decide>): string {
  const decision = decide(...call);
  return 'reason' in decision ? `${decision.tier} ${decision.reason}` : decision.tier;
}

const empty = new History();
const base = new History().begin('1.0', 'a').append('a', 1, 2, 3);
const longer = base.append('a', 4, 5);
/** A was primary of term 1 and wrote on; B was promoted at the end of `base`. */
const formerPrimary = base.append('a', 7, 8);
const promoted = base.begin('2.0', 'b').append('b', 9, 1, 1);

describe('line 1', () => {
  test('another cluster stops, whatever else is true', () => {
    const changes = { replica: { clusterId: 'd'.repeat(32), acceptLoss: true, asksFull: 'operator' } } as const;
    expect(answer(base, longer, changes)).toBe('stop cluster_id_mismatch');
    expect(answer(base, empty, changes)).toBe('stop cluster_id_mismatch');
  });
  test('an empty replica adopts the cluster', () => {
    expect(answer(empty, longer, { replica: { clusterId: '0'.repeat(32) } })).toBe('full new_replica');
    expect(answer(empty, empty, { replica: { clusterId: 'd'.repeat(32) } })).toBe('ring');
  });
});

describe('line 2', () => {
  test('a replica that has seen a higher term fences the primary', () => {
    expect(answer(base, longer, { replica: { highestTerm: 2 } })).toBe('stop fenced');
    expect(answer(promoted, longer, { replica: { acceptLoss: true } })).toBe('stop fenced');
    expect(answer(empty, longer, { replica: { highestTerm: 2 } })).toBe('stop fenced');
    expect(answer(base, empty, { replica: { highestTerm: 2 } })).toBe('stop fenced');
  });
  test('an equal or lower term fences nobody', () => {
    expect(answer(base, longer, { replica: { highestTerm: 1 } })).toBe('wal');
    expect(answer(base, promoted)).toBe('wal');
  });
});

describe('line 3', () => {
  const other = base.begin('2.0', 'c').append('c', 1);
  test('two nodes that began the same term are in conflict, whoever is longer', () => {
    expect(answer(other, promoted)).toBe('stop epoch_conflict');
    expect(answer(promoted, other, { replica: { acceptLoss: true, asksFull: 'operator' } })).toBe(
      'stop epoch_conflict',
    );
  });
  test('a later promotion ends the conflict', () => {
    const later = promoted.begin('3.0', 'b');
    expect(decide(other, later)).toMatchObject({ tier: 'rewind', common: base.head });
  });
  test('whoever began the term in which run: a crash may have skipped the first ones', () => {
    const skipped = base.begin('2.1', 'c').append('c', 1);
    expect(answer(skipped, promoted)).toBe('stop epoch_conflict');
    expect(answer(promoted, skipped)).toBe('stop epoch_conflict');
    expect(answer(skipped, skipped.begin('2.2', 'c'))).toBe('wal');
  });
  test('a list whose older entries were folded away is no conflict', () => {
    const reopened = promoted.begin('2.1', 'b').append('b', 1);
    const folded = { epochs: reopened.epochs.filter(({ epoch }) => epoch === '2.1') };
    expect(answer(promoted.begin('2.1', 'b'), reopened, { primary: folded })).toBe('wal');
  });
  test('other runs of the same term are no conflict', () => {
    const reopened = base.begin('1.1', 'a').append('a', 1);
    expect(answer(base, reopened)).toBe('wal');
  });
});

describe('line 4', () => {
  test('nothing meets nothing', () => expect(answer(empty, empty)).toBe('ring'));
  test('an empty replica is always fully synced, even if the log reaches back to 0', () => {
    expect(answer(empty, base)).toBe('full new_replica');
    expect(answer(empty, base, { primary: { ringOldest: 0n } })).toBe('full new_replica');
    expect(answer(empty, base, { replica: { complete: false, asksFull: 'new_replica' } })).toBe('full new_replica');
  });
});

describe('line 5', () => {
  test('an empty primary does not empty its replica', () => {
    expect(answer(base, empty)).toBe('stop primary_empty_guard');
    expect(answer(base, empty, { replica: { complete: false, asksFull: 'store_damaged' } })).toBe(
      'stop primary_empty_guard',
    );
    expect(answer(base, empty, { replica: { acceptLoss: true } })).toBe('full unknown_epoch');
  });
  test.each(fullReasons)('a replica that asks for %s gets it', (asksFull) => {
    expect(answer(base, longer, { replica: { asksFull } })).toBe(`full ${asksFull}`);
    expect(answer(longer, longer, { replica: { asksFull, complete: false } })).toBe(`full ${asksFull}`);
  });
  test('a replica whose first sync is unfinished is new', () => {
    expect(answer(base, longer, { replica: { complete: false } })).toBe('full new_replica');
  });
});

describe('line 6', () => {
  test('equal positions are ring, whatever ring and log reach', () => {
    expect(answer(longer, longer)).toBe('ring');
    expect(answer(longer, longer, { primary: { logFloor: longer.head.offset }, at: { at: 'evicted' } })).toBe('ring');
    expect(answer(longer, longer, { replica: { consistent: false } })).toBe('ring');
  });
  test('the ring is used from its oldest byte on', () => {
    const { offset } = base.head;
    expect(answer(base, longer, { primary: { ringOldest: offset } })).toBe('ring');
    expect(answer(base, longer, { primary: { ringOldest: offset + 8n } })).toBe('wal');
    expect(answer(base, longer, { primary: { ringOldest: offset }, at: { at: 'evicted' } })).toBe('ring');
    expect(answer(base, longer, { primary: { ringOldest: offset }, at: { at: 'damaged' } })).toBe('ring');
    expect(answer(base, longer, { primary: { ringOldest: 0n }, at: { at: 'beyond' } })).toBe('ring');
  });
  test('the log is used from its floor on', () => {
    const { offset } = base.head;
    expect(answer(base, longer, { primary: { logFloor: offset } })).toBe('wal');
    expect(answer(base, longer, { primary: { logFloor: offset + 8n } })).toBe('full below_wal_floor');
    expect(answer(base, longer, { primary: { ringOldest: offset + 8n }, at: { at: 'evicted' } })).toBe(
      'full below_wal_floor',
    );
  });
  test('damage where the log is to be read is a full sync', () => {
    expect(answer(base, longer, { at: { at: 'damaged' } })).toBe('full log_damaged');
  });
  test('an older epoch is followed through several promotions', () => {
    const much = promoted.begin('3.0', 'c').append('c', 1).begin('3.1', 'c').append('c', 1);
    for (let records = 1; records <= much.positions.length - 1; records++) {
      expect(answer(much.cut(records), much)).toBe(records === much.positions.length - 1 ? 'ring' : 'wal');
    }
  });
  test('a position inside a record is misaligned', () => {
    const { epoch, seq, offset, chain } = base.head;
    const inside = createPosition(epoch, seq, offset + 8n, chain);
    expect(answer(base, longer, { replica: { position: inside } })).toBe('full misaligned');
    const odd = createPosition(epoch, seq, offset + 3n, chain);
    expect(answer(base, longer, { replica: { position: odd } })).toBe('full misaligned');
  });
  test('an epoch list that reaches beyond its own position is a lie, and no reason to fail', () => {
    expect(
      answer(base, promoted, { replica: { epochs: promoted.epochs, position: base.cut(2).head, highestTerm: 2 } }),
    ).toBe('wal');
    const { epoch, seq, offset } = base.cut(2).head;
    const position = createPosition(epoch, seq, offset, 'f'.repeat(16));
    const claims = { position, epochs: promoted.epochs, highestTerm: 2 };
    expect(answer(base, promoted, { replica: claims })).toBe('full chain_mismatch');
    const elsewhere = { ...claims, epochs: base.begin('2.0', 'c').epochs };
    expect(answer(base, promoted.begin('3.0', 'b'), { replica: elsewhere })).toBe('full misaligned');
  });
  test('the same length and sequence with another chain is never taken for the same history', () => {
    const { epoch, seq, offset } = base.head;
    const position = createPosition(epoch, seq, offset, 'f'.repeat(16));
    expect(answer(base, longer, { replica: { position } })).toBe('full chain_mismatch');
    expect(answer(base, base, { replica: { position } })).toBe('full chain_mismatch');
    expect(answer(base, base, { replica: { position }, at: { at: 'evicted' } })).toBe('full chain_mismatch');
  });
});

describe('line 7', () => {
  test('a primary that lost what it had shipped stops the replica', () => {
    const decision = decide(longer, base);
    expect(decision).toMatchObject({ tier: 'stop', reason: 'primary_regressed', common: base.head });
    expect(decision).toMatchObject({ loss: { bytes: longer.head.offset - base.head.offset, seqs: 9n } });
    expect(answer(longer, base.begin('1.1', 'a').append('a', 4, 4, 4))).toBe('stop primary_regressed');
  });
  test('where the store may lose, the suffix is undone', () => {
    expect(answer(longer, base, { primary: { isSync: false } })).toBe('rewind');
    expect(answer(longer, base.begin('1.1', 'a'), { primary: { isSync: false } })).toBe('rewind');
  });
  test('an operator may accept it', () =>
    expect(answer(longer, base, { replica: { acceptLoss: true } })).toBe('rewind'));
});

describe('line 8', () => {
  const bytes = Number(formerPrimary.head.offset - base.head.offset);
  test('a former primary is rewound to the fork, from its newest checkpoint at or below it', () => {
    const checkpoints = [emptyPosition(), base.cut(2).head, base.head, formerPrimary.head];
    expect(decide(formerPrimary, promoted, { replica: { checkpoints } })).toEqual({
      tier: 'rewind',
      from: formerPrimary.head,
      common: base.head,
      checkpoint: base.head,
      loss: { bytes: BigInt(bytes), seqs: 15n },
    });
  });
  test('equal length and equal head sequence on both sides of a fork are seen', () => {
    const left = base.begin('2.0', 'x').append('x', 3).begin('3.0', 'b').append('b', 5);
    const right = base.begin('2.0', 'x').append('x', 3).begin('2.1', 'x').append('x', 5);
    expect(right.head).toMatchObject({ seq: left.head.seq, offset: left.head.offset });
    expect(decide(right, left)).toMatchObject({ tier: 'rewind', common: base.begin('2.0', 'x').append('x', 3).head });
  });
  test('the limit on bytes given up is exact, and an operator may lift it', () => {
    expect(answer(formerPrimary, promoted, { primary: { lossLimitBytes: bytes } })).toBe('rewind');
    expect(answer(formerPrimary, promoted, { primary: { lossLimitBytes: bytes - 1 } })).toBe(
      'stop lost_limit_exceeded',
    );
    const changes = { primary: { lossLimitBytes: 0 }, replica: { acceptLoss: true } };
    expect(answer(formerPrimary, promoted, changes)).toBe('rewind');
  });
  test('nothing that was promised to a caller is given up', () => {
    const promised = formerPrimary.cut(5).head;
    expect(answer(formerPrimary, promoted, { replica: { promised } })).toBe('stop lost_limit_exceeded');
    expect(answer(formerPrimary, promoted, { replica: { promised: base.head } })).toBe('rewind');
    expect(answer(formerPrimary, promoted, { replica: { promised, acceptLoss: true } })).toBe('rewind');
  });
  test('without a checkpoint, or a log back to the fork, there is no rewinding', () => {
    expect(answer(formerPrimary, promoted, { replica: { checkpoints: [] } })).toBe('full undo_unavailable');
    const late = { replica: { checkpoints: [formerPrimary.cut(5).head] } };
    expect(answer(formerPrimary, promoted, late)).toBe('full undo_unavailable');
    const logFloor = base.head.offset;
    expect(answer(formerPrimary, promoted, { primary: { logFloor } })).toBe('rewind');
    expect(answer(formerPrimary, promoted, { primary: { logFloor: logFloor + 8n } })).toBe('full undo_unavailable');
    expect(answer(formerPrimary, promoted, { at: { at: 'damaged' } })).toBe('full undo_unavailable');
    expect(answer(formerPrimary, promoted, { replica: { consistent: false } })).toBe('full undo_unavailable');
  });
  test('a fork that the primary finds elsewhere than the lists say is a chain mismatch', () => {
    expect(answer(formerPrimary, promoted, { at: { at: 'inside' } })).toBe('full chain_mismatch');
    const other = createPosition('1.0', base.head.seq, base.head.offset, 'e'.repeat(16));
    expect(answer(formerPrimary, promoted, { at: { at: 'record_end', position: other } })).toBe('full chain_mismatch');
  });
  test('no common epoch within both lists is a full sync, if nothing promised or large is lost', () => {
    const epochs = formerPrimary.epochs.map((fact) => ({ ...fact, chain: 'd'.repeat(16) }));
    expect(answer(formerPrimary, promoted, { replica: { epochs } })).toBe('full unknown_epoch');
    expect(answer(formerPrimary, promoted, { replica: { epochs: [] } })).toBe('full unknown_epoch');
    expect(answer(formerPrimary, promoted, { replica: { epochs, promised: base.head } })).toBe(
      'stop lost_limit_exceeded',
    );
    expect(answer(formerPrimary, promoted, { replica: { epochs }, primary: { lossLimitBytes: 8 } })).toBe(
      'stop lost_limit_exceeded',
    );
  });
  test('padding goes to the first record end past both, where it is on and within its limits', () => {
    const skipped = promoted.positions.find(({ offset }) => offset >= formerPrimary.head.offset) ?? emptyPosition();
    const records = Number(15n + (skipped.seq - base.head.seq));
    const gap = bytes + Number(skipped.offset - base.head.offset);
    const withLimits = (maxRecords: number, maxBytes: number, replica: Partial<ReplicaFacts> = {}): string =>
      answer(formerPrimary, longPromoted, {
        replica: { checkpoints: [], ...replica },
        primary: { padding: { maxRecords, maxBytes } },
      });
    const longPromoted = promoted.append('b', 20);
    const to = longPromoted.head;
    const needed = Number(15n + (to.seq - base.head.seq));
    const neededBytes = bytes + Number(to.offset - base.head.offset);
    expect(withLimits(needed, neededBytes)).toBe('padding undo_unavailable');
    expect(withLimits(needed - 1, neededBytes)).toBe('full undo_unavailable');
    expect(withLimits(needed, neededBytes - 1)).toBe('full undo_unavailable');
    expect(withLimits(needed, neededBytes, { checkpoints: [base.head] })).toBe('rewind');
    expect(records).toBeLessThan(needed);
    expect(gap).toBeLessThanOrEqual(neededBytes);
    const padding = { maxRecords: 1e6, maxBytes: 1e9 };
    const shorter = base.begin('2.0', 'b');
    const beyond = { replica: { checkpoints: [] }, primary: { padding } };
    expect(answer(formerPrimary, shorter, beyond)).toBe('full undo_unavailable');
    expect(decide(formerPrimary, longPromoted, beyond)).toMatchObject({ tier: 'padding', common: base.head, to });
  });
  test('a position with a sequence that cannot be counts no negative loss', () => {
    const { epoch, offset, chain } = formerPrimary.head;
    const position = createPosition(epoch, 0n, offset, chain);
    expect(decide(formerPrimary, promoted, { replica: { position } })).toMatchObject({ loss: { seqs: 0n } });
  });
});

const operations = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 5 });
/** One life of a cluster before the fork: terms and runs with batches. */
const trunk = fc.array(fc.tuple(fc.boolean(), operations), { minLength: 1, maxLength: 4 }).map((stages) => {
  let history = new History();
  let [term, run] = [0, 0];
  for (const [isPromotion, batches] of stages) {
    [term, run] = isPromotion || term === 0 ? [term + 1, 0] : [term, run + 1];
    history = history.begin(`${term}.${run}`, 'trunk').append('trunk', ...batches);
  }
  return { history, term, run };
});
/** After the fork the replica goes on in the old epoch or promotes itself; the primary begins another epoch. */
const world = fc
  .record({
    trunk,
    cutAt: fc.nat({ max: 1000 }),
    replicaAdds: operations,
    replicaPromotes: fc.boolean(),
    primaryStep: fc.constantFrom('same', 'run', 'term', 'higher'),
    primaryAdds: operations,
    floorAt: fc.nat({ max: 1000 }),
    ringAt: fc.option(fc.nat({ max: 1000 })),
    checkpointAt: fc.option(fc.nat({ max: 1000 })),
    promisedAt: fc.nat({ max: 1000 }),
    isSync: fc.boolean(),
    acceptLoss: fc.boolean(),
    lossLimitBytes: fc.constantFrom(0, 200, 1e9),
  })
  .map((facts) => {
    const { history, term, run } = facts.trunk;
    const fork = history.cut(facts.cutAt % history.positions.length);
    const isTrunk = fork.head.offset === history.head.offset;
    const own = facts.replicaPromotes && isTrunk ? fork.begin(`${term + 1}.0`, 'replica') : fork;
    const replica = own.head.offset === 0n ? own : own.append('replica', ...(isTrunk ? facts.replicaAdds : []));
    const epoch = { same: '', run: `${term}.${run + 1}`, term: `${term + 1}.0`, higher: `${term + 2}.0` };
    const began = facts.primaryStep === 'same' ? history : history.begin(epoch[facts.primaryStep], 'primary');
    // Nobody goes on in an epoch in which somebody else went on: a fork begins with another epoch on one side.
    const mayAdd = facts.primaryStep !== 'same' || history.holds(replica.head);
    const primary = mayAdd ? began.append('primary', ...facts.primaryAdds.map((count) => count + 10)) : began;
    return { facts, replica, primary };
  });

const pick = (history: History, at: number) => history.positions[at % history.positions.length] ?? emptyPosition();

describe('over random histories with forks', () => {
  test('what is decided is sound', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(world, ({ facts, replica, primary }) => {
        const floor = pick(primary, facts.floorAt).offset;
        const theirs = replicaFacts(replica, {
          clusterId: cluster,
          checkpoints: facts.checkpointAt === null ? [] : [pick(replica, facts.checkpointAt)],
          promised: pick(replica, facts.promisedAt),
          acceptLoss: facts.acceptLoss,
        });
        const ours = primaryFacts(primary, {
          logFloor: floor,
          ringOldest: facts.ringAt === null ? null : pick(primary, Math.max(facts.ringAt, facts.floorAt)).offset,
          isSync: facts.isSync,
          lossLimitBytes: facts.lossLimitBytes,
        });
        const decision = decideSync(theirs, ours, answersOf(primary, theirs, ours));
        const label = 'reason' in decision ? decision.reason : decision.tier;
        seen.set(label, (seen.get(label) ?? 0) + 1);
        const isPrefix = primary.holds(replica.head);
        const common = trueCommon(replica, primary);
        const mayFollow = theirs.highestTerm <= Math.max(1, Number.parseInt(ours.epoch, 10));
        if (decision.tier === 'ring' || decision.tier === 'wal') {
          expect(isPrefix).toBe(true);
          if (decision.tier === 'wal') expect(replica.head.offset).toBeGreaterThanOrEqual(floor);
        }
        if (isPrefix && mayFollow && replica.head.offset > 0n && label !== 'epoch_conflict') {
          expect(['ring', 'wal', 'below_wal_floor']).toContain(label);
        }
        if (positionsEqual(replica.head, primary.head)) expect(decision.tier).toBe('ring');
        if (decision.tier === 'rewind') {
          expect(isPrefix).toBe(false);
          expect(`${decision.common}`).toBe(`${common}`);
          expect(decision.common.offset).toBeGreaterThanOrEqual(floor);
          expect(decision.checkpoint.offset).toBeLessThanOrEqual(common.offset);
        }
        if (decision.tier === 'rewind' || (decision.tier === 'full' && !isPrefix)) {
          const loss = replica.head.offset - common.offset;
          if (!facts.acceptLoss) {
            expect(loss).toBeLessThanOrEqual(BigInt(facts.lossLimitBytes));
            expect(theirs.promised.offset).toBeLessThanOrEqual(common.offset);
            const isNewer = Number.parseInt(ours.epoch, 10) > Number.parseInt(replica.head.epoch, 10);
            expect(facts.isSync && !isNewer).toBe(false);
          }
        }
        const found = commonPosition(theirs, ours);
        if (found !== null) expect(`${found}`).toBe(`${common}`);
      }),
      { numRuns: 4000 },
    );
    const expected = ['ring', 'wal', 'rewind', 'below_wal_floor', 'undo_unavailable', 'primary_regressed', 'fenced'];
    for (const label of [...expected, 'epoch_conflict', 'lost_limit_exceeded', 'new_replica']) {
      expect(seen.get(label) ?? 0, label).toBeGreaterThan(0);
    }
  });
  test('nothing is decided by a crash, whatever a peer claims', () => {
    const { history } = { history: promoted };
    const claim = fc.record({
      seq: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      offset: fc.oneof(
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.constantFrom(...history.positions.map((p) => p.offset)),
      ),
      epoch: fc.constantFrom('0.0', '1.0', '2.0', '9.9'),
      epochs: fc.subarray([...promoted.epochs, ...base.begin('2.0', 'z').epochs.slice(1)]),
      at: fc.constantFrom<LogAt['at']>('inside', 'evicted', 'beyond', 'damaged'),
      term: fc.integer({ min: 0, max: 3 }),
    });
    fc.assert(
      fc.property(claim, ({ seq, offset, epoch, epochs, at, term }) => {
        const position = createPosition(epoch, seq, offset, 'b'.repeat(16));
        const changes = { replica: { position, epochs, highestTerm: term, acceptLoss: true } };
        const decision = decide(history, history, { ...changes, at: { at } as LogAt });
        if (decision.tier === 'ring') expect(offset === 0n).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });
});

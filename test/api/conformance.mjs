// What every store must do, whatever lies behind it: run on a fresh one, a reopened one, and in a worker thread.
// Plain JavaScript, so that a worker thread can run it as it is. Each fact uses keys of its own.
import assert from 'node:assert/strict';

const text = (value) => (value === undefined ? undefined : value.toString());
const rejects = (promise, code) => assert.rejects(promise, (error) => error.code === code || assert.fail(`${error}`));

export const facts = {
  'put makes a value readable at once': async (db) => {
    // The first write behind an open waits for its epoch to be durable.
    await db.put('a0', '');
    const pending = db.put('a1', 'one');
    assert.equal(text(db.get('a1')), 'one');
    const commit = await pending;
    assert.equal(commit.version.toString(), db.getEntry('a1').version.toString());
    assert.equal(commit.position.toString(), db.position.toString());
  },
  'bytes and strings name the same keys': async (db) => {
    await db.put(Buffer.from('b\u00e9'), new Uint8Array([1, 2, 3]));
    assert.deepEqual([...db.get('b\u00e9')], [1, 2, 3]);
    assert.equal(db.has('b\u00e9'), true);
    assert.equal(db.has('b'), false);
  },
  'empty keys and empty values are legal': async (db) => {
    await db.batch().put('', 'nothing').put('c1', '').commit();
    assert.equal(text(db.get('')), 'nothing');
    assert.equal(db.get('c1').length, 0);
    assert.equal(db.has(''), true);
    await db.del('');
    assert.equal(db.get(''), undefined);
  },
  'del removes, and a missing key is no error': async (db) => {
    await db.put('d1', 'x');
    await db.del('d1');
    await db.del('d1');
    assert.equal(db.get('d1'), undefined);
    assert.equal(db.getEntry('d1'), undefined);
  },
  'delRange covers earlier puts of its batch and not later ones': async (db) => {
    await db.put('e0', 'old');
    await db.batch().put('e1', 'early').delRange({ prefix: 'e' }).put('e2', 'late').commit();
    assert.deepEqual(db.getMany(['e0', 'e1', 'e2']).map(text), [undefined, undefined, 'late']);
    await db.delRange({ gte: 'e', lt: 'f' });
    assert.equal(db.has('e2'), false);
  },
  'increment counts in decimal text and returns new values': async (db) => {
    assert.deepEqual((await db.increment('f1', 5n)).results, [5n]);
    const { results } = await db.batch().increment('f1', -7).increment('f1').increment('f2', 2n ** 62n).commit();
    assert.deepEqual(results, [-2n, -1n, 2n ** 62n]);
    assert.equal(text(db.get('f1')), '-1');
    await rejects(db.increment('f2', 2n ** 62n), 'COUNTER_OVERFLOW');
    await db.put('f3', 'not a number');
    await rejects(db.batch().put('f4', 'x').increment('f3', 1).commit(), 'NOT_A_COUNTER');
    assert.equal(db.has('f4'), false);
  },
  'check passes only for exactly that version, or for absence': async (db) => {
    const { version } = await db.put('g1', 'x');
    await db.batch().check('g1', version).check('g2', null).put('g2', 'made').commit();
    await rejects(db.batch().check('g2', null).put('g2', 'again').commit(), 'CONFLICT');
    await db.put('g1', 'y');
    await rejects(db.batch().check('g1', version).put('g2', 'again').commit(), 'CONFLICT');
    assert.equal(text(db.get('g2')), 'made');
  },
  'checks see the state before the batch': async (db) => {
    await db.batch().put('h1', 'x').check('h1', null).commit();
    assert.equal(db.has('h1'), true);
  },
  'a batch owns one sequence for each operation': async (db) => {
    const commit = await db.batch().put('i1', '1').put('i2', '2').del('i3').commit();
    assert.equal(commit.position.seq, commit.firstSeq + 2n);
    assert.equal(db.getEntry('i2').version.seq, commit.firstSeq + 1n);
  },
  'a batch without operations resolves with the visible position': async (db) => {
    await db.put('j1', 'x');
    const before = db.position.toString();
    assert.equal((await db.batch().commit()).position.toString(), before);
    assert.equal(db.position.toString(), before);
  },
  'commits of one thread take effect in call order': async (db) => {
    const order = [];
    await db.put('k0', '');
    const writes = Array.from({ length: 200 }, (_, i) => db.put('k1', `${i}`).then(() => order.push(i)));
    assert.equal(text(db.get('k1')), '199');
    await Promise.all(writes);
    assert.deepEqual(order, [...order].sort((a, b) => a - b));
  },
  'ranges walk both ways between all kinds of bounds': async (db) => {
    const batch = db.batch();
    for (const name of ['l1', 'l2', 'l3', 'l3\u0000', 'l4']) batch.put(name, name);
    await batch.commit();
    const keys = (options) => [...db.range(options)].map(([key]) => key.toString());
    assert.deepEqual(keys({ prefix: 'l' }), ['l1', 'l2', 'l3', 'l3\u0000', 'l4']);
    assert.deepEqual(keys({ gt: 'l1', lte: 'l3' }), ['l2', 'l3']);
    assert.deepEqual(keys({ gte: 'l1', lt: 'l3' }), ['l1', 'l2']);
    assert.deepEqual(keys({ gt: 'l3', prefix: 'l' }), ['l3\u0000', 'l4']);
    assert.deepEqual(keys({ prefix: 'l', reverse: true, limit: 2 }), ['l4', 'l3\u0000']);
    assert.deepEqual(keys({ gte: 'l2', lte: 'l3', reverse: true }), ['l3', 'l2']);
    assert.deepEqual(keys({ gte: 'l9', lt: 'l1' }), []);
    assert.deepEqual(keys({ prefix: 'l', limit: 0 }), []);
  },
  'a range seeks in its direction and stays inside its bounds': async (db) => {
    const batch = db.batch();
    for (let i = 0; i < 50; i += 1) batch.put(`m${String(i).padStart(2, '0')}`, `${i}`);
    await batch.commit();
    const range = db.range({ prefix: 'm' });
    assert.equal(range.next(2).length, 2);
    range.seek('m40');
    assert.equal(range.next()[0][0].toString(), 'm40');
    range.seek('a');
    assert.equal(range.next()[0][0].toString(), 'm00');
    range.close();
    const back = db.range({ prefix: 'm', reverse: true });
    back.seek('m10x');
    assert.deepEqual(back.next(2).map(([key]) => key.toString()), ['m10', 'm09']);
    back.close();
    assert.throws(() => back.next(), { code: 'CLOSED' });
  },
  'a long range is one position, whatever is written meanwhile': async (db) => {
    const batch = db.batch();
    for (let i = 0; i < 3000; i += 1) batch.put(`n${i}`, Buffer.alloc(64, i));
    await batch.commit();
    let seen = 0;
    for (const [key] of db.range({ prefix: 'n' })) {
      if (seen === 10) await db.delRange({ prefix: 'n' });
      seen += key.length > 0 ? 1 : 0;
    }
    assert.equal(seen, 3000);
    assert.deepEqual([...db.range({ prefix: 'n' })], []);
  },
  'a view keeps its position': async (db) => {
    await db.put('o1', 'before');
    const view = db.view();
    await db.batch().put('o1', 'after').put('o2', 'new').commit();
    assert.equal(text(view.get('o1')), 'before');
    assert.equal(view.has('o2'), false);
    assert.deepEqual([...view.range({ prefix: 'o' })].map(([, value]) => value.toString()), ['before']);
    assert.notEqual(view.position.toString(), db.position.toString());
    assert.deepEqual(await view.digest(), await view.digest());
    view.close();
    view.close();
    assert.throws(() => view.get('o1'), { code: 'CLOSED' });
  },
  'large values come back whole, beside small ones': async (db) => {
    const sizes = [4095, 4096, 4097, 32768, 70_000, 3_000_000];
    const value = (size) => Buffer.alloc(size, `${size}-`);
    await Promise.all(sizes.map((size) => db.put(`p${size}`, value(size))));
    for (const size of sizes) assert.ok(db.get(`p${size}`).equals(value(size)), `${size}`);
    assert.deepEqual(db.getMany(sizes.map((size) => `p${size}`)).map((got) => got.length), sizes);
    assert.deepEqual([...db.range({ prefix: 'p' })].map(([, got]) => got.length).sort((a, b) => a - b), sizes);
    assert.ok(db.getEntry('p3000000').value.equals(value(3_000_000)));
  },
  'the digest depends on the live entries only': async (db) => {
    const before = await db.digest();
    await db.put('q1', 'x');
    assert.notEqual((await db.digest()).digest, before.digest);
    await db.del('q1');
    const after = await db.digest();
    assert.deepEqual([after.digest, after.keys, after.bytes], [before.digest, before.keys, before.bytes]);
    assert.equal((await db.digest({ at: after.position.seq })).digest, after.digest);
  },
  'a write is as durable as it asked for when it resolves': async (db) => {
    for (let i = 0; i < 20; i += 1) {
      const { position } = await db.put('s1', `${i}`, { durability: 'sync' });
      assert.ok(db.durable.offset >= position.offset);
    }
  },
  'putSync and commitSync acknowledge before they return': async (db) => {
    const commit = db.putSync('r1', 'x', { durability: 'sync' });
    assert.ok(db.durable.offset >= commit.position.offset);
    const second = db.batch().put('r2', 'y').increment('r3').commitSync({ durability: 'os' });
    assert.deepEqual(second.results, [1n]);
    assert.equal(db.has('r2'), true);
  },
};

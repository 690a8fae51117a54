// What write number `i` of a life is: a pure function of (seed, i), so that the process that dies and the one that
// judges agree without telling each other more than the number. Every value is unique.
const keys = 300;

/** xorshift on 32 bits, mixed from seed and number. */
function randomOf(seed, i) {
  let state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(i + 1, 0xc2b2ae35)) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** The operations of one write, in order: [{op:'put',key,value} | {op:'del',key} | {op:'delRange',gte,lt}]. */
export function operationsOf(seed, i) {
  const random = randomOf(seed, i);
  random(7);
  const key = () => `k${String(random(keys)).padStart(3, '0')}`;
  const value = (part) => `${seed}.${i}.${part}.`.padEnd(20 + random(300) * random(8), 'v');
  const put = (part) => ({ op: 'put', key: key(), value: value(part) });
  const kind = random(20);
  if (kind < 2) return [{ op: 'del', key: key() }];
  if (kind === 2) {
    const gte = random(keys);
    const name = (n) => `k${String(n).padStart(3, '0')}`;
    return [{ op: 'delRange', gte: name(gte), lt: name(Math.min(keys, gte + 1 + random(11))) }];
  }
  if (kind < 7) return Array.from({ length: 2 + random(4) }, (_, part) => put(part));
  return [put(0)];
}

/** Hands write `i` to a database; the promise is its acknowledgement. */
export function submit(db, seed, i) {
  const [first, ...more] = operationsOf(seed, i);
  if (more.length === 0 && first.op === 'put') return db.put(first.key, first.value);
  if (first.op === 'del') return db.del(first.key);
  if (first.op === 'delRange') return db.delRange({ gte: first.gte, lt: first.lt });
  const batch = db.batch();
  for (const { key, value } of [first, ...more]) batch.put(key, value);
  return batch.commit();
}

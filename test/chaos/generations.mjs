/**
 * Writes that no state but a whole one can show: every batch sets all keys of a set to one number and moves units
 * between accounts. A reader that sees two numbers, a missing key, another sum, or an older number than before, has
 * seen a state that never was. JavaScript, for the processes and threads that run without a compiler.
 */
const keys = Array.from({ length: 64 }, (_, i) => `member-${i}`);
const accounts = Array.from({ length: 64 }, (_, i) => `account-${i}`);
const startBalance = 1000;

export const accountSum = accounts.length * startBalance;

/** One batch: all members say `generation`, and units move between accounts. The first opens the accounts. */
export async function writeGeneration(db, generation, ballast = 0) {
  const batch = db.batch().put('sessions', `${generation}`);
  for (const key of keys) batch.put(key, `${generation}`);
  for (const [i, account] of accounts.entries()) {
    if (generation === 0) batch.put(account, `${startBalance}`);
    else batch.increment(account, BigInt(transfer(generation, i)));
  }
  if (ballast > 0) batch.put(`ballast-${generation % 7}`, Buffer.alloc(ballast, generation));
  await batch.commit();
}

/** Adds up to 0 over all accounts. */
function transfer(generation, account) {
  const amount = ((generation * 31 + (account >> 1) * 7) % 13) + 1;
  return account % 2 === 0 ? amount : -amount;
}

/** What is wrong about one read of everything; null: nothing. `last`: the newest generation seen so far. */
export function inspect(read, last) {
  const values = read(['sessions', ...keys, ...accounts]);
  const missing = values.indexOf(undefined);
  if (missing >= 0) return `value ${missing} is missing`;
  const texts = values.map((value) => value.toString());
  const [generation, ...rest] = texts;
  const odd = rest.slice(0, keys.length).find((text) => text !== generation);
  if (odd !== undefined) return `generations ${generation} and ${odd} in one read`;
  const sum = rest.slice(keys.length).reduce((total, text) => total + Number(text), 0);
  if (sum !== accountSum) return `the sum is ${sum}, not ${accountSum}`;
  return Number(generation) < last ? `generation ${generation} after ${last}` : null;
}

/** Reads all of it again and again, between the turns of the event loop. `stop` resolves with what was wrong, ever. */
export function watchGenerations(db) {
  const wrong = [];
  let isWatching = true;
  let reads = 0;
  let last = 0;
  const watching = (async () => {
    while (isWatching && wrong.length === 0) {
      const fault = inspect((wanted) => db.getMany(wanted), last);
      if (fault !== null) wrong.push(fault);
      last = Math.max(last, Number(db.get('sessions') ?? last));
      reads++;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  return {
    reads: () => reads,
    stop: async () => {
      isWatching = false;
      await watching;
      return wrong;
    },
  };
}

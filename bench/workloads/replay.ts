/**
 * How many records a second does a store replay when it opens after a SIGKILL?
 *
 * The records were written and never synced, so there is no clean mark: each is read, checked and applied again. Small
 * records show what a record costs, large batches what a key costs. The clean open of the same store stands beside
 * them; while there are no runs it replays as well.
 */
import { open } from 'gaplessdb';
import { now } from '../drivers.js';
import { Helper } from '../processes.js';
import type { Case, Outcome, Trial, Workload } from '../workload.js';

function replayCase(operations: number): Case {
  return {
    name: operations === 1 ? 'single puts' : `batches of ${operations}`,
    run: async ({ dir, sizes }: Trial): Promise<Outcome[]> => {
      const records = sizes.keys / operations;
      const writer = new Helper('writer.js', [dir, `${records}`, `${operations}`]);
      await writer.message();
      await writer.kill();
      const opened = async (what: string): Promise<Outcome> => {
        const begun = now();
        const db = await open(dir);
        const elapsed = now() - begun;
        const { replayedRecords } = db.stats().counters;
        await db.close();
        const facts = { 'open ms': elapsed / 1e6, records: replayedRecords };
        return { what, unit: 'operations', perSecond: (sizes.keys * 1e9) / elapsed, facts };
      };
      return [await opened('open after SIGKILL'), await opened('open after close')];
    },
  };
}

export const replay: Workload = {
  name: 'replay',
  question: 'opening a store that was killed',
  cases: [replayCase(1), replayCase(1000)],
};

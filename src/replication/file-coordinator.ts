/**
 * A coordinator in a directory that all nodes share: for tests, and for nodes of one machine. Any process, any thread.
 *
 * Every grant, renewal and resignation is one new file `lease-N`, N counting up; the highest one holds. A file appears
 * whole (it is linked from a temporary one) or not at all, and N can be taken once: who comes second lost. Lower ones
 * are removed by whoever took a higher one. Deadlines are of CLOCK_BOOTTIME, which the processes of a machine share; a
 * lease of another boot is over.
 */
import { link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Candidate, Coordinator, Lease } from './coordinator.js';
import type { HostPort } from './ports.js';

export interface FileCoordinatorOptions {
  /** Made if need be. */
  readonly directory: string;
  /** Default 10000. */
  readonly leaseMs?: number | undefined;
}

interface LeaseFile {
  readonly number: number;
  readonly boot: string;
  readonly until: number;
  readonly lease: Lease;
}

const leaseMsDefault = 10_000;
const name = /^lease-(\d{1,15})$/;

export function fileCoordinator({ directory, leaseMs = leaseMsDefault }: FileCoordinatorOptions): Coordinator {
  if (!Number.isSafeInteger(leaseMs) || leaseMs < 100) {
    throw new RangeError(`option "leaseMs" must be a whole number of at least 100, not ${leaseMs}`);
  }
  return new FileCoordinator(directory, leaseMs);
}

class FileCoordinator implements Coordinator {
  readonly leaseMs: number;
  readonly #directory: string;

  constructor(directory: string, leaseMs: number) {
    this.#directory = directory;
    this.leaseMs = leaseMs;
  }

  async observe(): Promise<{ readonly lease: Lease; readonly isHeld: boolean } | null> {
    const last = await this.#read();
    return last === undefined ? null : { lease: last.lease, isHeld: await isHeld(last) };
  }

  async acquire({ nodeId, address, highestTerm }: Candidate): Promise<Lease | null> {
    const last = await this.#read();
    // The former process of a node is over: its directory is locked by this one.
    if (last !== undefined && last.lease.nodeId !== nodeId && (await isHeld(last))) return null;
    const term = Math.max(last?.lease.term ?? 0, highestTerm) + 1;
    const lease = { term, nodeId, address };
    return (await this.#write((last?.number ?? 0) + 1, lease, this.leaseMs)) ? lease : null;
  }

  async renew(lease: Lease): Promise<boolean> {
    return await this.#replace(lease, this.leaseMs);
  }

  async resign(lease: Lease): Promise<void> {
    await this.#replace(lease, 0);
  }

  /** Only what still holds is renewed: behind its end another node may be on its way to take it. */
  async #replace(lease: Lease, ms: number): Promise<boolean> {
    const last = await this.#read();
    if (last === undefined || last.lease.term !== lease.term || last.lease.nodeId !== lease.nodeId) return false;
    if (!(await isHeld(last))) return false;
    return await this.#write(last.number + 1, last.lease, ms);
  }

  /** True: this number was free, and is the highest. */
  async #write(number: number, lease: Lease, ms: number): Promise<boolean> {
    const { uptimeMs, boot } = await bootClock();
    const path = join(this.#directory, `lease-${number}`);
    const temporary = join(this.#directory, `.${lease.nodeId}-${process.pid}-${number}`);
    await writeFile(temporary, JSON.stringify({ boot, until: uptimeMs + ms, lease }));
    try {
      await link(temporary, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    } finally {
      await rm(temporary, { force: true });
    }
    const numbers = await this.#numbers();
    // A higher one may have come and have removed the one that we took again.
    if (Math.max(...numbers) !== number) return false;
    for (const lower of numbers) {
      if (lower < number) await rm(join(this.#directory, `lease-${lower}`), { force: true });
    }
    return true;
  }

  async #read(): Promise<LeaseFile | undefined> {
    for (;;) {
      const number = Math.max(0, ...(await this.#numbers()));
      if (number === 0) return undefined;
      try {
        return parse(number, await readFile(join(this.#directory, `lease-${number}`), 'utf8'));
      } catch (error) {
        // Removed meanwhile: there is a higher one.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  }

  async #numbers(): Promise<number[]> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const names = await readdir(this.#directory);
    return names.flatMap((each) => {
      const number = name.exec(each)?.[1];
      return number === undefined ? [] : [Number(number)];
    });
  }
}

function parse(number: number, text: string): LeaseFile {
  const { boot, until, lease } = JSON.parse(text) as Omit<LeaseFile, 'number'>;
  const { term, nodeId, address } = lease;
  const isWhole = typeof boot === 'string' && Number.isFinite(until) && Number.isSafeInteger(term);
  if (!isWhole || typeof nodeId !== 'string') throw new Error(`lease-${number} is no lease`);
  return { number, boot, until, lease: { term, nodeId, address: address as HostPort | null } };
}

async function isHeld({ boot, until }: LeaseFile): Promise<boolean> {
  const now = await bootClock();
  return boot === now.boot && now.uptimeMs < until;
}

/** CLOCK_BOOTTIME in steps of 10 ms, never ahead of it. */
async function bootClock(): Promise<{ readonly uptimeMs: number; readonly boot: string }> {
  const uptime = await readFile('/proc/uptime', 'utf8');
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  return { uptimeMs: Math.round(Number.parseFloat(uptime) * 1000), boot: boot.trim() };
}

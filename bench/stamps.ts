/** The key by which a replica of a benchmark sees how old what it shows is. */
export const stampKey = 'stamp';

/** Burst `number` was due at `begunNs + number * everyNs`, on the clock of drivers.now(). */
export interface Stamp {
  readonly number: number;
  readonly begunNs: number;
  readonly everyNs: number;
}

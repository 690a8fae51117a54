/**
 * Counts the calls into the addon, store by store. Import it before anything that opens a store: it puts a counting
 * addon in the place where the loader finds the real one.
 */
import { createRequire } from 'node:module';
import type { NativeAddon, NativeStore } from '../../dist/binding/contract.js';

/** Calls by method, and how often the engine woke the thread. */
export interface Calls {
  readonly byMethod: Map<string, number>;
  wakes: number;
}

const require = createRequire(import.meta.url);
const addonPath = require.resolve('../../build/Release/gaplessdb.node');
const real = require(addonPath) as NativeAddon;
const opened = new Map<string, Calls>();

function counted(store: NativeStore, calls: Calls): NativeStore {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        calls.byMethod.set(String(name), (calls.byMethod.get(String(name)) ?? 0) + 1);
        return Reflect.apply(value, target, args);
      };
    },
  });
}

const openStore: NativeAddon['openStore'] = async (path, options, wake) => {
  const calls: Calls = { byMethod: new Map(), wakes: 0 };
  opened.set(path, calls);
  const store = await real.openStore(path, options, () => {
    calls.wakes += 1;
    wake();
  });
  return counted(store, calls);
};

const loaded = require.cache[addonPath];
if (loaded === undefined) throw new Error('the addon is not in the module cache');
loaded.exports = Object.create(real, { openStore: { value: openStore } });

/** Calls of the store that was opened last at `path`. */
export function callsOf(path: string): Calls {
  const calls = opened.get(path);
  if (calls === undefined) throw new Error(`no store was opened at ${path} through the counting addon`);
  return calls;
}

export function countOf(calls: Calls, ...methods: readonly string[]): number {
  return methods.reduce((sum, method) => sum + (calls.byMethod.get(method) ?? 0), 0);
}

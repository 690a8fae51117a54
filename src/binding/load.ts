/**
 * Finds and loads the addon, once a thread, and hands it the classes of JavaScript. The only place that names its file.
 */
import { createRequire } from 'node:module';
import { errorFromStatus } from '../errors.js';
import { createPosition } from '../position.js';
import type { NativeAddon } from './contract.js';

let loaded: NativeAddon | undefined;

/** The addon of this thread. Throws what the loader says, with the command that builds it. */
export function loadAddon(): NativeAddon {
  if (loaded !== undefined) return loaded;
  let addon: NativeAddon;
  try {
    addon = createRequire(import.meta.url)('../../build/Release/gaplessdb.node') as NativeAddon;
  } catch (cause) {
    throw new Error(
      'load the addon: build it with "npx gapless build-native" (needs python3, make and a C++ compiler)',
      {
        cause,
      },
    );
  }
  addon.setHooks({ error: (status) => errorFromStatus(status), position: createPosition });
  loaded = addon;
  return addon;
}

// Lists native source files, one per line, sorted: `core`, `addon`, or a room name. Called by binding.gyp.
// Also holds the room order of the native code, which the test runner and the tidy test share.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Native rooms from the lowest up; `below` names the rooms whose code a room may use. */
export const rooms = {
  base: { below: [] },
  io: { below: ['base'] },
  log: { below: ['base', 'io'] },
  table: { below: ['base', 'io'] },
  snapshot: { below: ['base', 'io', 'log', 'table'] },
  ring: { below: ['base', 'io', 'log', 'table'] },
  engine: { below: ['base', 'io', 'log', 'table'] },
};

/** Every file below `dir` (relative to the checkout) whose name ends with `suffix`; [] when there is no such dir. */
export function filesBelow(dir, suffix) {
  let entries;
  try {
    entries = readdirSync(join(root, dir), { withFileTypes: true });
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
  const found = [];
  for (const entry of entries) {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory()) found.push(...filesBelow(path, suffix));
    else if (entry.name.endsWith(suffix)) found.push(path);
  }
  return found.sort();
}

export function nativeSources(set) {
  if (set === 'core') return Object.keys(rooms).flatMap((room) => filesBelow(`native/${room}`, '.cc'));
  if (set === 'addon') return ['native/binding.cc', ...filesBelow('native/napi', '.cc')];
  return filesBelow(`native/${set}`, '.cc');
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(`${nativeSources(process.argv[2]).join('\n')}\n`);
}

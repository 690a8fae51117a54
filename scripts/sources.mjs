// Lists native source files, one per line, sorted: `core`, `addon`, or a room name. Called by binding.gyp.
// Also holds the room order of the native code, which the test runner shares.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Native rooms from the lowest up. Which room may include which is checked by test/tidy.test.ts. */
export const rooms = ['base', 'io', 'log', 'table', 'snapshot', 'ring', 'engine'];

/** Our files below `dir` (relative to the checkout) whose names end with `suffix`; [] when there is no such dir. */
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
    if (entry.isDirectory() && entry.name !== 'node_modules') found.push(...filesBelow(path, suffix));
    else if (entry.name.endsWith(suffix)) found.push(path);
  }
  return found.sort();
}

export function nativeSources(set) {
  if (set === 'core') return rooms.flatMap((room) => filesBelow(`native/${room}`, '.cc'));
  if (set === 'addon') return ['native/binding.cc', ...filesBelow('native/napi', '.cc')];
  return filesBelow(`native/${set}`, '.cc');
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(`${nativeSources(process.argv[2]).join('\n')}\n`);
}

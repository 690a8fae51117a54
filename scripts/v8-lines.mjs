// Reads what processes and worker threads left in NODE_V8_COVERAGE and says which lines of src/ they ran. Vitest's own
// report knows only its test processes; a helper process or a worker thread that they start is found here.
import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { filesBelow, root } from './sources.mjs';

const compiled = pathToFileURL(join(root, 'dist/')).href;

/** Times that each character ran: the innermost range around it tells. */
function countsOf(length, functions) {
  const counts = new Float64Array(length).fill(1);
  const ranges = functions.flatMap(({ ranges: inner }) => inner);
  ranges.sort((a, b) => b.endOffset - b.startOffset - (a.endOffset - a.startOffset));
  for (const { startOffset, endOffset, count } of ranges) counts.fill(count, startOffset, endOffset);
  return counts;
}

/** One compiled file: its text, and where each of its lines comes from. */
function readCompiled(path) {
  const text = readFileSync(path, 'utf8');
  const map = new SourceMap(JSON.parse(readFileSync(`${path}.map`, 'utf8')));
  const lines = [];
  let at = 0;
  for (const [number, line] of text.split('\n').entries()) {
    const indent = line.search(/\S/);
    const entry = indent < 0 ? {} : map.findEntry(number, indent);
    if (entry.originalLine !== undefined) lines.push({ at: at + indent, original: entry.originalLine + 1 });
    at += line.length + 1;
  }
  return { length: text.length, lines };
}

/** `directory` is relative to the checkout. Path below src/ -> lines that some process ran. */
export function linesRun(directory) {
  const sources = new Map();
  const run = new Map();
  for (const file of filesBelow(directory, '.json')) {
    for (const { url, functions } of JSON.parse(readFileSync(join(root, file), 'utf8')).result) {
      if (!url.startsWith(compiled)) continue;
      const name = `src/${url.slice(compiled.length).replace(/\.js$/, '.ts')}`;
      if (!sources.has(name)) sources.set(name, readCompiled(fileURLToPath(url)));
      const { length, lines } = sources.get(name);
      const counts = countsOf(length, functions);
      const seen = run.get(name) ?? new Set();
      for (const { at, original } of lines) if (counts[at] > 0) seen.add(original);
      run.set(name, seen);
    }
  }
  return run;
}

/**
 * The house rules as pure functions from a file's path and text to a list of complaints (empty = clean).
 * Called by tidy.test.ts on every file of the checkout and on planted bad samples. No I/O here.
 */

export type Rule = (path: string, text: string) => string[];

const lowest = ['errors', 'options', 'position', 'base'];
const middle = ['binding', 'ring', 'wire', 'workers'];

/** Rooms of src/ and the rooms whose files each may import. Top-level files without a name here are `database`. */
export const sourceDoors: Readonly<Record<string, readonly string[]>> = {
  index: ['database', 'replication', ...lowest],
  database: ['replication', ...middle, ...lowest],
  replication: [...middle, ...lowest],
  binding: lowest,
  ring: lowest,
  wire: lowest,
  workers: ['binding', 'ring', 'wire', ...lowest],
  errors: ['base'],
  options: ['errors', 'position', 'base'],
  position: ['errors', 'base'],
  base: ['errors'],
  cli: ['index', 'replication', 'wire', ...lowest],
};

/** Rooms of native/ and the rooms whose headers each may include. */
export const nativeDoors: Readonly<Record<string, readonly string[]>> = {
  binding: ['napi'],
  napi: ['engine', 'ring', 'snapshot', 'log', 'table', 'io', 'base'],
  engine: ['snapshot', 'log', 'table', 'io', 'base'],
  snapshot: ['log', 'table', 'io', 'base'],
  ring: ['log', 'table', 'io', 'base'],
  log: ['io', 'base'],
  table: ['io', 'base'],
  io: ['base'],
  base: [],
};

export function sourceRoom(path: string): string {
  const parts = path.replace(/^src\//, '').split('/');
  const first = parts[0] ?? '';
  if (parts.length > 1) return first;
  const name = first.replace(/\.ts$/, '');
  return ['index', 'errors', 'options', 'position'].includes(name) ? name : 'database';
}

/** The file that a relative import names, as a path from the checkout's root. */
function resolveImport(from: string, target: string): string {
  const parts = from.split('/').slice(0, -1);
  for (const step of target.split('/')) {
    if (step === '..') parts.pop();
    else if (step !== '.') parts.push(step);
  }
  return parts.join('/').replace(/\.js$/, '.ts');
}

export function importsOf(text: string): string[] {
  const found = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"\n]+)['"]/g);
  return [...found].map((match) => match[1] ?? '');
}

export const sourceDirection: Rule = (path, text) => {
  const room = sourceRoom(path);
  const allowed = sourceDoors[room];
  if (allowed === undefined) return [`${path}: src/${room} is not in the room matrix`];
  const bad: string[] = [];
  for (const target of importsOf(text)) {
    if (!target.startsWith('.')) continue;
    const other = sourceRoom(resolveImport(path, target));
    if (other !== room && !allowed.includes(other)) bad.push(`${path}: ${room} imports ${other} (${target})`);
  }
  return bad;
};

export const nativeDirection: Rule = (path, text) => {
  const room = path === 'native/binding.cc' ? 'binding' : (path.split('/')[1] ?? '');
  const allowed = nativeDoors[room];
  if (allowed === undefined) return [`${path}: native/${room} is not in the room matrix`];
  const bad: string[] = [];
  for (const [, target = ''] of text.matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)) {
    const other = target.split('/')[0] ?? '';
    if (!target.includes('/')) bad.push(`${path}: includes "${target}" without its room`);
    else if (other !== room && !allowed.includes(other)) bad.push(`${path}: ${room} includes ${other} ("${target}")`);
  }
  return bad;
};

/** Only src/workers may import piscina. */
export const piscinaDoor: Rule = (path, text) =>
  !path.startsWith('src/workers/') && importsOf(text).includes('piscina') ? [`${path}: imports piscina`] : [];

/** Only the addon's outermost room may know Node-API. */
export const napiDoor: Rule = (path, text) =>
  path !== 'native/binding.cc' && !path.startsWith('native/napi/') && /#\s*include\s*[<"]n(ode_)?api\.h/.test(text)
    ? [`${path}: includes Node-API`]
    : [];

/** Only src/binding may name the addon's file. */
export const addonDoor: Rule = (path, text) =>
  !path.startsWith('src/binding/') && /\.node['"`]/.test(text) ? [`${path}: loads the addon`] : [];

/** 100 columns for C++, 120 for everything else that is code. */
export const columns: Rule = (path, text) => {
  const limit = /\.(cc|h)$/.test(path) ? 100 : 120;
  const bad: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const isLongImport = /^\s*(import|export) .* from '[^']+';$/.test(line);
    if (line.length > limit && !isLongImport) bad.push(`${path}:${index + 1}: ${line.length} columns`);
  }
  return bad;
};

export const fileSize: Rule = (path, text) => {
  const lines = text.split('\n').length - 1;
  return lines > 700 ? [`${path}: ${lines} lines`] : [];
};

export const asciiOnly: Rule = (path, text) => {
  const bad: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (/[^\t\x20-\x7e]/.test(line)) bad.push(`${path}:${index + 1}: not ASCII`);
  }
  return bad;
};

// Written in pieces, so that this file does not contain what it forbids.
const join = (...pieces: string[]): string => pieces.join('');
const everywhere: [RegExp, string][] = [
  [new RegExp(`\\b${join('FIX', 'ME')}\\b`), join('FIX', 'ME')],
  [new RegExp(`\\b${join('TO', 'DO')}\\b`), join('TO', 'DO')],
  [new RegExp(join('as ', 'any\\b')), join('as ', 'any')],
  [new RegExp(join('@ts-', '(ignore|nocheck)')), join('@ts-', 'ignore')],
  [new RegExp(join('(^|[\\s"\'`(=:])/', '(work|root)/')), 'a path of one machine'],
  [new RegExp(join('/', 'tmp/g\\b')), 'a path of one machine'],
];
const inSource: [RegExp, string, string][] = [
  [/\bconsole\s*\./, 'console', 'src/cli/'],
  [/\bMath\.random\b/, 'Math.random', 'src/base/'],
  [/\bDate\.now\b/, 'Date.now', 'src/base/'],
];

export const bannedWords: Rule = (path, text) => {
  const bad: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    for (const [pattern, name] of everywhere) if (pattern.test(line)) bad.push(`${path}:${index + 1}: ${name}`);
    if (!path.startsWith('src/')) continue;
    for (const [pattern, name, home] of inSource) {
      if (!path.startsWith(home) && pattern.test(line)) bad.push(`${path}:${index + 1}: ${name} outside ${home}`);
    }
  }
  return bad;
};

/** C++ text with comments, literals and preprocessor lines blanked; line breaks stay, so line numbers hold. */
function blankCpp(text: string): string {
  const keepBreaks = (match: string): string => match.replace(/[^\n]/g, ' ');
  return text
    .replace(/R"([^()\\\s]{0,16})\([\s\S]*?\)\1"/g, keepBreaks)
    .replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'/g, keepBreaks)
    .replace(/^[ \t]*#(?:[^\n]*\\\n)*[^\n]*/gm, keepBreaks);
}

/** Length of every C++ function body, outermost only (a lambda belongs to the function around it). */
export function functionLengths(text: string): { line: number; length: number }[] {
  const code = blankCpp(text);
  const found: { line: number; length: number }[] = [];
  const open: { isFunction: boolean; head: string | undefined }[] = [];
  let head = '';
  let line = 1;
  let start = 0;
  for (const c of code) {
    if (c === '\n') line++;
    if (c === '{') {
      // `name{`, without a space, initialises a member: what stood before it still belongs to the function's head.
      const isInitialiser = /[\w>]$/.test(head);
      const inside = open.some(({ isFunction }) => isFunction);
      const isFunction =
        !inside && !isInitialiser && head.includes(')') && !/^\s*(class|struct|union|enum)\b|=\s*$/.test(head);
      if (isFunction) start = line;
      open.push({ isFunction, head: isInitialiser ? head : undefined });
      head = '';
    } else if (c === '}') {
      const closed = open.pop();
      if (closed?.isFunction === true) found.push({ line: start, length: line - start + 1 });
      head = closed?.head ?? '';
    } else if (c === ';') {
      head = '';
    } else {
      head += c;
    }
  }
  return found;
}

export const functionSize: Rule = (path, text) =>
  functionLengths(text)
    .filter(({ length }) => length > 70)
    .map(({ line, length }) => `${path}:${line}: a function of ${length} lines`);

/** A source file that no other file imports is dead; entry points are named by the caller. */
export function neverImported(files: ReadonlyMap<string, string>, entries: readonly string[]): string[] {
  const reached = new Set(entries);
  for (const [path, text] of files) {
    for (const target of importsOf(text)) if (target.startsWith('.')) reached.add(resolveImport(path, target));
    for (const [, target = ''] of text.matchAll(/new URL\(\s*'([^']+)',\s*import\.meta\.url/g)) {
      reached.add(resolveImport(path, target));
    }
  }
  return [...files.keys()].filter((path) => path.startsWith('src/') && !reached.has(path));
}

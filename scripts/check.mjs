// `npm run check`: types of src and test, lint and format of TypeScript (Biome) and C++ (clang-format).
// With --fix (`npm run fmt -- [path ...]`) it formats instead; paths limit the work to files below them.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { filesBelow, root } from './sources.mjs';

const require = createRequire(import.meta.url);
const fix = process.argv.includes('--fix');
const paths = process.argv.slice(2).filter((arg) => arg !== '--fix');
const wanted = (file) => paths.length === 0 || paths.some((path) => file === path || file.startsWith(`${path}/`));

function run(name, script, args) {
  const result = spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (result.error !== undefined) throw result.error;
  const ok = result.status === 0;
  process.stdout.write(`check ${name}: ${ok ? 'ok' : 'FAILED'}\n`);
  return ok;
}

const tsc = require.resolve('typescript/bin/tsc');
const cpp = ['native', 'test/native', 'bench'].flatMap((dir) => [...filesBelow(dir, '.cc'), ...filesBelow(dir, '.h')]);
const cppWanted = cpp.filter(wanted);
const results = [];
if (!fix) results.push(run('types', tsc, ['-p', 'test/tsconfig.json']));
const biomeArgs = ['check', '--no-errors-on-unmatched', '--max-diagnostics=50', ...(fix ? ['--write'] : [])];
results.push(run('biome', require.resolve('@biomejs/biome/bin/biome'), [...biomeArgs, ...paths]));
if (cppWanted.length > 0) {
  const mode = fix ? ['-i'] : ['--dry-run', '-Werror'];
  results.push(run('clang-format', require.resolve('clang-format/index.js'), [...mode, ...cppWanted]));
}
process.exitCode = results.every(Boolean) ? 0 : 1;

// `npm run build`: compiles src/ with tsc and the addon with node-gyp; does nothing when no input changed.
// Options: --ts or --native for one half only, --force to ignore the stamps.
// Downloads nothing: headers come from beside the running Node or from the node-api-headers package.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { withLock } from './lock.mjs';
import { filesBelow, root } from './sources.mjs';

const require = createRequire(import.meta.url);
const args = new Set(process.argv.slice(2));
const addonPath = join(root, 'build/Release/gaplessdb.node');

function fingerprint(paths, extra) {
  const hash = createHash('sha256');
  for (const text of extra) hash.update(`${text}\0`);
  for (const path of paths) {
    hash.update(`${path}\0`);
    hash.update(
      createHash('sha256')
        .update(readFileSync(join(root, path)))
        .digest(),
    );
  }
  return hash.digest('hex');
}

const isFresh = (stamp, key) => !args.has('--force') && existsSync(stamp) && readFileSync(stamp, 'utf8') === key;

function run(command, commandArgs, env = {}) {
  const result = spawnSync(command, commandArgs, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
  if (result.error !== undefined) throw result.error;
  return result.status === 0;
}

// -- TypeScript ------------------------------------------------------------------------------------------------

/** Removes compiled files whose source is gone, so that a test never imports a deleted module. */
function sweepDist(dir) {
  for (const entry of readdirSync(join(root, 'dist', dir), { withFileTypes: true })) {
    const path = dir === '' ? entry.name : `${dir}/${entry.name}`;
    if (entry.isDirectory()) {
      sweepDist(path);
      continue;
    }
    const source = path.replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts');
    if (source !== path && !existsSync(join(root, 'src', source))) rmSync(join(root, 'dist', path));
  }
}

function buildTypeScript() {
  const sources = filesBelow('src', '.ts');
  if (sources.length === 0) return true;
  const stamp = join(root, 'dist/.stamp');
  const tsc = require.resolve('typescript/bin/tsc');
  const key = fingerprint([...sources, 'tsconfig.json'], [require('typescript/package.json').version]);
  if (isFresh(stamp, key)) return true;
  rmSync(stamp, { force: true });
  const ok = run(process.execPath, [tsc, '-p', 'tsconfig.json', ...(args.has('--force') ? ['--force'] : [])]);
  if (existsSync(join(root, 'dist'))) sweepDist('');
  if (ok) writeFileSync(stamp, key);
  return ok;
}

// -- Addon -----------------------------------------------------------------------------------------------------

/** A header tree made from node-api-headers, for a Node that was installed without its headers. */
function headersFromPackage() {
  const dir = join(root, 'build/headers');
  const include = join(dir, 'include/node');
  mkdirSync(include, { recursive: true });
  cpSync(require('node-api-headers').include_dir, include, { recursive: true });
  const gypi = {
    target_defaults: {
      default_configuration: 'Release',
      configurations: { Release: { cflags: ['-O2'], defines: ['NDEBUG'] }, Debug: { cflags: ['-O0', '-g'] } },
      conditions: [
        ['OS=="mac"', { xcode_settings: { OTHER_LDFLAGS: ['-undefined dynamic_lookup'] } }],
        ['OS=="linux"', { cflags: ['-pthread'], ldflags: ['-pthread', '-rdynamic'] }],
      ],
    },
  };
  writeFileSync(join(include, 'common.gypi'), JSON.stringify(gypi));
  writeFileSync(
    join(include, 'config.gypi'),
    JSON.stringify({ target_defaults: {}, variables: process.config.variables }),
  );
  return dir;
}

/** The prefix to give to node-gyp: the first place that holds headers of exactly this Node major version. */
function nodeDir() {
  if (process.env.GAPLESS_HEADERS === 'package') return headersFromPackage();
  const major = process.versions.node.split('.')[0];
  for (const prefix of [dirname(dirname(process.execPath)), '/usr', '/usr/local']) {
    const include = join(prefix, 'include/node');
    if (!existsSync(join(include, 'node_api.h')) || !existsSync(join(include, 'common.gypi'))) continue;
    const version = join(include, 'node_version.h');
    if (!existsSync(version)) continue;
    if (readFileSync(version, 'utf8').match(/NODE_MAJOR_VERSION\s+(\d+)/)?.[1] === major) return prefix;
  }
  return headersFromPackage();
}

function nodeGyp(command, prefix) {
  const gyp = require.resolve('node-gyp/bin/node-gyp.js');
  const level = process.env.GAPLESS_BUILD_VERBOSE === undefined ? 'error' : 'verbose';
  const jobs = String(availableParallelism());
  const options = [`--nodedir=${prefix}`, `--devdir=${join(root, 'build/devdir')}`, `--loglevel=${level}`];
  return run(process.execPath, [gyp, ...command, ...options, '--jobs', jobs], {
    PYTHONDONTWRITEBYTECODE: '1',
    MAKEFLAGS: process.env.GAPLESS_BUILD_VERBOSE === undefined ? '-s --no-print-directory' : '',
  });
}

function buildAddon() {
  const lists = fingerprint(
    ['binding.gyp', 'scripts/sources.mjs', 'scripts/build.mjs'],
    [
      ...filesBelow('native', '.cc'),
      process.version,
      process.execPath,
      process.env.GAPLESS_HEADERS ?? '',
      process.env.CXX ?? '',
      require('node-gyp/package.json').version,
      require('node-addon-api/package.json').version,
    ],
  );
  const inputs = [...filesBelow('native', '.cc'), ...filesBelow('native', '.h')];
  const key = fingerprint(inputs, [lists]);
  const stamp = join(root, 'build/.stamp');
  const configured = join(root, 'build/.configured');
  if (existsSync(addonPath) && isFresh(stamp, key)) return true;
  rmSync(stamp, { force: true });
  const prefix = nodeDir();
  if (!isFresh(configured, lists) || !existsSync(join(root, 'build/Makefile'))) {
    rmSync(configured, { force: true });
    if (!nodeGyp(['configure'], prefix)) return false;
    writeFileSync(configured, lists);
  }
  const ok = nodeGyp(['build'], prefix) && existsSync(addonPath);
  if (ok) writeFileSync(stamp, key);
  return ok;
}

const halves = [];
if (!args.has('--native')) halves.push(['TypeScript', buildTypeScript]);
if (!args.has('--ts')) halves.push(['addon', buildAddon]);
const failed = withLock(join(root, 'build/.lock'), () => halves.filter(([, build]) => !build()).map(([name]) => name));
if (failed.length > 0) {
  process.stderr.write(`build failed: ${failed.join(', ')}\n`);
  process.exitCode = 1;
}

/**
 * The engines that ours stands beside: packages that only bench/compare/package.json names, installed there when a
 * comparison is asked for. One that cannot be installed or opened is left out, with its reason.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const home = fileURLToPath(new URL('../../../bench/compare/', import.meta.url));
const require = createRequire(join(home, 'package.json'));

export function requirePeer(name: string): unknown {
  return require(name);
}

/** Of a package of a peer, or ours for "". */
export function versionOf(packageName: string): string {
  const path = packageName === '' ? join(home, '../../package.json') : packagePath(packageName);
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}

export function isInstalled(packageName: string): boolean {
  return existsSync(packagePath(packageName));
}

function packagePath(packageName: string): string {
  return join(home, 'node_modules', packageName, 'package.json');
}

/** Files of all packages, as the lock file names them; no script of theirs is run. False: it failed. */
export function installFiles(): boolean {
  return npm(['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
}

/** What a package does to be ready: take a binary that it finds, or compile. False: it failed. */
export function runInstallScript(packageName: string): boolean {
  return npm(['rebuild', packageName, '--foreground-scripts']);
}

function npm(args: readonly string[]): boolean {
  const headers = [dirname(dirname(process.execPath)), '/usr', '/usr/local'].find((prefix) =>
    existsSync(join(prefix, 'include/node/node.h')),
  );
  const env = headers === undefined ? process.env : { ...process.env, npm_config_nodedir: headers };
  const stdio = ['ignore', 2, 2] as const;
  return spawnSync('npm', args, { cwd: home, env, stdio: [...stdio] }).status === 0;
}

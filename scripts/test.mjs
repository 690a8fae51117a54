// `npm test`: build, check, native tests, then vitest. Every part runs even when an earlier one failed; the last line
// holds the total. A part that fails without naming a failed test (a build, a crash) counts as one failure.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { root } from './sources.mjs';

const require = createRequire(import.meta.url);
const report = join(root, 'build/vitest-report.json');
const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs');

function runPart(args) {
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (result.error !== undefined) throw result.error;
  return result.status === 0;
}

/** Runs the native tests, showing their output while keeping it to read the total from. */
function runNative() {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['scripts/native.mjs', 'test'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
      process.stdout.write(text);
    });
    child.on('error', reject);
    child.on('close', (code) => {
      const counts = output.match(/^native \(plain\): (\d+) passed, (\d+) failed$/m);
      resolve({ ok: code === 0, passed: Number(counts?.[1] ?? 0), failed: Number(counts?.[2] ?? 0) });
    });
  });
}

function runVitest() {
  mkdirSync(dirname(report), { recursive: true });
  rmSync(report, { force: true });
  const ok = runPart([vitest, 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`]);
  try {
    const counts = JSON.parse(readFileSync(report, 'utf8'));
    return { ok, passed: counts.numPassedTests, failed: counts.numFailedTests };
  } catch (error) {
    process.stderr.write(`no report from vitest: ${error.message}\n`);
    return { ok: false, passed: 0, failed: 0 };
  }
}

const parts = {
  build: () => ({ ok: runPart(['scripts/build.mjs']), passed: 0, failed: 0 }),
  check: () => ({ ok: runPart(['scripts/check.mjs']), passed: 0, failed: 0 }),
  native: runNative,
  vitest: runVitest,
};
const total = { passed: 0, failed: 0 };
const lines = [];
for (const [name, run] of Object.entries(parts)) {
  const started = performance.now();
  const result = await run();
  const failed = result.ok ? result.failed : Math.max(1, result.failed);
  total.passed += result.passed;
  total.failed += failed;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  lines.push(
    `${name.padEnd(7)} ${failed === 0 ? 'ok' : 'FAILED'}  ${result.passed} passed, ${failed} failed (${seconds} s)`,
  );
}
process.stdout.write(`\n${lines.join('\n')}\n${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;

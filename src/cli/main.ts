#!/usr/bin/env node
/**
 * The program `gapless`: hands the process to run() and ends it with the exit code, once stdout has taken everything.
 */
import { systemClock } from '../base/clock.js';
import { run } from './run.js';

/** Resolves when the stream has taken all that was written to it, or cannot any more. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()));
}

const { stdin, stdout, stderr, env } = process;
// EPIPE: Output rejects the write that met it; a write that nobody waits for must not end the process loudly.
stdout.on('error', () => undefined);
stderr.on('error', () => undefined);
const code = await run(process.argv.slice(2), { streams: { stdout, stderr }, stdin, env, clock: systemClock() });
await Promise.all([flushed(stdout), flushed(stderr)]);
process.exit(code);

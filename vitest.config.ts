// The TypeScript suites run against the compiled output in dist/; native code is tested by scripts/native.mjs.
// Each file gets a process of its own: a native crash then costs one file, not the run.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'dist/**', 'build/**', 'build-native/**'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    passWithNoTests: false,
    reporters: ['default'],
    coverage: {
      provider: 'v8',
      reportOnFailure: true,
      include: ['dist/**/*.js'],
      reporter: ['text', 'json-summary'],
      reportsDirectory: 'coverage',
    },
  },
});

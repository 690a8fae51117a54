/** Directories of one test file: removed when the file's tests have ended. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from 'vitest';
import { type Database, type OpenOptions, open } from '../../dist/index.js';

export interface Temporary {
  /** A path that does not exist yet. */
  path(): string;
  /** A new store; closed behind the test if the test did not. */
  open(options?: OpenOptions, path?: string): Promise<Database>;
}

export function temporary(): Temporary {
  const root = mkdtempSync(join(tmpdir(), 'gapless-api-'));
  const opened: Database[] = [];
  let count = 0;
  afterEach(async () => {
    for (const db of opened.splice(0)) await db.close();
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  const path = (): string => {
    count += 1;
    return join(root, `s${count}`);
  };
  return {
    path,
    async open(options = {}, at = path()) {
      const db = await open(at, options);
      opened.push(db);
      return db;
    },
  };
}

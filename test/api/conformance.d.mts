import type { Database } from '../../dist/index.js';

export const facts: Readonly<Record<string, (db: Database) => Promise<void>>>;

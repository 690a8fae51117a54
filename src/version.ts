/** The version of this package, from its own package.json. */
import { readFileSync } from 'node:fs';

let version: string | undefined;

export function packageVersion(): string {
  if (version === undefined) {
    const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
    version = (JSON.parse(text) as { readonly version: string }).version;
  }
  return version;
}

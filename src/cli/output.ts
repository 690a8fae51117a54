/**
 * The only place that writes to stdout and stderr. Data goes to stdout, everything else to stderr; with `--json` stdout
 * carries JSON lines only and the last line of stderr is the error object.
 */
import { type AnyCode, type ErrorBody, GaplessError } from '../errors.js';
import { UsageError } from './usage.js';

/** The streams of a process, passed in so that tests own them. */
export interface Streams {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

export class Output {
  readonly json: boolean;
  readonly #streams: Streams;

  constructor(streams: Streams, json: boolean) {
    this.#streams = streams;
    this.json = json;
  }

  /** For `serve`, whose lines must not wait for their reader. */
  get stdout(): NodeJS.WritableStream {
    return this.#streams.stdout;
  }

  /** One JSON line on stdout. Resolves when the stream can take more. */
  async line(value: object): Promise<void> {
    await this.raw(`${JSON.stringify(value)}\n`);
  }

  /** Bytes on stdout as they are. Resolves when the stream can take more; rejects when nobody reads any more. */
  raw(data: string | Uint8Array): Promise<void> {
    const { stdout } = this.#streams;
    return new Promise((resolve, reject) => {
      // The callback also answers for a stream that is destroyed already, where no event would come any more.
      const hasRoom = stdout.write(data, (error) => {
        if (error instanceof Error) reject(error);
        else resolve();
      });
      if (hasRoom) resolve();
    });
  }

  /** `--json`: the object; otherwise the text and a newline. */
  async answer(value: object, text: string): Promise<void> {
    await (this.json ? this.line(value) : this.raw(`${text}\n`));
  }

  /** A diagnostic, hint or progress line on stderr. */
  note(text: string): void {
    this.#streams.stderr.write(`${text}\n`);
  }

  /** Somebody watches stderr. */
  get isTerminal(): boolean {
    return 'isTTY' in this.#streams.stderr && this.#streams.stderr.isTTY === true;
  }

  /** Writes over the line of stderr that the cursor is on. Requires: isTerminal. */
  overwrite(text: string): void {
    this.#streams.stderr.write(`\r\u001b[K${text}`);
  }

  /** The error in the form of INTERFACES section 14; returns the exit code. */
  failure(error: unknown): number {
    const body = errorBody(error);
    if (this.json) this.note(JSON.stringify({ error: body }));
    else this.note(`gapless: ${body.message}${place(body)}${body.code === 'USAGE' ? '' : ` (${body.code})`}`);
    return body.code === 'USAGE' ? 2 : 1;
  }
}

/** Any thrown value as the error object of the text interfaces. */
export function errorBody(error: unknown): ErrorBody {
  if (error instanceof GaplessError) return error.toJSON();
  const message = error instanceof Error ? error.message : String(error);
  const usage = error instanceof UsageError || error instanceof TypeError || error instanceof RangeError;
  const code: AnyCode = usage ? 'USAGE' : 'IO';
  const details = error instanceof UsageError ? error.details : systemDetails(error);
  return { code, message, retryable: false, details };
}

/** Where the error is, if its message does not say so. */
function place({ message, details }: ErrorBody): string {
  const { file, offset } = details;
  if (typeof file !== 'string' || message.includes(file)) return '';
  return typeof offset === 'number' ? `: ${file} at byte ${offset}` : `: ${file}`;
}

function systemDetails(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return {};
  const { errno, path, syscall } = error as NodeJS.ErrnoException;
  return {
    ...(errno === undefined ? {} : { errno: Math.abs(errno) }),
    ...(path === undefined ? {} : { file: path }),
    ...(syscall === undefined ? {} : { syscall }),
  };
}

/**
 * One authenticated connection: hello and proof each way, then frames; heartbeats and the deadline of silence. Both
 * sides, both purposes. Runs on the controller's thread and never waits.
 *
 * Before authentication nothing but a hello and a proof is read, at most `helloBytesMax` bytes within `helloTimeoutMs`;
 * whatever breaks this closes the connection without an answer. Behind it, whatever the protocol does not allow is
 * answered by one ERROR. A frame of a higher term is not delivered before `seeTerm` has made the term durable.
 */
import type { CancelTimer, Clock } from '../base/clock.js';
import type { Random } from '../base/prng.js';
import { type AnyCode, createError, describeError, GaplessError } from '../errors.js';
import { parseEpoch } from '../position.js';
import type { Checksum } from '../wire/checksum.js';
import { FrameDecoder, FrameEncoder } from '../wire/frame-codec.js';
import type { Frame, FrameOf, Purpose, Side } from '../wire/frames.js';
import {
  checkProof,
  checkSecrets,
  decodeHello,
  encodeHello,
  type Hello,
  type HelloPair,
  helloBytes,
  nonceBytes,
  proofBytes,
  proofOf,
} from '../wire/hello.js';
import type { LinkReason, Reason } from '../wire/names.js';
import type { Channel } from './transport.js';

export const helloBytesMax = 256;
export const helloTimeoutMs = 5000;
/** With so much unsent a peer that asks for signs of life does not read them: it gets no more of them. */
const unansweredFrom = 16 * 1024 * 1024;

export interface ConnectionOptions {
  /** Which side this node is. */
  readonly side: Side;
  /** What a dialling side wants; a listening one learns it from the hello. */
  readonly purpose: Purpose;
  readonly nodeId: string;
  readonly clusterId: string;
  readonly secret: Uint8Array | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly checksum: Checksum;
  readonly heartbeatMs: number;
  readonly timeoutMs: number;
  /** This node's current epoch, for every frame. */
  epoch(): string;
  /** The highest term that this node has made durable. */
  highestTerm(): number;
  /** Makes a higher term durable; rejects if it cannot. */
  seeTerm(term: number, by: string): Promise<void>;
}

/** Why a connection is over. */
export interface ConnectionEnd {
  readonly reason: Reason | null;
  readonly error: Error | undefined;
  /** The peer's last word, if it had one. */
  readonly told: FrameOf<'ERROR'> | null;
  readonly wasAuthenticated: boolean;
}

export interface ConnectionHandler {
  authenticated(peer: Hello): void;
  /** Thrown errors end the connection, told to the peer. */
  frame(frame: Exclude<Frame, { readonly type: 'PING' | 'ERROR' }>, epoch: string): void;
  /** Room to send again. */
  drained(): void;
  /** Every heartbeat: time to say how things stand. */
  beat(): void;
  /** Exactly once, last. */
  closed(end: ConnectionEnd): void;
}

type Phase = 'hello' | 'proof' | 'frames' | 'closing' | 'closed';

export class Connection {
  readonly address: string;
  readonly #channel: Channel;
  readonly #options: ConnectionOptions;
  readonly #encoder: FrameEncoder;
  readonly #ownHello: Uint8Array;
  #handler: ConnectionHandler;
  #decoder: FrameDecoder | undefined;
  #peer: Hello | undefined;
  #pair: HelloPair | undefined;
  #early: Uint8Array[] = [];
  #earlyBytes = 0;
  #phase: Phase = 'hello';
  #held = 0;
  #isDelivering = false;
  #heardAt: number;
  #heardCount = 0;
  #saidAt: number;
  #heartbeatMs: number;
  #timer: CancelTimer;
  #end: { reason: Reason | null; error: Error | undefined } = { reason: null, error: undefined };
  #told: FrameOf<'ERROR'> | null = null;

  constructor(channel: Channel, options: ConnectionOptions, handler: ConnectionHandler) {
    this.#channel = channel;
    this.#options = options;
    this.#handler = handler;
    this.address = channel.address;
    this.#encoder = new FrameEncoder(options.checksum);
    this.#heartbeatMs = options.heartbeatMs;
    this.#ownHello = this.#makeHello(options.purpose);
    this.#heardAt = options.clock.monotonic();
    this.#saidAt = this.#heardAt;
    this.#timer = options.clock.after(helloTimeoutMs, () => this.#drop('timeout', 'no proof in time'));
    channel.start({
      data: (bytes) => this.#receive(bytes),
      drained: () => {
        if (this.#phase === 'frames') this.#handler.drained();
      },
      closed: (error) => this.#closed(error),
    });
    if (options.side === 'replica') channel.write([this.#ownHello]);
  }

  /** Bytes accepted by `send` that the system has not taken yet. */
  get unsent(): number {
    return this.#channel.unsent;
  }

  get isOpen(): boolean {
    return this.#phase === 'frames';
  }

  /** The peer's hello. Requires: authenticated. */
  get peer(): Hello | undefined {
    return this.#peer;
  }

  /** Another handler from now on; for a listener that learns from the hello what the connection is for. */
  handOver(handler: ConnectionHandler): void {
    this.#handler = handler;
  }

  /** Speaks at least this often, because the peer wants to hear so. */
  speakEvery(ms: number): void {
    this.#heartbeatMs = Math.max(1, Math.min(this.#heartbeatMs, ms));
    if (this.#phase === 'frames') this.#schedule();
  }

  /** Never waits. Raw bytes of the frame must stay unchanged until they are sent. Nothing once the end has begun. */
  send(frame: Frame): void {
    if (this.#phase !== 'frames') return;
    this.#channel.write(this.#encoder.encode(frame, this.#options.epoch()));
    this.#saidAt = this.#options.clock.monotonic();
  }

  /** Asks the peer for a sign of life; true if anything comes within `ms`. */
  isAlive(ms: number): Promise<boolean> {
    if (this.#phase !== 'frames') return Promise.resolve(false);
    const { clock } = this.#options;
    const before = this.#heardCount;
    this.send({ type: 'PING', time: this.#now(), echo: null });
    return new Promise((resolve) => {
      clock.after(ms, () => resolve(this.#phase === 'frames' && this.#heardCount > before));
    });
  }

  /** No frame is delivered, and soon none is read, until as many calls of `release`. */
  hold(): void {
    if (this.#held++ === 0) this.#channel.pause();
  }

  release(): void {
    if (--this.#held > 0) return;
    this.#heardAt = this.#options.clock.monotonic();
    this.#channel.resume();
    // Not from inside the caller: whoever releases is not prepared for a frame.
    queueMicrotask(() => this.#deliver());
  }

  /** Tells the peer why, then ends. */
  fail(reason: Reason | null, error: Error, retryAfterMs = 0): void {
    if (this.#phase !== 'frames') {
      this.#drop(reason, error.message);
      return;
    }
    const { code, message } = describeError(error).body;
    this.send({ type: 'ERROR', code, reason, message, retryAfterMs });
    this.close(reason, error);
  }

  /** Ends without a word; what is unsent still goes out. */
  close(reason: Reason | null = null, error?: Error): void {
    if (this.#phase === 'closing' || this.#phase === 'closed') return;
    this.#end = { reason, error };
    this.#phase = 'closing';
    this.#timer();
    this.#channel.end();
  }

  /** Closes at once: what is unsent is given up. */
  destroy(reason: Reason | null, error?: Error): void {
    if (this.#phase === 'closed') return;
    if (this.#phase !== 'closing') this.#end = { reason, error };
    this.#phase = 'closing';
    this.#timer();
    this.#channel.destroy();
  }

  #makeHello(purpose: Purpose): Uint8Array {
    const { side, secret, nodeId, clusterId, random, checksum } = this.#options;
    const nonce = random.bytes(nonceBytes);
    return encodeHello({ purpose, side, hasSecret: secret !== undefined, nodeId, clusterId, nonce }, checksum);
  }

  #receive(bytes: Uint8Array): void {
    if (this.#phase === 'closing' || this.#phase === 'closed') return;
    this.#heardAt = this.#options.clock.monotonic();
    this.#heardCount++;
    if (this.#decoder !== undefined) {
      this.#decoder.push(bytes);
      this.#deliver();
      return;
    }
    this.#early.push(bytes);
    this.#earlyBytes += bytes.length;
    try {
      this.#readEarly();
    } catch (error) {
      this.#drop(isAuthFailure(error) ? 'auth' : 'protocol', describeError(error).body.message, error);
    }
  }

  /** Hello, then proof; throws for anything else. */
  #readEarly(): void {
    const { side, secret, checksum } = this.#options;
    const peerSide: Side = side === 'replica' ? 'primary' : 'replica';
    // A primary may send frames right behind its proof, a replica only once it has seen that proof.
    if (side === 'primary' && this.#earlyBytes > helloBytesMax) throw protocolEnd('too many bytes before the proof');
    if (this.#phase === 'hello') {
      const bytes = this.#takeEarly(helloBytes);
      if (bytes === undefined) return;
      this.#peer = decodeHello(bytes, peerSide, checksum);
      const own = decodeHello(this.#ownHello, side, checksum);
      checkSecrets(own, this.#peer);
      if (side === 'replica') {
        this.#pair = { replica: this.#ownHello, primary: bytes };
        this.#channel.write([proofOf('replica', this.#pair, secret)]);
      } else {
        // The answer carries the purpose that the replica asked for.
        const answer = this.#makeHello(this.#peer.purpose);
        this.#pair = { replica: bytes, primary: answer };
        this.#channel.write([answer]);
      }
      this.#phase = 'proof';
    }
    const proof = this.#takeEarly(proofBytes);
    if (proof === undefined || this.#pair === undefined || this.#peer === undefined) return;
    checkProof(proof, peerSide, this.#pair, secret);
    if (side === 'primary') this.#channel.write([proofOf('primary', this.#pair, secret)]);
    this.#begin(peerSide, this.#peer);
  }

  #begin(peerSide: Side, peer: Hello): void {
    const decoder = new FrameDecoder({ from: peerSide, on: peer.purpose, checksum: this.#options.checksum });
    this.#decoder = decoder;
    this.#phase = 'frames';
    const rest = this.#early;
    this.#early = [];
    this.#schedule();
    this.#handler.authenticated(peer);
    for (const bytes of rest) decoder.push(bytes);
    this.#deliver();
  }

  #takeEarly(bytes: number): Uint8Array | undefined {
    if (this.#earlyBytes < bytes) return undefined;
    const all = this.#early.length === 1 && this.#early[0] !== undefined ? this.#early[0] : Buffer.concat(this.#early);
    this.#earlyBytes -= bytes;
    this.#early = all.length > bytes ? [all.subarray(bytes)] : [];
    return Uint8Array.from(all.subarray(0, bytes));
  }

  #deliver(): void {
    if (this.#isDelivering || this.#decoder === undefined) return;
    this.#isDelivering = true;
    try {
      while (this.#held === 0 && this.#phase === 'frames') {
        const next = this.#decoder.next();
        if (next === undefined) break;
        const { term } = parseEpoch(next.epoch);
        if (term > this.#options.highestTerm()) {
          this.#learnTerm(term, () => this.#dispatch(next.frame, next.epoch));
          break;
        }
        this.#dispatch(next.frame, next.epoch);
      }
    } catch (error) {
      this.#refuse(error);
    } finally {
      this.#isDelivering = false;
    }
  }

  #learnTerm(term: number, then: () => void): void {
    this.hold();
    this.#options.seeTerm(term, this.#peer?.nodeId ?? '').then(
      () => {
        try {
          if (this.#phase === 'frames') then();
        } catch (error) {
          this.#refuse(error);
        }
        this.release();
      },
      (error: unknown) => {
        this.#refuse(error);
        this.release();
      },
    );
  }

  #dispatch(frame: Frame, epoch: string): void {
    if (frame.type === 'PING') {
      if (frame.echo === null && this.unsent < unansweredFrom) {
        this.send({ type: 'PING', time: this.#now(), echo: frame.time });
      }
      return;
    }
    if (frame.type === 'ERROR') {
      this.#told = frame;
      const error = createError(frame.code === 'USAGE' ? 'PROTOCOL' : frame.code, `the peer says: ${frame.message}`);
      this.close(frame.reason, error);
      return;
    }
    this.#handler.frame(frame, epoch);
  }

  #refuse(error: unknown): void {
    const known = error instanceof Error ? error : createError('PROTOCOL', String(error));
    this.fail(reasonOf(known), known);
  }

  #schedule(): void {
    this.#timer();
    this.#timer = this.#options.clock.after(this.#heartbeatMs, () => this.#beat());
  }

  #beat(): void {
    if (this.#phase !== 'frames') return;
    const { clock, timeoutMs } = this.#options;
    const silence = clock.monotonic() - this.#heardAt;
    if (this.#held === 0 && silence > timeoutMs) {
      this.destroy('timeout', createError('TIMEOUT', `no byte from ${this.address} for ${Math.round(silence)} ms`));
      return;
    }
    this.#schedule();
    const before = this.#saidAt;
    this.#handler.beat();
    if (this.#saidAt === before) this.send({ type: 'PING', time: this.#now(), echo: null });
  }

  #now(): bigint {
    return BigInt(Math.round(this.#options.clock.monotonic()));
  }

  /** The end before authentication: at once, without an answer. */
  #drop(reason: Reason | null, message: string, cause?: unknown): void {
    const code: AnyCode = reason === 'auth' ? 'AUTH_FAILED' : reason === 'timeout' ? 'TIMEOUT' : 'PROTOCOL';
    this.destroy(reason, cause instanceof GaplessError ? cause : createError(code, message, { cause }));
  }

  #closed(error: Error | undefined): void {
    if (this.#phase === 'closed') return;
    const wasAuthenticated = this.#decoder !== undefined;
    this.#phase = 'closed';
    this.#timer();
    this.#early = [];
    this.#handler.closed({
      reason: this.#end.reason,
      error: this.#end.error ?? error,
      told: this.#told,
      wasAuthenticated,
    });
  }
}

function isAuthFailure(error: unknown): boolean {
  return error instanceof GaplessError && error.code === 'AUTH_FAILED';
}

function protocolEnd(message: string): GaplessError {
  return createError('PROTOCOL', message);
}

/** The link reason that an error stands for. */
export function reasonOf(error: Error): LinkReason | null {
  if (!(error instanceof GaplessError)) return null;
  if (error.code === 'PROTOCOL') return 'protocol';
  if (error.code === 'AUTH_FAILED') return 'auth';
  if (error.code === 'TIMEOUT') return 'timeout';
  return null;
}

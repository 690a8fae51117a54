/**
 * A TCP proxy between replica and primary that knows where frames begin: it cuts, flips, repeats, drops, delays and
 * stalls, at any byte or frame. For replication and chaos tests; dial its `port` instead of the primary's.
 */
import net from 'node:net';
import { type FrameName, frameHeaderBytes, frames } from '../../dist/wire/frames.js';
import { helloBytes, helloLayout, proofBytes } from '../../dist/wire/hello.js';

export type Direction = 'to-primary' | 'to-replica';

export interface ProxiedFrame {
  readonly direction: Direction;
  readonly purpose: 'control' | 'data';
  readonly name: FrameName;
  /** Header and payload. */
  readonly bytes: Buffer;
  /** Number of the connection, from 0, since the proxy started. */
  readonly connection: number;
}

/**
 * What happens to a frame. `flip`: offset of the byte whose lowest bit is inverted. `cutAt`: bytes that still pass.
 * `delayMs`: it and all behind it wait. `hold`: it alone waits for `releaseHeld`, others overtake it. `instead`: these
 * bytes go in its place.
 */
export type Fate =
  | 'pass'
  | 'drop'
  | 'twice'
  | 'cut'
  | 'hold'
  | { readonly flip: number }
  | { readonly cutAt: number }
  | { readonly delayMs: number }
  | { readonly instead: readonly Uint8Array[] };

const names = new Map<number, FrameName>((Object.keys(frames) as FrameName[]).map((name) => [frames[name].type, name]));

export type EarlyFate = { readonly cutAt: number } | { readonly flip: number };

export class FrameProxy {
  readonly #server: net.Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #pairs = new Set<Pair>();
  readonly #held: (() => void)[] = [];
  #count = 0;
  /** Decides over each frame; called in order per direction. */
  fate: (frame: ProxiedFrame) => Fate = () => 'pass';
  /** Sees the raw bytes of each direction before frames are told apart; return true to cut there and then. */
  cutBytes: ((direction: Direction, total: number) => boolean) | undefined;
  /**
   * Decides over hello and proof of each direction: cut behind so many bytes, or the byte whose lowest bit is
   * inverted.
   */
  early: ((direction: Direction, connection: number) => EarlyFate | undefined) | undefined;
  /** New connections are closed at once. */
  isDown = false;
  /** Bytes a second, each direction of each connection; 0: no limit. */
  bytesPerSecond = 0;

  static async start(target: { readonly host: string; readonly port: number }): Promise<FrameProxy> {
    const proxy = new FrameProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen({ host: '127.0.0.1', port: 0 }, resolve));
    return proxy;
  }

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#target = target;
    this.#server = net.createServer((socket) => this.#accept(socket));
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }
  get address(): { readonly host: string; readonly port: number } {
    return { host: '127.0.0.1', port: this.port };
  }
  /** Connections that are open. */
  get open(): number {
    return this.#pairs.size;
  }
  /** Connections since the start. */
  get accepted(): number {
    return this.#count;
  }

  /** Frames that wait for `releaseHeld`. */
  get held(): number {
    return this.#held.length;
  }

  hold(pass: () => void): void {
    this.#held.push(pass);
  }

  releaseHeld(): void {
    for (const pass of this.#held.splice(0)) pass();
  }

  /** Breaks every connection, with a reset. */
  cut(): void {
    for (const pair of this.#pairs) pair.cut();
  }

  /** Bytes stay in the proxy until `resume`; connections stay open. */
  stall(...directions: Direction[]): void {
    for (const pair of this.#pairs) for (const direction of directions) pair.pipe(direction).stall(true);
  }

  resume(): void {
    for (const pair of this.#pairs) {
      pair.pipe('to-primary').stall(false);
      pair.pipe('to-replica').stall(false);
    }
  }

  async close(): Promise<void> {
    this.isDown = true;
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(replica: net.Socket): void {
    if (this.isDown) {
      replica.destroy();
      return;
    }
    const primary = net.connect({ ...this.#target, noDelay: true });
    const pair = new Pair(this, this.#count++, replica, primary);
    this.#pairs.add(pair);
    pair.onEnd = () => this.#pairs.delete(pair);
  }
}

class Pair {
  readonly #sockets: readonly net.Socket[];
  readonly #pipes: Readonly<Record<Direction, Pipe>>;
  purpose: 'control' | 'data' = 'control';
  onEnd: () => void = () => undefined;

  constructor(proxy: FrameProxy, number: number, replica: net.Socket, primary: net.Socket) {
    this.#sockets = [replica, primary];
    this.#pipes = {
      'to-primary': new Pipe(proxy, this, number, 'to-primary', replica, primary),
      'to-replica': new Pipe(proxy, this, number, 'to-replica', primary, replica),
    };
    for (const socket of this.#sockets) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#ended());
    }
  }

  pipe(direction: Direction): Pipe {
    return this.#pipes[direction];
  }

  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #ended(): void {
    for (const pipe of Object.values(this.#pipes)) pipe.flush();
    for (const socket of this.#sockets) socket.end(() => socket.destroy());
    this.onEnd();
  }
}

/** One direction of one connection. */
class Pipe {
  readonly #proxy: FrameProxy;
  readonly #pair: Pair;
  readonly #number: number;
  readonly #direction: Direction;
  readonly #from: net.Socket;
  readonly #to: net.Socket;
  #bytes = Buffer.alloc(0);
  #total = 0;
  #early = helloBytes + proofBytes;
  #isStalled = false;
  #isWaiting = false;

  constructor(proxy: FrameProxy, pair: Pair, number: number, direction: Direction, from: net.Socket, to: net.Socket) {
    this.#proxy = proxy;
    this.#pair = pair;
    this.#number = number;
    this.#direction = direction;
    this.#from = from;
    this.#to = to;
    from.on('data', (bytes: Buffer) => {
      this.#total += bytes.length;
      if (this.#proxy.cutBytes?.(direction, this.#total) === true) {
        this.#pair.cut();
        return;
      }
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
      this.#forward();
    });
  }

  stall(isStalled: boolean): void {
    this.#isStalled = isStalled;
    if (isStalled) this.#from.pause();
    else this.#from.resume();
    this.#forward();
  }

  /** The connection ends: what is whole goes out. */
  flush(): void {
    this.#forward();
  }

  #forward(): void {
    while (!this.#isStalled && !this.#isWaiting && this.#bytes.length > 0 && !this.#to.destroyed) {
      if (this.#early > 0) {
        this.#passEarly();
        continue;
      }
      if (this.#bytes.length < frameHeaderBytes) return;
      const length = frameHeaderBytes + this.#bytes.readUInt32LE(0);
      if (this.#bytes.length < length) return;
      const bytes = Buffer.from(this.#bytes.subarray(0, length));
      this.#bytes = this.#bytes.subarray(length);
      this.#pass(bytes);
    }
  }

  #passEarly(): void {
    if (this.#direction === 'to-primary' && this.#early === helloBytes + proofBytes) {
      this.#pair.purpose =
        this.#bytes.readUInt8(Math.min(helloLayout.purpose, this.#bytes.length - 1)) === 2 ? 'data' : 'control';
    }
    const part = Buffer.from(this.#bytes.subarray(0, this.#early));
    const before = helloBytes + proofBytes - this.#early;
    this.#early -= part.length;
    this.#bytes = this.#bytes.subarray(part.length);
    const fate = this.#proxy.early?.(this.#direction, this.#number);
    if (fate !== undefined && 'cutAt' in fate && fate.cutAt <= before + part.length) {
      this.#to.write(part.subarray(0, Math.max(0, fate.cutAt - before)), () => this.#pair.cut());
      return;
    }
    if (fate !== undefined && 'flip' in fate && fate.flip >= before && fate.flip < before + part.length) {
      part[fate.flip - before] = (part[fate.flip - before] ?? 0) ^ 1;
    }
    this.#to.write(part);
  }

  #pass(bytes: Buffer): void {
    const name = names.get(bytes.readUInt8(4));
    if (name === undefined) {
      this.#write(bytes);
      return;
    }
    const { purpose } = this.#pair;
    const fate = this.#proxy.fate({ direction: this.#direction, purpose, name, bytes, connection: this.#number });
    if (fate === 'drop') return;
    if (fate === 'cut') {
      this.#pair.cut();
      return;
    }
    if (typeof fate === 'object' && 'cutAt' in fate) {
      this.#to.write(bytes.subarray(0, fate.cutAt), () => this.#pair.cut());
      return;
    }
    if (fate === 'hold') {
      this.#proxy.hold(() => this.#write(bytes));
      return;
    }
    if (typeof fate === 'object' && 'delayMs' in fate) {
      this.#wait(fate.delayMs, () => this.#write(bytes));
      return;
    }
    if (typeof fate === 'object' && 'instead' in fate) {
      this.#write(Buffer.concat(fate.instead));
      return;
    }
    if (typeof fate === 'object') bytes[fate.flip] = (bytes[fate.flip] ?? 0) ^ 1;
    this.#write(bytes);
    if (fate === 'twice') this.#write(bytes);
  }

  #write(bytes: Buffer): void {
    if (!this.#to.write(bytes)) {
      this.#from.pause();
      this.#to.once('drain', () => {
        if (!this.#isStalled) this.#from.resume();
      });
    }
    const rate = this.#proxy.bytesPerSecond;
    if (rate > 0) this.#wait((bytes.length * 1000) / rate, () => undefined);
  }

  #wait(ms: number, then: () => void): void {
    this.#isWaiting = true;
    this.#from.pause();
    setTimeout(() => {
      this.#isWaiting = false;
      then();
      if (!this.#isStalled) this.#from.resume();
      this.#forward();
    }, ms);
  }
}

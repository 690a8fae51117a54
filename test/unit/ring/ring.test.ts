/** The ring's JavaScript side: one layout in docs, TypeScript and C++; a reader that is never fooled; waiting. */
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { ringBytes, ringCapacityMin, ringLayout, ringMagic } from '../../../dist/ring/layout.js';
import { allocateRing, RingReader } from '../../../dist/ring/reader.js';
import { RingWaiter } from '../../../dist/ring/wait.js';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

describe('the layout', () => {
  test('is the same in docs/RING.md, in layout.ts and in ring.h', () => {
    const docs = new Map(
      [...read('docs/RING.md').matchAll(/^\| (\d+) \| (?:\d+|capacity) \| \w+ \| (\w+) \|/gm)].map((match) => [
        match[2],
        Number(match[1]),
      ]),
    );
    expect(Object.fromEntries(docs)).toEqual(ringLayout);
    const header = read('native/ring/ring.h');
    const line = Number(/kLineBytes = (\d+);/.exec(header)?.[1]);
    const native = [...header.matchAll(/ k(\w+)At = (\d+) \* kLineBytes;/g)].map((match) => [
      (match[1] ?? '').toLowerCase(),
      Number(match[2]) * line,
    ]);
    expect(Object.fromEntries(native)).toEqual(ringLayout);
    expect(/kRingMagic\[\] = "(\w+)"/.exec(header)?.[1]).toBe(ringMagic);
    expect(Number(/kCapacityMin = (\d+);/.exec(header)?.[1])).toBe(ringCapacityMin);
  });
});

/** Writes as native/ring/producer.cc does; `tear` runs between the copy and the publication. */
class TestProducer {
  readonly words: BigUint64Array;
  readonly data: Uint8Array;
  next = 0n;

  constructor(buffer: SharedArrayBuffer, generation = 1n, offset = 0n) {
    this.words = new BigUint64Array(buffer, 0, ringLayout.data / 8);
    this.data = new Uint8Array(buffer, ringLayout.data);
    this.store(ringLayout.magic, Buffer.from(ringMagic).readBigUInt64LE());
    this.store(ringLayout.next, offset);
    this.store(ringLayout.oldest, offset);
    this.store(ringLayout.generation, generation);
    this.next = offset;
  }
  store(at: number, value: bigint): void {
    Atomics.store(this.words, at / 8, value);
  }
  append(bytes: number, ship = true): void {
    const end = this.next + BigInt(bytes);
    const oldest = end - BigInt(this.data.length);
    if (oldest > Atomics.load(this.words, ringLayout.oldest / 8)) this.store(ringLayout.oldest, oldest);
    for (let offset = this.next; offset < end; offset++) {
      this.data[Number(offset % BigInt(this.data.length))] = byteAt(offset);
    }
    this.store(ringLayout.next, end);
    if (ship) this.store(ringLayout.shipping, end);
    this.next = end;
  }
}

const byteAt = (offset: bigint): number => Number((offset / 8n) * 31n + (offset % 8n) * 7n) & 0xff;
const pattern = (offset: bigint, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => byteAt(offset + BigInt(i)));

function readAll(reader: RingReader, offset: bigint, max: number): { outcome: string; bytes: number[] } {
  const into = new Uint8Array(max);
  const result = reader.read(1n, offset, into);
  return { outcome: result.outcome, bytes: result.outcome === 'ok' ? [...into.subarray(0, result.bytes)] : [] };
}

describe('a reader', () => {
  test('gets what was appended, around the end of the buffer, and is told when it is too late', () => {
    const buffer = allocateRing(256);
    const start = 2n ** 53n;
    const producer = new TestProducer(buffer, 1n, start);
    const reader = new RingReader(buffer);
    for (let round = 0; round < 50; round++) {
      producer.append(56 + 8 * (round % 20));
      const oldest = reader.state().oldest;
      const there = Number(producer.next - oldest);
      expect(readAll(reader, oldest, 256)).toEqual({ outcome: 'ok', bytes: pattern(oldest, there) });
      if (oldest > start) expect(readAll(reader, oldest - 8n, 256).outcome).toBe('overtaken');
    }
  });
  test('never passes the shipping end and never reads the future or half a word', () => {
    const buffer = allocateRing(256);
    const producer = new TestProducer(buffer);
    const reader = new RingReader(buffer);
    producer.append(64);
    producer.append(64, false);
    expect(readAll(reader, 0n, 256).bytes).toEqual(pattern(0n, 64));
    expect(readAll(reader, 64n, 256).outcome).toBe('nothing');
    producer.store(ringLayout.shipping, 1000n);
    expect(readAll(reader, 0n, 256).bytes).toHaveLength(128);
    expect(readAll(reader, 512n, 256).outcome).toBe('nothing');
    expect(readAll(reader, 4n, 256).outcome).toBe('overtaken');
    expect(readAll(reader, 0n, 30).bytes).toHaveLength(24);
  });
  test('leaves when the generation changes, also while it copies', () => {
    const buffer = allocateRing(256);
    const reader = new RingReader(buffer);
    expect(reader.generation()).toBe(0n);
    expect(reader.read(0n, 0n, new Uint8Array(64)).outcome).toBe('ended');
    const producer = new TestProducer(buffer);
    producer.append(64);
    expect(reader.generation()).toBe(1n);
    const during = new Uint8Array(64);
    during.set = () => producer.store(ringLayout.generation, 2n);
    expect(reader.read(1n, 0n, during).outcome).toBe('ended');
    expect(reader.read(1n, 0n, new Uint8Array(64)).outcome).toBe('ended');
    expect(reader.read(2n, 0n, new Uint8Array(64)).outcome).toBe('ok');
  });
  test('that is overtaken while it copies says so', () => {
    const buffer = allocateRing(256);
    const producer = new TestProducer(buffer);
    const reader = new RingReader(buffer);
    producer.append(128);
    const during = new Uint8Array(64);
    during.set = () => producer.append(256);
    expect(reader.read(1n, 0n, during).outcome).toBe('overtaken');
  });
  test('stays inside the buffer whatever stands in the words', () => {
    const buffer = allocateRing(64);
    const producer = new TestProducer(buffer);
    const reader = new RingReader(buffer);
    for (const at of Object.values(ringLayout)) if (at < ringLayout.notify) producer.store(at, 2n ** 64n - 1n);
    producer.store(ringLayout.generation, 1n);
    producer.store(ringLayout.oldest, 0n);
    expect(reader.read(1n, 8n, new Uint8Array(4096))).toEqual({ outcome: 'ok', bytes: 64 });
    expect(reader.state().epoch).toBe('4294967295.4294967295');
  });
  test('refuses memory that cannot be a ring', () => {
    for (const bytes of [0, ringLayout.data, ringBytes(64) + 8, ringBytes(32)]) {
      expect(() => new RingReader(new SharedArrayBuffer(bytes))).toThrow(RangeError);
    }
    expect(() => allocateRing(1000)).toThrow(RangeError);
  });
});

const workers: Worker[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
});

describe('a waiter', () => {
  const change = (buffer: SharedArrayBuffer): number => Atomics.add(new Int32Array(buffer, ringLayout.notify, 1), 0, 1);

  test('does not wait for what changed already', async () => {
    const buffer = allocateRing(64);
    const waiter = new RingWaiter(buffer);
    const seen = waiter.seen();
    change(buffer);
    expect(await waiter.wait(seen, 60_000)).toBe('changed');
    expect(waiter.waitBlocking(seen, 60_000)).toBe('changed');
  });
  test('wakes when it is told and gives up after its time', async () => {
    const buffer = allocateRing(64);
    const waiter = new RingWaiter(buffer);
    const pending = waiter.wait(waiter.seen(), 60_000);
    change(buffer);
    expect(waiter.wake()).toBe(1);
    expect(await pending).toBe('changed');
    expect(waiter.waitBlocking(waiter.seen(), 5)).toBe('timeout');
  });
  test('in another thread is woken from here', async () => {
    const buffer = allocateRing(64);
    const waiter = new RingWaiter(buffer);
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.module).then(({ RingWaiter }) => {
        const waiter = new RingWaiter(workerData.buffer);
        const seen = waiter.seen();
        parentPort.postMessage('waits');
        parentPort.postMessage(waiter.waitBlocking(seen, 30_000));
      });`;
    const module = new URL('../../../dist/ring/wait.js', import.meta.url).href;
    const worker = new Worker(code, { eval: true, workerData: { buffer, module } });
    workers.push(worker);
    const heard: unknown[] = [];
    await new Promise<void>((resolve, reject) => {
      worker.on('error', reject);
      worker.on('message', (message) => {
        heard.push(message);
        if (message !== 'waits') return resolve();
        change(buffer);
        const timer = setInterval(() => waiter.wake() > 0 && clearInterval(timer), 5);
        worker.on('exit', () => clearInterval(timer));
      });
    });
    expect(heard).toEqual(['waits', 'changed']);
  });
});

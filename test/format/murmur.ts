/** MurmurHash3_x64_128 with seed 0, its first eight bytes (h1): written for the tests, from the published algorithm. */
const mask = 0xffff_ffff_ffff_ffffn;
const c1 = 0x87c37b91114253d5n;
const c2 = 0x4cf5ad432745937fn;
const rotate = (x: bigint, by: bigint): bigint => ((x << by) | (x >> (64n - by))) & mask;
const times = (a: bigint, b: bigint): bigint => (a * b) & mask;

function finish(x: bigint): bigint {
  let k = x ^ (x >> 33n);
  k = times(k, 0xff51afd7ed558ccdn);
  k ^= k >> 33n;
  k = times(k, 0xc4ceb9fe1a85ec53n);
  return k ^ (k >> 33n);
}

export function murmur3Low(data: Buffer): bigint {
  let h1 = 0n;
  let h2 = 0n;
  const blocks = Math.floor(data.length / 16);
  const padded = Buffer.concat([data, Buffer.alloc(16 - (data.length % 16))]);
  for (let i = 0; i <= blocks; i += 1) {
    const k1 = times(rotate(times(padded.readBigUInt64LE(i * 16), c1), 31n), c2);
    const k2 = times(rotate(times(padded.readBigUInt64LE(i * 16 + 8), c2), 33n), c1);
    h1 ^= k1;
    if (i === blocks) {
      h2 ^= k2; // The tail: mixed in, not spread.
      break;
    }
    h1 = (times((rotate(h1, 27n) + h2) & mask, 5n) + 0x52dce729n) & mask;
    h2 ^= k2;
    h2 = (times((rotate(h2, 31n) + h1) & mask, 5n) + 0x38495ab5n) & mask;
  }
  h1 ^= BigInt(data.length);
  h2 ^= BigInt(data.length);
  h1 = (h1 + h2) & mask;
  h2 = (h2 + h1) & mask;
  h1 = finish(h1);
  h2 = finish(h2);
  return (h1 + h2) & mask;
}

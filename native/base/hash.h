// The hash functions of the project. What reaches a disk or a peer is MurmurHash3_x64_128 (public
// domain, A. Appleby); keys are hashed by a faster multiply-and-fold hash in the manner of wyhash
// (public domain, Wang Yi). Pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/slice.h"

namespace gapless {

struct Hash128 {
  uint64_t low = 0;   // h1
  uint64_t high = 0;  // h2
};

Hash128 Murmur3_128(const void* data, size_t size, uint32_t seed);

// The same hash over bytes that come in pieces; never allocates.
class Murmur3Stream {
 public:
  explicit Murmur3Stream(uint32_t seed) : h1_(seed), h2_(seed) {}
  void Update(const void* data, size_t size);
  // Call once, at the end.
  Hash128 Finish();

 private:
  void Block(const uint8_t* block);

  uint64_t h1_;
  uint64_t h2_;
  uint64_t total_ = 0;
  size_t held_ = 0;  // bytes in block_
  uint8_t block_[16] = {};
};

// Hash of a key in indexes, filters and tags, and for its shard. Never to be changed: the files of
// runs depend on it (docs/FORMAT.md "Filter").
uint64_t HashKey(Slice key);

// Sum modulo 2^128, the combiner of the store digest (DESIGN section 5).
struct DigestSum {
  uint64_t low = 0;
  uint64_t high = 0;
  void Add(Hash128 hash) {
    low += hash.low;
    high += hash.high + (low < hash.low ? 1 : 0);
  }
  void Add(const DigestSum& other) { Add(Hash128{other.low, other.high}); }
};

// Hash of one live entry: (u32le key length, key, value), seed 0.
Hash128 DigestEntry(Slice key, Slice value);

}  // namespace gapless

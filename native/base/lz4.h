// LZ4 block format: own compressor and a decompressor that trusts nothing.
//
// Only the block format (no frame, no dictionary): what the lz4 library calls a block can be
// read here, and what is written here can be read there. A compressor owns its table, so that
// each worker has one; decompression is a pure function. Any thread, one call at a time a
// compressor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/slice.h"

namespace gapless {

class Lz4Compressor {
 public:
  // Writes the block of `raw` to `to`. Returns its length, or 0 if it would need more than
  // `capacity` bytes. Never writes behind `capacity`. Requires: raw.size() < 2 GiB.
  size_t Compress(Slice raw, void* to, size_t capacity);

 private:
  std::vector<uint32_t> table_;  // hash of four bytes -> their position; allocated at first use
};

// Fills exactly `raw_size` bytes at `to` from the block `stored`. Returns false if the block is no
// block, or not of that size; `to` then holds anything. Never reads or writes outside the two
// ranges.
bool Lz4Decompress(Slice stored, void* to, size_t raw_size);

}  // namespace gapless

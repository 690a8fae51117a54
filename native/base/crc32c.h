// CRC32C (Castagnoli), with the fastest implementation of this machine chosen at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/slice.h"

namespace gapless {

// Continues `crc` (the CRC of what came before, 0 at the start) over `size` bytes.
uint32_t Crc32c(uint32_t crc, const void* data, size_t size);
inline uint32_t Crc32c(Slice bytes) { return Crc32c(0, bytes.data(), bytes.size()); }

// The CRC of A||B from crc(A), crc(B) and |B|.
uint32_t Crc32cCombine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b);

// Every implementation that this machine can run, for tests: name and function.
struct Crc32cImplementation {
  const char* name;
  uint32_t (*extend)(uint32_t crc, const void* data, size_t size);
};
std::vector<Crc32cImplementation> Crc32cImplementations();

}  // namespace gapless

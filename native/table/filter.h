// The filter of a page: tells of most keys that are not in its data blocks that they are not. Bits:
// docs/FORMAT.md "Filter". Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/slice.h"
#include "table/run_format.h"

namespace gapless::table {

// Appends the filter of the keys with these hashes.
void AppendFilter(const std::vector<uint64_t>& hashes, std::string* to);

// Where in the filter the bits of a key are.
inline const uint8_t* FilterLine(Slice filter, uint64_t hash) {
  const uint64_t lines = filter.size() / kFilterLineBytes;
  const uint64_t line = ((hash * 0x9E3779B97F4A7C15u) >> 32) * lines >> 32;
  return filter.bytes() + line * kFilterLineBytes;
}

// Asks for the memory that FilterMayContain will want.
inline void PrefetchFilter(Slice filter, uint64_t hash) {
  __builtin_prefetch(FilterLine(filter, hash));
}

// False: no key with this hash is in the filter. Requires: the size of `filter` is a multiple of
// kFilterLineBytes and not 0.
inline bool FilterMayContain(Slice filter, uint64_t hash) {
  const uint8_t* const bits = FilterLine(filter, hash);
  auto x = static_cast<uint32_t>(hash);
  uint32_t missing = 0;
  for (int probe = 0; probe < 6; ++probe) {
    x *= 0x9E3779B9u;
    const uint32_t bit = x >> 23;
    missing |= ~(static_cast<uint32_t>(bits[bit >> 3]) >> (bit & 7)) & 1;
  }
  return missing == 0;
}

}  // namespace gapless::table

// Building filters.
#include "table/filter.h"

namespace gapless::table {
namespace {

constexpr size_t kBitsPerKey = 10;
constexpr size_t kLineBits = kFilterLineBytes * 8;

}  // namespace

void AppendFilter(const std::vector<uint64_t>& hashes, std::string* to) {
  const size_t wanted = (hashes.size() * kBitsPerKey + kLineBits - 1) / kLineBits;
  const uint64_t lines = wanted == 0 ? 1 : wanted;
  const size_t start = to->size();
  to->resize(start + lines * kFilterLineBytes, 0);
  auto* const filter = reinterpret_cast<uint8_t*>(to->data()) + start;
  for (const uint64_t hash : hashes) {
    const uint64_t line = ((hash * 0x9E3779B97F4A7C15u) >> 32) * lines >> 32;
    uint8_t* const bits = filter + line * kFilterLineBytes;
    auto x = static_cast<uint32_t>(hash);
    for (int probe = 0; probe < 6; ++probe) {
      x *= 0x9E3779B9u;
      const uint32_t bit = x >> 23;
      bits[bit >> 3] = static_cast<uint8_t>(bits[bit >> 3] | 1u << (bit & 7));
    }
  }
}

}  // namespace gapless::table

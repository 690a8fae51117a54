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
  const Slice filter(to->data() + start, lines * kFilterLineBytes);
  for (const uint64_t hash : hashes) {
    auto* const bits = const_cast<uint8_t*>(FilterLine(filter, hash));
    auto x = static_cast<uint32_t>(hash);
    for (int probe = 0; probe < 6; ++probe) {
      x *= 0x9E3779B9u;
      const uint32_t bit = x >> 23;
      bits[bit >> 3] = static_cast<uint8_t>(bits[bit >> 3] | 1u << (bit & 7));
    }
  }
}

}  // namespace gapless::table

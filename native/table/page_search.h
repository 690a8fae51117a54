// Searching inside one page of the ordered index, by prefixes first. Pure; any thread.
#pragma once

#include <algorithm>
#include <cstring>

#include "table/ordered_index.h"

namespace gapless::table {

// Orders `key` against the bytes that all keys of the page share: <0, 0 (it has them too), >0.
// `first` is any key of the page; it is looked at only when the shared bytes are many.
inline int CompareCommon(const Page& page, Slice key, const Slice* first) {
  const size_t skip = page.skip;
  const char* const common = skip <= Page::kInlineCommon ? page.common : first->data();
  const size_t length = std::min(key.size(), skip);
  const int order = length == 0 ? 0 : std::memcmp(key.data(), common, length);
  if (order != 0) return order;
  return key.size() < skip ? -1 : 0;
}

inline bool SharesCommon(const Page& page, Slice first, Slice key) {
  return CompareCommon(page, key, &first) == 0;
}

inline uint32_t PrefixLowerBound(const uint64_t* prefixes, uint32_t from, uint32_t count,
                                 uint64_t wanted) {
  const uint64_t* base = prefixes + from;
  uint32_t left = count - from;
  while (left > 1) {
    const uint32_t half = left / 2;
    base = base[half - 1] < wanted ? base + half : base;
    left -= half;
  }
  if (left == 1 && *base < wanted) base++;
  return static_cast<uint32_t>(base - prefixes);
}

// The first index in [from, count) whose key is >= `key` (kBehind: > `key`), or count.
template <bool kBehind, typename PageType>
uint32_t SearchPage(const PageType& page, const uint64_t* prefixes, uint32_t from, uint32_t count,
                    Slice key) {
  if (from == count) return count;
  if (page.skip > 0) {
    Slice first;
    if (page.skip > Page::kInlineCommon) first = page.KeyAt(from);
    const int order = CompareCommon(page, key, &first);
    if (order != 0) return order < 0 ? from : count;
  }
  const uint64_t wanted = KeyPrefix(key, page.skip);
  uint32_t low = PrefixLowerBound(prefixes, from, count, wanted);
  uint32_t high = low;
  while (high < count && prefixes[high] == wanted) high++;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const int order = page.KeyAt(middle).Compare(key);
    if (order < 0 || (kBehind && order == 0)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

inline uint32_t LowerBound(const Leaf& leaf, uint32_t count, Slice key) {
  return SearchPage<false>(leaf, leaf.prefixes(), 0, count, key);
}
inline uint32_t UpperBound(const Leaf& leaf, uint32_t count, Slice key) {
  return SearchPage<true>(leaf, leaf.prefixes(), 0, count, key);
}
// The child that holds `key` if any does. The count of an inner page never changes.
inline uint32_t ChildFor(const Inner& page, Slice key) {
  const uint32_t count = page.count.load(std::memory_order_relaxed);
  return SearchPage<true>(page, page.prefixes, 1, count, key) - 1;
}

// Fetches the header and the prefixes at once, before anything of the page is looked at: a search
// would wait for one line after the other.
inline void PrefetchPage(const Page* page) {
  constexpr size_t kBytes = sizeof(Page) + Inner::kCapacity * sizeof(uint64_t);
  const char* const at = reinterpret_cast<const char*>(page);
  for (size_t offset = 0; offset < kBytes; offset += 64) __builtin_prefetch(at + offset);
}

}  // namespace gapless::table

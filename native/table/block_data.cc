// Encoding, checking and searching data blocks.
#include "table/block_data.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace gapless::table {
namespace {

size_t VarintBytes(uint64_t value) {
  size_t bytes = 1;
  for (; value >= 128; value >>= 7) ++bytes;
  return bytes;
}

char* WriteVarint(uint64_t value, char* to) {
  for (; value >= 128; value >>= 7) *to++ = static_cast<char>(value | 128);
  *to++ = static_cast<char>(value);
  return to;
}

// False: it does not end before `end`, is no number of 64 bits, or not in its shortest form.
bool TakeVarint(const uint8_t** at, const uint8_t* end, uint64_t* value) {
  uint64_t result = 0;
  for (uint32_t shift = 0; shift < 64 && *at < end; shift += 7) {
    const uint8_t byte = *(*at)++;
    if (shift == 63 && byte > 1) return false;
    result |= (byte & 127ull) << shift;
    if (byte >= 128) continue;
    *value = result;
    return byte != 0 || shift == 0;
  }
  return false;
}

constexpr ContentFault kSound{};
ContentFault Damage(const char* text) { return ContentFault{text, false}; }

// Of one entry between `at` and `end`.
ContentFault CheckEntry(const uint8_t* at, const uint8_t* end, size_t common, const ValueUses& uses,
                        DataEntry* entry) {
  entry->flags = *at++;
  if ((entry->flags & ~kEntryFlagsKnown) != 0) return ContentFault{"unknown entry flags", true};
  uint64_t suffix_bytes = 0;
  if (!TakeVarint(&at, end, &suffix_bytes) || !TakeVarint(&at, end, &entry->seq)) {
    return Damage("an entry's numbers are damaged");
  }
  if ((entry->flags & kEntryExpires) != 0) {
    if (end - at < 8 || LoadU64(at) == 0) return Damage("an entry's expiry is damaged");
    at += 8;
  }
  if (suffix_bytes > static_cast<uint64_t>(end - at) || suffix_bytes + common > kRunKeyBytesMax) {
    return Damage("an entry's key is too long");
  }
  entry->suffix = Slice(at, suffix_bytes);
  if (entry->deleted() && static_cast<uint64_t>(end - at) != suffix_bytes) {
    return Damage("a deleted entry has a value");
  }
  if (entry->stored()) {
    const Slice value(at + suffix_bytes, static_cast<size_t>(end - at) - suffix_bytes);
    if (value.size() != kValueRefBytes || !RefersInto(DecodeValueRef(value), uses)) {
      return Damage("a value reference is damaged");
    }
  }
  return kSound;
}

}  // namespace

ContentFault DataBlock::Check(Slice raw, const ValueUses& uses) {
  if (raw.size() <= kDataHeadBytes || raw.size() > kDataRawBytesMax) {
    return Damage("a data block's size is damaged");
  }
  const uint64_t count = LoadU32(raw.data() + kDataEntries);
  const uint64_t common = LoadU32(raw.data() + kDataCommonBytes);
  const uint64_t width = raw.size() <= kDataNarrowMax ? 2 : 4;
  const uint64_t first = kDataHeadBytes + (width + 1) * count + common;
  if (count == 0 || common > kRunKeyBytesMax || first >= raw.size()) {
    return Damage("a data block's head is damaged");
  }
  const DataBlock block(raw);
  if (block.OffsetAt(0) != first) return Damage("entries begin at a wrong place");
  DataEntry before;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t begin = block.OffsetAt(i);
    const uint64_t end = i + 1 < count ? block.OffsetAt(i + 1) : raw.size();
    if (end <= begin || end > raw.size()) return Damage("an entry's place is damaged");
    DataEntry entry;
    const ContentFault fault =
        CheckEntry(block.raw_ + begin, block.raw_ + end, common, uses, &entry);
    if (fault.text != nullptr) return fault;
    if (i > 0) {
      const int order = before.suffix.Compare(entry.suffix);
      const bool again = (entry.flags & kEntryAgain) != 0;
      if (order > 0 || again != (order == 0)) return Damage("keys are out of order");
      if (again && before.seq <= entry.seq) return Damage("versions are out of order");
    }
    before = entry;
  }
  return kSound;
}

uint32_t DataBlock::Find(uint64_t hash, Slice key) const {
  const uint8_t* const tags = Tags();
  const Slice shared = common();
  if (!key.StartsWith(shared)) return count_;
  key.RemovePrefix(shared.size());
  const uint8_t* const end = tags + count_;
  const uint8_t tag = TagOf(hash);
  for (const uint8_t* at = tags; at < end; ++at) {
    at = static_cast<const uint8_t*>(std::memchr(at, tag, static_cast<size_t>(end - at)));
    if (at == nullptr) break;
    const auto index = static_cast<uint32_t>(at - tags);
    if (SuffixAt(index) == key) return index;
  }
  return count_;
}

uint32_t DataBlock::LowerBound(Slice key) const {
  const Slice shared = common();
  const int order = key.Sub(0, std::min(key.size(), shared.size())).Compare(shared);
  if (order != 0) return order < 0 ? 0 : count_;
  key.RemovePrefix(shared.size());
  uint32_t low = 0;
  uint32_t high = count_;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (SuffixAt(middle).Compare(key) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

size_t DataBlockBuilder::CostOf(const Cell& cell) {
  const size_t expiry = cell.expires_at_ms != 0 ? 8 : 0;
  const size_t numbers = VarintBytes(cell.key.size()) + VarintBytes(cell.seq);
  return 4 + numbers + expiry + cell.key.size() + cell.value.size();
}

void DataBlockBuilder::Add(const Cell& cell, uint64_t hash, bool again, bool stored) {
  const uint32_t flags = (cell.deleted ? kEntryDeleted : 0u) | (again ? kEntryAgain : 0u) |
                         (cell.expires_at_ms != 0 ? kEntryExpires : 0u) |
                         (stored ? kEntryStored : 0u);
  entries_.push_back({held_.size(), static_cast<uint32_t>(cell.key.size()),
                      static_cast<uint32_t>(cell.value.size()), cell.seq, cell.expires_at_ms,
                      static_cast<uint8_t>(flags), TagOf(hash)});
  held_.append(cell.key.data(), cell.key.size());
  held_.append(cell.value.data(), cell.value.size());
  bytes_ += CostOf(cell);
}

Slice DataBlockBuilder::last_key() const { return KeyOf(entries_.back()); }

// Keys ascend: what the first and the last share, all share.
size_t DataBlockBuilder::CommonBytes() const {
  const Slice first = KeyOf(entries_.front());
  const Slice last = last_key();
  const size_t most = std::min(first.size(), last.size());
  size_t common = 0;
  while (common < most && first[common] == last[common]) ++common;
  return common;
}

size_t DataBlockBuilder::EncodedBytes(const Pending& entry, size_t common) {
  const size_t suffix = entry.key_bytes - common;
  return 1 + VarintBytes(suffix) + VarintBytes(entry.seq) + (entry.expires_at_ms != 0 ? 8u : 0u) +
         suffix + entry.value_bytes;
}

char* DataBlockBuilder::Encode(const Pending& entry, size_t common, char* to) const {
  const size_t suffix = entry.key_bytes - common;
  *to++ = static_cast<char>(entry.flags);
  to = WriteVarint(suffix, to);
  to = WriteVarint(entry.seq, to);
  if (entry.expires_at_ms != 0) {
    StoreU64(to, entry.expires_at_ms);
    to += 8;
  }
  const size_t rest = suffix + entry.value_bytes;
  std::memcpy(to, held_.data() + entry.key_at + common, rest);
  return to + rest;
}

void DataBlockBuilder::Finish(std::string* raw) {
  GAPLESS_ASSERT(!entries_.empty());
  const size_t common = CommonBytes();
  const size_t count = entries_.size();
  size_t size = kDataHeadBytes + 3 * count + common;
  for (const Pending& entry : entries_) size += EncodedBytes(entry, common);
  const size_t width = size <= kDataNarrowMax ? 2 : 4;
  size += (width - 2) * count;
  raw->resize(size);
  char* const begin = raw->data();
  StoreU32(begin + kDataEntries, static_cast<uint32_t>(count));
  StoreU32(begin + kDataCommonBytes, static_cast<uint32_t>(common));
  char* offsets = begin + kDataHeadBytes;
  char* tags = offsets + width * count;
  if (common > 0) std::memcpy(tags + count, held_.data(), common);
  char* to = tags + count + common;
  for (const Pending& entry : entries_) {
    const auto offset = static_cast<uint32_t>(to - begin);
    std::memcpy(offsets, &offset, width);
    offsets += width;
    *tags++ = static_cast<char>(entry.tag);
    to = Encode(entry, common, to);
  }
  GAPLESS_ASSERT(to == begin + size);
  entries_.clear();
  if (held_.capacity() > 4 * kRunBlockBytesMax) std::string().swap(held_);
  held_.clear();
  bytes_ = kDataHeadBytes;
}

}  // namespace gapless::table

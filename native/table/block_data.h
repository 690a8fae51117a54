// Data blocks of runs: building one, checking the raw content of one, and reading it. Layout:
// docs/FORMAT.md "Run data block".
//
// A DataBlock is a view of content that Check found sound: nothing in it is checked again, and no
// access leaves it. Entries are reached by number in constant time, in both directions. Pure; any
// thread; a builder belongs to one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/slice.h"
#include "table/cell.h"
#include "table/run_format.h"

namespace gapless::table {

// What is wrong with the content of a block whose CRC holds; no text: nothing.
struct ContentFault {
  const char* text = nullptr;
  bool unknown = false;  // a flag or reserved byte of a later version
};

// The tag of a key in a data block.
inline uint8_t TagOf(uint64_t hash) { return static_cast<uint8_t>(hash >> 56); }

struct DataEntry {
  Slice suffix;  // of the key, behind the common bytes
  Slice value;   // if stored: a value reference
  uint64_t seq = 0;
  uint64_t expires_at_ms = 0;
  uint8_t flags = 0;
  bool deleted() const { return (flags & kEntryDeleted) != 0; }
  bool stored() const { return (flags & kEntryStored) != 0; }
};

class DataBlock {
 public:
  DataBlock() = default;
  // Requires: Check(raw) found nothing.
  explicit DataBlock(Slice raw)
      : raw_(raw.bytes()),
        size_(static_cast<uint32_t>(raw.size())),
        count_(LoadU32(raw.data() + kDataEntries)),
        common_bytes_(LoadU32(raw.data() + kDataCommonBytes)),
        narrow_(raw.size() <= kDataNarrowMax) {}
  // `uses`: the value files that entries may refer to.
  static ContentFault Check(Slice raw, const ValueUses& uses);

  uint32_t count() const { return count_; }
  Slice common() const { return Slice(Tags() + count_, common_bytes_); }
  uint8_t FlagsAt(uint32_t index) const { return raw_[OffsetAt(index)]; }
  uint8_t TagAt(uint32_t index) const { return Tags()[index]; }
  inline DataEntry At(uint32_t index) const;
  // Asks for the memory that Find will want first.
  void Prefetch() const {
    const uint8_t* const end = Tags() + count_ + common_bytes_;
    for (const uint8_t* at = raw_ + 16; at < end; at += 64) __builtin_prefetch(at);
  }
  // Whether entry `index` is an older version of the entry before.
  bool AgainAt(uint32_t index) const { return (FlagsAt(index) & kEntryAgain) != 0; }
  // The first entry of `key`, or count(). `hash` is HashKey(key).
  uint32_t Find(uint64_t hash, Slice key) const;
  // The first entry with a key >= `key`, or count().
  uint32_t LowerBound(Slice key) const;

 private:
  const uint8_t* Tags() const { return raw_ + kDataHeadBytes + (narrow_ ? 2u : 4u) * count_; }
  uint32_t OffsetAt(uint32_t index) const {
    const uint8_t* const offsets = raw_ + kDataHeadBytes;
    return narrow_ ? LoadU16(offsets + 2 * size_t{index}) : LoadU32(offsets + 4 * size_t{index});
  }
  inline Slice SuffixAt(uint32_t index) const;

  const uint8_t* raw_ = nullptr;
  uint32_t size_ = 0;
  uint32_t count_ = 0;
  uint32_t common_bytes_ = 0;
  bool narrow_ = true;
};

// A varint of checked content.
inline const uint8_t* ReadVarint(const uint8_t* at, uint64_t* value) {
  uint64_t result = *at & 127u;
  for (uint32_t shift = 7; *at++ >= 128; shift += 7) result |= (*at & 127ull) << shift;
  *value = result;
  return at;
}

inline DataEntry DataBlock::At(uint32_t index) const {
  DataEntry entry;
  const uint8_t* at = raw_ + OffsetAt(index);
  const uint8_t* const end = raw_ + (index + 1 < count_ ? OffsetAt(index + 1) : size_);
  entry.flags = *at++;
  uint64_t suffix_bytes = 0;
  at = ReadVarint(at, &suffix_bytes);
  at = ReadVarint(at, &entry.seq);
  if ((entry.flags & kEntryExpires) != 0) {
    entry.expires_at_ms = LoadU64(at);
    at += 8;
  }
  entry.suffix = Slice(at, suffix_bytes);
  at += suffix_bytes;
  entry.value = Slice(at, static_cast<size_t>(end - at));
  return entry;
}

inline Slice DataBlock::SuffixAt(uint32_t index) const {
  const uint8_t* at = raw_ + OffsetAt(index);
  const uint8_t flags = *at++;
  uint64_t suffix_bytes = 0;
  at = ReadVarint(at, &suffix_bytes);
  while (*at++ >= 128) {
  }
  return Slice(at + ((flags & kEntryExpires) != 0 ? 8 : 0), suffix_bytes);
}

// Collects the entries of one block. Keys ascend, sequences of one key fall.
class DataBlockBuilder {
 public:
  // What a cell adds to bytes(), at most.
  static size_t CostOf(const Cell& cell);
  // `again`: the key is that of the cell before, in this block or the one before. `stored`: the
  // value is a value reference.
  void Add(const Cell& cell, uint64_t hash, bool again, bool stored = false);
  bool empty() const { return entries_.empty(); }
  // Of the raw content, at most (four bytes an entry more beyond kDataNarrowMax).
  size_t bytes() const { return bytes_; }
  Slice last_key() const;
  // Replaces *raw by the content and starts anew. Requires: !empty().
  void Finish(std::string* raw);

 private:
  struct Pending {
    size_t key_at;  // in held_; the value stands behind the key
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint64_t seq;
    uint64_t expires_at_ms;
    uint8_t flags;
    uint8_t tag;
  };

  Slice KeyOf(const Pending& entry) const {
    return Slice(held_.data() + entry.key_at, entry.key_bytes);
  }
  size_t CommonBytes() const;
  static size_t EncodedBytes(const Pending& entry, size_t common);
  char* Encode(const Pending& entry, size_t common, char* to) const;

  std::vector<Pending> entries_;
  std::string held_;  // keys and values
  size_t bytes_ = kDataHeadBytes;
};

}  // namespace gapless::table

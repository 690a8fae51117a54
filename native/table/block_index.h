// Index blocks of runs, pages and the top block alike: which child holds a key. Layout:
// docs/FORMAT.md "Run index block".
//
// An IndexBlock is a view of content that Check found sound. A search touches an array of key
// prefixes, and keys only where prefixes are equal. Pure; any thread; a builder belongs to one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/slice.h"
#include "table/block_data.h"
#include "table/run_format.h"

namespace gapless::table {

class IndexBlock {
 public:
  IndexBlock() = default;
  // Requires: Check(raw) found nothing.
  explicit IndexBlock(Slice raw)
      : raw_(raw.data()),
        count_(LoadU32(raw.data() + kIndexChildren)),
        common_bytes_(LoadU32(raw.data() + kIndexCommonBytes)),
        extra_bytes_(LoadU32(raw.data() + kIndexExtraBytes)) {}
  static ContentFault Check(Slice raw);

  uint32_t count() const { return count_; }
  Slice extra() const { return Slice(raw_ + kIndexHeadBytes, extra_bytes_); }
  uint64_t PositionAt(uint32_t child) const {
    return LoadU64(Prefixes() + (uint64_t{count_} + child) * 8);
  }
  uint32_t BytesAt(uint32_t child) const {
    return LoadU32(Prefixes() + uint64_t{count_} * 16 + uint64_t{child} * 4);
  }
  // The first child whose key is >= `key`, or count().
  uint32_t Search(Slice key) const;
  // Orders the child's key against `key`: <0, 0, >0.
  int CompareAt(uint32_t child, Slice key) const;
  std::string KeyAt(uint32_t child) const;
  // Asks for the memory that Search will want.
  void Prefetch() const {
    const char* const at = Prefixes();
    for (size_t offset = 0; offset < uint64_t{count_} * 8; offset += 64) {
      __builtin_prefetch(at + offset);
    }
  }

 private:
  const char* Prefixes() const { return raw_ + kIndexHeadBytes + extra_bytes_; }
  uint64_t PrefixAt(uint32_t child) const { return LoadU64(Prefixes() + uint64_t{child} * 8); }
  uint32_t EndAt(uint32_t child) const {
    return LoadU32(Prefixes() + uint64_t{count_} * 20 + uint64_t{child} * 4);
  }
  Slice common() const {
    return Slice(Prefixes() + uint64_t{count_} * kIndexChildBytes, common_bytes_);
  }
  Slice SuffixAt(uint32_t child) const {
    const uint32_t begin = child == 0 ? 0 : EndAt(child - 1);
    return Slice(common().data() + common_bytes_ + begin, EndAt(child) - begin);
  }

  const char* raw_ = nullptr;
  uint32_t count_ = 0;
  uint32_t common_bytes_ = 0;
  uint32_t extra_bytes_ = 0;
};

class IndexBlockBuilder {
 public:
  // Keys ascend, equal ones are allowed.
  void Add(Slice key, uint64_t position, uint32_t bytes);
  uint32_t count() const { return static_cast<uint32_t>(children_.size()); }
  Slice last_key() const { return KeyOf(children_.back()); }
  // Of the raw content without the extra bytes, at most.
  uint64_t bytes() const {
    return kIndexHeadBytes + children_.size() * kIndexChildBytes + keys_.size();
  }
  // Replaces *raw by the content and starts anew. Requires: extra.size() is a multiple of 8.
  void Finish(Slice extra, std::string* raw);

 private:
  struct Child {
    size_t key_at;
    size_t key_bytes;
    uint64_t position;
    uint32_t bytes;
  };
  Slice KeyOf(const Child& child) const {
    return Slice(keys_.data() + child.key_at, child.key_bytes);
  }

  std::vector<Child> children_;
  std::string keys_;
};

// A short key that is >= `last` and < `next`; `last` itself where they are equal. Requires:
// last <= next.
Slice Separator(Slice last, Slice next);

}  // namespace gapless::table

// What the indexes point to: one node a key, with its versions newest first.
//
// Written by the shard's writer, read by anyone under a guard. Everything but `head` and `next` is
// fixed before the node or version is linked (by a release store) and read behind an acquire load.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "base/slice.h"

namespace gapless::table {

struct Version {
  static constexpr uint32_t kDeleted = 1;
  static constexpr uint32_t kExpires = 2;  // eight bytes of expiry lie before the value

  std::atomic<Version*> next;
  uint64_t seq;
  uint32_t value_size;
  uint32_t flags;

  static size_t Bytes(uint32_t value_size, uint32_t flags) {
    return sizeof(Version) + ((flags & kExpires) != 0 ? 8 : 0) + value_size;
  }
  size_t bytes() const { return Bytes(value_size, flags); }
  bool deleted() const { return (flags & kDeleted) != 0; }
  const char* payload() const { return reinterpret_cast<const char*>(this + 1); }
  char* payload() { return reinterpret_cast<char*>(this + 1); }
  uint64_t expires_at_ms() const {
    if ((flags & kExpires) == 0) return 0;
    uint64_t expires = 0;
    std::memcpy(&expires, payload(), sizeof(expires));
    return expires;
  }
  Slice value() const { return Slice(payload() + ((flags & kExpires) != 0 ? 8 : 0), value_size); }

  // Acquire: the version behind the pointer is complete.
  Version* Older() const { return next.load(std::memory_order_acquire); }
};
static_assert(sizeof(Version) == 24);

struct Node {
  // In which queues of its shard the node waits, and whether it left the indexes meanwhile.
  static constexpr uint32_t kInPrune = 1;
  static constexpr uint32_t kInPinned = 2;
  static constexpr uint32_t kRemoved = 4;

  std::atomic<Version*> head;
  uint64_t hash;
  uint32_t key_size;
  uint32_t queued;  // the bits above; writer only

  static size_t Bytes(size_t key_size) { return sizeof(Node) + key_size; }
  size_t bytes() const { return Bytes(key_size); }
  Slice key() const { return Slice(reinterpret_cast<const char*>(this + 1), key_size); }
  Version* Newest() const { return head.load(std::memory_order_acquire); }
  // The newest version at or below `seq`, or null.
  const Version* At(uint64_t seq) const {
    const Version* version = Newest();
    while (version != nullptr && version->seq > seq) version = version->Older();
    return version;
  }
};
static_assert(sizeof(Node) == 24);

// Big-endian number of the eight bytes of `key` from `skip` on, filled up with zeros.
inline uint64_t KeyPrefix(Slice key, size_t skip) {
  uint64_t prefix = 0;
  if (key.size() >= skip + 8) {
    std::memcpy(&prefix, key.data() + skip, 8);
  } else if (key.size() > skip) {
    std::memcpy(&prefix, key.data() + skip, key.size() - skip);
  }
  return __builtin_bswap64(prefix);
}

}  // namespace gapless::table

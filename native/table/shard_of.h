// Which shard a key belongs to: one function for every table and every node, of the key alone.
#pragma once

#include <cstdint>

namespace gapless::table {

// `hash` is HashKey(key). Other bits than those that the hash index of a memtable uses first.
constexpr uint32_t ShardOfHash(uint64_t hash, uint32_t shards) {
  return static_cast<uint32_t>(((hash >> 24 & 0xffffff) * shards) >> 24);
}

}  // namespace gapless::table

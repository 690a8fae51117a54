// Blocks of runs in memory, bounded by a capacity.
//
// Readers find blocks without locks and without counting references: an evicted block is retired
// under the store's ReadGate and freed once no ReadGuard of before its eviction is held, like all
// memory that readers touch. Inserting takes a lock of one of the parts. Replacement is CLOCK: a
// hit marks the block, the hand passes marked ones once.
//
// Bound: used <= capacity + one block a part + what was inserted while the oldest held guard was
// held (that cannot be freed by anybody). The table of pointers, capacity / 256, comes on top.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>

#include "base/slice.h"
#include "table/read_gate.h"

namespace gapless::table {

// The verified raw content of one block, behind its head in one piece of memory: what a reader
// wants first lies on the cache line that Find looked at. Immutable once others see it.
class Block {
 public:
  // Of `size` bytes, which the caller fills.
  static std::unique_ptr<Block> Make(size_t size) {
    void* const at = ::operator new(sizeof(Block) + size, std::align_val_t{kAlignment});
    return std::unique_ptr<Block>(new (at) Block(size));
  }
  static void operator delete(void* at) { ::operator delete(at, std::align_val_t{kAlignment}); }
  char* bytes() { return reinterpret_cast<char*>(this + 1); }
  Slice raw() const { return Slice(reinterpret_cast<const char*>(this + 1), size_); }
  // What the block costs the cache.
  uint64_t charge() const { return size_ + sizeof(Block); }

 private:
  friend class BlockCache;
  static constexpr size_t kAlignment = 64;

  explicit Block(size_t size) : size_(size) {}

  const size_t size_;
  // The cache's: the key is written before the block is published, the mark by any reader.
  uint64_t run_ = 0;
  uint64_t position_ = 0;
  mutable std::atomic<bool> marked_{false};
};
static_assert(sizeof(Block) == 32);

struct CacheStats {
  uint64_t capacity_bytes = 0;
  uint64_t used_bytes = 0;  // retired blocks included until they are freed
  uint64_t hits = 0;
  uint64_t misses = 0;
  uint64_t evictions = 0;
};

class BlockCache {
 public:
  BlockCache(ReadGate* gate, uint64_t capacity_bytes);
  ~BlockCache();
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // Both: hold a ReadGuard of the gate; the block lives as long as it.
  // Null: not here. `run` must name one file for as long as the cache lives.
  const Block* Find(uint64_t run, uint64_t position);
  // Keeps the block and returns it, or the one that another thread put there first. One that is too
  // large for the cache (or any with capacity 0) is retired at once.
  const Block* Insert(uint64_t run, uint64_t position, std::unique_ptr<Block> block);

  // Frees what nobody can read any more. Any thread, without a guard; one load when there is
  // nothing. Insert does it for its own part when that is full.
  void Reclaim();
  CacheStats stats() const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace gapless::table

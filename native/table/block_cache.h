// Blocks of runs in memory, bounded by a capacity.
//
// Readers find blocks without locks and without counting references: an evicted block is retired
// under the store's ReadGate and freed once no ReadGuard of before its eviction is held, like all
// memory that readers touch. Inserting takes a lock of one of the parts. Replacement is CLOCK: a
// hit marks the block, the hand passes marked ones once.
//
// A BlockLink leads from a block's owner (the run of a page, the page of a data block) straight to
// the block for as long as that is cached: following it costs neither a hash nor a bucket. Links
// are made and cleared under one lock, and followed like buckets are searched: an evicted block's
// link is cleared before its era ends.
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

class Block;

// Zero or one cached block, which then knows this place. Stays where it is.
class BlockLink {
 public:
  BlockLink() = default;
  BlockLink(const BlockLink&) = delete;
  BlockLink& operator=(const BlockLink&) = delete;

 private:
  friend class BlockCache;
  std::atomic<const Block*> block_{nullptr};
};

// The verified raw content of one block, behind its head in one piece of memory, and behind that
// the links to its children. Immutable once others see it, but for what is the cache's.
class Block {
 public:
  // Of `size` bytes, which the caller fills, with room for `links`.
  static std::unique_ptr<Block> Make(size_t size, uint32_t links = 0) {
    const size_t bytes = LinksAt(size) + links * sizeof(BlockLink);
    void* const at = ::operator new(bytes, std::align_val_t{kAlignment});
    return std::unique_ptr<Block>(new (at) Block(size, links));
  }
  static void operator delete(void* at) { ::operator delete(at, std::align_val_t{kAlignment}); }
  char* bytes() { return reinterpret_cast<char*>(this + 1); }
  Slice raw() const { return Slice(reinterpret_cast<const char*>(this + 1), size_); }
  // Requires: child < the links that it was made with.
  BlockLink* link(uint32_t child) const { return links() + child; }
  // What the block costs the cache.
  uint64_t charge() const { return LinksAt(size_) + link_count_ * sizeof(BlockLink); }

 private:
  friend class BlockCache;
  static constexpr size_t kAlignment = 64;

  Block(size_t size, uint32_t links) : size_(size), link_count_(links) {
    for (uint32_t i = 0; i < links; ++i) new (this->links() + i) BlockLink();
  }
  static constexpr size_t LinksAt(size_t size);
  BlockLink* links() const {
    return reinterpret_cast<BlockLink*>(reinterpret_cast<uintptr_t>(this) + LinksAt(size_));
  }

  const size_t size_;
  // The cache's: the key is written before the block is published, the mark by any reader, the rest
  // under the lock of links.
  uint64_t run_ = 0;
  uint64_t position_ = 0;
  mutable BlockLink* home_ = nullptr;  // what leads here
  const uint32_t link_count_;
  mutable std::atomic<bool> marked_{false};
  mutable bool cached_ = false;
};
static_assert(sizeof(Block) == 40);

constexpr size_t Block::LinksAt(size_t size) { return (sizeof(Block) + size + 7) / 8 * 8; }

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
  // The block behind a link, or null. Hold a guard.
  const Block* Follow(const BlockLink& link);
  // Makes `link` lead to `block`, which a guard holds, unless it is no longer cached. `owner`: the
  // block that holds the link, null for a run's.
  void Link(const Block* owner, BlockLink* link, const Block* block);
  // Before links that are no block's end.
  void Unlink(BlockLink* links, uint32_t count);
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

// Memory that was unlinked and that a running reader may still hold, oldest first.
//
// One writer's thread. Retire after unlinking; Seal tags what came since the last Seal; Reclaim
// gives back what has a tag behind all running readers.
#pragma once

#include <cstdint>

#include "table/arena.h"
#include "table/chunk_queue.h"
#include "table/range_set.h"
#include "table/read_gate.h"

namespace gapless::table {

class RetireList {
 public:
  RetireList(Arena* arena, ReadGate* gate) : arena_(arena), gate_(gate) {}
  ~RetireList();

  void Retire(void* memory, size_t size);
  void RetireRanges(const RangeSet* ranges);
  void Seal();
  // A bounded amount of it; returns whether more could be given back.
  bool Reclaim(uint64_t oldest_era);
  bool empty() const { return items_.empty(); }

 private:
  struct Item {
    void* memory;
    uint64_t size;  // kRanges: a RangeSet
  };
  struct Batch {
    uint64_t era;
    uint64_t count;
  };
  static constexpr uint64_t kRanges = UINT64_MAX;

  void Release(const Item& item);

  Arena* const arena_;
  ReadGate* const gate_;
  ChunkQueue<Item> items_;
  ChunkQueue<Batch> batches_;
  uint64_t open_count_ = 0;  // items behind the last batch
};

}  // namespace gapless::table

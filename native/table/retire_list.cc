// Deferred freeing behind the running readers; writer's thread only.
#include "table/retire_list.h"

namespace gapless::table {
namespace {

// In one call: behind a long reader there may be many, and the writer must not stall.
constexpr int kItemsPerReclaim = 4096;

}  // namespace

// Nobody reads any more: range sets are dropped here, the rest goes with the arena.
RetireList::~RetireList() {
  while (!items_.empty()) {
    const Item item = items_.Pop();
    if (item.size == kRanges) Release(item);
  }
}

void RetireList::Retire(void* memory, size_t size) {
  items_.Push({memory, size});
  open_count_++;
}

void RetireList::RetireRanges(const RangeSet* ranges) {
  items_.Push({const_cast<RangeSet*>(ranges), kRanges});
  open_count_++;
}

void RetireList::Seal() {
  if (open_count_ == 0) return;
  batches_.Push({gate_->AdvanceEra(), open_count_});
  open_count_ = 0;
}

bool RetireList::Reclaim(uint64_t oldest_era) {
  for (int items = 0; items < kItemsPerReclaim; items++) {
    if (batches_.empty() || batches_.front().era >= oldest_era) return false;
    Release(items_.Pop());
    if (--batches_.front().count == 0) batches_.Pop();
  }
  return true;
}

void RetireList::Release(const Item& item) {
  if (item.size == kRanges) {
    static_cast<const RangeSet*>(item.memory)->Unref();
  } else {
    arena_->Free(item.memory, item.size);
  }
}

}  // namespace gapless::table

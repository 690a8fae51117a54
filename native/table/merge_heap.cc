// A binary heap whose comparisons mostly end at eight bytes of the keys.
#include "table/merge_heap.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace gapless::table {

// The first eight bytes behind the common ones, as a number of their order.
uint64_t MergeHeap::PrefixOf(Slice key) const {
  uint64_t bytes = 0;
  if (key.size() > common_) {
    std::memcpy(&bytes, key.data() + common_, std::min<size_t>(8, key.size() - common_));
  }
  return __builtin_bswap64(bytes);
}

bool MergeHeap::Less(const Item& a, const Item& b) const {
  if (a.prefix != b.prefix) return a.prefix < b.prefix;
  const int order = a.cursor->cell.key.Compare(b.cursor->cell.key);
  if (order != 0) return order < 0;
  return a.cursor->cell.seq > b.cursor->cell.seq;
}

Status MergeHeap::Add(std::unique_ptr<CellStream> stream, const RunInfo* info) {
  Item item;
  item.cursor = std::make_unique<Cursor>();
  item.cursor->stream = std::move(stream);
  if (info != nullptr) {
    item.cursor->cell.key = info->extent.lower;
    item.cursor->cell.seq = UINT64_MAX;  // before any cell of that key
  } else {
    item.cursor->begun = true;
    const Result<bool> more = item.cursor->stream->Next(&item.cursor->cell);
    if (!more.ok()) return more.status();
    if (!more.value()) return Status::Ok();
  }
  item.prefix = PrefixOf(item.cursor->cell.key);
  items_.push_back(std::move(item));
  std::push_heap(items_.begin(), items_.end(),
                 [this](const Item& a, const Item& b) { return Less(b, a); });
  return Status::Ok();
}

Status MergeHeap::Settle() {
  while (!items_.empty() && !items_[0].cursor->begun) {
    items_[0].cursor->begun = true;
    RETURN_IF_ERROR(Advance());
  }
  return Status::Ok();
}

Status MergeHeap::Advance() {
  Item& top = items_[0];
  const Result<bool> more = top.cursor->stream->Next(&top.cursor->cell);
  if (!more.ok()) return more.status();
  if (more.value()) {
    top.prefix = PrefixOf(top.cursor->cell.key);
  } else {
    if (items_.size() > 1) std::swap(items_[0], items_.back());
    items_.pop_back();
  }
  if (items_.size() > 1) SiftDown();
  return Status::Ok();
}

void MergeHeap::SiftDown() {
  size_t at = 0;
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= items_.size()) return;
    if (child + 1 < items_.size() && Less(items_[child + 1], items_[child])) child++;
    if (!Less(items_[child], items_[at])) return;
    std::swap(items_[at], items_[child]);
    at = child;
  }
}

}  // namespace gapless::table

// Walking one plain shard and merging several, in both directions.
#include "table/iterator.h"

#include <string>
#include <utility>

namespace gapless::table {

// The list of range deletes is loaded before any version (see Memtable::ranges).
PlainShardIterator::PlainShardIterator(const Memtable* memtable, const ReadPoint& at)
    : at_(at), ranges_(memtable->ranges()), cursor_(&memtable->ordered()) {}

void PlainShardIterator::FindForward() {
  while (cursor_.Valid() && !Memtable::ReadNode(cursor_.node(), ranges_, at_, &entry_)) {
    cursor_.Next();
  }
  valid_ = cursor_.Valid();
}

void PlainShardIterator::FindBackward() {
  while (cursor_.Valid() && !Memtable::ReadNode(cursor_.node(), ranges_, at_, &entry_)) {
    cursor_.Prev();
  }
  valid_ = cursor_.Valid();
}

void PlainShardIterator::Next() {
  cursor_.Next();
  FindForward();
}

void PlainShardIterator::Prev() {
  cursor_.Prev();
  FindBackward();
}

void PlainShardIterator::Seek(Slice key) {
  cursor_.Seek(key);
  FindForward();
}

void PlainShardIterator::SeekForPrev(Slice key) {
  cursor_.SeekForPrev(key);
  FindBackward();
}

void PlainShardIterator::SeekToFirst() {
  cursor_.SeekToFirst();
  FindForward();
}

void PlainShardIterator::SeekToLast() {
  cursor_.SeekToLast();
  FindBackward();
}

PlainIterator::PlainIterator(const TableSet& set, const ReadPoint& at) {
  for (uint32_t shard = 0; shard < set.shards(); shard++) {
    children_.push_back(std::make_unique<Child>(set.shard(shard).active, at));
    heap_.push_back(children_.back().get());
  }
}

bool PlainIterator::Before(const Child& a, const Child& b) const {
  const Child& low = forward_ ? a : b;
  const Child& high = forward_ ? b : a;
  if (low.prefix != high.prefix) return low.prefix < high.prefix;
  return low.iterator.entry().key.Compare(high.iterator.entry().key) < 0;
}

// Makes the heap of those children that stand on an entry.
void PlainIterator::Rebuild(bool forward) {
  forward_ = forward;
  heap_size_ = 0;
  for (const auto& child : children_) {
    if (!child->iterator.Valid()) continue;
    child->prefix = KeyPrefix(child->iterator.entry().key, 0);
    heap_[heap_size_++] = child.get();
  }
  for (size_t at = heap_size_ / 2; at > 0; at--) SiftDown(at - 1);
}

void PlainIterator::SiftDown(size_t at) {
  Child* const moved = heap_[at];
  for (;;) {
    size_t child = at * 2 + 1;
    if (child >= heap_size_) break;
    if (child + 1 < heap_size_ && Before(*heap_[child + 1], *heap_[child])) child++;
    if (!Before(*heap_[child], *moved)) break;
    heap_[at] = heap_[child];
    at = child;
  }
  heap_[at] = moved;
}

void PlainIterator::AdvanceTop() {
  Child* const top = heap_[0];
  if (forward_) {
    top->iterator.Next();
  } else {
    top->iterator.Prev();
  }
  if (top->iterator.Valid()) {
    top->prefix = KeyPrefix(top->iterator.entry().key, 0);
  } else {
    heap_[0] = heap_[--heap_size_];
    if (heap_size_ == 0) return;
  }
  SiftDown(0);
}

// Moves all other children to the far side of the current key: no key is in two shards.
void PlainIterator::Turn(bool forward) {
  Child* const top = heap_[0];
  const Slice key = top->iterator.entry().key;
  for (const auto& child : children_) {
    if (child.get() == top) continue;
    if (forward) {
      child->iterator.Seek(key);
    } else {
      child->iterator.SeekForPrev(key);
    }
  }
  Rebuild(forward);
  // The top is the least in the new direction as well, hence the top again.
}

void PlainIterator::Next() {
  if (!forward_) Turn(true);
  AdvanceTop();
}

void PlainIterator::Prev() {
  if (forward_) Turn(false);
  AdvanceTop();
}

void PlainIterator::Seek(Slice key) {
  for (const auto& child : children_) child->iterator.Seek(key);
  Rebuild(true);
}

void PlainIterator::SeekForPrev(Slice key) {
  for (const auto& child : children_) child->iterator.SeekForPrev(key);
  Rebuild(false);
}

void PlainIterator::SeekToFirst() {
  for (const auto& child : children_) child->iterator.SeekToFirst();
  Rebuild(true);
}

void PlainIterator::SeekToLast() {
  for (const auto& child : children_) child->iterator.SeekToLast();
  Rebuild(false);
}

}  // namespace gapless::table

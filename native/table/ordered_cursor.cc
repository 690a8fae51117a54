// The reader's side of the B+ tree. Any thread under a guard; see ordered_index.h for why old pages
// do not matter.
#include "table/ordered_index.h"
#include "table/page_search.h"

namespace gapless::table {

using Cursor = OrderedIndex::Cursor;

void Cursor::Enter(const Page* page) {
  leaf_ = static_cast<const Leaf*>(page);
  // Acquire: entries before this count are complete.
  count_ = leaf_->count.load(std::memory_order_acquire);
}

void Cursor::Descend(const Page* page, bool leftmost) {
  while (!page->is_leaf) {
    const auto* const inner = static_cast<const Inner*>(page);
    path_[depth_] = inner;
    const uint32_t child = leftmost ? 0 : inner->count.load(std::memory_order_relaxed) - 1;
    child_[depth_++] = child;
    page = inner->children[child].load(std::memory_order_acquire);
  }
  Enter(page);
  at_ = leftmost ? 0 : count_ - 1;
}

const Leaf* Cursor::DescendTo(Slice key) {
  depth_ = 0;
  leaf_ = nullptr;
  const Page* page = index_->root_.load(std::memory_order_acquire);
  if (page == nullptr) return nullptr;
  while (!page->is_leaf) {
    const auto* const inner = static_cast<const Inner*>(page);
    path_[depth_] = inner;
    const uint32_t child = ChildFor(*inner, key);
    child_[depth_++] = child;
    page = inner->children[child].load(std::memory_order_acquire);
    PrefetchPage(page);
  }
  Enter(page);
  return leaf_;
}

void Cursor::SeekToFirst() {
  depth_ = 0;
  leaf_ = nullptr;
  const Page* const root = index_->root_.load(std::memory_order_acquire);
  if (root != nullptr) Descend(root, true);
}

void Cursor::SeekToLast() {
  depth_ = 0;
  leaf_ = nullptr;
  const Page* const root = index_->root_.load(std::memory_order_acquire);
  if (root != nullptr) Descend(root, false);
}

void Cursor::Seek(Slice key) {
  if (DescendTo(key) == nullptr) return;
  at_ = LowerBound(*leaf_, count_, key);
  if (at_ == count_) NextLeaf();
}

void Cursor::SeekForPrev(Slice key) {
  if (DescendTo(key) == nullptr) return;
  const uint32_t behind = UpperBound(*leaf_, count_, key);
  if (behind == 0) {
    PrevLeaf();
  } else {
    at_ = behind - 1;
  }
}

void Cursor::Next() {
  if (++at_ == count_) {
    NextLeaf();
    return;
  }
  // The nodes come first, their versions half as far ahead, once their nodes have arrived.
  Node* const* const nodes = leaf_->nodes();
  if (at_ + 8 < count_) __builtin_prefetch(nodes[at_ + 8]);
  if (at_ + 4 < count_) {
    const char* const version =
        reinterpret_cast<const char*>(nodes[at_ + 4]->head.load(std::memory_order_relaxed));
    __builtin_prefetch(version);
    __builtin_prefetch(version + 64);
  }
}

void Cursor::Prev() {
  if (at_ == 0) {
    PrevLeaf();
    return;
  }
  at_--;
  Node* const* const nodes = leaf_->nodes();
  if (at_ >= 8) __builtin_prefetch(nodes[at_ - 8]);
  if (at_ >= 4) {
    const char* const version =
        reinterpret_cast<const char*>(nodes[at_ - 4]->head.load(std::memory_order_relaxed));
    __builtin_prefetch(version);
    __builtin_prefetch(version + 64);
  }
}

void Cursor::PrefetchAhead() const {
  Node* const* const nodes = leaf_->nodes();
  for (uint32_t i = 0; i < count_ && i < 8; i++) {
    __builtin_prefetch(nodes[at_ == 0 ? i : count_ - 1 - i]);
  }
}

void Cursor::NextLeaf() {
  leaf_ = nullptr;
  while (depth_ > 0) {
    const Inner* const inner = path_[depth_ - 1];
    const uint32_t child = child_[depth_ - 1] + 1;
    if (child < inner->count.load(std::memory_order_relaxed)) {
      child_[depth_ - 1] = child;
      Descend(inner->children[child].load(std::memory_order_acquire), true);
      PrefetchAhead();
      return;
    }
    depth_--;
  }
}

void Cursor::PrevLeaf() {
  leaf_ = nullptr;
  while (depth_ > 0) {
    const Inner* const inner = path_[depth_ - 1];
    if (child_[depth_ - 1] > 0) {
      const uint32_t child = --child_[depth_ - 1];
      Descend(inner->children[child].load(std::memory_order_acquire), false);
      PrefetchAhead();
      return;
    }
    depth_--;
  }
}

}  // namespace gapless::table

// The writer's side of the B+ tree: inserting, splitting, removing. Writer's thread only.
#include "table/ordered_index.h"

#include <algorithm>
#include <new>

#include "base/assert.h"
#include "table/page_search.h"

namespace gapless::table {
namespace {

uint32_t CommonLength(Slice a, Slice b) {
  const size_t limit = std::min(a.size(), b.size());
  size_t length = 0;
  while (length < limit && a[length] == b[length]) length++;
  return static_cast<uint32_t>(length);
}

bool HasEqualNeighbours(const uint64_t* prefixes, uint32_t from, uint32_t count) {
  for (uint32_t i = from + 1; i < count; i++) {
    if (prefixes[i] == prefixes[i - 1]) return true;
  }
  return false;
}

// Computes skip, common bytes and prefixes of a page that is not linked yet, of the keys from
// `from` on (an inner page has no key at 0).
template <typename PageType>
void SetSkip(PageType* page, uint64_t* prefixes, uint32_t from, uint32_t count, uint32_t skip) {
  page->skip = skip;
  const Slice first = page->KeyAt(from);
  std::memcpy(page->common, first.data(), std::min(skip, Page::kInlineCommon));
  for (uint32_t i = from; i < count; i++) prefixes[i] = KeyPrefix(page->KeyAt(i), skip);
}

// Makes the prefixes of a page tell more when they tell too little.
template <typename PageType>
void RaiseSkip(PageType* page, uint64_t* prefixes, uint32_t from, uint32_t count) {
  if (count < from + 2 || !HasEqualNeighbours(prefixes, from, count)) return;
  const uint32_t skip = CommonLength(page->KeyAt(from), page->KeyAt(count - 1));
  if (skip > page->skip) SetSkip(page, prefixes, from, count, skip);
}

void CopyHeader(Page* to, const Page& from) {
  to->skip = from.skip;
  std::memcpy(to->common, from.common, sizeof(to->common));
}

// Appends nodes [from, to) of `source` to the unlinked leaf.
void AppendRun(Leaf* leaf, const Leaf& source, uint32_t from, uint32_t to) {
  const uint32_t count = leaf->count.load(std::memory_order_relaxed);
  const size_t run = to - from;
  if (run == 0) return;
  std::memcpy(leaf->prefixes() + count, source.prefixes() + from, run * sizeof(uint64_t));
  std::memcpy(leaf->nodes() + count, source.nodes() + from, run * sizeof(Node*));
  leaf->count.store(count + static_cast<uint32_t>(run), std::memory_order_relaxed);
}

void AppendNode(Leaf* leaf, Node* node) {
  const uint32_t count = leaf->count.load(std::memory_order_relaxed);
  leaf->nodes()[count] = node;
  leaf->prefixes()[count] = KeyPrefix(node->key(), leaf->skip);
  leaf->count.store(count + 1, std::memory_order_relaxed);
}

// Builds an unlinked leaf from [from, to) of `source` with `node` put in at `at`, unless `at` lies
// outside [from, to].
void FillLeaf(Leaf* leaf, const Leaf& source, uint32_t from, uint32_t to, uint32_t at, Node* node) {
  CopyHeader(leaf, source);
  const bool inside = at >= from && at <= to;
  AppendRun(leaf, source, from, inside ? at : to);
  if (!inside) return;
  AppendNode(leaf, node);
  AppendRun(leaf, source, at, to);
  const uint32_t count = leaf->count.load(std::memory_order_relaxed);
  if (leaf->skip == 0 || SharesCommon(source, source.KeyAt(0), node->key())) return;
  SetSkip(leaf, leaf->prefixes(), 0, count, CommonLength(leaf->KeyAt(0), leaf->KeyAt(count - 1)));
}

uint32_t CapacityFor(uint32_t count) {
  const uint32_t rounded = (count + 8) / 8 * 8;
  return std::min(rounded, OrderedIndex::kLeafCapacity);
}

// A list of children that is about to become one or two inner pages.
struct ChildList {
  uint32_t count = 0;
  Page* children[Inner::kCapacity + 1] = {};
  Separator* separators[Inner::kCapacity + 1] = {};  // [0] is unused

  explicit ChildList(const Inner& page) : count(page.count.load(std::memory_order_relaxed)) {
    for (uint32_t i = 0; i < count; i++) {
      children[i] = page.children[i].load(std::memory_order_relaxed);
      separators[i] = i == 0 ? nullptr : page.separators[i];
    }
  }
  void InsertBehind(uint32_t index, Page* child, Separator* separator) {
    for (uint32_t i = count; i > index + 1; i--) {
      children[i] = children[i - 1];
      separators[i] = separators[i - 1];
    }
    children[index + 1] = child;
    separators[index + 1] = separator;
    count++;
  }
  // Returns the separator that is not used any more.
  Separator* Remove(uint32_t index) {
    Separator* const dropped = separators[index == 0 ? 1 : index];
    for (uint32_t i = index; i + 1 < count; i++) {
      children[i] = children[i + 1];
      separators[i] = separators[i + 1];
    }
    count--;
    separators[0] = nullptr;
    return dropped;
  }
};

void FillInner(Inner* page, const ChildList& list, uint32_t from, uint32_t to) {
  const uint32_t count = to - from;
  for (uint32_t i = 0; i < count; i++) {
    new (&page->children[i]) std::atomic<Page*>(list.children[from + i]);
    page->separators[i] = i == 0 ? nullptr : list.separators[from + i];
    page->prefixes[i] = i == 0 ? 0 : KeyPrefix(page->separators[i]->key(), 0);
  }
  page->skip = 0;
  page->count.store(count, std::memory_order_relaxed);
  RaiseSkip(page, page->prefixes, 1, count);
}

}  // namespace

Leaf* OrderedIndex::NewLeaf(uint32_t capacity) {
  auto* const leaf = static_cast<Leaf*>(arena_->Allocate(Leaf::Bytes(capacity)));
  new (&leaf->count) std::atomic<uint32_t>(0);
  leaf->capacity = capacity;
  leaf->skip = 0;
  leaf->is_leaf = true;
  return leaf;
}

Inner* OrderedIndex::NewInner() {
  auto* const page = static_cast<Inner*>(arena_->Allocate(sizeof(Inner)));
  new (&page->count) std::atomic<uint32_t>(0);
  page->capacity = Inner::kCapacity;
  page->skip = 0;
  page->is_leaf = false;
  return page;
}

// The shortest key above `left_last` and at or below `right_first`.
Separator* OrderedIndex::NewSeparator(Slice left_last, Slice right_first) {
  const uint32_t size = CommonLength(left_last, right_first) + 1;
  auto* const separator = static_cast<Separator*>(arena_->Allocate(Separator::Bytes(size)));
  separator->size = size;
  std::memcpy(separator + 1, right_first.data(), size);
  return separator;
}

void OrderedIndex::RetirePage(Page* page) {
  const size_t bytes = page->is_leaf ? Leaf::Bytes(page->capacity) : sizeof(Inner);
  retired_->Retire(page, bytes);
}

Leaf* OrderedIndex::FindLeaf(Slice key, Path* path) const {
  Page* page = root_.load(std::memory_order_relaxed);
  while (!page->is_leaf) {
    auto* const inner = static_cast<Inner*>(page);
    GAPLESS_ASSERT(path->depth < kMaxDepth);
    const uint32_t child = ChildFor(*inner, key);
    path->pages[path->depth] = inner;
    path->child[path->depth] = child;
    path->depth++;
    page = inner->children[child].load(std::memory_order_relaxed);
    PrefetchPage(page);
  }
  return static_cast<Leaf*>(page);
}

// Links `page` where the path stands at `level` (0: the root). Release: its content is complete.
void OrderedIndex::Replace(const Path& path, uint32_t level, Page* page) {
  if (level == 0) {
    root_.store(page, std::memory_order_release);
  } else {
    path.pages[level - 1]->children[path.child[level - 1]].store(page, std::memory_order_release);
  }
}

void OrderedIndex::Insert(Node* node) {
  const Slice key = node->key();
  if (root_.load(std::memory_order_relaxed) == nullptr) {
    Leaf* const first = NewLeaf(CapacityFor(1));
    AppendNode(first, node);
    root_.store(first, std::memory_order_release);
    return;
  }
  Path path;
  Leaf* const leaf = FindLeaf(key, &path);
  const uint32_t count = leaf->count.load(std::memory_order_relaxed);
  const uint32_t at = LowerBound(*leaf, count, key);
  if (at == count && count < leaf->capacity &&
      (leaf->skip == 0 || SharesCommon(*leaf, leaf->KeyAt(0), key))) {
    leaf->nodes()[count] = node;
    leaf->prefixes()[count] = KeyPrefix(key, leaf->skip);
    // Release: readers look at the entry only behind this count.
    leaf->count.store(count + 1, std::memory_order_release);
  } else if (count < kLeafCapacity) {
    InsertWithin(path, leaf, at, node);
  } else {
    SplitLeaf(&path, leaf, at, node);
  }
}

void OrderedIndex::InsertWithin(const Path& path, Leaf* leaf, uint32_t at, Node* node) {
  const uint32_t count = leaf->count.load(std::memory_order_relaxed);
  // Appending keys go on appending: room for all of them at once.
  Leaf* const fresh = NewLeaf(at == count ? kLeafCapacity : CapacityFor(count));
  FillLeaf(fresh, *leaf, 0, count, at, node);
  Replace(path, path.depth, fresh);
  RetirePage(leaf);
}

// Returns the leaf itself, or an unlinked copy whose prefixes tell more.
Leaf* OrderedIndex::WithBetterPrefixes(Leaf* leaf) {
  const uint32_t count = leaf->count.load(std::memory_order_relaxed);
  if (!HasEqualNeighbours(leaf->prefixes(), 0, count)) return leaf;
  if (CommonLength(leaf->KeyAt(0), leaf->KeyAt(count - 1)) <= leaf->skip) return leaf;
  Leaf* const fresh = NewLeaf(leaf->capacity);
  CopyHeader(fresh, *leaf);
  AppendRun(fresh, *leaf, 0, count);
  RaiseSkip(fresh, fresh->prefixes(), 0, count);
  return fresh;
}

void OrderedIndex::SplitLeaf(Path* path, Leaf* leaf, uint32_t at, Node* node) {
  const uint32_t count = leaf->count.load(std::memory_order_relaxed);
  Leaf* left = leaf;
  Leaf* right = nullptr;
  if (at == count) {  // ascending keys leave full pages behind
    left = WithBetterPrefixes(leaf);
    right = NewLeaf(kLeafCapacity);
    if (left->skip == 0 || SharesCommon(*left, left->KeyAt(0), node->key())) {
      CopyHeader(right, *left);
    }
    AppendNode(right, node);
  } else {
    const uint32_t half = count / 2;
    const bool goes_left = at <= half;
    left = NewLeaf(CapacityFor(half + 8));
    right = NewLeaf(CapacityFor(count - half + 8));
    const uint32_t none = count + 1;
    FillLeaf(left, *leaf, 0, half, goes_left ? at : none, node);
    FillLeaf(right, *leaf, half, count, goes_left ? none : at, node);
    const uint32_t left_count = left->count.load(std::memory_order_relaxed);
    RaiseSkip(left, left->prefixes(), 0, left_count);
    RaiseSkip(right, right->prefixes(), 0, right->count.load(std::memory_order_relaxed));
  }
  const uint32_t left_count = left->count.load(std::memory_order_relaxed);
  Separator* const separator = NewSeparator(left->KeyAt(left_count - 1), right->KeyAt(0));
  AddChild(path, left, right, separator);
  if (left != leaf) RetirePage(leaf);
}

// The page at the end of the path becomes `left` and `right`.
void OrderedIndex::AddChild(Path* path, Page* left, Page* right, Separator* separator) {
  while (path->depth > 0) {
    const uint32_t level = path->depth - 1;
    Inner* const old = path->pages[level];
    const uint32_t child = path->child[level];
    ChildList list(*old);
    list.children[child] = left;
    list.InsertBehind(child, right, separator);
    Inner* const first = NewInner();
    path->depth = level;
    if (list.count <= Inner::kCapacity) {
      FillInner(first, list, 0, list.count);
      Replace(*path, level, first);
      RetirePage(old);
      return;
    }
    const uint32_t half = child + 2 == list.count ? list.count - 1 : list.count / 2;
    Inner* const second = NewInner();
    FillInner(first, list, 0, half);
    FillInner(second, list, half, list.count);
    separator = list.separators[half];
    RetirePage(old);  // it stays linked until the loop ends, before anything is sealed
    left = first;
    right = second;
  }
  Inner* const root = NewInner();
  ChildList list(*root);
  list.count = 1;
  list.children[0] = left;
  list.InsertBehind(0, right, separator);
  FillInner(root, list, 0, 2);
  root_.store(root, std::memory_order_release);
}

void OrderedIndex::Remove(const Node* node) {
  Path path;
  Leaf* const leaf = FindLeaf(node->key(), &path);
  const uint32_t count = leaf->count.load(std::memory_order_relaxed);
  const uint32_t at = LowerBound(*leaf, count, node->key());
  GAPLESS_ASSERT(at < count && leaf->nodes()[at] == node);
  if (count == 1) {
    RemoveChild(&path);
  } else {
    Leaf* const fresh = NewLeaf(CapacityFor(count - 1));
    CopyHeader(fresh, *leaf);
    AppendRun(fresh, *leaf, 0, at);
    AppendRun(fresh, *leaf, at + 1, count);
    Replace(path, path.depth, fresh);
  }
  RetirePage(leaf);
}

// Takes the empty page at the end of the path out of its parent, and the parent out of its own when
// that was its only child.
void OrderedIndex::RemoveChild(Path* path) {
  while (path->depth > 0) {
    const uint32_t level = path->depth - 1;
    Inner* const old = path->pages[level];
    path->depth = level;
    RetirePage(old);
    ChildList list(*old);
    if (list.count == 1) continue;
    Separator* const dropped = list.Remove(path->child[level]);
    retired_->Retire(dropped, Separator::Bytes(dropped->size));
    if (list.count == 1 && level == 0) {
      root_.store(list.children[0], std::memory_order_release);
      return;
    }
    Inner* const fresh = NewInner();
    FillInner(fresh, list, 0, list.count);
    Replace(*path, level, fresh);
    return;
  }
  root_.store(nullptr, std::memory_order_release);
}

}  // namespace gapless::table

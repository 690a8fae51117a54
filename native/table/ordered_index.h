// The keys of one shard in order: a B+ tree whose pages never change once they are linked.
//
// One writer. To change a page it makes a new one and swings the child pointer of the parent (or
// the root) to it with a release store; the old page is retired. Two things change in place: a
// child pointer of an inner page, and the count of a leaf to which a greater key is appended behind
// all that readers look at. A reader therefore needs no lock, no retry and no validation: a cursor
// may stand on old pages, which hold everything that was visible when it came. Separators of an
// inner page are fixed, so each step to a neighbour covers exactly the next stretch of keys.
//
// Pages hold eight bytes of each key behind the bytes that all of their keys share: a search seldom
// touches the keys themselves.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/slice.h"
#include "table/arena.h"
#include "table/node.h"
#include "table/retire_list.h"

namespace gapless::table {

struct Page {
  static constexpr uint32_t kInlineCommon = 32;

  std::atomic<uint32_t> count;  // of nodes, or of children; at least 1 once linked
  uint32_t capacity;
  uint32_t skip;  // bytes that all keys of the page share and that prefixes leave out
  bool is_leaf;
  char common[kInlineCommon];  // the first of these bytes
};

struct Leaf : Page {
  static size_t Bytes(uint32_t capacity) { return sizeof(Leaf) + capacity * 16; }
  uint64_t* prefixes() { return reinterpret_cast<uint64_t*>(this + 1); }
  const uint64_t* prefixes() const { return reinterpret_cast<const uint64_t*>(this + 1); }
  Node** nodes() { return reinterpret_cast<Node**>(prefixes() + capacity); }
  Node* const* nodes() const { return reinterpret_cast<Node* const*>(prefixes() + capacity); }
  Slice KeyAt(uint32_t index) const { return nodes()[index]->key(); }
};

struct Separator {
  uint32_t size;
  static size_t Bytes(size_t size) { return sizeof(Separator) + size; }
  Slice key() const { return Slice(reinterpret_cast<const char*>(this + 1), size); }
};

// Child i holds the keys from separator i (child 0: from the beginning) up to separator i + 1.
struct Inner : Page {
  static constexpr uint32_t kCapacity = 64;
  uint64_t prefixes[kCapacity];
  Separator* separators[kCapacity];
  std::atomic<Page*> children[kCapacity];
  Slice KeyAt(uint32_t index) const { return separators[index]->key(); }
};

class OrderedIndex {
 public:
  static constexpr uint32_t kLeafCapacity = 64;
  static constexpr uint32_t kMaxDepth = 16;

  OrderedIndex(Arena* arena, RetireList* retired) : arena_(arena), retired_(retired) {}
  OrderedIndex(const OrderedIndex&) = delete;
  OrderedIndex& operator=(const OrderedIndex&) = delete;

  // Writer. Requires: the key is absent.
  void Insert(Node* node);
  // Writer. Requires: the node is present.
  void Remove(const Node* node);

  // Any thread under a guard; the writer without, as long as it does not change the tree.
  class Cursor {
   public:
    explicit Cursor(const OrderedIndex* index) : index_(index) {}
    bool Valid() const { return leaf_ != nullptr; }
    const Node* node() const { return leaf_->nodes()[at_]; }
    void SeekToFirst();
    void SeekToLast();
    void Seek(Slice key);         // first >= key
    void SeekForPrev(Slice key);  // last <= key
    void Next();
    void Prev();

   private:
    void Descend(const Page* page, bool leftmost);
    void Enter(const Page* page);
    const Leaf* DescendTo(Slice key);
    void NextLeaf();
    void PrevLeaf();
    void PrefetchAhead() const;

    const OrderedIndex* index_;
    const Leaf* leaf_ = nullptr;  // null: not valid
    uint32_t at_ = 0;
    uint32_t count_ = 0;
    uint32_t depth_ = 0;
    const Inner* path_[kMaxDepth];
    uint32_t child_[kMaxDepth];
  };

 private:
  // The way from the root to a leaf, for the writer.
  struct Path {
    uint32_t depth = 0;
    Inner* pages[kMaxDepth];
    uint32_t child[kMaxDepth];
  };

  Leaf* FindLeaf(Slice key, Path* path) const;
  Leaf* NewLeaf(uint32_t capacity);
  Inner* NewInner();
  void Replace(const Path& path, uint32_t level, Page* page);
  void RetirePage(Page* page);
  void InsertWithin(const Path& path, Leaf* leaf, uint32_t at, Node* node);
  Leaf* WithBetterPrefixes(Leaf* leaf);
  void SplitLeaf(Path* path, Leaf* leaf, uint32_t at, Node* node);
  void AddChild(Path* path, Page* left, Page* right, Separator* separator);
  void RemoveChild(Path* path);
  Separator* NewSeparator(Slice left_last, Slice right_first);

  std::atomic<Page*> root_{nullptr};
  Arena* const arena_;
  RetireList* const retired_;
};

}  // namespace gapless::table

// Iterators over shards that are plain: one memtable each and nothing else, as most small stores
// are. merged_iterator.h has the one for all others. Made and used by one reader under one guard,
// which they must not outlive; nothing in them is shared.
#pragma once

#include <memory>
#include <vector>

#include "table/memtable.h"
#include "table/store.h"
#include "table/table_set.h"

namespace gapless::table {

// Live entries of one shard: the newest version at or below the read point, unless it is deleted,
// hidden by a range delete or expired.
class PlainShardIterator final : public Iterator {
 public:
  PlainShardIterator(const Memtable* memtable, const ReadPoint& at);

  bool Valid() const override { return valid_; }
  const Entry& entry() const override { return entry_; }
  void Next() override;
  void Prev() override;
  void Seek(Slice key) override;
  void SeekForPrev(Slice key) override;
  void SeekToFirst() override;
  void SeekToLast() override;
  Status status() const override { return Status::Ok(); }

 private:
  void FindForward();
  void FindBackward();

  const ReadPoint at_;
  const RangeSet* const ranges_;
  OrderedIndex::Cursor cursor_;
  Entry entry_;
  bool valid_ = false;
};

// The entries of several shards in key order: a heap of their iterators. No key is in two shards.
class PlainIterator final : public Iterator {
 public:
  PlainIterator(const TableSet& set, const ReadPoint& at);

  bool Valid() const override { return heap_size_ > 0; }
  const Entry& entry() const override { return heap_[0]->iterator.entry(); }
  void Next() override;
  void Prev() override;
  void Seek(Slice key) override;
  void SeekForPrev(Slice key) override;
  void SeekToFirst() override;
  void SeekToLast() override;
  Status status() const override { return Status::Ok(); }

 private:
  struct Child {
    Child(const Memtable* memtable, const ReadPoint& at) : iterator(memtable, at) {}
    PlainShardIterator iterator;
    uint64_t prefix = 0;  // of the current key
  };

  bool Before(const Child& a, const Child& b) const;
  void Rebuild(bool forward);
  void SiftDown(size_t at);
  void AdvanceTop();
  void Turn(bool forward);

  std::vector<std::unique_ptr<Child>> children_;
  std::vector<Child*> heap_;  // the first heap_size_ are valid and in heap order
  size_t heap_size_ = 0;
  bool forward_ = true;
};

}  // namespace gapless::table

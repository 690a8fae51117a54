// Live entries across all tables of one or several shards: a heap of their cells.
//
// Of several cells with one key (they are of one shard then) the newest counts and hides the
// others. Made and used by one reader under one guard, which it must not outlive. While it stands
// on an entry the cell of it is not moved, so that its slices stay.
#pragma once

#include <memory>
#include <vector>

#include "table/cell.h"
#include "table/merged_cover.h"
#include "table/store.h"
#include "table/table_set.h"

namespace gapless::table {

class MergedIterator final : public Iterator {
 public:
  // Over the shards [from, to) of the set.
  MergedIterator(const TableSet& set, uint32_t from, uint32_t to, const ReadPoint& at);

  bool Valid() const override { return valid_; }
  const Entry& entry() const override { return entry_; }
  void Next() override;
  void Prev() override;
  void Seek(Slice key) override;
  void SeekForPrev(Slice key) override;
  void SeekToFirst() override;
  void SeekToLast() override;
  Status status() const override { return status_; }

 private:
  struct Source {
    std::unique_ptr<CellIterator> cells;
    ShardCover* cover = nullptr;  // null: no range deletes in its shard
    uint32_t rank = 0;            // within its shard: 0 is the newest table
    bool spent = false;           // all the rest in this direction is hidden
    const Cell* cell = nullptr;   // the current one
    uint64_t prefix = 0;          // of its key
  };

  void AddShard(const ShardTables& tables);
  void AddSource(std::unique_ptr<CellIterator> cells, ShardCover* cover, uint32_t rank);
  bool MoveBehind(const ShardCover::Stretch& stretch, Source* source) const;
  void SkipHidden(const Source& top);
  bool Before(const Source& a, const Source& b) const;
  bool Load(Source* source);
  void Rebuild(bool forward);
  void SiftDown(size_t at);
  void Advance(size_t at);
  void LeaveKey();
  void Turn(bool forward);
  void Find();
  bool IsCovered(const Source& source) const;
  bool TakeEntry(const Source& source);

  const ReadPoint at_;
  std::vector<std::unique_ptr<ShardCover>> covers_;
  std::vector<Source> sources_;
  std::vector<Source*> heap_;  // the first heap_size_ stand on a cell and are in heap order
  size_t heap_size_ = 0;
  bool forward_ = true;
  bool valid_ = false;
  Entry entry_;
  Status status_;
};

}  // namespace gapless::table

// The runs of one level as one table, opened one at a time when the walk gets there.
#pragma once

#include <memory>

#include "table/cell.h"
#include "table/table_set.h"

namespace gapless::table {

// Under one guard, which it must not outlive.
class LevelIterator final : public CellIterator {
 public:
  LevelIterator(const LevelIndex* level, uint64_t at_seq) : level_(level), at_seq_(at_seq) {}

  bool Valid() const override { return cells_ != nullptr && cells_->Valid(); }
  const Cell& cell() const override { return cells_->cell(); }
  void Next() override;
  void Prev() override;
  void Seek(Slice key) override;
  void SeekForPrev(Slice key) override;
  void SeekToFirst() override;
  void SeekToLast() override;
  Status status() const override { return cells_ == nullptr ? Status::Ok() : cells_->status(); }

 private:
  void Open(size_t index);
  void FindForward();
  void FindBackward();

  const LevelIndex* const level_;
  const uint64_t at_seq_;
  size_t at_ = 0;                        // the run of cells_
  std::unique_ptr<CellIterator> cells_;  // null: behind or before all runs, or not sought yet
};

}  // namespace gapless::table

// A memtable as a table among others: its cells at a read point, and all its versions.
#pragma once

#include <memory>

#include "table/cell.h"
#include "table/memtable.h"

namespace gapless::table {

inline Cell CellOf(const Node& node, const Version& version) {
  Cell cell;
  cell.key = node.key();
  cell.value = version.value();
  cell.seq = version.seq;
  cell.expires_at_ms = version.expires_at_ms();
  cell.deleted = version.deleted();
  return cell;
}

// The newest version of each key at or below a sequence. Under one guard, which it must not
// outlive; its cells live as long as the guard.
class MemtableIterator final : public CellIterator {
 public:
  MemtableIterator(const Memtable* memtable, uint64_t at_seq);

  bool Valid() const override { return valid_; }
  const Cell& cell() const override { return cell_; }
  void Next() override;
  void Prev() override;
  void Seek(Slice key) override;
  void SeekForPrev(Slice key) override;
  void SeekToFirst() override;
  void SeekToLast() override;
  Status status() const override { return Status::Ok(); }

 private:
  bool Read();
  void FindForward();
  void FindBackward();

  const uint64_t at_seq_;
  OrderedIndex::Cursor cursor_;
  Cell cell_;
  bool valid_ = false;
};

// Every version that is still linked in a sealed memtable. Needs no guard.
class MemtableStream final : public CellStream {
 public:
  explicit MemtableStream(std::shared_ptr<const Memtable> memtable);
  Result<bool> Next(Cell* cell) override;

 private:
  const std::shared_ptr<const Memtable> memtable_;
  OrderedIndex::Cursor cursor_;
  const Version* version_ = nullptr;  // the next one of the cursor's node
};

}  // namespace gapless::table

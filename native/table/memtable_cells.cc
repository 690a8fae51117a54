// Walking a memtable cell by cell. See the header for threads.
#include "table/memtable_cells.h"

#include <utility>

namespace gapless::table {

MemtableIterator::MemtableIterator(const Memtable* memtable, uint64_t at_seq)
    : at_seq_(at_seq), cursor_(&memtable->ordered()) {}

bool MemtableIterator::Read() {
  const Version* const version = cursor_.node()->At(at_seq_);
  if (version == nullptr) return false;
  cell_ = CellOf(*cursor_.node(), *version);
  return true;
}

void MemtableIterator::FindForward() {
  while (cursor_.Valid() && !Read()) cursor_.Next();
  valid_ = cursor_.Valid();
}

void MemtableIterator::FindBackward() {
  while (cursor_.Valid() && !Read()) cursor_.Prev();
  valid_ = cursor_.Valid();
}

void MemtableIterator::Next() {
  cursor_.Next();
  FindForward();
}

void MemtableIterator::Prev() {
  cursor_.Prev();
  FindBackward();
}

void MemtableIterator::Seek(Slice key) {
  cursor_.Seek(key);
  FindForward();
}

void MemtableIterator::SeekForPrev(Slice key) {
  cursor_.SeekForPrev(key);
  FindBackward();
}

void MemtableIterator::SeekToFirst() {
  cursor_.SeekToFirst();
  FindForward();
}

void MemtableIterator::SeekToLast() {
  cursor_.SeekToLast();
  FindBackward();
}

MemtableStream::MemtableStream(std::shared_ptr<const Memtable> memtable)
    : memtable_(std::move(memtable)), cursor_(&memtable_->ordered()) {
  cursor_.SeekToFirst();
  if (cursor_.Valid()) version_ = cursor_.node()->Newest();
}

Result<bool> MemtableStream::Next(Cell* cell) {
  while (cursor_.Valid() && version_ == nullptr) {
    cursor_.Next();
    if (cursor_.Valid()) version_ = cursor_.node()->Newest();
  }
  if (!cursor_.Valid()) return false;
  *cell = CellOf(*cursor_.node(), *version_);
  version_ = version_->Older();
  return true;
}

}  // namespace gapless::table

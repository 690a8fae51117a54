// Walking a level run by run. See the header for threads.
#include "table/merged_level.h"

namespace gapless::table {

void LevelIterator::Open(size_t index) {
  if (cells_ != nullptr && at_ == index) return;
  at_ = index;
  cells_ = level_->run(index)->NewIterator(at_seq_);
}

// A run may hold nothing at the read point, or only range deletes. Stops at an error.
void LevelIterator::FindForward() {
  while (!cells_->Valid() && cells_->status().ok() && at_ + 1 < level_->size()) {
    Open(at_ + 1);
    cells_->SeekToFirst();
  }
}

void LevelIterator::FindBackward() {
  while (!cells_->Valid() && cells_->status().ok() && at_ > 0) {
    Open(at_ - 1);
    cells_->SeekToLast();
  }
}

void LevelIterator::Next() {
  cells_->Next();
  FindForward();
}

void LevelIterator::Prev() {
  cells_->Prev();
  FindBackward();
}

void LevelIterator::Seek(Slice key) {
  const size_t index = level_->FirstBehind(key);
  if (index == level_->size()) {
    cells_.reset();
    return;
  }
  Open(index);
  cells_->Seek(key);
  FindForward();
}

void LevelIterator::SeekForPrev(Slice key) {
  const size_t index = level_->LastFrom(key);
  if (index == level_->size()) {
    cells_.reset();
    return;
  }
  Open(index);
  cells_->SeekForPrev(key);
  FindBackward();
}

void LevelIterator::SeekToFirst() {
  Open(0);
  cells_->SeekToFirst();
  FindForward();
}

void LevelIterator::SeekToLast() {
  Open(level_->size() - 1);
  cells_->SeekToLast();
  FindBackward();
}

}  // namespace gapless::table

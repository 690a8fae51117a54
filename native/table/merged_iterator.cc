// The heap of cells and what it makes of them. See the header for threads.
#include "table/merged_iterator.h"

#include <utility>

#include "table/memtable_cells.h"
#include "table/merged_level.h"

namespace gapless::table {
namespace {

// So many cells under range deletes in a row make it worth while to seek behind them.
constexpr uint32_t kHiddenInARow = 16;

}  // namespace

MergedIterator::MergedIterator(const TableSet& set, uint32_t from, uint32_t to, const ReadPoint& at)
    : at_(at) {
  for (uint32_t shard = from; shard < to; shard++) AddShard(set.shard(shard));
  for (Source& source : sources_) heap_.push_back(&source);
}

void MergedIterator::AddShard(const ShardTables& tables) {
  auto cover = std::make_unique<ShardCover>(tables, at_.seq);
  ShardCover* const used = cover->empty() ? nullptr : cover.get();
  if (used != nullptr) covers_.push_back(std::move(cover));
  uint32_t rank = 0;  // as in ShardCover
  for (const Memtable* const memtable : tables.memtables) {
    AddSource(std::make_unique<MemtableIterator>(memtable, at_.seq), used, rank++);
  }
  for (const auto& run : tables.level0) AddSource(run->NewIterator(at_.seq), used, rank++);
  for (const LevelIndex& level : tables.levels) {
    AddSource(std::make_unique<LevelIterator>(&level, at_.seq), used, rank++);
  }
}

void MergedIterator::AddSource(std::unique_ptr<CellIterator> cells, ShardCover* cover,
                               uint32_t rank) {
  Source source;
  source.cells = std::move(cells);
  source.cover = cover;
  source.rank = rank;
  sources_.push_back(std::move(source));
}

// In the direction of the walk; of one key the newest comes first either way.
bool MergedIterator::Before(const Source& a, const Source& b) const {
  if (a.prefix != b.prefix) return (a.prefix < b.prefix) == forward_;
  const int order = a.cell->key.Compare(b.cell->key);
  if (order != 0) return (order < 0) == forward_;
  return a.cell->seq > b.cell->seq;
}

// Looks at where the source stands now; returns whether it stands on a cell.
bool MergedIterator::Load(Source* source) {
  if (source->spent) return false;
  if (!source->cells->Valid()) {
    if (status_.ok()) status_ = source->cells->status();
    return false;
  }
  source->cell = &source->cells->cell();
  source->prefix = KeyPrefix(source->cell->key, 0);
  return true;
}

void MergedIterator::Rebuild(bool forward) {
  forward_ = forward;
  heap_size_ = 0;
  for (Source& source : sources_) {
    if (Load(&source)) heap_[heap_size_++] = &source;
  }
  for (size_t at = heap_size_ / 2; at > 0; at--) SiftDown(at - 1);
}

void MergedIterator::SiftDown(size_t at) {
  Source* const moved = heap_[at];
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

// Requires: at most 2, so that what takes the place of an ended source belongs below the top.
void MergedIterator::Advance(size_t at) {
  Source* const source = heap_[at];
  if (forward_) {
    source->cells->Next();
  } else {
    source->cells->Prev();
  }
  if (!Load(source)) {
    heap_size_--;
    if (at == heap_size_) return;
    heap_[at] = heap_[heap_size_];
  }
  SiftDown(at);
}

// Moves every source off the key of the top; the top last, since the key may live in it.
void MergedIterator::LeaveKey() {
  const Source& top = *heap_[0];
  while (heap_size_ > 1) {
    const size_t second = heap_size_ > 2 && Before(*heap_[2], *heap_[1]) ? 2 : 1;
    const Source& other = *heap_[second];
    if (other.prefix != top.prefix || other.cell->key != top.cell->key) break;
    Advance(second);
  }
  Advance(0);
}

bool MergedIterator::IsCovered(const Source& source) const {
  return source.cover != nullptr && source.cell->seq < source.cover->At(source.cell->key);
}

bool MergedIterator::TakeEntry(const Source& source) {
  const Cell& cell = *source.cell;
  if (cell.deleted) return false;
  if (cell.expires_at_ms != 0 && cell.expires_at_ms <= at_.as_of_ms) return false;
  entry_.key = cell.key;
  entry_.value = cell.value;
  entry_.stored = cell.stored;
  entry_.seq = cell.seq;
  entry_.expires_at_ms = cell.expires_at_ms;
  return true;
}

// Moves one source to the far end of a stretch in which it is hidden; returns whether it had to.
bool MergedIterator::MoveBehind(const ShardCover::Stretch& stretch, Source* source) const {
  if (source->spent || !source->cells->Valid() || !stretch.Holds(source->cell->key)) return false;
  if (forward_) {
    source->spent = stretch.to_end;
    if (!stretch.to_end) source->cells->Seek(stretch.upper);
  } else {
    source->spent = stretch.from_start;
    if (!stretch.from_start) source->cells->SeekForPrev(stretch.lower);
  }
  return true;
}

// After many hidden cells: a delete of a wide range may hide whole runs.
void MergedIterator::SkipHidden(const Source& top) {
  const ShardCover* const cover = top.cover;
  const ShardCover::Stretch stretch = cover->Newest();
  bool moved = false;
  for (Source& source : sources_) {
    if (source.cover != cover || source.rank <= stretch.rank) continue;
    moved = MoveBehind(stretch, &source) || moved;
  }
  if (moved) Rebuild(forward_);
}

// From the top on. An error of any source ends the walk: what it would have said is not known.
void MergedIterator::Find() {
  valid_ = false;
  uint32_t hidden = 0;
  while (status_.ok() && heap_size_ > 0) {
    const Source& top = *heap_[0];
    if (IsCovered(top)) {
      if (++hidden % kHiddenInARow == 0) {
        SkipHidden(top);
        continue;
      }
    } else if (TakeEntry(top)) {
      valid_ = true;
      return;
    } else {
      hidden = 0;
    }
    LeaveKey();
  }
}

// Moves all other sources to the far side of the current key, or onto it.
void MergedIterator::Turn(bool forward) {
  const Source* const top = heap_[0];
  const Slice key = top->cell->key;
  for (Source& source : sources_) {
    if (&source == top) continue;
    source.spent = false;
    if (forward) {
      source.cells->Seek(key);
    } else {
      source.cells->SeekForPrev(key);
    }
  }
  Rebuild(forward);
  // The top comes first in the new direction as well, hence it is the top again.
}

void MergedIterator::Next() {
  if (!forward_) Turn(true);
  if (status_.ok()) LeaveKey();
  Find();
}

void MergedIterator::Prev() {
  if (forward_) Turn(false);
  if (status_.ok()) LeaveKey();
  Find();
}

void MergedIterator::Seek(Slice key) {
  status_ = Status::Ok();
  for (Source& source : sources_) {
    source.spent = false;
    source.cells->Seek(key);
  }
  Rebuild(true);
  Find();
}

void MergedIterator::SeekForPrev(Slice key) {
  status_ = Status::Ok();
  for (Source& source : sources_) {
    source.spent = false;
    source.cells->SeekForPrev(key);
  }
  Rebuild(false);
  Find();
}

void MergedIterator::SeekToFirst() {
  status_ = Status::Ok();
  for (Source& source : sources_) {
    source.spent = false;
    source.cells->SeekToFirst();
  }
  Rebuild(true);
  Find();
}

void MergedIterator::SeekToLast() {
  status_ = Status::Ok();
  for (Source& source : sources_) {
    source.spent = false;
    source.cells->SeekToLast();
  }
  Rebuild(false);
  Find();
}

}  // namespace gapless::table

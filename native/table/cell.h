// One version of one key as tables pass it on, and the two ways to walk a table.
//
// A table is a memtable or a run. Slices of a cell live as long as the ReadGuard under which the
// table is read, or, from an iterator or stream, until its next move.
#pragma once

#include <cstdint>

#include "base/slice.h"
#include "base/status.h"
#include "table/value_ref.h"

namespace gapless::table {

struct Cell {
  Slice key;
  Slice value;  // empty if deleted
  uint64_t seq = 0;
  uint64_t expires_at_ms = 0;  // 0: never
  bool deleted = false;
  StoredValue stored;  // with a file: the value stands there, and `value` is empty
  size_t value_bytes() const {
    return stored.file == nullptr ? value.size() : stored.ref.raw_bytes;
  }
};

// One table at one read point: for each key at most one cell, the newest at or below the point's
// sequence, deletions included. Range deletes are not applied: see RangeSet::CoverAt. Both
// directions. Used by one thread under one guard, which it must not outlive.
class CellIterator {
 public:
  virtual ~CellIterator() = default;
  virtual bool Valid() const = 0;
  virtual const Cell& cell() const = 0;
  virtual void Next() = 0;
  virtual void Prev() = 0;
  virtual void Seek(Slice key) = 0;         // first cell with a key >= key
  virtual void SeekForPrev(Slice key) = 0;  // last cell with a key <= key
  virtual void SeekToFirst() = 0;
  virtual void SeekToLast() = 0;
  // Damage or an error of the disk; Valid() is false then.
  virtual Status status() const = 0;
};

// Every version of every key of an immutable table, forward only: keys ascend, sequences of one key
// fall. For flushing, merging and checking. Needs no guard; keeps its table alive.
class CellStream {
 public:
  virtual ~CellStream() = default;
  // False behind the last cell.
  virtual Result<bool> Next(Cell* cell) = 0;
};

}  // namespace gapless::table

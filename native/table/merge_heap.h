// The inputs of a merge in the order of their next cells: keys ascend, sequences of one key fall.
// One thread.
#pragma once

#include <memory>
#include <vector>

#include "table/cell.h"
#include "table/run.h"

namespace gapless::table {

class MergeHeap {
 public:
  // `common` bytes are shared by all keys: comparing begins behind them.
  explicit MergeHeap(size_t common) : common_(common) {}

  // With `info` the stream waits at its extent's start and is begun when that is on top.
  Status Add(std::unique_ptr<CellStream> stream, const RunInfo* info);

  bool empty() const { return items_.empty(); }
  // The next cell; until Pop. Requires: !empty().
  const Cell& top() const { return items_[0].cursor->cell; }
  uint64_t top_prefix() const { return items_[0].prefix; }
  // Begins what waits until a cell is on top.
  Status Settle();
  // Moves behind the top cell. Settle before the next top().
  Status Pop() { return Advance(); }

 private:
  struct Cursor {
    std::unique_ptr<CellStream> stream;
    Cell cell;
    bool begun = false;
  };
  struct Item {
    uint64_t prefix = 0;
    std::unique_ptr<Cursor> cursor;
  };

  uint64_t PrefixOf(Slice key) const;
  bool Less(const Item& a, const Item& b) const;
  // Moves the top's stream on and puts it in its place; an ended stream is destroyed.
  Status Advance();
  void SiftDown();

  const size_t common_;
  std::vector<Item> items_;
};

}  // namespace gapless::table

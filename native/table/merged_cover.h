// The range deletes of one shard for a walk: which delete covers a key, asked for key after key.
//
// Each table's answer is kept with the stretch of keys that it holds for, so that a walk seldom
// searches. Used by one thread under one guard, which it must not outlive.
#pragma once

#include <cstdint>
#include <vector>

#include "base/slice.h"
#include "table/range_set.h"
#include "table/table_set.h"

namespace gapless::table {

class ShardCover {
 public:
  // Make it before anything reads a version (see Memtable::ranges).
  ShardCover(const ShardTables& tables, uint64_t at_seq);

  bool empty() const { return parts_.empty(); }
  // The newest delete at or below the read point that covers `key`, in whichever table, or 0.
  uint64_t At(Slice key);

 private:
  struct Stretch {
    Slice lower;
    Slice upper;
    bool from_start = false;  // no lower bound
    bool to_end = false;      // no upper bound
    uint64_t seq = 0;

    bool Holds(Slice key) const {
      return (from_start || lower.Compare(key) <= 0) && (to_end || key.Compare(upper) < 0);
    }
  };
  // The range deletes of one table; of a level: of the run that holds the key.
  struct Part {
    const RangeSet* ranges = nullptr;
    const LevelIndex* level = nullptr;
    Stretch now;  // holds no key at first
  };

  Stretch InRanges(const RangeSet& ranges, Slice key) const;
  Stretch InLevel(const LevelIndex& level, Slice key) const;

  const uint64_t at_seq_;
  std::vector<Part> parts_;
};

}  // namespace gapless::table

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
  // A stretch of keys and what one table says of all of them.
  struct Stretch {
    Slice lower;
    Slice upper;
    bool from_start = false;  // no lower bound
    bool to_end = false;      // no upper bound
    uint64_t seq = 0;         // of the newest delete at or below the read point; 0: none
    uint32_t rank = 0;        // of the table within its shard: 0 is the newest

    bool Holds(Slice key) const {
      return (from_start || lower.Compare(key) <= 0) && (to_end || key.Compare(upper) < 0);
    }
  };

  // Make it before anything reads a version (see Memtable::ranges).
  ShardCover(const ShardTables& tables, uint64_t at_seq);

  bool empty() const { return parts_.empty(); }
  // The newest delete at or below the read point that covers `key`, in whichever table, or 0.
  uint64_t At(Slice key);
  // The stretch around the key last asked for that the newest table deletes which deletes the key:
  // whatever tables of a greater rank hold of it at the read point is hidden. Requires: At was not
  // 0.
  const Stretch& Newest() const;

 private:
  // The range deletes of one table; of a level: of the run that holds the key.
  struct Part {
    const RangeSet* ranges = nullptr;
    const LevelIndex* level = nullptr;
    uint32_t rank = 0;
    Stretch now;  // holds no key at first
  };

  Stretch InRanges(const RangeSet& ranges, Slice key) const;
  Stretch InLevel(const LevelIndex& level, Slice key) const;

  const uint64_t at_seq_;
  std::vector<Part> parts_;  // newest first
};

}  // namespace gapless::table

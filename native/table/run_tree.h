// Which runs a store has: for each shard, levels of runs. Immutable; a change makes a new tree.
//
// Level 0 holds flushed memtables, newest first, each over the whole shard. A deeper level holds
// runs whose extents do not overlap, in key order. What lies higher is newer, key by key.
#pragma once

#include <memory>
#include <vector>

#include "table/run.h"

namespace gapless::table {

inline constexpr uint32_t kLevelsMax = 7;

// Whether the extent holds nothing at or behind `key`.
bool EndsAtOrBefore(const Extent& extent, Slice key);
bool Overlap(const Extent& a, const Extent& b);
// The smallest extent that holds both.
Extent Hull(const Extent& a, const Extent& b);

using RunList = std::vector<std::shared_ptr<const Run>>;

struct ShardRuns {
  RunList levels[kLevelsMax];
  bool empty() const;
};

class RunTree {
 public:
  explicit RunTree(uint32_t shards) : shards_(shards) {}
  // The tree without `removed` (by number) and with `added`, each at its info's shard and level. A
  // moved run is in both, opened again under its new level. Requires: all of `removed` are in the
  // tree, and levels deeper than 0 stay without overlap.
  std::shared_ptr<const RunTree> With(const RunList& removed, const RunList& added) const;

  uint32_t shards() const { return static_cast<uint32_t>(shards_.size()); }
  const ShardRuns& shard(uint32_t shard) const { return shards_[shard]; }
  RunList All() const;
  uint64_t bytes() const;  // of runs and of the value files that they refer to
  uint64_t count() const;

 private:
  std::vector<ShardRuns> shards_;
};

}  // namespace gapless::table

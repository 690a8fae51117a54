// Which runs to merge next: a pure decision over the tree.
//
// Levelled, with level sizes derived from the bottom up: the deepest level may hold what it holds,
// each one above it a tenth of the one below, so that what is overwritten stays a small part of the
// whole (S. Dong et al., "Optimizing Space Amplification in RocksDB", CIDR 2017). A level that
// would be smaller than base_bytes is not used: level 0 is merged into the first one that is (the
// base), or into the first one above it that still holds runs.
//
// Large values stand in value files (value_file.h), which merges do not rewrite, so levels are
// sized by runs alone, and two rules more keep garbage small. Level 0 is merged as soon as it
// refers to much, since what it overwrites is known as garbage only then. And while too much of a
// shard's value files is garbage, the runs that refer to the worst of them are merged with
// themselves, to write what is left to new ones. At rest the value files of a shard hold at most
// 1/0.75 of what is referred to, and that at most 8/7 of what is not overwritten in level 0.
//
// Several merges of one shard may run at once. What keeps them apart: a plan holds every run of its
// levels that overlaps it, none of them busy; the older runs of level 0 are always among its
// inputs; so outputs of plans never overlap, and what lies higher stays newer. Every plan takes
// bytes deeper, except for those with from_level == to_level, which leave nothing to be taken out
// again (deletions, references to worn files): without new runs there is always a last plan.
#pragma once

#include <optional>
#include <string>

#include "table/run_tree.h"

namespace gapless::table {

struct PickerOptions {
  // So many runs of level 0 are merged down; up to twice as many where the base is large, since
  // each such merge rewrites all of it.
  uint32_t level0_runs = 4;
  uint64_t base_bytes = 16 << 20;  // smallest level that is worth having, per shard
  uint64_t run_bytes = 32 << 20;   // largest size of an output run; small shards get smaller ones
  // The lowest protected sequence (of floor and views). Runs of the deepest level whose deletions
  // are all at or below it are merged with themselves to get rid of them. 0: none.
  uint64_t oldest_seq = 0;
  // Deletions in level 0 are merged down without waiting for level0_runs. For while flushes are
  // rare: as long as they come, the number of runs gets the deletions down as well, cheaper.
  bool settle = true;
};

struct MergePlan {
  uint32_t shard = 0;
  uint32_t from_level = 0;
  uint32_t to_level = 0;
  RunList inputs;       // of all levels from the one to the other
  bool bottom = false;  // nothing deeper overlaps the inputs
  // The inputs are of one level and overlap nothing, not each other either: they may be taken into
  // to_level as they are, under their numbers. Merging them is right as well.
  bool move = false;
  uint64_t run_bytes = 0;
  // Value files of which the merge rewrites what it meets. Numbers ascend.
  std::vector<uint64_t> worn_values;
  double score = 0;         // above 1: due; the higher the more urgent
  const char* reason = "";  // "level0", "size", "deletions", "range", "values", "request"
};

// The most urgent merge, or none. Runs whose numbers are in `busy` are being merged already.
std::optional<MergePlan> PickMerge(const RunTree& tree, const PickerOptions& options,
                                   const std::vector<uint64_t>& busy);
// The next step of compact(range): merges everything that overlaps [lower, upper) down to the
// deepest level, and finally runs of that level with themselves where they still hold
// deletions. A step takes all that is needed from the levels between at once and its outputs are
// of the deepest level, so each run is taken once: with level 0 in it, a step may rewrite, and need
// the space of, a whole shard. `done_through` is the newest run number when the request was made:
// runs with higher numbers count as compacted. None: done, or what is left is busy.
std::optional<MergePlan> PickCompaction(const RunTree& tree, const PickerOptions& options,
                                        const Extent& range, uint64_t done_through,
                                        const std::vector<uint64_t>& busy);
// How far merging is behind, in bytes that would have to be rewritten; for back-pressure and stats.
uint64_t MergeDebt(const RunTree& tree, const PickerOptions& options);

}  // namespace gapless::table

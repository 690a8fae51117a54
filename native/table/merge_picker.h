// Which runs to merge next: a pure decision over the tree.
//
// Levelled, with level sizes derived from the bottom up: the deepest level in use may hold what it
// holds, each one above it a tenth of the one below, so that what is overwritten stays a small part
// of the whole (S. Dong et al., "Optimizing Space Amplification in RocksDB", CIDR 2017).
#pragma once

#include <optional>
#include <string>

#include "table/run_tree.h"

namespace gapless::table {

struct PickerOptions {
  uint32_t level0_runs = 4;        // so many runs of level 0 are merged down
  uint64_t base_bytes = 64 << 20;  // smallest level that is worth having, per shard
  uint64_t run_bytes = 32 << 20;   // size of one output run
};

struct MergePlan {
  uint32_t shard = 0;
  uint32_t from_level = 0;
  uint32_t to_level = 0;
  RunList inputs;       // of both levels
  bool bottom = false;  // nothing deeper overlaps the inputs
  uint64_t run_bytes = 0;
  double score = 0;         // above 1: due; the higher the more urgent
  const char* reason = "";  // "level0", "size", "deletions", "range", "request"
};

// The most urgent merge, or none. Runs whose numbers are in `busy` are being merged already.
std::optional<MergePlan> PickMerge(const RunTree& tree, const PickerOptions& options,
                                   const std::vector<uint64_t>& busy);
// The next step of compact(range): merges everything that overlaps [lower, upper) down to the
// deepest level in use, one level at a time and finally the bottom one with itself where it still
// holds deletions. `done_through` is the newest run number when the request was made: runs with
// higher numbers count as compacted. None: done.
std::optional<MergePlan> PickCompaction(const RunTree& tree, const PickerOptions& options,
                                        const Extent& range, uint64_t done_through,
                                        const std::vector<uint64_t>& busy);
// How far merging is behind, in bytes that would have to be rewritten; for back-pressure and stats.
uint64_t MergeDebt(const RunTree& tree, const PickerOptions& options);

}  // namespace gapless::table

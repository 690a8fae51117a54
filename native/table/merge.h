// Merging: versions of several tables of one shard into new runs, without what nobody can read.
//
// Pure but for the run files it writes. One thread a merge. A flush is a merge of one sealed
// memtable. The rules stand at KeepVersion in merge.cc: of each key every version above the floor
// stays, and the newest at or below the floor and at or below each view; a range delete counts as a
// deletion of each key that it covers; a deletion goes at the bottom once nothing older is left.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "table/cell.h"
#include "table/range_set.h"
#include "table/run.h"

namespace gapless::table {

struct MergeInput {
  std::unique_ptr<CellStream> cells;
  const RangeSet* ranges = nullptr;  // may be null; outlives the merge
};

struct MergeRequest {
  std::vector<MergeInput> inputs;  // of one shard, in any order
  // Ascending: the floor first, then the views' sequences (those above the floor are harmless).
  std::vector<uint64_t> protected_seqs;
  // Nothing older lies below the inputs, within their extents.
  bool bottom = false;
  uint32_t shard = 0;
  uint32_t level = 0;      // of the outputs
  uint64_t run_bytes = 0;  // an output ends at the first key behind so many; 0: never
  std::function<uint64_t()> next_number;
  // Called about every 256 KiB of output with the bytes since; may wait (rate limit). Not OK ends
  // the merge with that status (close, poisoned).
  std::function<Status(uint64_t bytes)> pace;
};

struct MergeStats {
  uint64_t read_cells = 0;
  uint64_t written_cells = 0;
  uint64_t written_bytes = 0;
};

// The finished, synced runs in key order; may be none. On failure every file written is removed.
Result<std::vector<RunInfo>> Merge(const RunOptions& options, MergeRequest request,
                                   MergeStats* stats);

}  // namespace gapless::table

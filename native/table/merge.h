// Merging: versions of several tables of one shard into new runs, without what nobody can read.
//
// Pure but for the run files it writes. One thread a merge. A flush is a merge of one sealed
// memtable. The rules, with merge_rules.h: of each key every version above the floor stays, and the
// newest at or below the floor and at or below each view; a range delete counts as a deletion of
// each key that it covers. At the bottom a deletion at or below the floor goes unless an older
// version stays, and a range delete at or below everything that is protected.
//
// An output ends between two keys; range deletes are cut there, so that outputs never overlap. Of
// inputs whose extents follow each other only one at a time is open, so memory does not grow with
// their number.
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
  // Of a run; may be null, outlives the merge. With it the stream is not begun before its turn, and
  // not at all if range deletes of the inputs hide the whole run.
  const RunInfo* info = nullptr;
};

struct MergeRequest {
  std::vector<MergeInput> inputs;  // of one shard, in any order
  // The floor first, then the views' sequences (those above the floor are harmless). Empty: every
  // version stays.
  std::vector<uint64_t> protected_seqs;
  // What had expired by then, in ms, is read by nobody: it stands for a deletion. 0: nothing.
  uint64_t expired_through_ms = 0;
  // Nothing older lies below the inputs, within their extents.
  bool bottom = false;
  uint32_t shard = 0;
  uint32_t level = 0;  // of the outputs
  // An output ends at the first key behind so many bytes, or kValueFileBytes of values; 0: never.
  uint64_t run_bytes = 0;
  // Values in these value files are written to new ones, those of the outputs. Numbers ascend.
  std::vector<uint64_t> worn_values;
  std::function<uint64_t()> next_number;
  // Called about every 256 KiB of output with the bytes since, and now and then while nothing is
  // written; may wait (rate limit). Not OK ends the merge with that status (close, poisoned).
  std::function<Status(uint64_t bytes)> pace;
};

inline constexpr uint64_t kValueFileBytes = uint64_t{64} << 20;

struct MergeStats {
  uint64_t read_cells = 0;
  uint64_t written_cells = 0;
  uint64_t written_bytes = 0;
};

// Makes the writer of the next output.
using NewRunWriter = std::function<Result<std::unique_ptr<RunWriter>>()>;
// Merges into whatever writers take it (request.shard, level and next_number are not used). Runs
// are in *finished, those of a merge that fails as well.
Status MergeInto(MergeRequest request, const NewRunWriter& new_writer,
                 std::vector<RunInfo>* finished, MergeStats* stats);

// The finished, synced runs in key order; may be none. On failure every file written is removed.
Result<std::vector<RunInfo>> Merge(const RunOptions& options, MergeRequest request,
                                   MergeStats* stats);

}  // namespace gapless::table

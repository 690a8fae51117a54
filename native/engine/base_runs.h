// From the verified flows of a snapshot to the runs of a new generation.
//
// Memory is bounded by a chunk a flow and a run writer a shard, whatever the size of the snapshot.
// Callers' threads, and up to three of their own; waits.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "snapshot/snapshot.h"
#include "table/run_tree.h"

namespace gapless::engine {

// The deepest level: whatever comes later lies above it.
inline constexpr uint32_t kBaseLevel = table::kLevelsMax - 1;
inline constexpr uint64_t kBaseRunBytes = uint64_t{32} << 20;

struct BaseRunsRequest {
  std::string flows;                       // directory of the flow files
  const snapshot::Token* token = nullptr;  // with complete summaries
  table::RunOptions runs;                  // where they are to stand
  uint32_t shards = 0;
  uint64_t run_bytes = kBaseRunBytes;
  std::function<uint64_t()> next_number;  // any thread
};

// Writes every entry of the flows into runs of its shard, of level kBaseLevel, in key order and
// without overlap; each is fdatasynced, their directory is not. Each flow is read with the checks
// of its format, and must be the one that the token names. On failure every file written is
// removed. kCorrupt with the flow's file.
// Requires: VerifyFlowFile said OK of each flow.
Result<std::vector<table::RunInfo>> WriteBaseRuns(const BaseRunsRequest& request);

}  // namespace gapless::engine

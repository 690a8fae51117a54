// The replica's side of a full sync: a generation built beside the live one, and the switch to it.
//
// Flows and log stand below incoming/ until Install makes runs of the flows and moves all of it to
// gen-NNNNNN; CURRENT names that last. A crash
// at any step leaves the old generation or the new one; what it leaves of the other is removed by
// SettleSwitch at the next open, except what incoming/SYNC names on a replica: Recall takes that
// up. One builder an engine at a time.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/recovery.h"
#include "engine/state_file.h"

namespace gapless::engine {

class EngineImpl;

// The builder works beside the live generation of `engine`, which outlives it, and ends with
// EngineImpl::SwitchGeneration. kConflict while another one lives.
Result<std::unique_ptr<GenerationBuilder>> MakeGenerationBuilder(EngineImpl* engine);

// What STATE says of the log of `generation`. While a switch is under way it speaks of both: the
// new one in durableMark, the one that is left in intentCommon (seq: its number, offset: its mark).
uint64_t DurableMarkOf(const NodeState& state, uint64_t generation);

// Ends a switch that a crash cut short, on the side that CURRENT names, and removes what no pointer
// names: incoming/ without SYNC and generations that CURRENT never reached. Requires: the exclusive
// lock.
Status SettleSwitch(io::FileSystem* fs, const std::string& path, StoreFiles* files);

}  // namespace gapless::engine

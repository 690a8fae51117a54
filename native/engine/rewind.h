// Rewinding on disk: the end of a log is saved to lost/, and a generation goes back to a position
// that its history shares with the primary's. Any thread, one at a time; all wait.
//
// Steps, in this order (DESIGN section 8): the intent in STATE (the caller's part); the suffix into
// lost/, durable; the manifest of the newest kept checkpoint at or below the common position; local
// snapshots of the suffix go; the log is cut. The caller then recovers the generation and clears
// the intent. Each step may be repeated: a crash at any of them leaves the intent, and the next
// open goes on (ContinueRewind). Nothing is appended behind `intent_end` before it is cleared.
#pragma once

#include <string>

#include "engine/offline_lost.h"
#include "engine/recovery.h"

namespace gapless::engine {

// The newest kept checkpoint at or below `common`, or null.
const Manifest* CheckpointFor(const KeptManifests& kept, const Position& common);

// Verifies the log from that checkpoint to `common`. kPositionUnavailable, reason undo_unavailable;
// kPositionNotInHistory, reason chain_mismatch; kCorrupt.
Result<log::ScanResult> ScanToCommon(io::FileSystem* fs, const std::string& path,
                                     const StoreFiles& files, const Position& common);

// What stands behind `from`, up to the record end `to`: counts and keys, without `file`.
struct SuffixRequest {
  io::FileSystem* fs = nullptr;
  const StoreFiles* files = nullptr;
  Position from;
  Position to;
  bool partial = false;  // what is there, up to `to`: the cut may have begun
};
Result<Divergence> InspectSuffix(const SuffixRequest& request);

// Saves the suffix if it holds operations, and names the file; a file that holds exactly this
// suffix already stays. kNeedsOperator, reason lost_full, if lost/ would grow beyond `lost_max`.
Result<Divergence> SaveSuffix(const SuffixRequest& request, const std::string& path,
                              LostReason reason, uint64_t time_ms, uint64_t lost_max);

// Manifest, snapshots, log: the files of a generation that nobody writes to go back to `common`.
Status CutBack(io::FileSystem* fs, const std::string& path, const StoreFiles& files,
               const Position& common, const log::ScanResult& scan);

// STATE behind the rewind that it names: no intent, and nothing promised beyond it.
NodeState WithoutRewind(NodeState state);

// At open, with the exclusive lock: goes on with the rewind that STATE names, up to the cut, and
// reads `files` anew. EndRewind follows when the generation was recovered.
Result<Divergence> ContinueRewind(io::FileSystem* fs, io::Clock* clock, const std::string& path,
                                  StoreFiles* files);

}  // namespace gapless::engine

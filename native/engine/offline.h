// Work on a directory that is not open here: inspection, verification, repair, restore.
//
// Each takes the directory's lock as INTERFACES section 14 says (shared for reading, exclusive for
// changing) and fails with kLocked on a live directory. Nothing is changed on disk but by Repair
// with `truncate_at` and by Restore. All wait.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace gapless::engine {

struct VerifyReport {
  uint64_t files = 0;
  uint64_t bytes = 0;
  Position position;
  std::vector<log::Damage> damage;  // `file` relative to the directory
};
// Identity, state, current, the kept manifests and their runs, the whole retained log with its
// indexes, and local snapshots. `deep` also reads every block of the runs, replays, computes the
// digest, and compares the kept checkpoints with each other.
Result<VerifyReport> Verify(io::FileSystem* fs, const std::string& path, bool deep);

struct DigestReport {
  Position position;
  uint64_t keys = 0;
  uint64_t bytes = 0;
  DigestSum digest;
};
// At the end, or at a record end given by its sequence: kNotARecordEnd, kPositionUnavailable.
Result<DigestReport> Digest(io::FileSystem* fs, const std::string& path,
                            std::optional<uint64_t> at_seq);

// Calls `each` for every record from the one that holds `from_seq` on (0: from the oldest); ends
// when it returns false. kEvicted below the oldest record. Damage is reported behind the last good
// record.
using RecordVisitor =
    std::function<bool(const log::RecordView&, const Position& before, const Position& after)>;
Status VisitLog(io::FileSystem* fs, const std::string& path, uint64_t from_seq,
                const RecordVisitor& each);

// What `gapless stat DIR` prints.
struct StatReport {
  struct LocalSnapshot {
    std::string name;
    Position position;
    uint64_t bytes = 0;
    uint64_t time_ms = 0;
  };
  uint32_t format = 1;
  ClusterId cluster;
  NodeId node;
  Role role = Role::kPrimary;
  uint32_t shards = 0;
  Position position;
  Position checkpoint;
  std::vector<EpochEntry> epochs;
  uint64_t log_floor = 0;
  uint64_t log_end = 0;
  uint64_t log_segments = 0;
  uint64_t log_bytes = 0;                    // of the segments' files
  std::optional<Position> older_checkpoint;  // kept beside `checkpoint` for the undo floor
  struct Level {
    uint32_t level = 0;
    uint64_t runs = 0;
    uint64_t bytes = 0;
  };
  std::vector<Level> levels;  // of the newest checkpoint, those that hold runs
  uint64_t run_count = 0;
  uint64_t run_bytes = 0;
  // Exact while what lies in runs is small, else estimated from what the manifest says of them.
  uint64_t keys = 0;
  uint64_t live_bytes = 0;   // keys and values
  uint64_t total_bytes = 0;  // files of the generation
  std::vector<LocalSnapshot> snapshots;
  std::vector<log::SlotEntry> slots;
  std::vector<log::CursorEntry> cursors;
  uint64_t lost = 0;                     // files in lost/
  std::vector<log::PaddedRange> padded;  // not empty: inconsistent
  std::optional<log::TailCut> cut;       // an open would cut here
};
Result<StatReport> Stat(io::FileSystem* fs, const std::string& path);

struct RepairReport {
  std::vector<log::Damage> damage;
  bool would_drop = false;
  Position from;                                    // cut position
  uint64_t records = 0, operations = 0, bytes = 0;  // that are lost
  bool dropped = false;
  std::string saved;   // lost/..., empty: none
  std::string advice;  // what can be done about damage that no cut mends; empty: there is none
};
// Without `truncate_at` reports only. With it: saves what is dropped to lost/, cuts the log there.
// `would_drop` is false if there is nothing that a cut could mend. `truncate_at` must be the offset
// of `from`: kUsage at another record end, kNotARecordEnd elsewhere.
Result<RepairReport> Repair(io::FileSystem* fs, io::Clock* clock, const std::string& path,
                            std::optional<uint64_t> truncate_at);

struct RestoreOptions {
  bool new_cluster = false;
  std::optional<uint32_t> shards;
};
struct RestoreReport {
  Position position;
  uint64_t keys = 0;
  uint64_t bytes = 0;
};
// `target` must not exist or be empty; it appears complete or not at all.
Result<RestoreReport> Restore(io::FileSystem* fs, io::Clock* clock, io::Random* random,
                              const std::string& snapshot, const std::string& target,
                              const RestoreOptions& options);

}  // namespace gapless::engine

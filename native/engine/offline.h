// Work on a directory that is not open here: inspection, verification, repair, restore.
//
// Each takes the directory's lock as INTERFACES section 14 says (shared for reading, exclusive for
// changing) and fails with kLocked on a live directory. Nothing is changed on disk but by Repair with
// `truncate_at` and by Restore. All wait.
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
// Identity, state, current, manifest, base flows and the whole retained log; `deep` also replays and
// computes the digest.
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

// Calls `each` for every record from the one that holds `from_seq` on; ends when it returns false.
using RecordVisitor = std::function<bool(const log::RecordView&, const Position& before,
                                         const Position& after)>;
Status VisitLog(io::FileSystem* fs, const std::string& path, uint64_t from_seq,
                const RecordVisitor& each);

struct RepairReport {
  std::vector<log::Damage> damage;
  bool would_drop = false;
  Position from;                 // cut position
  uint64_t records = 0, operations = 0, bytes = 0;   // that are lost
  bool dropped = false;
  std::string saved;             // lost/..., empty: none
};
// Without `truncate_at` reports only. With it: saves what is dropped to lost/, cuts the log there.
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

// MANIFEST-NNNNNN: what a generation's checkpoint is made of. Layout: docs/FORMAT.md "MANIFEST".
//
// Published by rename; the highest number holds and names the other one that is kept, if any.
// Decoding trusts nothing: the checksum of the whole file is verified before any count is read. Any
// thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/slice.h"
#include "base/status.h"
#include "io/file_system.h"
#include "log/meta_state.h"
#include "table/run_tree.h"

namespace gapless::engine {

inline constexpr char kManifestMagic[] = "GPLSMAN1";
inline constexpr uint32_t kManifestVersion = 1;
inline constexpr uint64_t kManifestBytesMax = 256 << 20;

struct Manifest {
  uint64_t generation = 0;
  uint64_t number = 0;
  ClusterId cluster;
  Position undo_floor;
  uint64_t kept = 0;      // number of the other manifest that is kept; 0: none
  uint64_t next_run = 1;  // above every number that a run ever had
  std::vector<table::RunInfo> runs;
  log::MetaState meta;  // its position is the checkpoint
  bool operator==(const Manifest&) const = default;
};

std::string EncodeManifest(const Manifest& manifest);
Result<Manifest> DecodeManifest(Slice bytes, const std::string& file);
std::string ManifestPath(const std::string& generation_directory, uint64_t number);

// What the runs of a manifest must be, whatever their files hold: shards and numbers in range, none
// behind the checkpoint, each level in order. kCorrupt with `what` and the run in its message.
Status CheckRuns(const Manifest& manifest, uint32_t shards, const std::string& file);

// The manifests of a generation that are kept.
struct KeptManifests {
  Manifest newest;
  std::optional<Manifest> older;  // the newest at or below the undo floor, if that is another one
};
// By the manifest with the highest number. kCorrupt if one of them is missing or damaged.
Result<KeptManifests> ReadManifests(io::FileSystem* fs, const std::string& generation_directory);
// The newest only.
Result<Manifest> ReadManifest(io::FileSystem* fs, const std::string& generation_directory);
Status PublishManifest(io::FileSystem* fs, const std::string& generation_directory,
                       const Manifest& manifest);

}  // namespace gapless::engine

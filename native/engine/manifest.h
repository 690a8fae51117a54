// MANIFEST-NNNNNN: what a generation's checkpoint is made of. Layout: docs/FORMAT.md "MANIFEST".
//
// Published by rename; the highest number holds. Decoding trusts nothing: the checksum of the whole
// file is verified before any count is read. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/slice.h"
#include "base/status.h"
#include "io/file_system.h"
#include "log/meta_state.h"
#include "snapshot/flow.h"

namespace gapless::engine {

inline constexpr char kManifestMagic[] = "GPLSMAN1";
inline constexpr uint32_t kManifestVersion = 1;
inline constexpr uint64_t kManifestBytesMax = 16 << 20;

enum class BaseKind : uint32_t { kEmpty = 0, kFlows = 1 };

struct Manifest {
  uint64_t generation = 0;
  uint64_t number = 0;
  ClusterId cluster;
  Position undo_floor;
  BaseKind base = BaseKind::kEmpty;
  std::vector<snapshot::FlowSummary> flows;  // `bytes` is not kept: 0
  log::MetaState meta;                       // its position is the checkpoint
  bool operator==(const Manifest&) const = default;
};

std::string EncodeManifest(const Manifest& manifest);
Result<Manifest> DecodeManifest(Slice bytes, const std::string& file);
// The manifest with the highest number of a generation's directory. kCorrupt if there is none.
Result<Manifest> ReadManifest(io::FileSystem* fs, const std::string& generation_directory);
Status PublishManifest(io::FileSystem* fs, const std::string& generation_directory,
                       const Manifest& manifest);

}  // namespace gapless::engine

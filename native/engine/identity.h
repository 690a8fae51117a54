// The IDENTITY file: who this directory is. Layout: docs/FORMAT.md "IDENTITY".
//
// Written at creation, by the adoption of a cluster id and by a new node id; always published by
// rename, so that it is old or new and never torn. Pure codecs, any thread.
#pragma once

#include <string>

#include "base/slice.h"
#include "base/status.h"
#include "log/position.h"

namespace gapless::engine {

inline constexpr char kIdentityMagic[] = "GPLSIDN1";
inline constexpr uint32_t kIdentityVersion = 1;
inline constexpr size_t kIdentityBytes = 128;
inline constexpr uint32_t kShardsMax = 64;

struct IdentityFile {
  uint32_t shards = 0;
  ClusterId cluster;
  NodeId node;
  Id128 secret{};
  uint64_t created_ms = 0;
  bool operator==(const IdentityFile&) const = default;
};

std::string EncodeIdentity(const IdentityFile& identity);
// kCorrupt with file and offset, kFormatUnsupported.
Result<IdentityFile> DecodeIdentity(Slice bytes, const std::string& file);

}  // namespace gapless::engine

// Codec, search and publication of manifests.
#include "engine/manifest.h"

#include <algorithm>

#include "base/coding.h"
#include "base/crc32c.h"
#include "io/file_names.h"

namespace gapless::engine {
namespace {

constexpr size_t kVersionAt = 8;
constexpr size_t kLengthAt = 12;
constexpr size_t kGenerationAt = 16;
constexpr size_t kNumberAt = 24;
constexpr size_t kClusterAt = 32;
constexpr size_t kUndoFloorAt = 48;
constexpr size_t kHeadBytes = 80;
constexpr size_t kFlowBytes = 24;
constexpr size_t kRunsBytes = 4;
constexpr size_t kCrcBytes = 4;
constexpr uint32_t kFlowsMax = 65536;

Status Unsupported(const std::string& file, uint64_t offset) {
  return Status::Error(Code::kFormatUnsupported, "the manifest is of another version")
      .WithFile(file, static_cast<int64_t>(offset));
}

// Requires: the checksum of `bytes` holds. Moves `*at` behind the base and the runs.
Status DecodeBase(Slice bytes, const std::string& file, size_t* at, Manifest* manifest) {
  const uint32_t kind = LoadU32(bytes.data() + *at);
  const uint32_t count = LoadU32(bytes.data() + *at + 4);
  if (kind > 1 || count > kFlowsMax || (kind == 0 && count != 0)) return Unsupported(file, *at);
  manifest->base = static_cast<BaseKind>(kind);
  *at += 8;
  if (bytes.size() < *at + size_t{count} * kFlowBytes + kRunsBytes + kCrcBytes) {
    return Status::Corrupt("the manifest is shorter than its flows", file, bytes.size());
  }
  for (uint32_t i = 0; i < count; ++i, *at += kFlowBytes) {
    snapshot::FlowSummary flow;
    flow.entries = LoadU64(bytes.data() + *at);
    flow.file_bytes = LoadU64(bytes.data() + *at + 8);
    flow.crc = LoadU32(bytes.data() + *at + 16);
    flow.flow = LoadU32(bytes.data() + *at + 20);
    manifest->flows.push_back(flow);
  }
  if (LoadU32(bytes.data() + *at) != 0) return Unsupported(file, *at);
  *at += kRunsBytes;
  return Status::Ok();
}

}  // namespace

std::string EncodeManifest(const Manifest& manifest) {
  std::string bytes(kHeadBytes, '\0');
  std::memcpy(bytes.data(), kManifestMagic, 8);
  StoreU32(bytes.data() + kVersionAt, kManifestVersion);
  StoreU64(bytes.data() + kGenerationAt, manifest.generation);
  StoreU64(bytes.data() + kNumberAt, manifest.number);
  std::memcpy(bytes.data() + kClusterAt, manifest.cluster.bytes.data(), 16);
  EncodePosition(manifest.undo_floor, bytes.data() + kUndoFloorAt);
  AppendLe<uint32_t>(&bytes, static_cast<uint32_t>(manifest.base));
  AppendLe<uint32_t>(&bytes, static_cast<uint32_t>(manifest.flows.size()));
  for (const snapshot::FlowSummary& flow : manifest.flows) {
    AppendLe<uint64_t>(&bytes, flow.entries);
    AppendLe<uint64_t>(&bytes, flow.file_bytes);
    AppendLe<uint32_t>(&bytes, flow.crc);
    AppendLe<uint32_t>(&bytes, flow.flow);
  }
  AppendLe<uint32_t>(&bytes, 0);
  bytes += log::EncodeMetaState(manifest.meta);
  StoreU32(bytes.data() + kLengthAt, static_cast<uint32_t>(bytes.size() + kCrcBytes));
  AppendLe<uint32_t>(&bytes, Crc32c(bytes));
  return bytes;
}

Result<Manifest> DecodeManifest(Slice bytes, const std::string& file) {
  if (bytes.size() < kHeadBytes + 8 + kRunsBytes + kCrcBytes) {
    return Status::Corrupt("the manifest is short", file, bytes.size());
  }
  if (std::memcmp(bytes.data(), kManifestMagic, 8) != 0) {
    return Status::Corrupt("the manifest has another magic", file, 0);
  }
  const size_t crc_at = bytes.size() - kCrcBytes;
  if (Crc32c(bytes.Sub(0, crc_at)) != LoadU32(bytes.data() + crc_at)) {
    return Status::Corrupt("the checksum of the manifest does not hold", file, crc_at);
  }
  if (LoadU32(bytes.data() + kVersionAt) != kManifestVersion) return Unsupported(file, kVersionAt);
  if (LoadU32(bytes.data() + kLengthAt) != bytes.size()) {
    return Status::Corrupt("the manifest has another length than it says", file, kLengthAt);
  }
  Manifest manifest;
  manifest.generation = LoadU64(bytes.data() + kGenerationAt);
  manifest.number = LoadU64(bytes.data() + kNumberAt);
  std::memcpy(manifest.cluster.bytes.data(), bytes.data() + kClusterAt, 16);
  manifest.undo_floor = DecodePosition(bytes.data() + kUndoFloorAt);
  size_t at = kHeadBytes;
  RETURN_IF_ERROR(DecodeBase(bytes, file, &at, &manifest));
  Result<log::MetaState> meta = log::DecodeMetaState(bytes.Sub(at, crc_at - at), file, at);
  if (!meta.ok()) return meta.status();
  manifest.meta = std::move(meta.value());
  return manifest;
}

Result<Manifest> ReadManifest(io::FileSystem* fs, const std::string& generation_directory) {
  const Result<std::vector<std::string>> names = fs->List(generation_directory);
  if (!names.ok()) return names.status();
  uint64_t newest = 1;
  bool found = false;
  for (const std::string& name : names.value()) {
    uint64_t number = 0;
    if (!io::ParseManifestName(name, &number)) continue;
    newest = std::max(newest, number);
    found = true;
  }
  const std::string path = io::JoinPath(generation_directory, io::ManifestName(newest));
  if (!found) return Status::Corrupt("the generation has no manifest", path, 0);
  const Result<std::string> bytes = io::ReadWholeFile(fs, path, kManifestBytesMax);
  if (!bytes.ok()) return bytes.status();
  Result<Manifest> manifest = DecodeManifest(bytes.value(), path);
  if (manifest.ok() && manifest.value().number != newest) {
    return Status::Corrupt("the manifest carries another number than its name", path, kNumberAt);
  }
  return manifest;
}

Status PublishManifest(io::FileSystem* fs, const std::string& generation_directory,
                       const Manifest& manifest) {
  return io::PublishFile(fs, generation_directory, io::ManifestName(manifest.number),
                         EncodeManifest(manifest));
}

}  // namespace gapless::engine

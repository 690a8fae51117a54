// Codec, search and publication of manifests.
#include "engine/manifest.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

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
constexpr size_t kKeptAt = 80;
constexpr size_t kHeadBytes = 88;
constexpr size_t kRunsHeadBytes = 12;
constexpr size_t kRunBytes = 84;
constexpr size_t kCrcBytes = 4;
constexpr uint32_t kRunUnbounded = 1;
constexpr uint32_t kRunHasValues = 2;
constexpr size_t kValuesHeadBytes = 4;
constexpr size_t kValueUseBytes = 24;
// A key, or the first one behind the largest.
constexpr uint32_t kBoundBytesMax = 32 * 1024 + 1;

Status Unsupported(const std::string& file, uint64_t offset) {
  return Status::Error(Code::kFormatUnsupported, "the manifest is of another version")
      .WithFile(file, static_cast<int64_t>(offset));
}

Status Malformed(const char* message, const std::string& file, uint64_t offset) {
  return Status::Corrupt(message, file, offset).With("what", "format");
}

void AppendRun(const table::RunInfo& run, std::string* bytes) {
  AppendLe<uint64_t>(bytes, run.number);
  AppendLe<uint32_t>(bytes, run.shard);
  AppendLe<uint32_t>(bytes, run.level);
  for (const uint64_t count : {run.bytes, run.cells, run.deletions, run.range_deletes,
                               run.raw_bytes, run.min_seq, run.max_seq}) {
    AppendLe<uint64_t>(bytes, count);
  }
  AppendLe<uint32_t>(
      bytes, (run.extent.unbounded ? kRunUnbounded : 0) | (run.values.empty() ? 0 : kRunHasValues));
  AppendLe<uint32_t>(bytes, static_cast<uint32_t>(run.extent.lower.size()));
  AppendLe<uint32_t>(bytes, static_cast<uint32_t>(run.extent.upper.size()));
  *bytes += run.extent.lower;
  *bytes += run.extent.upper;
  if (run.values.empty()) return;
  AppendLe<uint32_t>(bytes, static_cast<uint32_t>(run.values.size()));
  for (const table::ValueUse& use : run.values) {
    for (const uint64_t part : {use.file, use.file_bytes, use.bytes}) {
      AppendLe<uint64_t>(bytes, part);
    }
  }
}

// The part of a run behind its bounds. Returns its length; 0: it is cut.
size_t DecodeUses(Slice rest, table::ValueUses* uses) {
  if (rest.size() < kValuesHeadBytes) return 0;
  const uint32_t count = LoadU32(rest.data());
  if (count == 0 || count > (rest.size() - kValuesHeadBytes) / kValueUseBytes) return 0;
  const char* at = rest.data() + kValuesHeadBytes;
  for (uint32_t i = 0; i < count; ++i, at += kValueUseBytes) {
    uses->push_back({LoadU64(at), LoadU64(at + 8), LoadU64(at + 16)});
  }
  return kValuesHeadBytes + count * kValueUseBytes;
}

// Requires: `rest` holds the fixed part. Returns the length of the whole entry; 0: it is cut.
size_t DecodeRun(Slice rest, table::RunInfo* run, uint32_t* flags) {
  const char* const bytes = rest.data();
  run->number = LoadU64(bytes);
  run->shard = LoadU32(bytes + 8);
  run->level = LoadU32(bytes + 12);
  uint64_t* const counts[] = {&run->bytes,     &run->cells,   &run->deletions, &run->range_deletes,
                              &run->raw_bytes, &run->min_seq, &run->max_seq};
  size_t at = 16;
  for (uint64_t* const count : counts) {
    *count = LoadU64(bytes + at);
    at += 8;
  }
  *flags = LoadU32(bytes + at);
  const uint32_t lower = LoadU32(bytes + at + 4);
  const uint32_t upper = LoadU32(bytes + at + 8);
  if (lower > kBoundBytesMax || upper > kBoundBytesMax) return 0;
  const size_t size = kRunBytes + lower + upper;
  if (rest.size() < size) return 0;
  run->extent.lower = rest.Sub(kRunBytes, lower).ToString();
  run->extent.upper = rest.Sub(kRunBytes + lower, upper).ToString();
  run->extent.unbounded = (*flags & kRunUnbounded) != 0;
  if ((*flags & kRunHasValues) == 0) return size;
  const size_t uses = DecodeUses(rest.Sub(size, rest.size() - size), &run->values);
  return uses == 0 ? 0 : size + uses;
}

// Requires: the checksum holds, and the head of the runs is there. Moves `*at` behind the runs.
Status DecodeRuns(Slice bytes, const std::string& file, size_t* at, Manifest* manifest) {
  const size_t end = bytes.size() - kCrcBytes;
  manifest->next_run = LoadU64(bytes.data() + *at);
  const uint32_t count = LoadU32(bytes.data() + *at + 8);
  *at += kRunsHeadBytes;
  if (count > (end - *at) / kRunBytes) {
    return Malformed("the manifest is shorter than its runs", file, *at - 4);
  }
  manifest->runs.resize(count);
  for (table::RunInfo& run : manifest->runs) {
    if (end - *at < kRunBytes) return Malformed("a run is cut off", file, *at);
    uint32_t flags = 0;
    const size_t size = DecodeRun(bytes.Sub(*at, end - *at), &run, &flags);
    if (size == 0) return Malformed("a run is cut off", file, *at);
    if ((flags & ~(kRunUnbounded | kRunHasValues)) != 0) return Unsupported(file, *at);
    *at += size;
  }
  return Status::Ok();
}

// Requires: the lower bounds ascend.
bool Meet(const table::Extent& left, const table::Extent& right) {
  return left.unbounded || left.upper > right.lower;
}

// Of one level of one shard, in the order in which `Precedes` put them.
const char* CheckLevel(const std::vector<const table::RunInfo*>& runs) {
  for (size_t i = 1; i < runs.size(); ++i) {
    const table::RunInfo& before = *runs[i - 1];
    const table::RunInfo& run = *runs[i];
    if (run.level != before.level || run.shard != before.shard) continue;
    if (run.level == 0) {
      // Flushed one behind the other: the later one holds what is newer.
      if (before.max_seq >= run.min_seq) return "runs of level 0 are not in order";
    } else if (Meet(before.extent, run.extent)) {
      return "runs of one level overlap";
    }
  }
  return nullptr;
}

// Value files of all runs: the shard and the length of each.
using ValueFacts = std::map<uint64_t, std::pair<uint32_t, uint64_t>>;

const char* CheckUses(const table::RunInfo& run, uint64_t next_run, ValueFacts* facts) {
  uint64_t before = 0;
  for (const table::ValueUse& use : run.values) {
    if (use.file <= before || use.file > run.number || use.file >= next_run) {
      return "names value files that cannot be";
    }
    before = use.file;
    const auto [at, added] = facts->try_emplace(use.file, run.shard, use.file_bytes);
    if (at->second != std::pair(run.shard, use.file_bytes)) {
      return "says something else of a value file than another run";
    }
    if (use.bytes == 0 || use.file_bytes < table::kValuesHeaderBytes ||
        use.bytes > use.file_bytes - table::kValuesHeaderBytes) {
      return "uses more than a value file has";
    }
  }
  return nullptr;
}

bool Precedes(const table::RunInfo* left, const table::RunInfo* right) {
  if (left->shard != right->shard) return left->shard < right->shard;
  if (left->level != right->level) return left->level < right->level;
  if (left->level == 0) return left->number < right->number;
  return left->extent.lower < right->extent.lower;
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
  StoreU64(bytes.data() + kKeptAt, manifest.kept);
  AppendLe<uint64_t>(&bytes, manifest.next_run);
  AppendLe<uint32_t>(&bytes, static_cast<uint32_t>(manifest.runs.size()));
  for (const table::RunInfo& run : manifest.runs) AppendRun(run, &bytes);
  bytes += log::EncodeMetaState(manifest.meta);
  StoreU32(bytes.data() + kLengthAt, static_cast<uint32_t>(bytes.size() + kCrcBytes));
  AppendLe<uint32_t>(&bytes, Crc32c(bytes));
  return bytes;
}

Result<Manifest> DecodeManifest(Slice bytes, const std::string& file) {
  if (bytes.size() < kHeadBytes + kRunsHeadBytes + kCrcBytes) {
    return Status::Corrupt("the manifest is short", file, bytes.size()).With("what", "short");
  }
  if (std::memcmp(bytes.data(), kManifestMagic, 8) != 0) {
    return Status::Corrupt("the manifest has another magic", file, 0).With("what", "magic");
  }
  const size_t crc_at = bytes.size() - kCrcBytes;
  if (Crc32c(bytes.Sub(0, crc_at)) != LoadU32(bytes.data() + crc_at)) {
    return Status::Corrupt("the checksum of the manifest does not hold", file, crc_at)
        .With("what", "body_crc");
  }
  if (LoadU32(bytes.data() + kVersionAt) != kManifestVersion) return Unsupported(file, kVersionAt);
  if (LoadU32(bytes.data() + kLengthAt) != bytes.size()) {
    return Malformed("the manifest has another length than it says", file, kLengthAt);
  }
  Manifest manifest;
  manifest.generation = LoadU64(bytes.data() + kGenerationAt);
  manifest.number = LoadU64(bytes.data() + kNumberAt);
  std::memcpy(manifest.cluster.bytes.data(), bytes.data() + kClusterAt, 16);
  manifest.undo_floor = DecodePosition(bytes.data() + kUndoFloorAt);
  manifest.kept = LoadU64(bytes.data() + kKeptAt);
  size_t at = kHeadBytes;
  RETURN_IF_ERROR(DecodeRuns(bytes, file, &at, &manifest));
  Result<log::MetaState> meta = log::DecodeMetaState(bytes.Sub(at, crc_at - at), file, at);
  if (!meta.ok()) return meta.status();
  manifest.meta = std::move(meta.value());
  return manifest;
}

std::string ManifestPath(const std::string& generation_directory, uint64_t number) {
  return io::JoinPath(generation_directory, io::ManifestName(number));
}

Status CheckRuns(const Manifest& manifest, uint32_t shards, const std::string& file) {
  std::set<uint64_t> numbers;
  ValueFacts values;
  std::vector<const table::RunInfo*> ordered;
  for (const table::RunInfo& run : manifest.runs) {
    const char* wrong = nullptr;
    if (run.shard >= shards || run.level >= table::kLevelsMax)
      wrong = "stands in no shard or level";
    if (run.number == 0 || run.number >= manifest.next_run || !numbers.insert(run.number).second) {
      wrong = "has a number that cannot be its own";
    }
    if (run.min_seq > run.max_seq || run.max_seq > manifest.meta.position.seq) {
      wrong = "holds sequences behind the checkpoint";
    }
    if (!run.extent.unbounded && run.extent.lower >= run.extent.upper) wrong = "covers no key";
    if (wrong == nullptr) wrong = CheckUses(run, manifest.next_run, &values);
    if (wrong != nullptr) {
      return Status::Corrupt(io::RunName(run.number) + " " + wrong, file, 0).With("what", "order");
    }
    ordered.push_back(&run);
  }
  std::sort(ordered.begin(), ordered.end(), Precedes);
  const char* const wrong = CheckLevel(ordered);
  if (wrong == nullptr) return Status::Ok();
  return Status::Corrupt(wrong, file, 0).With("what", "order");
}

namespace {

Result<Manifest> ReadNumbered(io::FileSystem* fs, const std::string& directory, uint64_t number) {
  const std::string path = ManifestPath(directory, number);
  const Result<std::string> bytes = io::ReadWholeFile(fs, path, kManifestBytesMax);
  if (!bytes.ok()) return bytes.status();
  Result<Manifest> manifest = DecodeManifest(bytes.value(), path);
  if (manifest.ok() && manifest.value().number != number) {
    return Malformed("the manifest carries another number than its name", path, kNumberAt);
  }
  return manifest;
}

}  // namespace

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
  if (found) return ReadNumbered(fs, generation_directory, newest);
  return Status::Corrupt("the generation has no manifest",
                         ManifestPath(generation_directory, newest), 0)
      .With("what", "missing");
}

Result<KeptManifests> ReadManifests(io::FileSystem* fs, const std::string& generation_directory) {
  Result<Manifest> newest = ReadManifest(fs, generation_directory);
  if (!newest.ok()) return newest.status();
  KeptManifests kept{std::move(newest.value()), std::nullopt};
  if (kept.newest.kept == 0) return kept;
  const std::string path = ManifestPath(generation_directory, kept.newest.kept);
  const Result<bool> exists = fs->Exists(path);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) {
    return Status::Corrupt("a manifest that is kept is missing", path, 0).With("what", "missing");
  }
  Result<Manifest> older = ReadNumbered(fs, generation_directory, kept.newest.kept);
  if (!older.ok()) return older.status();
  if (older.value().generation != kept.newest.generation ||
      older.value().cluster != kept.newest.cluster ||
      older.value().meta.position.offset > kept.newest.meta.position.offset) {
    return Malformed("the manifest that is kept does not belong to the newest", path,
                     kGenerationAt);
  }
  kept.older = std::move(older.value());
  return kept;
}

Status PublishManifest(io::FileSystem* fs, const std::string& generation_directory,
                       const Manifest& manifest) {
  const std::string bytes = EncodeManifest(manifest);
  if (bytes.size() > kManifestBytesMax) {
    return Status::Error(Code::kTooMany, "the manifest of so many runs is too large")
        .WithFile(ManifestPath(generation_directory, manifest.number), -1);
  }
  return io::PublishFile(fs, generation_directory, io::ManifestName(manifest.number), bytes);
}

}  // namespace gapless::engine

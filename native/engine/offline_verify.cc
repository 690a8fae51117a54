// Verification of a whole data directory: each file is judged by itself as far as the others let
// it, and tells its first damage. Reads only. An error of the disk is an error, not damage.
#include <algorithm>
#include <map>
#include <set>

#include "engine/current.h"
#include "engine/generation_builder.h"
#include "engine/offline_read.h"
#include "io/file_names.h"
#include "log/segment.h"
#include "snapshot/snapshot.h"
#include "table/read_gate.h"

namespace gapless::engine {
namespace {

// So much log is replayed at most, into memory, to compare the kept checkpoints.
constexpr uint64_t kDeepReplayBytesMax = 256 << 20;

// One thread; the parts that could be read, in the order in which they need each other.
class Verifier {
 public:
  Verifier(io::FileSystem* fs, const std::string& path) : fs_(fs), path_(path) {}
  Result<VerifyReport> Run(bool deep);

 private:
  // Reads a small file; empty: it is missing or too long, which is told.
  Result<std::optional<std::string>> Read(const char* kind, const std::string& file,
                                          uint64_t max_bytes);
  Status CheckIdentity();
  Status CheckState();
  Status CheckCurrent();
  Status FindGeneration();
  Result<bool> HasManifest(const std::string& generation);
  Status CheckManifests();
  Status CheckOneManifest(uint64_t number, std::optional<Manifest>* manifest);
  Status CheckRunFiles(bool deep);
  Status CheckRun(const table::RunInfo& info, bool deep);
  Status CheckLog();
  Status CheckLogBase(const log::ScanOptions& options);
  Status CheckIndexes();
  Status CheckSnapshots();
  Status CheckDeep();
  Status CheckDigest(const StoreFiles& files, const Manifest& manifest, DigestReport* digest,
                     bool* known);
  // OK if `status` is damage and was noted; the error itself if it is one.
  Status Note(const char* kind, const Status& status, const char* what);
  void Add(const char* kind, const std::string& file, uint64_t offset, const std::string& what);
  Status Count(const std::string& file);

  io::FileSystem* const fs_;
  const std::string& path_;
  VerifyReport report_;
  std::set<std::string> damaged_;  // the list ends at the first damage of each file
  std::optional<IdentityFile> identity_;
  std::optional<NodeState> state_;
  std::optional<Manifest> manifest_;
  std::optional<Manifest> older_;
  std::set<uint64_t> value_files_;  // counted
  table::ReadGate gate_;
  table::BlockCache cache_{&gate_, 0};
  std::optional<uint64_t> generation_;
  std::string generation_path_;
};

void Verifier::Add(const char* kind, const std::string& file, uint64_t offset,
                   const std::string& what) {
  const std::string relative = RelativeTo(path_, file);
  if (!damaged_.insert(relative).second) return;
  log::Damage damage;
  damage.kind = kind;
  damage.file = relative;
  damage.offset = offset;
  damage.what = what;
  report_.damage.push_back(damage);
}

Status Verifier::Note(const char* kind, const Status& status, const char* what) {
  if (!status.Is(Code::kCorrupt) && !status.Is(Code::kFormatUnsupported)) return status;
  std::string told = status.Is(Code::kFormatUnsupported) ? "format" : what;
  for (const Detail& detail : status.details()) {
    if (detail.name == "what") told = detail.text;
  }
  Add(kind, status.file(), static_cast<uint64_t>(std::max<int64_t>(status.offset(), 0)), told);
  return Status::Ok();
}

Status Verifier::Count(const std::string& file) {
  const Result<uint64_t> size = fs_->FileSize(file);
  if (!size.ok()) return size.status();
  ++report_.files;
  report_.bytes += size.value();
  return Status::Ok();
}

Result<std::optional<std::string>> Verifier::Read(const char* kind, const std::string& file,
                                                  uint64_t max_bytes) {
  const Result<bool> exists = fs_->Exists(file);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) {
    Add(kind, file, 0, "missing");
    return std::optional<std::string>();
  }
  RETURN_IF_ERROR(Count(file));
  Result<std::string> bytes = io::ReadWholeFile(fs_, file, max_bytes);
  if (bytes.ok()) return std::optional<std::string>(std::move(bytes.value()));
  RETURN_IF_ERROR(Note(kind, bytes.status(), "format"));
  return std::optional<std::string>();
}

Status Verifier::CheckIdentity() {
  const std::string file = io::JoinPath(path_, io::kIdentityFile);
  const Result<std::optional<std::string>> bytes = Read("identity", file, kIdentityBytes);
  if (!bytes.ok() || !bytes.value()) return bytes.status();
  const Result<IdentityFile> identity = DecodeIdentity(*bytes.value(), file);
  if (identity.ok()) {
    identity_ = identity.value();
    return Status::Ok();
  }
  const bool is_short = bytes.value()->size() < kIdentityBytes;
  const char* what = is_short ? "short" : identity.status().offset() == 0 ? "magic" : "header_crc";
  return Note("identity", identity.status(), what);
}

// A slot that an update tore reads like a damaged one; either way the other one holds.
Status Verifier::CheckState() {
  const std::string file = io::JoinPath(path_, io::kStateFile);
  const Result<std::optional<std::string>> bytes = Read("state", file, kStateFileBytes);
  if (!bytes.ok() || !bytes.value()) return bytes.status();
  const Slice all = *bytes.value();
  for (uint64_t base = 0; base < kStateFileBytes; base += kStateSlotBytes) {
    if (all.size() < base + kStateSlotBytes) {
      Add("state", file, all.size(), "short");
      break;
    }
    const Result<NodeState> slot = DecodeStateSlot(all.Sub(base, kStateSlotBytes), file, base);
    if (slot.ok()) continue;
    const bool magic = slot.status().offset() == static_cast<int64_t>(base);
    RETURN_IF_ERROR(Note("state", slot.status(), magic ? "magic" : "header_crc"));
  }
  uint32_t write_first = 0;
  const Result<NodeState> state = DecodeState(all, file, &write_first);
  if (state.ok()) state_ = state.value();
  return Status::Ok();
}

Status Verifier::CheckCurrent() {
  const std::string file = io::JoinPath(path_, io::kCurrentFile);
  const Result<std::optional<std::string>> bytes = Read("current", file, 128);
  if (!bytes.ok() || !bytes.value()) return bytes.status();
  const Result<uint64_t> current = DecodeCurrent(*bytes.value(), file);
  if (!current.ok()) return Note("current", current.status(), "header_crc");
  generation_ = current.value();
  return Status::Ok();
}

Result<bool> Verifier::HasManifest(const std::string& generation) {
  const Result<std::vector<std::string>> names = fs_->List(generation);
  if (!names.ok()) return names.status();
  uint64_t number = 0;
  return std::any_of(names.value().begin(), names.value().end(),
                     [&](const std::string& name) { return io::ParseManifestName(name, &number); });
}

// Without CURRENT the newest generation that has a manifest is judged.
Status Verifier::FindGeneration() {
  if (!generation_) {
    const Result<std::vector<std::string>> names = fs_->List(path_);
    if (!names.ok()) return names.status();
    for (const std::string& name : names.value()) {
      uint64_t number = 0;
      if (!io::ParseGenerationName(name, &number)) continue;
      const Result<bool> whole = HasManifest(io::JoinPath(path_, name));
      if (!whole.ok()) return whole.status();
      if (whole.value() && (!generation_ || number > *generation_)) generation_ = number;
    }
    if (!generation_) return Status::Ok();
  }
  generation_path_ = GenerationPath(path_, *generation_);
  const Result<bool> exists = fs_->Exists(generation_path_);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) {
    Add("manifest", generation_path_, 0, "missing");
    generation_.reset();
  }
  return Status::Ok();
}

Status Verifier::CheckOneManifest(uint64_t number, std::optional<Manifest>* manifest) {
  const std::string file = ManifestPath(generation_path_, number);
  const Result<std::optional<std::string>> bytes = Read("manifest", file, kManifestBytesMax);
  if (!bytes.ok() || !bytes.value()) return bytes.status();
  Result<Manifest> decoded = DecodeManifest(*bytes.value(), file);
  if (!decoded.ok()) return Note("manifest", decoded.status(), "format");
  *manifest = std::move(decoded.value());
  const Manifest& found = **manifest;
  if (found.generation != *generation_) Add("manifest", file, 16, "format");
  if (found.number != number) Add("manifest", file, 24, "format");
  const bool adopted = identity_ && identity_->cluster.IsNone();
  if (identity_ && !adopted && found.cluster != identity_->cluster) {
    Add("manifest", file, 32, "format");
  }
  const uint32_t shards = identity_ ? identity_->shards : kShardsMax;
  const Status runs = CheckRuns(found, shards, file);
  return runs.ok() ? runs : Note("manifest", runs, "order");
}

// The newest one, and the one that it keeps beside itself.
Status Verifier::CheckManifests() {
  const Result<std::vector<std::string>> names = fs_->List(generation_path_);
  if (!names.ok()) return names.status();
  uint64_t newest = 0;
  for (const std::string& name : names.value()) {
    uint64_t number = 0;
    if (io::ParseManifestName(name, &number)) newest = std::max(newest, number);
  }
  if (newest == 0) {
    Add("manifest", ManifestPath(generation_path_, 1), 0, "missing");
    return Status::Ok();
  }
  RETURN_IF_ERROR(CheckOneManifest(newest, &manifest_));
  if (!manifest_ || manifest_->kept == 0) return Status::Ok();
  RETURN_IF_ERROR(CheckOneManifest(manifest_->kept, &older_));
  if (older_ && older_->meta.position.offset > manifest_->meta.position.offset) {
    Add("manifest", ManifestPath(generation_path_, manifest_->kept), 0, "order");
  }
  return Status::Ok();
}

// Each run that a kept manifest names, once: a level may differ, the file is the same.
Status Verifier::CheckRunFiles(bool deep) {
  std::map<uint64_t, table::RunInfo> seen;
  for (const std::optional<Manifest>* manifest : {&manifest_, &older_}) {
    if (!*manifest) continue;
    for (const table::RunInfo& run : (*manifest)->runs) {
      const auto [at, added] = seen.emplace(run.number, run);
      if (added) {
        RETURN_IF_ERROR(CheckRun(run, deep));
        continue;
      }
      table::RunInfo same = run;
      same.level = at->second.level;
      if (same == at->second) continue;
      Add("manifest", ManifestPath(generation_path_, (*manifest)->number), 0, "order");
    }
  }
  return Status::Ok();
}

Status Verifier::CheckRun(const table::RunInfo& info, bool deep) {
  Options options;
  options.fs = fs_;
  const ClusterId& cluster = identity_ ? identity_->cluster : manifest_->cluster;
  const table::RunOptions runs = MakeRunOptions(options, generation_path_, cluster);
  const std::string file = io::JoinPath(runs.directory, io::RunName(info.number));
  const Result<bool> exists = fs_->Exists(file);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) {
    Add("run", file, 0, "missing");
    return Status::Ok();
  }
  RETURN_IF_ERROR(Count(file));
  for (const table::ValueUse& use : info.values) {
    const std::string values = io::JoinPath(runs.directory, io::ValuesName(use.file));
    const Result<bool> there = fs_->Exists(values);
    if (!there.ok()) return there.status();
    if (there.value()) {
      if (value_files_.insert(use.file).second) RETURN_IF_ERROR(Count(values));
      continue;
    }
    Add("run", values, 0, "missing");
    return Status::Ok();
  }
  const Result<std::shared_ptr<const table::Run>> run = table::Run::Open(runs, info, &cache_);
  if (!run.ok()) return Note("run", run.status(), "format");
  if (!deep) return Status::Ok();
  const Result<std::vector<table::RunDamage>> damage = run.value()->Verify();
  if (!damage.ok()) return Note("run", damage.status(), "format");
  for (const table::RunDamage& found : damage.value()) {
    Add("run", found.file, found.offset, found.what);
  }
  return Status::Ok();
}

// The scan begins at the first segment that is there: it must lie below the older checkpoint.
Status Verifier::CheckLogBase(const log::ScanOptions& options) {
  if (!older_) return Status::Ok();
  const Result<std::vector<SegmentHead>> heads =
      ListSegmentHeads(fs_, options.directory, options.cluster);
  if (!heads.ok()) return heads.status();
  const uint64_t base = older_->meta.position.offset;
  if (heads.value().empty() || heads.value().front().start.offset <= base) return Status::Ok();
  Add("log", io::JoinPath(options.directory, io::SegmentName(base)), 0, "missing");
  return Status::Ok();
}

// Marks are read with the secret of IDENTITY: without it nothing can be said of the log.
Status Verifier::CheckLog() {
  log::ScanOptions options;
  options.fs = fs_;
  options.directory = io::JoinPath(generation_path_, io::kLogDirectory);
  const Result<std::vector<std::string>> files = ListSegmentFiles(fs_, options.directory);
  if (!files.ok()) return files.status();
  for (const std::string& file : files.value()) RETURN_IF_ERROR(Count(file));
  if (manifest_) report_.position = manifest_->meta.position;
  if (!identity_) return Status::Ok();
  options.cluster = manifest_ ? manifest_->cluster : identity_->cluster;
  options.secret = identity_->secret;
  options.whole = true;
  if (state_) {
    options.durable_mark = DurableMarkOf(*state_, *generation_);
    options.padded = state_->padded;
  }
  if (manifest_) {
    options.from = manifest_->meta.position;
    options.from_timestamp = manifest_->meta.clock;
    const auto& padded = manifest_->meta.padded;
    options.padded.insert(options.padded.end(), padded.begin(), padded.end());
  } else {
    const Result<std::vector<SegmentHead>> heads =
        ListSegmentHeads(fs_, options.directory, options.cluster);
    if (!heads.ok()) return heads.status();
    if (!heads.value().empty()) {
      options.from = heads.value().front().start;
      options.from_timestamp = heads.value().front().clock;
    }
  }
  const Result<bool> there = fs_->Exists(options.directory);
  if (!there.ok()) return there.status();
  if (!there.value()) {
    Add("log", options.directory, 0, "missing");
    return Status::Ok();
  }
  RETURN_IF_ERROR(CheckLogBase(options));
  const Result<log::ScanResult> scan = log::ScanLog(options, nullptr);
  if (!scan.ok()) return Note("log", scan.status(), "format");
  report_.position = scan.value().end;
  for (log::Damage damage : scan.value().damage) {
    damage.file = RelativeTo(path_, damage.file);
    if (damaged_.insert(damage.file).second) report_.damage.push_back(damage);
  }
  return Status::Ok();
}

Status Verifier::CheckIndexes() {
  const std::string directory = io::JoinPath(generation_path_, io::kLogDirectory);
  const Result<bool> exists = fs_->Exists(directory);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return Status::Ok();
  const Result<std::vector<std::string>> names = fs_->List(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    uint64_t start = 0;
    if (!io::ParseSegmentIndexName(name, &start)) continue;
    const std::string file = io::JoinPath(directory, name);
    const Result<std::optional<std::string>> bytes = Read("index", file, 64 << 20);
    if (!bytes.ok()) return bytes.status();
    std::vector<log::IndexEntry> entries;
    if (!bytes.value() || log::DecodeSegmentIndex(*bytes.value(), start, &entries)) continue;
    const bool is_short = bytes.value()->size() < log::kIndexHeaderBytes;
    Add("index", file, is_short ? bytes.value()->size() : 0, is_short ? "short" : "header_crc");
  }
  return Status::Ok();
}

Status Verifier::CheckSnapshots() {
  const std::string directory = io::JoinPath(path_, io::kSnapshotsDirectory);
  const Result<bool> exists = fs_->Exists(directory);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return Status::Ok();
  const Result<std::vector<std::string>> names = fs_->List(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    const std::string at = io::JoinPath(directory, name);
    const Result<bool> is_directory = fs_->IsDirectory(at);
    if (!is_directory.ok()) return is_directory.status();
    // Flows without a token are no snapshot.
    if (!is_directory.value()) continue;
    const Result<bool> token = fs_->Exists(io::JoinPath(at, io::kSnapshotFile));
    if (!token.ok()) return token.status();
    if (!token.value()) continue;
    uint64_t files = 0;
    uint64_t bytes = 0;
    const Result<std::vector<log::Damage>> damage =
        snapshot::VerifySnapshot(fs_, at, &files, &bytes);
    if (!damage.ok()) {
      RETURN_IF_ERROR(Note("snapshot", damage.status(), "format"));
      continue;
    }
    report_.files += files;
    report_.bytes += bytes;
    for (const log::Damage& found : damage.value()) {
      Add("snapshot", found.file, found.offset, found.what);
    }
  }
  return Status::Ok();
}

// Runs and log loaded together must give a state, and both kept checkpoints the same one; with
// damage before, there is nothing to load.
Status Verifier::CheckDeep() {
  const bool loadable =
      std::all_of(report_.damage.begin(), report_.damage.end(), [](const log::Damage& damage) {
        return damage.kind == "index" || damage.kind == "snapshot";
      });
  if (!loadable) return Status::Ok();
  const Result<StoreFiles> files = ReadStoreFiles(fs_, path_, true);
  if (!files.ok()) return Note("manifest", files.status(), "format");
  const KeptManifests& kept = files.value().manifests;
  DigestReport newest;
  bool known = false;
  RETURN_IF_ERROR(CheckDigest(files.value(), kept.newest, &newest, &known));
  if (!known || !kept.older) return Status::Ok();
  const uint64_t replayed = kept.newest.meta.position.offset - kept.older->meta.position.offset;
  if (replayed > kDeepReplayBytesMax) return Status::Ok();
  DigestReport older;
  RETURN_IF_ERROR(CheckDigest(files.value(), *kept.older, &older, &known));
  const bool equal = older.position == newest.position && older.keys == newest.keys &&
                     older.bytes == newest.bytes && older.digest.low == newest.digest.low &&
                     older.digest.high == newest.digest.high;
  if (known && !equal) {
    Add("manifest", ManifestPath(generation_path_, kept.older->number), 0, "digest");
  }
  return Status::Ok();
}

// *known: there is a digest; otherwise what stands against it was noted.
Status Verifier::CheckDigest(const StoreFiles& files, const Manifest& manifest,
                             DigestReport* digest, bool* known) {
  *known = false;
  Result<LoadedStore> loaded = LoadStoreFrom(fs_, path_, files, manifest, std::nullopt);
  if (!loaded.ok()) return Note("log", loaded.status(), "format");
  const Result<DigestReport> computed = DigestOfStore(&loaded.value());
  if (!computed.ok()) return Note("run", computed.status(), "digest");
  *digest = computed.value();
  *known = true;
  return Status::Ok();
}

Result<VerifyReport> Verifier::Run(bool deep) {
  RETURN_IF_ERROR(CheckIdentity());
  RETURN_IF_ERROR(CheckState());
  RETURN_IF_ERROR(CheckCurrent());
  RETURN_IF_ERROR(FindGeneration());
  if (generation_) {
    RETURN_IF_ERROR(CheckManifests());
    RETURN_IF_ERROR(CheckRunFiles(deep));
    RETURN_IF_ERROR(CheckLog());
    RETURN_IF_ERROR(CheckIndexes());
  }
  RETURN_IF_ERROR(CheckSnapshots());
  if (deep) RETURN_IF_ERROR(CheckDeep());
  return std::move(report_);
}

}  // namespace

Result<VerifyReport> VerifyFiles(io::FileSystem* fs, const std::string& path, bool deep) {
  return Verifier(fs, path).Run(deep);
}

Result<VerifyReport> Verify(io::FileSystem* fs, const std::string& path, bool deep) {
  const Result<std::unique_ptr<io::FileLock>> lock =
      LockStore(fs, io::SystemClock(), path, io::LockMode::kShared);
  if (!lock.ok()) return lock.status();
  return VerifyFiles(fs, path, deep);
}

}  // namespace gapless::engine

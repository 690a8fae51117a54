// Restore: a snapshot becomes a new data directory.
//
// Every byte of the snapshot is verified before anything is made. The directory is built under
// `target`.tmp and takes its name in one rename; what a crash leaves there is replaced by the next
// restore to the same target. The caller's thread; waits.
#include <atomic>

#include "engine/base_runs.h"
#include "engine/current.h"
#include "engine/directory.h"
#include "engine/offline.h"
#include "io/file_names.h"
#include "snapshot/snapshot.h"

namespace gapless::engine {
namespace {

constexpr uint64_t kGeneration = 1;

class Restorer {
 public:
  Restorer(io::FileSystem* fs, io::Clock* clock, io::Random* random, const std::string& snapshot,
           const std::string& target, const RestoreOptions& options)
      : fs_(fs), clock_(clock), random_(random), snapshot_(snapshot), options_(options) {
    target_ = target;
    while (target_.size() > 1 && target_.back() == '/') target_.pop_back();
    building_ = target_ + io::kTemporarySuffix;
  }
  Result<RestoreReport> Run();

 private:
  Status VerifySource();
  Status CheckTarget() const;
  Status ClearBuilding();
  Status Build();
  Status WriteRuns(const std::string& generation, Manifest* manifest);
  Status MakeIdentity();
  Status Publish();
  std::string Parent() const;

  io::FileSystem* const fs_;
  io::Clock* const clock_;
  io::Random* const random_;
  const std::string& snapshot_;
  const RestoreOptions& options_;
  std::string target_;
  std::string building_;
  std::unique_ptr<io::FileLock> lock_;
  snapshot::Token token_;  // of the source
  log::MetaState meta_;    // of what is built
  IdentityFile identity_;
};

std::string Restorer::Parent() const {
  const size_t slash = target_.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : target_.substr(0, slash);
}

Status Restorer::VerifySource() {
  Result<snapshot::Token> token = snapshot::ReadToken(fs_, snapshot_);
  if (!token.ok()) return token.status();
  token_ = std::move(token.value());
  for (const snapshot::FlowSummary& flow : token_.flows) {
    RETURN_IF_ERROR(snapshot::VerifyFlowFile(fs_, io::JoinPath(snapshot_, io::FlowName(flow.flow)),
                                             snapshot::ExpectedHeader(token_, flow.flow), flow));
  }
  return Status::Ok();
}

Status Restorer::CheckTarget() const {
  const Result<DirectoryKind> kind = InspectDirectory(fs_, target_);
  const bool free = kind.ok() && (kind.value() == DirectoryKind::kMissing ||
                                  kind.value() == DirectoryKind::kEmpty);
  if (free) return Status::Ok();
  if (kind.status().Is(Code::kIo)) return kind.status();
  return Status::Error(Code::kExists, "the target holds something already").WithFile(target_, -1);
}

// Removes what an earlier restore left, and nothing else.
Status Restorer::ClearBuilding() {
  const Result<bool> exists = fs_->Exists(building_);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return Status::Ok();
  const Result<bool> directory = fs_->IsDirectory(building_);
  if (!directory.ok()) return directory.status();
  Result<std::vector<std::string>> names = std::vector<std::string>{""};
  if (directory.value()) names = fs_->List(building_);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    if (io::IsDataDirectoryName(name)) continue;
    return Status::Error(Code::kExists, "something else stands where the restore would build")
        .WithFile(building_, -1);
  }
  // kLocked: another restore is at work.
  const auto lock = LockDirectory(fs_, clock_, building_, io::LockMode::kExclusive);
  if (!lock.ok()) return lock.status();
  return io::RemoveTree(fs_, building_);
}

Status Restorer::MakeIdentity() {
  identity_.shards = options_.shards.value_or(static_cast<uint32_t>(token_.flows.size()));
  if (identity_.shards < 1 || identity_.shards > kShardsMax) {
    return Status::Error(Code::kUsage, "shards must be 1 to 64");
  }
  identity_.cluster = token_.cluster;
  if (options_.new_cluster) random_->Fill(identity_.cluster.bytes.data(), 16);
  random_->Fill(identity_.node.bytes.data(), 16);
  random_->Fill(identity_.secret.data(), 16);
  identity_.created_ms = clock_->WallMs();
  meta_ = token_.meta;
  // Slots are of replicas of the cluster that is left.
  if (options_.new_cluster) meta_.slots.clear();
  return Status::Ok();
}

// What is read of the snapshot is judged again on the way: it may change under our hands.
Status Restorer::WriteRuns(const std::string& generation, Manifest* manifest) {
  std::atomic<uint64_t> next{1};
  Options options;
  options.fs = fs_;
  BaseRunsRequest request;
  request.runs = MakeRunOptions(options, generation, identity_.cluster);
  request.flows = snapshot_;
  request.token = &token_;
  request.shards = identity_.shards;
  request.next_number = [&next] { return next.fetch_add(1); };
  Result<std::vector<table::RunInfo>> runs = WriteBaseRuns(request);
  if (!runs.ok()) return runs.status();
  manifest->runs = std::move(runs.value());
  manifest->next_run = next.load();
  return fs_->SyncDirectory(request.runs.directory);
}

Status Restorer::Build() {
  RETURN_IF_ERROR(fs_->CreateDirectory(building_));
  Result<std::unique_ptr<io::FileLock>> lock =
      LockDirectory(fs_, clock_, building_, io::LockMode::kExclusive);
  if (!lock.ok()) return lock.status();
  lock_ = std::move(lock.value());
  const std::string generation = GenerationPath(building_, kGeneration);
  RETURN_IF_ERROR(fs_->CreateDirectory(generation));
  RETURN_IF_ERROR(fs_->CreateDirectory(io::JoinPath(generation, io::kLogDirectory)));
  RETURN_IF_ERROR(fs_->CreateDirectory(io::JoinPath(generation, io::kRunsDirectory)));
  Options options;
  options.fs = fs_;
  options.clock = clock_;
  RETURN_IF_ERROR(log::Log::Create(MakeLogOptions(options, generation, identity_), meta_.position,
                                   meta_.clock));
  Manifest manifest;
  manifest.generation = kGeneration;
  manifest.number = 1;
  manifest.cluster = identity_.cluster;
  manifest.meta = meta_;
  RETURN_IF_ERROR(WriteRuns(generation, &manifest));
  RETURN_IF_ERROR(PublishManifest(fs_, generation, manifest));
  NodeState state;
  state.generation = kGeneration;
  state.durable_mark = meta_.position.offset;
  if (!meta_.epochs.empty()) state.highest_term = meta_.epochs.back().epoch.term;
  RETURN_IF_ERROR(StateFile::Create(fs_, building_, state));
  RETURN_IF_ERROR(PublishIdentity(fs_, building_, identity_));
  return PublishCurrent(fs_, building_, kGeneration);
}

// An empty target makes room, under its lock: somebody may be opening it.
Status Restorer::Publish() {
  const Result<bool> exists = fs_->Exists(target_);
  if (!exists.ok()) return exists.status();
  if (exists.value()) {
    const auto lock = LockDirectory(fs_, clock_, target_, io::LockMode::kExclusive);
    if (!lock.ok()) return lock.status();
    RETURN_IF_ERROR(CheckTarget());
    RETURN_IF_ERROR(io::RemoveTree(fs_, target_));
  }
  RETURN_IF_ERROR(fs_->Rename(building_, target_));
  return fs_->SyncDirectory(Parent());
}

Result<RestoreReport> Restorer::Run() {
  RETURN_IF_ERROR(CheckTarget());
  RETURN_IF_ERROR(VerifySource());
  RETURN_IF_ERROR(MakeIdentity());
  RETURN_IF_ERROR(CreateDirectories(fs_, Parent()));
  RETURN_IF_ERROR(ClearBuilding());
  Status restored = Build();
  if (restored.ok()) restored = Publish();
  if (!restored.ok()) {
    // Behind the rename nothing stands there any more; otherwise the next restore clears it.
    lock_.reset();
    (void)io::RemoveTree(fs_, building_);
    return restored;
  }
  RestoreReport report;
  report.position = meta_.position;
  for (const snapshot::FlowSummary& flow : token_.flows) {
    report.keys += flow.entries;
    report.bytes += flow.bytes;
  }
  return report;
}

}  // namespace

Result<RestoreReport> Restore(io::FileSystem* fs, io::Clock* clock, io::Random* random,
                              const std::string& snapshot, const std::string& target,
                              const RestoreOptions& options) {
  return Restorer(fs, clock, random, snapshot, target, options).Run();
}

}  // namespace gapless::engine

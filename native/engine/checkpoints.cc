// Publication and release of checkpoints. See the header.
#include "engine/checkpoints.h"

#include <algorithm>
#include <cerrno>

#include "io/file_names.h"

namespace gapless::engine {
namespace {

std::vector<table::RunInfo> RunsOf(const table::RunTree& tree) {
  std::vector<table::RunInfo> runs;
  for (uint32_t shard = 0; shard < tree.shards(); ++shard) {
    for (const table::RunList& level : tree.shard(shard).levels) {
      for (const auto& run : level) runs.push_back(run->info());
    }
  }
  return runs;
}

void AddNumbers(const Manifest* manifest, std::set<uint64_t>* runs, std::set<uint64_t>* values) {
  if (manifest == nullptr) return;
  for (const table::RunInfo& run : manifest->runs) {
    runs->insert(run.number);
    for (const table::ValueUse& use : run.values) values->insert(use.file);
  }
}

// True: nothing of that name is there any more, as far as this process sees.
bool RemoveFile(io::FileSystem* fs, const std::string& path) {
  const Status removed = fs->Remove(path);
  return removed.ok() || removed.sys_errno() == ENOENT;
}

// The names that the directory of runs holds; none if it is not there.
Result<std::vector<std::string>> ListRuns(io::FileSystem* fs, const std::string& directory) {
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return std::vector<std::string>();
  return fs->List(directory);
}

uint64_t HighestRun(const std::vector<std::string>& names) {
  uint64_t highest = 0;
  for (const std::string& name : names) {
    uint64_t number = 0;
    if (io::ParseRunName(name, &number) || io::ParseValuesName(name, &number)) {
      highest = std::max(highest, number);
    }
  }
  return highest;
}

}  // namespace

Checkpoints::Checkpoints(io::FileSystem* fs, std::string generation_directory, KeptManifests found,
                         uint64_t next_run)
    : fs_(fs),
      directory_(std::move(generation_directory)),
      next_number_(found.newest.number + 1),
      next_run_(std::max(next_run, found.newest.next_run)) {
  newest_ = std::make_shared<const Manifest>(std::move(found.newest));
  if (found.older) older_ = std::make_shared<const Manifest>(std::move(*found.older));
}

Result<std::unique_ptr<Checkpoints>> Checkpoints::Open(io::FileSystem* fs,
                                                       const std::string& generation_directory,
                                                       KeptManifests found) {
  const Result<std::vector<std::string>> names =
      ListRuns(fs, io::JoinPath(generation_directory, io::kRunsDirectory));
  if (!names.ok()) return names.status();
  return std::make_unique<Checkpoints>(fs, generation_directory, std::move(found),
                                       HighestRun(names.value()) + 1);
}

std::string Checkpoints::RunsDirectory() const {
  return io::JoinPath(directory_, io::kRunsDirectory);
}

uint64_t Checkpoints::NextRunNumber() {
  const MutexLock lock(&mutex_);
  return next_run_++;
}

std::shared_ptr<const Manifest> Checkpoints::newest() const {
  const MutexLock lock(&mutex_);
  return newest_;
}

std::vector<std::shared_ptr<const Manifest>> Checkpoints::kept() const {
  const MutexLock lock(&mutex_);
  std::vector<ManifestPtr> kept{newest_};
  if (older_ != nullptr) kept.push_back(older_);
  return kept;
}

uint64_t Checkpoints::base_offset() const {
  const MutexLock lock(&mutex_);
  const uint64_t newest = newest_->meta.position.offset;
  return older_ == nullptr ? newest : std::min(newest, older_->meta.position.offset);
}

bool Checkpoints::in_doubt() const {
  const MutexLock lock(&mutex_);
  return in_doubt_;
}

// The newest manifest again, with the runs of `tree` if there is one.
Manifest Checkpoints::Draft(const table::RunTree* tree) const {
  const MutexLock lock(&mutex_);
  Manifest next = *newest_;
  if (tree != nullptr) next.runs = RunsOf(*tree);
  return next;
}

// What has to be kept beside a newest checkpoint at `newest`. Positions of one history: the offset
// alone orders them.
Checkpoints::ManifestPtr Checkpoints::OlderFor(const Position& newest,
                                               const Position& undo_floor) const {
  if (newest.offset <= undo_floor.offset) return nullptr;
  const MutexLock lock(&mutex_);
  const uint64_t present = newest_->meta.position.offset;
  const bool another = present < newest.offset;
  // Where none lies at or below the floor, the oldest one comes nearest.
  if (another && (present <= undo_floor.offset || older_ == nullptr)) return newest_;
  return older_;
}

Status Checkpoints::PublishCheckpoint(const log::MetaState& meta, const table::RunTree& tree,
                                      const Position& undo_floor) {
  const MutexLock lock(&publish_mutex_);
  Manifest next = Draft(&tree);
  GAPLESS_ASSERT(meta.position.offset >= next.meta.position.offset);
  next.meta = meta;
  next.undo_floor = undo_floor;
  return Publish(std::move(next));
}

Status Checkpoints::PublishMerge(const table::RunTree& tree) {
  const MutexLock lock(&publish_mutex_);
  return Publish(Draft(&tree));
}

Status Checkpoints::MoveUndoFloor(const Position& undo_floor) {
  const MutexLock lock(&publish_mutex_);
  Manifest next = Draft(nullptr);
  if (next.kept == 0 || next.meta.position.offset > undo_floor.offset) return Status::Ok();
  next.undo_floor = undo_floor;
  return Publish(std::move(next));
}

Status Checkpoints::Publish(Manifest next) {
  RETURN_IF_ERROR(SettleDoubt());
  RETURN_IF_ERROR(CheckTrusted(next));
  next.number = next_number_++;
  const ManifestPtr older = OlderFor(next.meta.position, next.undo_floor);
  next.kept = older == nullptr ? 0 : older->number;
  {
    const MutexLock lock(&mutex_);
    next.next_run = next_run_;
  }
  RETURN_IF_ERROR(WriteOut(next));
  Adopt(std::move(next));
  RemoveGarbage();
  return Status::Ok();
}

// A name that a failed sync of the directory should have made durable is not made so by a later
// one (P4): such runs have to be written anew.
Status Checkpoints::CheckTrusted(const Manifest& next) const {
  if (distrusted_below_ == 0) return Status::Ok();
  std::set<uint64_t> published;
  std::set<uint64_t> values;
  AddNumbers(newest().get(), &published, &values);
  for (const table::RunInfo& run : next.runs) {
    if (run.number < distrusted_below_ && published.count(run.number) == 0) return distrust_;
  }
  return Status::Ok();
}

Status Checkpoints::WriteOut(const Manifest& next) {
  const Status synced = fs_->SyncDirectory(RunsDirectory());
  if (!synced.ok()) {
    const MutexLock lock(&mutex_);
    distrusted_below_ = next_run_;
    distrust_ = synced;
    return synced;
  }
  const Status published = PublishManifest(fs_, directory_, next);
  if (published.ok()) return published;
  const std::string path = ManifestPath(directory_, next.number);
  garbage_temporaries_.insert(path + io::kTemporarySuffix);
  // It has its name, or may have it: until that is taken back either one may be found.
  const Result<bool> named = fs_->Exists(path);
  if (named.ok() && !named.value()) {
    RemoveGarbage();
    return published;
  }
  doubtful_ = next.number;
  {
    const MutexLock lock(&mutex_);
    in_doubt_ = true;
  }
  // What fails here is tried again in front of the next publication.
  (void)SettleDoubt();
  return published;
}

// Takes the doubtful manifest back, so that the former one is in force on disk too.
Status Checkpoints::SettleDoubt() {
  if (doubtful_ == 0) return Status::Ok();
  const std::string path = ManifestPath(directory_, doubtful_);
  const Result<bool> exists = fs_->Exists(path);
  if (!exists.ok()) return exists.status();
  if (exists.value()) RETURN_IF_ERROR(fs_->Remove(path));
  RETURN_IF_ERROR(fs_->SyncDirectory(directory_));
  doubtful_ = 0;
  {
    const MutexLock lock(&mutex_);
    in_doubt_ = false;
  }
  RemoveGarbage();
  return Status::Ok();
}

void Checkpoints::Adopt(Manifest next) {
  const MutexLock lock(&mutex_);
  for (const ManifestPtr& former : {newest_, older_}) {
    if (former == nullptr) continue;
    AddNumbers(former.get(), &garbage_runs_, &garbage_values_);
    garbage_manifests_.insert(former->number);
  }
  const uint64_t kept = next.kept;
  ManifestPtr older;
  for (const ManifestPtr& former : {newest_, older_}) {
    if (former != nullptr && former->number == kept) older = former;
  }
  GAPLESS_ASSERT((kept == 0) == (older == nullptr));
  newest_ = std::make_shared<const Manifest>(std::move(next));
  older_ = std::move(older);
}

// What cannot be removed now is tried again behind the next publication, and at the next open.
void Checkpoints::RemoveGarbage() {
  if (doubtful_ != 0) return;
  std::set<uint64_t> needed;
  std::set<uint64_t> needed_values;
  std::set<uint64_t> named;
  for (const ManifestPtr& manifest : kept()) {
    AddNumbers(manifest.get(), &needed, &needed_values);
    named.insert(manifest->number);
  }
  std::erase_if(garbage_manifests_, [&](uint64_t number) {
    return named.count(number) != 0 || RemoveFile(fs_, ManifestPath(directory_, number));
  });
  std::erase_if(garbage_temporaries_,
                [&](const std::string& path) { return RemoveFile(fs_, path); });
  const std::string runs = RunsDirectory();
  std::erase_if(garbage_runs_, [&](uint64_t number) {
    return needed.count(number) != 0 || RemoveFile(fs_, io::JoinPath(runs, io::RunName(number)));
  });
  std::erase_if(garbage_values_, [&](uint64_t number) {
    return needed_values.count(number) != 0 ||
           RemoveFile(fs_, io::JoinPath(runs, io::ValuesName(number)));
  });
}

void Checkpoints::Discard(const std::vector<table::RunInfo>& runs) {
  const MutexLock lock(&publish_mutex_);
  for (const table::RunInfo& run : runs) {
    garbage_runs_.insert(run.number);
    garbage_values_.insert(run.number);
  }
  RemoveGarbage();
}

Status Checkpoints::RemoveStrays() {
  const MutexLock lock(&publish_mutex_);
  const Result<std::vector<std::string>> runs = ListRuns(fs_, RunsDirectory());
  if (!runs.ok()) return runs.status();
  const Result<std::vector<std::string>> others = fs_->List(directory_);
  if (!others.ok()) return others.status();
  // Their numbers must stay used when the files are gone. Without room for that they stay.
  if (HighestRun(runs.value()) >= newest()->next_run && !Publish(Draft(nullptr)).ok()) {
    return Status::Ok();
  }
  for (const std::string& name : runs.value()) {
    uint64_t number = 0;
    if (io::ParseRunName(name, &number)) garbage_runs_.insert(number);
    if (io::ParseValuesName(name, &number)) garbage_values_.insert(number);
    if (io::IsTemporaryName(name)) (void)RemoveFile(fs_, io::JoinPath(RunsDirectory(), name));
  }
  for (const std::string& name : others.value()) {
    uint64_t number = 0;
    if (io::ParseManifestName(name, &number)) garbage_manifests_.insert(number);
    if (io::IsTemporaryName(name)) (void)RemoveFile(fs_, io::JoinPath(directory_, name));
  }
  RemoveGarbage();
  return Status::Ok();
}

}  // namespace gapless::engine

// Checkpoints without an engine: trees of runs that are files with a known content and nothing
// else.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "engine/checkpoints.h"
#include "io/fault_file_system.h"
#include "io/file_names.h"

namespace gapless::engine::test {

inline constexpr char kGenerationPath[] = "/db/gen-000001";

class FakeRun final : public table::Run {
 public:
  explicit FakeRun(table::RunInfo info) : info_(std::move(info)) {}
  const table::RunInfo& info() const override { return info_; }
  const std::string& path() const override { return path_; }
  const table::RangeSet* ranges() const override { return nullptr; }
  uint64_t memory_bytes() const override { return 0; }
  Result<table::Lookup> Get(uint64_t, Slice, uint64_t, table::Cell*) const override {
    return table::Lookup::kAbsent;
  }
  std::unique_ptr<table::CellIterator> NewIterator(uint64_t) const override { return nullptr; }
  Result<std::vector<table::RunDamage>> Verify() const override {
    return std::vector<table::RunDamage>();
  }

 private:
  const table::RunInfo info_;
  const std::string path_;
};

inline std::string RunPath(uint64_t number) {
  return std::string(kGenerationPath) + "/runs/" + io::RunName(number);
}
inline std::string RunContent(uint64_t number) {
  return "content of run " + std::to_string(number) + std::string(5000, 'r');
}

inline log::MetaState MetaAt(uint64_t seq) {
  log::MetaState meta;
  meta.position = Position{{1, 0}, seq, seq * 100, seq + 7};
  meta.clock = seq << 16;
  meta.epochs.push_back({{1, 0}, {}, 5, {}, 1, 1});
  meta.cursors.push_back({"indexer", Position{{1, 0}, seq, seq * 100, seq + 7}});
  return meta;
}

inline Position At(uint64_t seq) { return MetaAt(seq).position; }

// A generation with its first manifest; what a flusher and a merger would do to it.
struct Runs {
  io::FaultFileSystem fs;
  std::unique_ptr<Checkpoints> checkpoints;
  std::shared_ptr<const table::RunTree> tree = std::make_shared<table::RunTree>(2);
  std::vector<Manifest> published;  // acknowledged, in order
  uint64_t highest = 0;             // number of a run that was ever handed out

  Runs() {
    CHECK_OK(fs.CreateDirectory("/db"));
    CHECK_OK(fs.CreateDirectory(kGenerationPath));
    CHECK_OK(fs.CreateDirectory(std::string(kGenerationPath) + "/runs"));
    CHECK_OK(fs.SyncDirectory("/"));
    CHECK_OK(fs.SyncDirectory("/db"));
    Manifest first;
    first.generation = 1;
    first.number = 1;
    CHECK_OK(PublishManifest(&fs, kGenerationPath, first));
    CHECK_OK(Open());
    published.push_back(first);
  }

  Status Open() {
    Result<KeptManifests> found = ReadManifests(&fs, kGenerationPath);
    if (!found.ok()) return found.status();
    Result<std::unique_ptr<Checkpoints>> opened =
        Checkpoints::Open(&fs, kGenerationPath, std::move(found.value()));
    if (!opened.ok()) return opened.status();
    checkpoints = std::move(opened.value());
    return checkpoints->RemoveStrays();
  }

  // A durable file, as a run writer leaves it.
  Result<std::shared_ptr<const table::Run>> Write(uint32_t shard, uint32_t level, uint64_t min_seq,
                                                  uint64_t max_seq) {
    table::RunInfo info;
    info.number = checkpoints->NextRunNumber();
    highest = std::max(highest, info.number);
    info.shard = shard;
    info.level = level;
    info.min_seq = min_seq;
    info.max_seq = max_seq;
    info.cells = max_seq - min_seq + 1;
    info.extent = {"a", "z", false};
    const std::string content = RunContent(info.number);
    info.bytes = content.size();
    Result<std::unique_ptr<io::File>> file =
        fs.Open(RunPath(info.number), io::OpenMode::kCreateNew);
    Status written = file.status();
    if (written.ok()) written = file.value()->WriteAt(0, content);
    if (written.ok()) written = file.value()->SyncData();
    if (!written.ok()) {
      checkpoints->Discard({info});
      return written;
    }
    return std::shared_ptr<const table::Run>(std::make_shared<FakeRun>(info));
  }

  Status Publish(const table::RunList& removed, const table::RunList& added,
                 const std::function<Status(const table::RunTree&)>& publish) {
    const auto next = tree->With(removed, added);
    const Status status = publish(*next);
    if (!status.ok()) {
      std::vector<table::RunInfo> infos;
      for (const auto& run : added) infos.push_back(run->info());
      checkpoints->Discard(infos);
      return status;
    }
    tree = next;
    published.push_back(*checkpoints->newest());
    return status;
  }

  uint64_t seq() const { return checkpoints->newest()->meta.position.seq; }

  // A run a shard, then the checkpoint.
  Status Flush(uint64_t to_seq, uint64_t floor) {
    table::RunList added;
    for (uint32_t shard = 0; shard < 2; ++shard) {
      Result<std::shared_ptr<const table::Run>> run = Write(shard, 0, seq() + 1, to_seq);
      if (!run.ok()) {
        std::vector<table::RunInfo> infos;
        for (const auto& made : added) infos.push_back(made->info());
        checkpoints->Discard(infos);
        return run.status();
      }
      added.push_back(run.value());
    }
    return Publish({}, added, [&](const table::RunTree& next) {
      return checkpoints->PublishCheckpoint(MetaAt(to_seq), next, At(floor));
    });
  }

  Status MoveFloor(uint64_t floor) {
    const Status moved = checkpoints->MoveUndoFloor(At(floor));
    if (moved.ok()) published.push_back(*checkpoints->newest());
    return moved;
  }

  // Everything of one shard into one run of the deepest level.
  Status Merge(uint32_t shard) {
    table::RunList inputs;
    for (const table::RunList& level : tree->shard(shard).levels) {
      inputs.insert(inputs.end(), level.begin(), level.end());
    }
    if (inputs.empty()) return Status::Ok();
    Result<std::shared_ptr<const table::Run>> run = Write(shard, 6, 1, seq());
    if (!run.ok()) return run.status();
    return Publish(inputs, {run.value()},
                   [&](const table::RunTree& next) { return checkpoints->PublishMerge(next); });
  }
};

inline std::set<uint64_t> NumbersOf(const Manifest& manifest) {
  std::set<uint64_t> numbers;
  for (const table::RunInfo& run : manifest.runs) numbers.insert(run.number);
  return numbers;
}

// Everything that a generation's directory should hold by its kept manifests.
inline std::vector<std::string> ExpectedFiles(
    const std::vector<std::shared_ptr<const Manifest>>& kept) {
  std::set<std::string> files;
  const std::string directory(kGenerationPath);
  for (const auto& manifest : kept) {
    files.insert(ManifestPath(directory, manifest->number));
    for (const table::RunInfo& run : manifest->runs) files.insert(RunPath(run.number));
  }
  return std::vector<std::string>(files.begin(), files.end());
}
inline std::vector<std::string> FilesOf(const io::FaultFileSystem& fs) {
  std::vector<std::string> files;
  for (const std::string& path : fs.ListAll()) {
    if (path.back() != '/' && path.find(kGenerationPath) == 0) files.push_back(path);
  }
  return files;
}

}  // namespace gapless::engine::test

// Reading a closed store. See the header.
#include "engine/offline_read.h"

#include <algorithm>

#include "io/file_names.h"
#include "log/segment.h"

namespace gapless::engine {
namespace {

constexpr uint64_t kOfflineCacheBytes = 8 << 20;

bool IsStoreName(const std::string& name) {
  uint64_t generation = 0;
  return name == io::kIdentityFile || name == io::kStateFile || name == io::kCurrentFile ||
         io::ParseGenerationName(name, &generation);
}

// A batch whose checksums hold and whose operations do not fit its body was written by nobody of
// us.
Status CheckBatch(const std::string& directory, const log::RecordView& record,
                  const Position& before) {
  if (record.header.kind != log::RecordKind::kBatch) return Status::Ok();
  uint32_t operations = 0;
  if (log::CheckBatchBody(record.body, &operations).ok() &&
      operations == record.header.operations) {
    return Status::Ok();
  }
  return Status::Corrupt("a batch is not what its header says", directory, 0)
      .With("what", "format")
      .With("logOffset", std::to_string(before.offset))
      .With("seq", std::to_string(before.seq + 1));
}

}  // namespace

Result<std::unique_ptr<io::FileLock>> LockStore(io::FileSystem* fs, io::Clock* clock,
                                                const std::string& path, io::LockMode mode) {
  const Result<bool> exists = fs->Exists(path);
  if (!exists.ok()) return exists.status();
  bool found = false;
  if (exists.value()) {
    const Result<bool> directory = fs->IsDirectory(path);
    if (!directory.ok()) return directory.status();
    if (directory.value()) {
      const Result<std::vector<std::string>> names = fs->List(path);
      if (!names.ok()) return names.status();
      found = std::any_of(names.value().begin(), names.value().end(), IsStoreName);
    }
  }
  if (!found) return Status::Error(Code::kNotAStore, "no store here").WithFile(path, -1);
  return LockDirectory(fs, clock, path, mode);
}

Result<std::vector<std::string>> ListSegmentFiles(io::FileSystem* fs,
                                                  const std::string& directory) {
  std::vector<std::string> files;
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return files;
  const Result<std::vector<std::string>> names = fs->List(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    uint64_t offset = 0;
    if (io::ParseSegmentName(name, &offset)) files.push_back(io::JoinPath(directory, name));
  }
  return files;  // twenty digits: the order of names is the order of offsets
}

Result<std::vector<SegmentHead>> ListSegmentHeads(io::FileSystem* fs, const std::string& directory,
                                                  const ClusterId& cluster) {
  const Result<std::vector<std::string>> files = ListSegmentFiles(fs, directory);
  if (!files.ok()) return files.status();
  std::vector<SegmentHead> heads;
  for (const std::string& path : files.value()) {
    Result<std::unique_ptr<io::File>> file = fs->Open(path, io::OpenMode::kRead);
    if (!file.ok()) return file.status();
    char bytes[log::kSegmentHeaderBytes];
    size_t got = 0;
    RETURN_IF_ERROR(file.value()->ReadAt(0, bytes, sizeof bytes, &got));
    log::SegmentHeader header;
    if (log::DecodeSegmentHeader(cluster, Slice(bytes, got), &header) != log::HeaderCheck::kOk) {
      continue;
    }
    heads.push_back(SegmentHead{path, header.start, header.clock});
  }
  return heads;
}

Result<LoadedStore> LoadStore(io::FileSystem* fs, const std::string& path, const StoreFiles& files,
                              std::optional<uint64_t> at_seq) {
  const KeptManifests& kept = files.manifests;
  if (!at_seq || kept.newest.meta.position.seq <= *at_seq) {
    return LoadStoreFrom(fs, path, files, kept.newest, at_seq);
  }
  if (kept.older && kept.older->meta.position.seq <= *at_seq) {
    return LoadStoreFrom(fs, path, files, *kept.older, at_seq);
  }
  const Manifest& oldest = kept.older ? *kept.older : kept.newest;
  return Status::Error(
      Code::kPositionUnavailable,
      "the position lies below the oldest checkpoint, " + ToText(oldest.meta.position));
}

Result<LoadedStore> LoadStoreFrom(io::FileSystem* fs, const std::string& path,
                                  const StoreFiles& files, const Manifest& manifest,
                                  std::optional<uint64_t> at_seq) {
  LoadedStore loaded;
  loaded.store = std::make_unique<table::Store>(
      table::StoreOptions{files.identity.shards, kOfflineCacheBytes});
  Options run_options;
  run_options.fs = fs;
  RETURN_IF_ERROR(
      LoadRuns(MakeRunOptions(run_options, files.generation_path, files.identity.cluster), manifest,
               ManifestPath(files.generation_path, manifest.number), loaded.store.get()));
  loaded.history.Reset(manifest.meta);
  const log::ScanOptions options = MakeScanOptions(fs, files, manifest);
  // Behind the wanted position the scan only judges: damage there is told all the same.
  const log::RecordSink replay = [&](const log::RecordView& record, const Position& before,
                                     const Position& after) {
    if (at_seq && after.seq > *at_seq) return Status::Ok();
    RETURN_IF_ERROR(CheckBatch(options.directory, record, before));
    ReplayRecord(record, before, after, loaded.store.get(), &loaded.history);
    return Status::Ok();
  };
  Result<log::ScanResult> scan = log::ScanLog(options, replay);
  if (!scan.ok()) return scan.status();
  loaded.scan = std::move(scan.value());
  if (loaded.scan.verdict == log::ScanVerdict::kCorrupt) {
    return RefusalOf(loaded.scan, files.manifests.newest, path);
  }
  if (!at_seq || loaded.history.position().seq == *at_seq) return loaded;
  if (*at_seq > loaded.scan.end.seq) {
    return Status::Error(Code::kPositionUnavailable,
                         "the log ends before, at " + ToText(loaded.scan.end));
  }
  return Status::Error(
      Code::kNotARecordEnd,
      "the sequence lies inside a record that begins behind " + ToText(loaded.history.position()));
}

Result<DigestReport> DigestOfStore(LoadedStore* loaded) {
  DigestReport report;
  report.position = loaded->history.position();
  const table::ReadPoint at{report.position.seq, loaded->history.clock() >> 16};
  const uint64_t view = loaded->store->AddView(at.seq);
  Status failed;
  for (uint32_t shard = 0; shard < loaded->store->shards() && failed.ok(); ++shard) {
    const Result<table::Store::DigestPart> part = loaded->store->DigestShard(shard, at);
    failed = part.status();
    if (!part.ok()) break;
    report.digest.Add(part.value().sum);
    report.keys += part.value().keys;
    report.bytes += part.value().bytes;
  }
  loaded->store->ReleaseView(view);
  RETURN_IF_ERROR(failed);
  return report;
}

std::string RelativeTo(const std::string& path, const std::string& file) {
  const std::string head = io::JoinPath(path, "");
  return file.size() > head.size() && file.compare(0, head.size(), head) == 0
             ? file.substr(head.size())
             : file;
}

}  // namespace gapless::engine

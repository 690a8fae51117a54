// Reading commands on a closed store: digest, log, stat. See offline.h.
#include "engine/offline.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/offline_read.h"
#include "io/file_names.h"
#include "snapshot/snapshot.h"

namespace gapless::engine {
namespace {

// Below this `stat` counts instead of estimating.
constexpr uint64_t kExactStatBytes = 64 << 20;

struct OpenedStore {
  std::unique_ptr<io::FileLock> lock;
  StoreFiles files;
};

Result<OpenedStore> OpenForReading(io::FileSystem* fs, const std::string& path) {
  OpenedStore opened;
  Result<std::unique_ptr<io::FileLock>> lock =
      LockStore(fs, io::SystemClock(), path, io::LockMode::kShared);
  if (!lock.ok()) return lock.status();
  opened.lock = std::move(lock.value());
  const Result<DirectoryKind> kind = InspectDirectory(fs, path);
  if (!kind.ok()) return kind.status();
  if (kind.value() != DirectoryKind::kStore) {
    return Status::Error(Code::kNotAStore, "no store here").WithFile(path, -1);
  }
  Result<StoreFiles> files = ReadStoreFiles(fs, path, true);
  if (!files.ok()) return files.status();
  opened.files = std::move(files.value());
  return opened;
}

// Bytes of the plain files right below `directory`; 0 if it is not there.
Result<uint64_t> BytesIn(io::FileSystem* fs, const std::string& directory) {
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok()) return exists.status();
  uint64_t bytes = 0;
  if (!exists.value()) return bytes;
  const Result<std::vector<std::string>> names = fs->List(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    const std::string path = io::JoinPath(directory, name);
    const Result<bool> is_directory = fs->IsDirectory(path);
    if (!is_directory.ok()) return is_directory.status();
    if (is_directory.value()) continue;
    const Result<uint64_t> size = fs->FileSize(path);
    if (!size.ok()) return size.status();
    bytes += size.value();
  }
  return bytes;
}

Status StatLog(io::FileSystem* fs, const StoreFiles& files, StatReport* report) {
  const std::string directory = io::JoinPath(files.generation_path, io::kLogDirectory);
  const Result<std::vector<SegmentHead>> heads =
      ListSegmentHeads(fs, directory, files.identity.cluster);
  if (!heads.ok()) return heads.status();
  report->log_floor =
      heads.value().empty() ? report->position.offset : heads.value().front().start.offset;
  report->log_end = report->position.offset;
  for (const SegmentHead& head : heads.value()) {
    const Result<uint64_t> size = fs->FileSize(head.path);
    if (!size.ok()) return size.status();
    report->log_bytes += size.value();
    ++report->log_segments;
  }
  return Status::Ok();
}

Status StatFiles(io::FileSystem* fs, const StoreFiles& files, StatReport* report) {
  std::map<uint32_t, StatReport::Level> levels;
  std::set<uint64_t> values;
  for (const table::RunInfo& run : files.manifests.newest.runs) {
    StatReport::Level& level = levels[run.level];
    level.level = run.level;
    ++level.runs;
    level.bytes += run.bytes + run.referred_bytes();
    ++report->run_count;
    report->run_bytes += run.bytes;
    for (const table::ValueUse& use : run.values) {
      if (values.insert(use.file).second) report->run_bytes += use.file_bytes;
    }
  }
  for (const auto& [number, level] : levels) report->levels.push_back(level);
  for (const char* part : {"", io::kLogDirectory, io::kRunsDirectory}) {
    const Result<uint64_t> bytes = BytesIn(fs, io::JoinPath(files.generation_path, part));
    if (!bytes.ok()) return bytes.status();
    report->total_bytes += bytes.value();
  }
  return Status::Ok();
}

Status StatSnapshots(io::FileSystem* fs, const std::string& path, StatReport* report) {
  const std::string directory = io::JoinPath(path, io::kSnapshotsDirectory);
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return Status::Ok();
  const Result<std::vector<std::string>> names = fs->List(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    // Without a token it is no snapshot; a damaged one is for `verify` to tell.
    const std::string at = io::JoinPath(directory, name);
    const Result<bool> is_directory = fs->IsDirectory(at);
    if (!is_directory.ok()) return is_directory.status();
    if (!is_directory.value() || !io::IsSnapshotName(name)) continue;
    const Result<snapshot::Token> token = snapshot::ReadToken(fs, at);
    if (token.status().Is(Code::kIo)) return token.status();
    if (!token.ok()) continue;
    const Result<uint64_t> bytes = BytesIn(fs, at);
    if (!bytes.ok()) return bytes.status();
    report->snapshots.push_back(StatReport::LocalSnapshot{name, token.value().meta.position,
                                                          bytes.value(), token.value().created_ms});
  }
  return Status::Ok();
}

Status StatLost(io::FileSystem* fs, const std::string& path, StatReport* report) {
  const std::string directory = io::JoinPath(path, io::kLostDirectory);
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return Status::Ok();
  const Result<std::vector<std::string>> names = fs->List(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    uint32_t term = 0;
    uint32_t run = 0;
    uint64_t first = 0;
    uint64_t last = 0;
    if (io::ParseLostName(name, &term, &run, &first, &last)) ++report->lost;
  }
  return Status::Ok();
}

// Reads all entries while what lies in runs is small.
Status StatEntries(const Manifest& manifest, LoadedStore* loaded, StatReport* report) {
  uint64_t raw_bytes = 0;
  uint64_t entries = 0;
  for (const table::RunInfo& run : manifest.runs) {
    raw_bytes += run.raw_bytes;
    entries += run.cells - run.deletions;
  }
  if (raw_bytes <= kExactStatBytes) {
    const Result<DigestReport> digest = DigestOfStore(loaded);
    if (!digest.ok()) return digest.status();
    report->keys = digest.value().keys;
    report->live_bytes = digest.value().bytes;
    return Status::Ok();
  }
  report->keys = loaded->store->stats().keys_estimate;
  const double mean =
      entries == 0 ? 0 : static_cast<double>(raw_bytes) / static_cast<double>(entries);
  report->live_bytes = static_cast<uint64_t>(mean * static_cast<double>(report->keys));
  return Status::Ok();
}

}  // namespace

Result<DigestReport> Digest(io::FileSystem* fs, const std::string& path,
                            std::optional<uint64_t> at_seq) {
  const Result<OpenedStore> opened = OpenForReading(fs, path);
  if (!opened.ok()) return opened.status();
  Result<LoadedStore> loaded = LoadStore(fs, path, opened.value().files, at_seq);
  if (!loaded.ok()) return loaded.status();
  return DigestOfStore(&loaded.value());
}

Status VisitLog(io::FileSystem* fs, const std::string& path, uint64_t from_seq,
                const RecordVisitor& each) {
  const Result<OpenedStore> opened = OpenForReading(fs, path);
  if (!opened.ok()) return opened.status();
  const StoreFiles& files = opened.value().files;
  log::ScanOptions options = MakeScanOptions(fs, files, files.manifests.newest);
  const Result<std::vector<SegmentHead>> heads =
      ListSegmentHeads(fs, options.directory, options.cluster);
  if (!heads.ok()) return heads.status();
  const uint64_t checkpoint = options.from.offset;
  const SegmentHead* begin = nullptr;
  for (const SegmentHead& head : heads.value()) {
    if (begin == nullptr || head.start.seq < from_seq) begin = &head;
  }
  if (begin != nullptr && from_seq != 0 && from_seq <= begin->start.seq) {
    return Status::Error(Code::kEvicted, "the log begins behind this sequence")
        .With("floor", std::to_string(begin->start.seq + 1));
  }
  if (begin != nullptr) {
    options.from = begin->start;
    options.from_timestamp = begin->clock;
    options.durable_mark = std::max(options.durable_mark, checkpoint);
  }
  bool ended = false;
  const log::RecordSink visit = [&](const log::RecordView& record, const Position& before,
                                    const Position& after) {
    if (after.seq < from_seq) return Status::Ok();
    ended = !each(record, before, after);
    return ended ? Status::Error(Code::kClosed, "the visitor has seen enough") : Status::Ok();
  };
  const Result<log::ScanResult> scan = log::ScanLog(options, visit);
  if (ended) return Status::Ok();
  if (!scan.ok()) return scan.status();
  return scan.value().verdict == log::ScanVerdict::kCorrupt
             ? RefusalOf(scan.value(), files.manifests.newest, path)
             : Status::Ok();
}

Result<StatReport> Stat(io::FileSystem* fs, const std::string& path) {
  const Result<OpenedStore> opened = OpenForReading(fs, path);
  if (!opened.ok()) return opened.status();
  const StoreFiles& files = opened.value().files;
  Result<LoadedStore> loaded = LoadStore(fs, path, files, std::nullopt);
  if (!loaded.ok()) return loaded.status();
  const Manifest& newest = files.manifests.newest;
  const log::MetaState& lists = loaded.value().history.lists();
  const NodeState& state = files.state->state();
  StatReport report;
  report.cluster = files.identity.cluster;
  report.node = files.identity.node;
  report.shards = files.identity.shards;
  report.role = state.role;
  report.position = loaded.value().history.position();
  report.checkpoint = newest.meta.position;
  if (files.manifests.older) report.older_checkpoint = files.manifests.older->meta.position;
  report.epochs = lists.epochs;
  report.cursors = lists.cursors;
  report.slots = lists.slots;
  report.padded = lists.padded;
  report.padded.insert(report.padded.end(), state.padded.begin(), state.padded.end());
  RETURN_IF_ERROR(StatEntries(newest, &loaded.value(), &report));
  if (loaded.value().scan.verdict == log::ScanVerdict::kTail) report.cut = loaded.value().scan.cut;
  RETURN_IF_ERROR(StatLog(fs, files, &report));
  RETURN_IF_ERROR(StatFiles(fs, files, &report));
  RETURN_IF_ERROR(StatSnapshots(fs, path, &report));
  RETURN_IF_ERROR(StatLost(fs, path, &report));
  return report;
}

}  // namespace gapless::engine

// The steps of a rewind on files. See the header.
#include "engine/rewind.h"

#include <algorithm>

#include "io/file_names.h"
#include "snapshot/snapshot.h"

namespace gapless::engine {
namespace {

constexpr size_t kKeysShown = 10;

std::string LogDirectory(const StoreFiles& files) {
  return io::JoinPath(files.generation_path, io::kLogDirectory);
}

log::ScanOptions ScanFrom(io::FileSystem* fs, const StoreFiles& files, const Position& from) {
  log::ScanOptions scan;
  scan.fs = fs;
  scan.directory = LogDirectory(files);
  scan.cluster = files.identity.cluster;
  scan.secret = files.identity.secret;
  scan.from = from;
  scan.padded = files.manifests.newest.meta.padded;
  const std::vector<log::PaddedRange>& padded = files.state->state().padded;
  scan.padded.insert(scan.padded.end(), padded.begin(), padded.end());
  return scan;
}

void Count(const log::RecordView& record, Divergence* found) {
  ++found->records;
  found->operations += record.header.operations;
  if (record.header.kind != log::RecordKind::kBatch) return;
  log::BatchReader reader(record.body);
  log::Operation operation;
  while (found->keys.size() < kKeysShown && reader.Next(&operation)) {
    const std::string key = operation.key.ToString();
    const auto& keys = found->keys;
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) found->keys.push_back(key);
  }
}

// Walks the suffix as far as it can be read: of one whose end is cut already only a part is left.
Result<Position> WalkSuffix(const SuffixRequest& request, const log::RecordSink& sink) {
  log::ScanOptions options = ScanFrom(request.fs, *request.files, request.from);
  options.until = request.to.offset;
  const Result<log::ScanResult> scan = log::ScanLog(options, sink);
  if (!scan.ok()) return scan.status();
  const Position& end = scan.value().end;
  if (end == request.to || (request.partial && end.offset >= request.from.offset)) return end;
  return Status::Corrupt("the log ends at " + ToText(end) + ", not at " + ToText(request.to),
                         options.directory, 0);
}

Result<uint64_t> LostBytes(io::FileSystem* fs, const std::string& directory) {
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok()) return exists.status();
  uint64_t bytes = 0;
  if (!exists.value()) return bytes;
  const Result<std::vector<std::string>> names = fs->List(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    if (io::IsTemporaryName(name)) continue;
    const Result<uint64_t> size = fs->FileSize(io::JoinPath(directory, name));
    if (!size.ok()) return size.status();
    bytes += size.value();
  }
  return bytes;
}

// Is the file there, and does it hold just this suffix? It was published whole or not at all; where
// the suffix itself was damaged, with what could be read of it.
Result<bool> IsSaved(io::FileSystem* fs, const std::string& file, const SuffixRequest& request) {
  const Result<bool> exists = fs->Exists(file);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return false;
  LostHeader header;
  RETURN_IF_ERROR(ReadLostFile(fs, file, &header, [](const LostEntry&) { return false; }));
  const bool is_whole = header.to == request.to;
  if (header.from == request.from && (is_whole || request.partial)) return true;
  return Status::Error(Code::kExists, "a file of lost records with this name holds others")
      .WithFile(file, -1);
}

std::string NameOf(const SuffixRequest& request) {
  return io::LostName(request.to.epoch.term, request.to.epoch.run, request.from.seq + 1,
                      request.to.seq);
}

Status WriteSuffix(const SuffixRequest& request, const std::string& path, const std::string& name,
                   LostHeader header) {
  Result<std::unique_ptr<LostWriter>> writer = LostWriter::Begin(request.fs, path, name);
  if (!writer.ok()) return writer.status();
  const log::RecordSink add = [&writer](const log::RecordView& record, const Position& before,
                                        const Position&) {
    return writer.value()->Add(LostEntry{true, before.offset, record.bytes});
  };
  const Result<Position> end = WalkSuffix(request, add);
  if (!end.ok()) return end.status();
  header.to = end.value();
  return writer.value()->Publish(header);
}

// The manifest that holds at `common`, under a number above all others.
Status PublishManifestAt(io::FileSystem* fs, const StoreFiles& files, const Position& common) {
  const Manifest& newest = files.manifests.newest;
  const bool is_newest = newest.meta.position.offset <= common.offset;
  if (is_newest && newest.undo_floor.offset <= common.offset) return Status::Ok();
  Manifest next = *CheckpointFor(files.manifests, common);
  next.number = newest.number + 1;
  next.next_run = std::max(next.next_run, newest.next_run);
  next.kept = is_newest ? newest.kept : 0;
  if (next.undo_floor.offset > common.offset) next.undo_floor = common;
  return PublishManifest(fs, files.generation_path, next);
}

// Snapshots of a state that the history no longer has. What is no snapshot is none of ours.
Status RemoveSnapshotsBehind(io::FileSystem* fs, const std::string& path, const Position& common) {
  const std::string directory = io::JoinPath(path, io::kSnapshotsDirectory);
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return Status::Ok();
  const Result<std::vector<std::string>> names = fs->List(directory);
  if (!names.ok()) return names.status();
  bool removed = false;
  for (const std::string& name : names.value()) {
    if (!io::IsSnapshotName(name)) continue;
    const std::string snapshot = io::JoinPath(directory, name);
    const Result<snapshot::Token> token = snapshot::ReadToken(fs, snapshot);
    if (!token.ok() || token.value().meta.position.offset <= common.offset) continue;
    RETURN_IF_ERROR(io::RemoveTree(fs, snapshot));
    removed = true;
  }
  return removed ? fs->SyncDirectory(directory) : Status::Ok();
}

}  // namespace

const Manifest* CheckpointFor(const KeptManifests& kept, const Position& common) {
  if (kept.newest.meta.position.offset <= common.offset) return &kept.newest;
  if (kept.older && kept.older->meta.position.offset <= common.offset) return &*kept.older;
  return nullptr;
}

Result<log::ScanResult> ScanToCommon(io::FileSystem* fs, const std::string& path,
                                     const StoreFiles& files, const Position& common) {
  const Manifest* const checkpoint = CheckpointFor(files.manifests, common);
  if (checkpoint == nullptr) {
    return Status::Error(Code::kPositionUnavailable,
                         "no checkpoint at or below " + ToText(common) + " is kept")
        .With("reason", "undo_unavailable");
  }
  log::ScanOptions options = MakeScanOptions(fs, files, *checkpoint);
  options.until = common.offset;
  Result<log::ScanResult> scan = log::ScanLog(options, nullptr);
  if (!scan.ok() || scan.value().end == common) return scan;
  // Another record ends there, or inside of one of ours: the two histories are not what they say.
  const bool is_whole = scan.value().damage.empty() || scan.value().damage.front().what == "cut";
  if (!is_whole) return RefusalOf(scan.value(), *checkpoint, path);
  return Status::Error(Code::kPositionNotInHistory,
                       "this history has " + ToText(scan.value().end) + ", not " + ToText(common))
      .With("reason", "chain_mismatch");
}

Result<Divergence> InspectSuffix(const SuffixRequest& request) {
  Divergence found;
  found.common = request.from;
  found.to = request.to;
  found.bytes = request.to.offset - request.from.offset;
  const log::RecordSink count = [&found](const log::RecordView& record, const Position&,
                                         const Position&) {
    Count(record, &found);
    return Status::Ok();
  };
  const Result<Position> end = WalkSuffix(request, count);
  if (!end.ok()) return end.status();
  return found;
}

Result<Divergence> SaveSuffix(const SuffixRequest& request, const std::string& path,
                              LostReason reason, uint64_t time_ms, uint64_t lost_max) {
  const std::string directory = io::JoinPath(path, io::kLostDirectory);
  const std::string name = NameOf(request);
  Result<Divergence> inspected = InspectSuffix(request);
  if (!inspected.ok()) return inspected;
  Divergence& found = inspected.value();
  const Result<bool> saved = IsSaved(request.fs, io::JoinPath(directory, name), request);
  if (!saved.ok()) return saved.status();
  if (saved.value() || found.operations == 0) {
    if (saved.value()) found.file = name;
    return inspected;
  }
  const Result<uint64_t> used = LostBytes(request.fs, directory);
  if (!used.ok()) return used.status();
  if (found.bytes > lost_max || used.value() > lost_max - found.bytes) {
    return Status::Error(Code::kNeedsOperator, "lost/ has no room within lostMaxBytes")
        .With("reason", "lost_full")
        .With("used", static_cast<int64_t>(used.value()))
        .With("needed", static_cast<int64_t>(found.bytes));
  }
  LostHeader header;
  header.reason = reason;
  header.cluster = request.files->identity.cluster;
  header.from = request.from;
  header.time_ms = time_ms;
  header.records = found.records;
  header.operations = found.operations;
  header.bytes = found.bytes;
  RETURN_IF_ERROR(WriteSuffix(request, path, name, header));
  found.file = name;
  return inspected;
}

Status CutBack(io::FileSystem* fs, const std::string& path, const StoreFiles& files,
               const Position& common, const log::ScanResult& scan) {
  // Manifest before log: the other order is a store ahead of its log.
  RETURN_IF_ERROR(PublishManifestAt(fs, files, common));
  RETURN_IF_ERROR(RemoveSnapshotsBehind(fs, path, common));
  return log::CutLog(ScanFrom(fs, files, common), scan);
}

NodeState WithoutRewind(NodeState state) {
  const uint64_t common = state.intent_common.offset;
  std::erase_if(state.padded,
                [common](const log::PaddedRange& range) { return range.from.offset >= common; });
  state.durable_mark = common;
  state.intent = Intent::kNone;
  state.intent_common = Position{};
  state.intent_end = Position{};
  return state;
}

Result<Divergence> ContinueRewind(io::FileSystem* fs, io::Clock* clock, const std::string& path,
                                  StoreFiles* files) {
  const Position common = files->state->state().intent_common;
  const Position end = files->state->state().intent_end;
  const Result<log::ScanResult> scan = ScanToCommon(fs, path, *files, common);
  if (!scan.ok()) return scan.status();
  const SuffixRequest request{fs, files, common, end, true};
  // What is to be undone must not stay for want of room: the rewind was decided within the limit.
  Result<Divergence> saved =
      SaveSuffix(request, path, LostReason::kRewind, clock->WallMs(), UINT64_MAX);
  if (!saved.ok()) return saved;
  RETURN_IF_ERROR(CutBack(fs, path, *files, common, scan.value()));
  Result<KeptManifests> manifests = ReadManifests(fs, files->generation_path);
  if (!manifests.ok()) return manifests.status();
  files->manifests = std::move(manifests.value());
  return saved;
}

}  // namespace gapless::engine

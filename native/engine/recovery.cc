// Opening a generation. See the header.
#include "engine/recovery.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "base/thread.h"
#include "engine/current.h"
#include "engine/generation_builder.h"
#include "io/file_names.h"
#include "snapshot/snapshot.h"

namespace gapless::engine {
namespace {

constexpr size_t kLoadThreadsMax = 4;
constexpr size_t kRunsPerThread = 8;
// So many operations before its turn the memory of a key is asked for.
constexpr int kPrefetchAhead = 4;

std::string RepairCommand(const std::string& path, const Status& status) {
  for (const Detail& detail : status.details()) {
    if (detail.name != "repair") continue;
    const size_t at = detail.text.find("DIR");
    if (at == std::string::npos) return detail.text;
    return detail.text.substr(0, at) + path + detail.text.substr(at + 3);
  }
  return "gapless verify " + path;
}

// The same refusal, telling in its message what to do next.
Status WithNextCommand(const Status& status, const std::string& path) {
  if (!status.Is(Code::kCorrupt)) return status;
  return status.Wrap("refused to open (see what is damaged or drop it with `" +
                     RepairCommand(path, status) + "`)");
}

void DescribeSkip(io::FileSystem* fs, const std::string& path, const Position& end,
                  RecoveryReport* report) {
  report->outcome = "skipped";
  report->reason = end.IsEmpty() ? "new" : "no_snapshot";
  // The newest local snapshot that can be read decides the reason; none: as above.
  const std::string directory = io::JoinPath(path, io::kSnapshotsDirectory);
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok() || !exists.value()) return;
  const Result<std::vector<std::string>> names = fs->List(directory);
  if (!names.ok()) return;
  bool found = false;
  uint64_t newest = 0;
  for (const std::string& name : names.value()) {
    if (!io::IsSnapshotName(name)) continue;
    const Result<snapshot::Token> token = snapshot::ReadToken(fs, io::JoinPath(directory, name));
    if (!token.ok() || token.value().meta.position.seq > end.seq) continue;
    newest = std::max(newest, token.value().meta.position.seq);
    found = true;
  }
  if (!found) return;
  report->gap = static_cast<int64_t>(end.seq - newest);
  report->reason = report->gap == 0 ? "equal" : "ahead";
}

}  // namespace

Result<StoreFiles> ReadStoreFiles(io::FileSystem* fs, const std::string& path, bool read_only) {
  StoreFiles files;
  Result<IdentityFile> identity = ReadIdentity(fs, path);
  if (!identity.ok()) return WithNextCommand(identity.status(), path);
  files.identity = identity.value();
  Result<std::unique_ptr<StateFile>> state = StateFile::Open(fs, path, read_only);
  if (!state.ok()) return WithNextCommand(state.status(), path);
  files.state = std::move(state.value());
  const Result<uint64_t> current = ReadCurrent(fs, path);
  if (!current.ok()) return WithNextCommand(current.status(), path);
  files.generation = current.value();
  files.generation_path = GenerationPath(path, files.generation);
  const Result<bool> exists = fs->Exists(files.generation_path);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) {
    return WithNextCommand(
        Status::Corrupt("the live generation is missing", files.generation_path, 0), path);
  }
  Result<KeptManifests> manifests = ReadManifests(fs, files.generation_path);
  if (!manifests.ok()) return WithNextCommand(manifests.status(), path);
  files.manifests = std::move(manifests.value());
  const Manifest& newest = files.manifests.newest;
  const std::string manifest_path = ManifestPath(files.generation_path, newest.number);
  if (newest.generation != files.generation) {
    return WithNextCommand(
        Status::Corrupt("the manifest is of another generation", manifest_path, 16), path);
  }
  if (files.identity.cluster.IsNone() && !newest.cluster.IsNone()) {
    files.identity.cluster = newest.cluster;
    if (!read_only) RETURN_IF_ERROR(PublishIdentity(fs, path, files.identity));
  }
  if (newest.cluster != files.identity.cluster) {
    return WithNextCommand(Status::Corrupt("the manifest is of another cluster", manifest_path, 32),
                           path);
  }
  return files;
}

table::Mutation ToMutation(const log::RecordHeader& batch, const log::Operation& operation,
                           uint64_t seq) {
  table::Mutation mutation;
  switch (operation.kind) {
    case log::OpKind::kPut:
      mutation.kind = table::MutationKind::kPut;
      break;
    case log::OpKind::kDel:
      mutation.kind = table::MutationKind::kDel;
      break;
    case log::OpKind::kDelRange:
      mutation.kind = table::MutationKind::kDelRange;
      break;
  }
  mutation.key = operation.key;
  mutation.value = operation.value;
  mutation.unbounded = operation.unbounded;
  mutation.expires_at_ms = operation.expires_at_ms;
  mutation.seq = seq;
  mutation.last = seq == batch.LastSeq();
  return mutation;
}

void ReplayRecord(const log::RecordView& record, const Position& before, const Position& after,
                  table::Store* store, History* history) {
  if (record.header.kind == log::RecordKind::kBatch) {
    log::BatchReader reader(record.body);
    log::BatchReader ahead(record.body);
    log::Operation operation;
    for (int i = 0; i < kPrefetchAhead && ahead.Next(&operation);) ++i;
    for (uint64_t seq = record.header.first_seq; reader.Next(&operation); ++seq) {
      log::Operation coming;
      if (ahead.Next(&coming)) store->Prefetch(coming.key);
      store->Apply(ToMutation(record.header, operation, seq));
    }
  }
  history->Advance(record, before, after);
  store->Publish(after.seq);
}

Status LoadRuns(const table::RunOptions& options, const Manifest& manifest, const std::string& file,
                table::Store* store) {
  RETURN_IF_ERROR(CheckRuns(manifest, store->shards(), file));
  table::RunOptions shared = options;
  shared.value_files = store->value_files();
  const size_t count = manifest.runs.size();
  table::RunList runs(count);
  std::vector<Status> outcomes(count);
  std::atomic<size_t> next{0};
  const auto open = [&] {
    for (size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      Result<std::shared_ptr<const table::Run>> run =
          table::Run::Open(shared, manifest.runs[i], store->cache());
      if (run.ok()) runs[i] = std::move(run.value());
      outcomes[i] = run.status();
    }
  };
  std::vector<std::unique_ptr<Thread>> threads;
  for (size_t i = 1; i < std::min(count / kRunsPerThread, kLoadThreadsMax); ++i) {
    auto thread = std::make_unique<Thread>();
    // Without a further thread the ones that run do its work.
    if (!thread->Start("gapless-load", open).ok()) break;
    threads.push_back(std::move(thread));
  }
  open();
  for (const std::unique_ptr<Thread>& thread : threads) thread->Join();
  for (const Status& outcome : outcomes) RETURN_IF_ERROR(outcome);
  store->LoadRuns(runs);
  store->Publish(manifest.meta.position.seq);
  return Status::Ok();
}

log::ScanOptions MakeScanOptions(io::FileSystem* fs, const StoreFiles& files,
                                 const Manifest& manifest) {
  log::ScanOptions scan;
  scan.fs = fs;
  scan.directory = io::JoinPath(files.generation_path, io::kLogDirectory);
  scan.cluster = files.identity.cluster;
  scan.secret = files.identity.secret;
  scan.from = manifest.meta.position;
  scan.from_timestamp = manifest.meta.clock;
  const NodeState& state = files.state->state();
  // Whatever it begins with, the log must reach the newest checkpoint.
  scan.durable_mark =
      std::max(DurableMarkOf(state, files.generation), files.manifests.newest.meta.position.offset);
  scan.padded = files.manifests.newest.meta.padded;
  scan.padded.insert(scan.padded.end(), state.padded.begin(), state.padded.end());
  return scan;
}

Status RemoveOlderGenerations(io::FileSystem* fs, const std::string& path, uint64_t live) {
  const Result<std::vector<std::string>> names = fs->List(path);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    uint64_t number = 0;
    if (!io::ParseGenerationName(name, &number) || number >= live) continue;
    RETURN_IF_ERROR(io::RemoveTree(fs, io::JoinPath(path, name)));
  }
  return Status::Ok();
}

Status RefusalOf(const log::ScanResult& scan, const Manifest& manifest, const std::string& path) {
  const Position& checkpoint = manifest.meta.position;
  const std::string what = scan.damage.empty() ? "" : scan.damage.front().what;
  if (scan.end.offset < checkpoint.offset && (what == "missing" || what == "short")) {
    return Status::Error(Code::kStoreAheadOfLog,
                         "the checkpoint " + ToText(checkpoint) + " lies behind the log's end " +
                             ToText(scan.end) + "; see `gapless verify " + path + "`")
        .WithFile(scan.damage.front().file, static_cast<int64_t>(scan.damage.front().offset));
  }
  return WithNextCommand(scan.ToStatus(), path);
}

Result<Recovered> RecoverGeneration(const Options& options, const std::string& path,
                                    const StoreFiles& files) {
  const uint64_t began_us = options.clock->MonotonicUs();
  const Manifest& manifest = files.manifests.newest;
  Recovered recovered;
  auto generation =
      std::make_shared<Generation>(files.generation, files.generation_path,
                                   table::StoreOptions{files.identity.shards, options.cache_bytes});
  Result<std::unique_ptr<Checkpoints>> checkpoints =
      Checkpoints::Open(options.fs, files.generation_path, files.manifests);
  if (!checkpoints.ok()) return checkpoints.status();
  generation->checkpoints = std::move(checkpoints.value());
  const Status loaded =
      LoadRuns(MakeRunOptions(options, files.generation_path, files.identity.cluster), manifest,
               ManifestPath(files.generation_path, manifest.number), &generation->store);
  if (!loaded.ok()) return WithNextCommand(loaded, path);
  generation->history.Reset(manifest.meta);
  const log::RecordSink replay = [&](const log::RecordView& record, const Position& before,
                                     const Position& after) {
    ReplayRecord(record, before, after, &generation->store, &generation->history);
    return Status::Ok();
  };
  const log::ScanOptions scan_options = MakeScanOptions(options.fs, files, manifest);
  const Result<log::ScanResult> scanned = log::ScanLog(scan_options, replay);
  if (!scanned.ok()) return scanned.status();
  const log::ScanResult& scan = scanned.value();
  if (scan.verdict == log::ScanVerdict::kCorrupt) return RefusalOf(scan, manifest, path);
  if (scan.verdict == log::ScanVerdict::kTail) {
    recovered.report.cut = scan.cut;
    if (!options.read_only) RETURN_IF_ERROR(log::CutLog(scan_options, scan));
  }
  if (!options.read_only) RETURN_IF_ERROR(generation->checkpoints->RemoveStrays());
  generation->head = scan.end;
  generation->head_clock = std::max(scan.end_timestamp, manifest.meta.clock);
  GAPLESS_ASSERT(generation->history.position() == scan.end);
  const log::LogOptions log_options =
      MakeLogOptions(options, files.generation_path, files.identity);
  Result<std::unique_ptr<log::Log>> log = log::Log::Open(log_options, scan, generation.get());
  if (!log.ok()) return log.status();
  generation->log = std::move(log.value());
  generation->log->SetBase(generation->checkpoints->base_offset());
  DescribeSkip(options.fs, path, scan.end, &recovered.report);
  recovered.report.replayed_records = scan.records;
  recovered.report.ms = (options.clock->MonotonicUs() - began_us) / 1000;
  recovered.generation = std::move(generation);
  return recovered;
}

}  // namespace gapless::engine

// Building a generation and switching to it. See the header.
//
// Threads: FeedFlow and FinishFlow one thread a flow, everything else one thread at a time; mutex_
// guards what they share. Install waits, and runs while the live generation serves.
#include "engine/generation_builder.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "base/mutex.h"
#include "engine/base_runs.h"
#include "engine/current.h"
#include "engine/engine_impl.h"
#include "engine/received.h"
#include "engine/sync_file.h"
#include "io/file_names.h"

namespace gapless::engine {
namespace {

constexpr size_t kWriteBytes = 1 << 20;
constexpr uint64_t kRoomPollUs = 20000;
constexpr uint64_t kRoomWaitMaxUs = 30000000;

// Lets AppendLog wait for the spill log's flusher.
class RoomSignal final : public log::LogListener {
 public:
  void OnProgress(const log::LogProgress&) override { Notify(); }
  void OnRoom() override { Notify(); }
  void OnNoSpace(const Status&) override { Notify(); }
  void OnSpaceBack() override { Notify(); }
  void OnPoisoned(const Status&) override { Notify(); }
  void Wait() {
    const MutexLock lock(&mutex_);
    changed_.WaitFor(&mutex_, kRoomPollUs);
  }

 private:
  void Notify() {
    const MutexLock lock(&mutex_);
    changed_.NotifyAll();
  }
  Mutex mutex_;
  CondVar changed_;
};

// One flow on its way to disk; touched by its own thread only.
struct IncomingFlow {
  std::unique_ptr<io::File> file;
  std::unique_ptr<snapshot::FlowVerifier> verifier;
  std::string buffer;
  uint64_t written = 0;
};

class Builder final : public GenerationBuilder {
 public:
  explicit Builder(EngineImpl* engine) : engine_(engine), fs_(engine->options().fs) {}
  ~Builder() override {
    Discard();
    engine_->EndBuilding();
  }

  Status Begin(const snapshot::Token& announced, uint64_t bytes) override;
  Status Remember(const Id128& sync) override;
  Result<bool> Recall(RecalledSync* recalled) override;
  Status Suspend() override;
  Status FeedFlow(uint32_t flow, Slice bytes) override;
  Status FinishFlow(uint32_t flow, const snapshot::FlowSummary& summary) override;
  std::vector<uint32_t> finished() const override;
  Status AppendLog(Slice records, Position* received) override;
  Position received() const override {
    const MutexLock lock(&mutex_);
    return head_;
  }
  Status Install() override;

 private:
  Status CheckAnnounced(const snapshot::Token& announced, uint64_t bytes) const;
  Status MakeDirectories();
  Status OpenLog();
  Status OpenFlows();
  Status RecallSync(RecalledSync* recalled);
  Status FindDirectory();
  Status ReopenLog();
  Status ReopenFlow(uint32_t flow);
  Status KeepVerified(uint32_t flow, uint64_t bytes);
  Status Ready() const;
  Status Fail(Status why);
  Status WriteOut(IncomingFlow* flow, Slice more);
  Status EndFlow(uint32_t flow, const snapshot::FlowSummary& summary);
  Status AppendOne(const log::RecordView& record, Slice bytes);
  Status InstallSteps();
  Status WriteRuns();
  Status MoveIntoPlace();
  Status Switch();
  void Discard();

  EngineImpl* const engine_;
  io::FileSystem* const fs_;
  snapshot::Token token_;
  IdentityFile identity_;
  uint64_t number_ = 0;
  std::string incoming_;   // incoming/
  std::string directory_;  // incoming/gen-NNNNNN; empty: nothing of ours stands there
  std::string moved_;      // gen-NNNNNN; empty: not moved, or not ours any more
  Manifest manifest_;
  RoomSignal room_;
  std::unique_ptr<log::Log> log_;
  uint64_t clock_ = 0;
  Counters spilled_;  // records behind the snapshot: applied by the switch
  std::vector<IncomingFlow> flows_;

  mutable Mutex mutex_;
  Position head_ GUARDED_BY(mutex_);
  std::vector<bool> finished_ GUARDED_BY(mutex_);
  bool begun_ GUARDED_BY(mutex_) = false;
  Status failed_ GUARDED_BY(mutex_);  // a local error ends the whole sync
};

Status RemoveIfThere(io::FileSystem* fs, const std::string& path) {
  const Result<bool> exists = fs->Exists(path);
  if (!exists.ok()) return exists.status();
  return exists.value() ? io::RemoveTree(fs, path) : Status::Ok();
}

Status Builder::CheckAnnounced(const snapshot::Token& announced, uint64_t bytes) const {
  const Options& options = engine_->options();
  if (options.read_only) return Status::Error(Code::kReadOnly, "the store was opened read-only");
  if (engine_->role() != Role::kReplica) {
    return Status::Error(Code::kAlreadyPrimary, "a primary takes no full sync");
  }
  if (announced.flows.empty() || announced.flows.size() > kShardsMax ||
      announced.cluster.IsNone()) {
    return ProtocolError("token", "the announced snapshot names no flows or no cluster");
  }
  for (size_t i = 0; i < announced.flows.size(); ++i) {
    if (announced.flows[i].flow != i) return ProtocolError("token", "flows are out of order");
  }
  const Result<uint64_t> free = fs_->FreeBytes(engine_->path());
  if (!free.ok()) return free.status();
  // The flows as they come, and the runs that are made of them.
  const uint64_t room = free.value() - std::min(free.value(), options.segment_bytes);
  const uint64_t needed = 2 * bytes + options.segment_bytes;
  if (bytes > room / 2) {
    return Status::Error(Code::kNoSpace, "the disk has no room for the announced snapshot")
        .With("needed", static_cast<int64_t>(needed))
        .With("free", static_cast<int64_t>(free.value()));
  }
  return Status::Ok();
}

Status Builder::Begin(const snapshot::Token& announced, uint64_t bytes) {
  {
    const MutexLock lock(&mutex_);
    if (begun_) return Status::Error(Code::kUsage, "the generation was begun already");
  }
  RETURN_IF_ERROR(CheckAnnounced(announced, bytes));
  RETURN_IF_ERROR(engine_->AdoptCluster(announced.cluster));
  // Until the first full sync is installed this node has a part of nothing.
  if (engine_->progress().visible.IsEmpty() && engine_->complete()) {
    RETURN_IF_ERROR(engine_->UpdateState([](NodeState* state) { state->incomplete = true; }));
  }
  token_ = announced;
  identity_ = engine_->identity_file();
  {
    const MutexLock lock(&mutex_);
    begun_ = true;
    head_ = token_.meta.position;
    finished_.assign(token_.flows.size(), false);
  }
  clock_ = token_.meta.clock;
  Status begun = MakeDirectories();
  if (begun.ok()) begun = OpenLog();
  if (begun.ok()) begun = OpenFlows();
  return begun.ok() ? begun : Fail(begun);
}

Status Builder::MakeDirectories() {
  const std::string& path = engine_->path();
  incoming_ = io::JoinPath(path, io::kIncomingDirectory);
  RETURN_IF_ERROR(RemoveIfThere(fs_, incoming_));
  // A name that nothing ever had here: what a failed removal left must not be mixed in.
  for (number_ = engine_->Live()->number() + 1;; ++number_) {
    const Result<bool> taken = fs_->Exists(GenerationPath(path, number_));
    if (!taken.ok()) return taken.status();
    if (!taken.value()) break;
  }
  RETURN_IF_ERROR(fs_->CreateDirectory(incoming_));
  directory_ = GenerationPath(incoming_, number_);
  RETURN_IF_ERROR(fs_->CreateDirectory(directory_));
  RETURN_IF_ERROR(fs_->CreateDirectory(io::JoinPath(directory_, io::kLogDirectory)));
  RETURN_IF_ERROR(fs_->CreateDirectory(io::JoinPath(directory_, io::kRunsDirectory)));
  return fs_->SyncDirectory(path);
}

Status Builder::OpenLog() {
  const log::LogOptions options = MakeLogOptions(engine_->options(), directory_, identity_);
  const Position& position = token_.meta.position;
  RETURN_IF_ERROR(log::Log::Create(options, position, clock_));
  log::ScanOptions scan;
  scan.fs = fs_;
  scan.directory = options.directory;
  scan.cluster = options.cluster;
  scan.secret = options.secret;
  scan.from = position;
  scan.from_timestamp = clock_;
  const Result<log::ScanResult> scanned = log::ScanLog(scan, nullptr);
  if (!scanned.ok()) return scanned.status();
  Result<std::unique_ptr<log::Log>> log = log::Log::Open(options, scanned.value(), &room_);
  if (!log.ok()) return log.status();
  log_ = std::move(log.value());
  log_->SetBase(position.offset);
  return Status::Ok();
}

Status Builder::OpenFlows() {
  const std::string runs = io::JoinPath(directory_, io::kRunsDirectory);
  flows_.resize(token_.flows.size());
  for (uint32_t i = 0; i < flows_.size(); ++i) {
    const std::string path = io::JoinPath(runs, io::FlowName(i));
    Result<std::unique_ptr<io::File>> file = fs_->Open(path, io::OpenMode::kCreateNew);
    if (!file.ok()) return file.status();
    flows_[i].file = std::move(file.value());
    flows_[i].verifier =
        std::make_unique<snapshot::FlowVerifier>(snapshot::ExpectedHeader(token_, i), path);
  }
  return Status::Ok();
}

Status Builder::Remember(const Id128& sync) {
  RETURN_IF_ERROR(Ready());
  RETURN_IF_ERROR(fs_->SyncDirectory(incoming_));
  const Status kept = io::PublishFile(fs_, incoming_, kSyncFile, EncodeSyncFile(sync, token_));
  return kept.ok() ? kept : Fail(kept);
}

// Damage of what was left is no damage of the store: all of it is fetched anew.
Result<bool> Builder::Recall(RecalledSync* recalled) {
  {
    const MutexLock lock(&mutex_);
    if (begun_) return Status::Error(Code::kUsage, "the generation was begun already");
  }
  if (engine_->options().read_only || engine_->role() != Role::kReplica) return false;
  incoming_ = io::JoinPath(engine_->path(), io::kIncomingDirectory);
  const Result<bool> there = fs_->Exists(io::JoinPath(incoming_, kSyncFile));
  if (!there.ok()) return there.status();
  if (!there.value()) {
    Discard();
    return false;
  }
  const Status status = RecallSync(recalled);
  if (status.ok()) return true;
  Discard();
  if (!status.Is(Code::kCorrupt) && !status.Is(Code::kFormatUnsupported)) return status;
  return false;
}

Status Builder::RecallSync(RecalledSync* recalled) {
  const std::string path = io::JoinPath(incoming_, kSyncFile);
  const Result<std::string> bytes = io::ReadWholeFile(fs_, path, kSyncBytesMax);
  if (!bytes.ok()) return bytes.status();
  RETURN_IF_ERROR(DecodeSyncFile(bytes.value(), path, &recalled->sync, &token_));
  identity_ = engine_->identity_file();
  if (token_.cluster != identity_.cluster) {
    return Status::Corrupt("SYNC of another cluster", path, 0).With("what", "identity");
  }
  RETURN_IF_ERROR(FindDirectory());
  {
    const MutexLock lock(&mutex_);
    begun_ = true;
    finished_.assign(token_.flows.size(), false);
  }
  RETURN_IF_ERROR(ReopenLog());
  flows_.resize(token_.flows.size());
  for (uint32_t i = 0; i < flows_.size(); ++i) RETURN_IF_ERROR(ReopenFlow(i));
  recalled->flow_bytes.clear();
  for (uint32_t i = 0; i < flows_.size(); ++i) {
    const bool open = flows_[i].file != nullptr;
    recalled->flow_bytes.push_back(open ? flows_[i].written : token_.flows[i].file_bytes);
  }
  recalled->token = token_;
  return Status::Ok();
}

// The one generation in incoming/, of a number that is still free.
Status Builder::FindDirectory() {
  const Result<std::vector<std::string>> names = fs_->List(incoming_);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    if (!io::ParseGenerationName(name, &number_)) continue;
    const Result<bool> taken = fs_->Exists(GenerationPath(engine_->path(), number_));
    if (!taken.ok()) return taken.status();
    if (taken.value() || number_ <= engine_->Live()->number()) break;
    directory_ = GenerationPath(incoming_, number_);
    return Status::Ok();
  }
  return Status::Corrupt("SYNC without its generation", incoming_, 0).With("what", "missing");
}

Status Builder::ReopenLog() {
  const log::LogOptions options = MakeLogOptions(engine_->options(), directory_, identity_);
  log::ScanOptions scan;
  scan.fs = fs_;
  scan.directory = options.directory;
  scan.cluster = options.cluster;
  scan.secret = options.secret;
  scan.from = token_.meta.position;
  scan.from_timestamp = token_.meta.clock;
  const auto count = [this](const log::RecordView& record, const Position&, const Position&) {
    ++spilled_.applied_records;
    spilled_.applied_operations += record.header.operations;
    return Status::Ok();
  };
  const Result<log::ScanResult> scanned = log::ScanLog(scan, count);
  if (!scanned.ok()) return scanned.status();
  RETURN_IF_ERROR(scanned.value().ToStatus());
  Result<std::unique_ptr<log::Log>> log = log::Log::Open(options, scanned.value(), &room_);
  if (!log.ok()) return log.status();
  log_ = std::move(log.value());
  log_->SetBase(token_.meta.position.offset);
  clock_ = scanned.value().end_timestamp;
  const MutexLock lock(&mutex_);
  head_ = scanned.value().end;
  return Status::Ok();
}

// Feeds the verifier the first `bytes` of the file. kCorrupt where they are no flow.
Status FeedFile(io::File* file, uint64_t bytes, snapshot::FlowVerifier* verifier) {
  std::string buffer(kWriteBytes, '\0');
  for (uint64_t at = 0; at < bytes;) {
    const size_t want = static_cast<size_t>(std::min<uint64_t>(bytes - at, buffer.size()));
    size_t got = 0;
    RETURN_IF_ERROR(file->ReadAt(at, buffer.data(), want, &got));
    if (got == 0) return Status::Corrupt("the file ends early", file->path(), at);
    RETURN_IF_ERROR(verifier->Feed(Slice(buffer.data(), got)));
    at += got;
  }
  return Status::Ok();
}

Status Builder::ReopenFlow(uint32_t flow) {
  IncomingFlow& incoming = flows_[flow];
  const std::string path =
      io::JoinPath(io::JoinPath(directory_, io::kRunsDirectory), io::FlowName(flow));
  Result<std::unique_ptr<io::File>> file = fs_->Open(path, io::OpenMode::kReadWrite);
  if (!file.ok()) return file.status();
  incoming.file = std::move(file.value());
  const Result<uint64_t> size = incoming.file->Size();
  if (!size.ok()) return size.status();
  incoming.verifier =
      std::make_unique<snapshot::FlowVerifier>(snapshot::ExpectedHeader(token_, flow), path);
  const Status fed = FeedFile(incoming.file.get(), size.value(), incoming.verifier.get());
  if (!fed.ok() && !fed.Is(Code::kCorrupt)) return fed;
  const uint64_t verified = incoming.verifier->verified_bytes();
  if (!fed.ok() || verified != size.value()) return KeepVerified(flow, verified);
  incoming.written = verified;
  if (!incoming.verifier->Complete()) return Status::Ok();
  RETURN_IF_ERROR(incoming.file->Sync());
  const snapshot::FlowSummary received = incoming.verifier->summary();
  incoming.file.reset();
  incoming.verifier.reset();
  const MutexLock lock(&mutex_);
  token_.flows[flow] = received;
  finished_[flow] = true;
  return Status::Ok();
}

// A verifier does not go back, so another one begins.
Status Builder::KeepVerified(uint32_t flow, uint64_t bytes) {
  IncomingFlow& incoming = flows_[flow];
  RETURN_IF_ERROR(incoming.file->Truncate(bytes));
  incoming.verifier = std::make_unique<snapshot::FlowVerifier>(
      snapshot::ExpectedHeader(token_, flow), incoming.file->path());
  RETURN_IF_ERROR(FeedFile(incoming.file.get(), bytes, incoming.verifier.get()));
  incoming.written = bytes;
  return Status::Ok();
}

Status Builder::Suspend() {
  RETURN_IF_ERROR(Ready());
  for (IncomingFlow& flow : flows_) {
    if (flow.file != nullptr && !flow.buffer.empty()) RETURN_IF_ERROR(WriteOut(&flow, Slice()));
  }
  RETURN_IF_ERROR(log_->Close([](const Position&) { return Status::Ok(); }));
  log_.reset();
  flows_.clear();
  incoming_.clear();
  directory_.clear();
  const MutexLock lock(&mutex_);
  failed_ = Status::Error(Code::kClosed, "the full sync was suspended");
  return Status::Ok();
}

Status Builder::Ready() const {
  const MutexLock lock(&mutex_);
  if (!begun_) return Status::Error(Code::kUsage, "no snapshot was announced");
  return failed_;
}

Status Builder::Fail(Status why) {
  const MutexLock lock(&mutex_);
  if (failed_.ok()) failed_ = why;
  return why;
}

Status Builder::FeedFlow(uint32_t flow, Slice bytes) {
  RETURN_IF_ERROR(Ready());
  if (flow >= flows_.size()) return ProtocolError("flow", "a flow that was not announced");
  IncomingFlow& incoming = flows_[flow];
  if (incoming.file == nullptr) return ProtocolError("flow", "the flow was finished already");
  const Status verified = incoming.verifier->Feed(bytes);
  if (!verified.ok()) return Fail(verified);
  if (incoming.buffer.size() + bytes.size() < kWriteBytes) {
    incoming.buffer.append(bytes.data(), bytes.size());
    return Status::Ok();
  }
  const Status written = WriteOut(&incoming, bytes);
  return written.ok() ? written : Fail(written);
}

Status Builder::WriteOut(IncomingFlow* flow, Slice more) {
  const io::IoVec parts[2] = {{flow->buffer.data(), flow->buffer.size()},
                              {more.data(), more.size()}};
  RETURN_IF_ERROR(flow->file->WriteAt(flow->written, parts, 2));
  flow->written += flow->buffer.size() + more.size();
  flow->buffer.clear();
  return Status::Ok();
}

Status Builder::FinishFlow(uint32_t flow, const snapshot::FlowSummary& summary) {
  RETURN_IF_ERROR(Ready());
  if (flow >= flows_.size()) return ProtocolError("flow", "a flow that was not announced");
  if (flows_[flow].file == nullptr) {
    return ProtocolError("flow", "the flow was finished already");
  }
  const Status ended = EndFlow(flow, summary);
  return ended.ok() ? ended : Fail(ended);
}

Status Builder::EndFlow(uint32_t flow, const snapshot::FlowSummary& summary) {
  IncomingFlow& incoming = flows_[flow];
  const std::string& path = incoming.file->path();
  if (!incoming.verifier->Complete()) {
    return Status::Corrupt("the flow ends before its footer", path,
                           incoming.verifier->verified_bytes())
        .With("what", "footer");
  }
  const snapshot::FlowSummary received = incoming.verifier->summary();
  const snapshot::FlowSummary& announced = token_.flows[flow];
  const bool announced_whole = announced.file_bytes != 0;  // zero: not known when it was announced
  if (received != summary || (announced_whole && received != announced)) {
    return Status::Corrupt("the flow is not the one that its sender speaks of", path, 0)
        .With("what", "token");
  }
  if (!incoming.buffer.empty()) RETURN_IF_ERROR(WriteOut(&incoming, Slice()));
  RETURN_IF_ERROR(incoming.file->Sync());
  incoming.file.reset();
  incoming.verifier.reset();
  const MutexLock lock(&mutex_);
  token_.flows[flow] = received;
  finished_[flow] = true;
  return Status::Ok();
}

std::vector<uint32_t> Builder::finished() const {
  const MutexLock lock(&mutex_);
  std::vector<uint32_t> flows;
  for (uint32_t i = 0; i < finished_.size(); ++i) {
    if (finished_[i]) flows.push_back(i);
  }
  return flows;
}

Status Builder::AppendLog(Slice records, Position* received) {
  Position at = this->received();
  *received = at;
  RETURN_IF_ERROR(Ready());
  Skipped skipped;
  uint64_t operations = 0;
  RETURN_IF_ERROR(SkipKnown(at.seq, &records, &skipped));
  RETURN_IF_ERROR(CheckSkipped(skipped, at, log_.get()));
  const Options& options = engine_->options();
  const uint64_t latest_ms = options.clock->WallMs() + options.clock_max_ahead_ms;
  while (!records.empty()) {
    log::RecordView record;
    RETURN_IF_ERROR(
        CheckReceived(identity_.cluster, latest_ms, at, clock_, records, &record, &operations));
    // A term is durable here before a record of it is.
    const uint32_t term = record.header.epoch.term;
    if (term > engine_->highest_term()) RETURN_IF_ERROR(engine_->SeeTerm(term));
    const auto bytes = static_cast<size_t>(record.header.RecordBytes());
    const Status appended = AppendOne(record, records.Sub(0, bytes));
    if (!appended.ok()) return Fail(appended);
    ++spilled_.applied_records;
    spilled_.applied_operations += record.header.operations;
    records.RemovePrefix(bytes);
    *received = at = this->received();
  }
  return Status::Ok();
}

// Spilled without haste: it only has to be durable when the generation is installed.
Status Builder::AppendOne(const log::RecordView& record, Slice bytes) {
  Position at = received();
  for (uint64_t waited = 0;; waited += kRoomPollUs) {
    const log::Admission admission = log_->Admit(bytes.size());
    if (admission == log::Admission::kGo) break;
    if (admission == log::Admission::kNoSpace) {
      return Status::Error(Code::kNoSpace, "there is no space for the log of the new generation");
    }
    if (admission != log::Admission::kWait) {
      return Status::Error(Code::kIo, "the log of the new generation failed");
    }
    if (waited >= kRoomWaitMaxUs) {
      return Status::Error(Code::kTimeout, "the log of the new generation is not written in time");
    }
    room_.Wait();
  }
  at = record.header.After(at.offset);
  log_->Append(bytes.data(), record.body, at, log::Durability::kMemory);
  clock_ = record.header.timestamp;
  const MutexLock lock(&mutex_);
  head_ = at;
  return Status::Ok();
}

Status Builder::Install() {
  RETURN_IF_ERROR(Ready());
  if (finished().size() != flows_.size()) {
    return Status::Error(Code::kNotReady, "not every announced flow is finished");
  }
  const Status installed = InstallSteps();
  if (installed.ok()) return installed;
  Discard();
  return Fail(installed);
}

Status Builder::InstallSteps() {
  // From here on a crash leaves nothing to go on with.
  const std::string name = io::JoinPath(incoming_, kSyncFile);
  const Result<bool> remembered = fs_->Exists(name);
  if (!remembered.ok()) return remembered.status();
  if (remembered.value()) {
    RETURN_IF_ERROR(fs_->Remove(name));
    RETURN_IF_ERROR(fs_->SyncDirectory(incoming_));
  }
  // Log first: everything of it is durable before a manifest speaks of it.
  const Status closed = log_->Close([](const Position&) { return Status::Ok(); });
  log_.reset();
  // It is this log that failed, not the live one.
  if (closed.Is(Code::kPoisoned)) {
    return Status::Error(Code::kIo, "the log of the new generation failed: " + closed.message())
        .WithFile(closed.file(), closed.offset());
  }
  RETURN_IF_ERROR(closed);
  manifest_.generation = number_;
  manifest_.number = 1;
  manifest_.cluster = identity_.cluster;
  manifest_.meta = token_.meta;
  RETURN_IF_ERROR(WriteRuns());
  RETURN_IF_ERROR(PublishManifest(fs_, directory_, manifest_));
  RETURN_IF_ERROR(MoveIntoPlace());
  return Switch();
}

// The flows were verified as they came; what is read of them is checked again on the way.
Status Builder::WriteRuns() {
  std::atomic<uint64_t> next{1};
  BaseRunsRequest request;
  request.runs = MakeRunOptions(engine_->options(), directory_, identity_.cluster);
  request.flows = request.runs.directory;
  request.token = &token_;
  request.shards = identity_.shards;
  request.next_number = [&next] { return next.fetch_add(1); };
  Result<std::vector<table::RunInfo>> runs = WriteBaseRuns(request);
  if (!runs.ok()) return runs.status();
  manifest_.runs = std::move(runs.value());
  manifest_.next_run = next.load();
  for (const snapshot::FlowSummary& flow : token_.flows) {
    RETURN_IF_ERROR(fs_->Remove(io::JoinPath(request.flows, io::FlowName(flow.flow))));
  }
  return fs_->SyncDirectory(request.runs.directory);
}

Status Builder::MoveIntoPlace() {
  const std::string to = GenerationPath(engine_->path(), number_);
  moved_ = to;
  RETURN_IF_ERROR(fs_->Rename(directory_, to));
  directory_.clear();
  RETURN_IF_ERROR(fs_->SyncDirectory(incoming_));
  return fs_->SyncDirectory(engine_->path());
}

// The same way in as at an open.
Status Builder::Switch() {
  const std::string& path = engine_->path();
  StoreFiles files;
  Result<std::unique_ptr<StateFile>> state = StateFile::Open(fs_, path, true);
  if (!state.ok()) return state.status();
  files.identity = identity_;
  files.state = std::move(state.value());
  files.generation = number_;
  files.generation_path = moved_;
  files.manifests.newest = manifest_;
  Result<Recovered> recovered = RecoverGeneration(engine_->options(), path, files);
  if (!recovered.ok()) return recovered.status();
  std::shared_ptr<Generation> next = std::move(recovered.value().generation);
  const Position end = received();
  if (next->head != end) {
    return Status::Corrupt("the new log ends at " + ToText(next->head) + ", not at " + ToText(end),
                           moved_, 0);
  }
  bool named = false;
  const Status switched = engine_->SwitchGeneration(next, spilled_, &named);
  // What CURRENT may name is not ours to remove.
  if (named) moved_.clear();
  return switched;
}

void Builder::Discard() {
  log_.reset();
  flows_.clear();
  // What cannot be removed now goes at the next open.
  if (!moved_.empty()) (void)RemoveIfThere(fs_, moved_);
  moved_.clear();
  if (!incoming_.empty()) (void)RemoveIfThere(fs_, incoming_);
  directory_.clear();
}

}  // namespace

Result<std::unique_ptr<GenerationBuilder>> MakeGenerationBuilder(EngineImpl* engine) {
  if (!engine->BeginBuilding()) {
    return Status::Error(Code::kConflict, "another full sync of this store is under way");
  }
  return std::unique_ptr<GenerationBuilder>(std::make_unique<Builder>(engine));
}

uint64_t DurableMarkOf(const NodeState& state, uint64_t generation) {
  if (state.generation == generation) return state.durable_mark;
  const bool left = state.intent == Intent::kSwitch && state.intent_common.seq == generation;
  return left ? state.intent_common.offset : 0;
}

Status SettleSwitch(io::FileSystem* fs, const std::string& path, StoreFiles* files) {
  NodeState next = files->state->state();
  if (next.intent == Intent::kSwitch) {
    if (next.generation == files->generation) {
      next.incomplete = false;
      next.padded.clear();
    }
    next.durable_mark = DurableMarkOf(next, files->generation);
    next.generation = files->generation;
    next.intent = Intent::kNone;
    next.intent_common = Position{};
    RETURN_IF_ERROR(files->state->Update(next));
  }
  // A replica may go on with a full sync that was cut short: Recall judges what there is of it.
  const std::string incoming = io::JoinPath(path, io::kIncomingDirectory);
  const Result<bool> kept = fs->Exists(io::JoinPath(incoming, kSyncFile));
  if (!kept.ok()) return kept.status();
  if (!kept.value() || next.role != Role::kReplica) RETURN_IF_ERROR(RemoveIfThere(fs, incoming));
  const Result<std::vector<std::string>> names = fs->List(path);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    uint64_t number = 0;
    if (!io::ParseGenerationName(name, &number) || number <= files->generation) continue;
    RETURN_IF_ERROR(io::RemoveTree(fs, io::JoinPath(path, name)));
  }
  return Status::Ok();
}

}  // namespace gapless::engine

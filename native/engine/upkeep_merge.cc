// The merge thread: what the picker plans, and what a compaction asks for. See upkeep.h.
#include <algorithm>

#include "engine/upkeep.h"
#include "io/file_names.h"

namespace gapless::engine {
namespace {

constexpr uint64_t kIdleUs = 1000000;
// Without a flush for so long, flushes are rare.
constexpr uint64_t kSettleUs = 2000000;
constexpr uint64_t kPacePollUs = 20000;
// So often an input that cannot be read is tried before it counts as damaged.
constexpr uint32_t kReadFailuresBorne = 3;

uint64_t BytesOf(const table::RunList& runs) {
  uint64_t bytes = 0;
  for (const auto& run : runs) bytes += run->info().bytes;
  return bytes;
}

}  // namespace

void Upkeep::MergeLoop() {
  NextMerge next;
  while (NextPlan(&next)) {
    const Status merged = RunPlan(next.plan);
    EndMerge(next, merged);
    next = NextMerge();
    if (merged.ok()) {
      generation_->store.Reclaim();
      merge_backoff_.Reset();
      continue;
    }
    const MutexLock lock(&mutex_);
    if (closing_ || !dead_.ok()) break;
    merge_cond_.WaitFor(&mutex_, merge_backoff_.NextUs());
  }
  const MutexLock lock(&mutex_);
  merging_ended_ = true;
  const Status ended = Status::Error(Code::kClosed, "the store is closed");
  while (!requests_.empty()) EndRequestLocked(dead_.ok() ? ended : dead_);
}

table::PickerOptions Upkeep::PickerNow() const {
  table::PickerOptions picker = picker_;
  const std::vector<uint64_t> seqs = generation_->store.ProtectedSeqs();
  picker.oldest_seq = seqs.empty() ? 0 : *std::min_element(seqs.begin(), seqs.end());
  picker.settle = clock_->MonotonicUs() - flushed_at_us_.load() >= kSettleUs;
  return picker;
}

// Waits for something to merge; false: the thread ends.
bool Upkeep::NextPlan(NextMerge* next) {
  while (true) {
    bool idle = false;
    if (!LookForPlan(next, &idle)) return false;
    if (!idle) return true;
    DropOldCheckpoint();
  }
}

// Looks, and waits once; *idle: there is nothing to merge. False: merging ends.
bool Upkeep::LookForPlan(NextMerge* next, bool* idle) {
  const MutexLock lock(&mutex_);
  if (closing_ || !dead_.ok()) return false;
  const std::shared_ptr<const table::RunTree> tree = generation_->store.runs();
  const table::PickerOptions picker = PickerNow();
  std::vector<uint64_t> busy;
  for (const auto& [number, damage] : excluded_) busy.push_back(number);
  std::optional<table::MergePlan> plan = NextRequestedLocked(*tree, picker, busy);
  next->requested = plan.has_value() ? requests_.front()->id : 0;
  if (!plan.has_value()) plan = table::PickMerge(*tree, picker, busy);
  if (plan.has_value()) {
    next->plan = std::move(*plan);
    return true;
  }
  *idle = true;
  if (!merge_woken_) merge_cond_.WaitFor(&mutex_, kIdleUs);
  merge_woken_ = false;
  return true;
}

// The next step of the compaction at the front; those that are done are answered.
std::optional<table::MergePlan> Upkeep::NextRequestedLocked(const table::RunTree& tree,
                                                            const table::PickerOptions& picker,
                                                            const std::vector<uint64_t>& busy) {
  while (!requests_.empty()) {
    CompactRequest& request = *requests_.front();
    if (checkpoint_.offset < request.through) {
      if (failed_flushes_ == request.failed_flushes || flush_error_.ok()) return std::nullopt;
      EndRequestLocked(flush_error_);
      continue;
    }
    if (!request.begun) {
      request.begun = true;
      request.report.bytes_before = std::max(request.report.bytes_before, tree.bytes());
      for (const auto& run : tree.All()) {
        request.done_through = std::max(request.done_through, run->info().number);
      }
    }
    std::optional<table::MergePlan> plan =
        table::PickCompaction(tree, picker, request.extent, request.done_through, busy);
    if (plan.has_value()) return plan;
    request.report.bytes_after = tree.bytes();
    EndRequestLocked(DamageLocked(tree, request.extent));
  }
  return std::nullopt;
}

// Of a run that was left out.
Status Upkeep::DamageLocked(const table::RunTree& tree, const table::Extent& extent) const {
  for (const auto& run : tree.All()) {
    const auto damage = excluded_.find(run->info().number);
    const bool is_in = damage != excluded_.end() && table::Overlap(run->info().extent, extent);
    if (is_in) return damage->second;
  }
  return Status::Ok();
}

void Upkeep::EndRequestLocked(const Status& status) {
  requests_.front()->status = status;
  requests_.front()->done = true;
  requests_.pop_front();
  done_cond_.NotifyAll();
}

// Once the undo floor has passed the newest checkpoint the older one and its log can go.
void Upkeep::DropOldCheckpoint() {
  Checkpoints* const checkpoints = generation_->checkpoints.get();
  if (checkpoints->kept().size() < 2 || generation_->log->progress().poisoned) return;
  const Position newest = checkpoints->newest()->meta.position;
  const Position floor = owner_->UndoFloor(generation_, newest);
  if (floor != newest) return;
  // What fails is tried again with the next look.
  if (!checkpoints->MoveUndoFloor(floor).ok()) return;
  generation_->log->SetBase(checkpoints->base_offset());
}

Status Upkeep::RunPlan(const table::MergePlan& plan) {
  if (generation_->log->progress().poisoned) {
    return Status::Error(Code::kPoisoned, "the log failed");
  }
  return plan.move ? Move(plan) : MergePlanned(plan);
}

Status Upkeep::Move(const table::MergePlan& plan) {
  std::vector<table::RunInfo> infos;
  for (const auto& run : plan.inputs) {
    infos.push_back(run->info());
    infos.back().level = plan.to_level;
  }
  Result<table::RunList> moved = OpenRuns(infos);
  if (!moved.ok()) return moved.status();
  RETURN_IF_ERROR(InstallMerge(plan.inputs, moved.value()));
  const MutexLock lock(&mutex_);
  ++report_.moves;
  return Status::Ok();
}

// For tables that hold the state at `seq`, the clock of which is given. Whoever reads, or may read
// later, reads there or behind it, or is a view or a read of before.
table::MergeRequest Upkeep::NewRequest(uint64_t seq, uint64_t clock) const {
  table::MergeRequest request;
  request.protected_seqs = generation_->store.ProtectedSeqs();
  const auto& seqs = request.protected_seqs;
  const bool all_behind = *std::min_element(seqs.begin(), seqs.end()) >= seq;
  if (all_behind) request.expired_through_ms = clock >> 16;
  return request;
}

Status Upkeep::MergePlanned(const table::MergePlan& plan) {
  const std::shared_ptr<const Manifest> newest = generation_->checkpoints->newest();
  table::MergeRequest request = NewRequest(newest->meta.position.seq, newest->meta.clock);
  for (const auto& run : plan.inputs) {
    request.inputs.push_back({table::Run::NewStream(run), run->ranges(), &run->info()});
  }
  request.bottom = plan.bottom;
  request.shard = plan.shard;
  request.level = plan.to_level;
  request.run_bytes = plan.run_bytes;
  request.worn_values = plan.worn_values;
  request.next_number = [this] { return generation_->checkpoints->NextRunNumber(); };
  request.pace = [this](uint64_t bytes) { return PaceMerge(bytes); };
  table::MergeStats stats;
  const Result<std::vector<table::RunInfo>> made =
      table::Merge(run_options_, std::move(request), &stats);
  {
    const MutexLock lock(&mutex_);
    report_.merge_written_bytes += stats.written_bytes;
    if (made.ok()) report_.merge_read_bytes += BytesOf(plan.inputs);
  }
  if (!made.ok()) return made.status();
  Result<table::RunList> runs = OpenRuns(made.value());
  const Status installed = runs.ok() ? InstallMerge(plan.inputs, runs.value()) : runs.status();
  if (!installed.ok()) {
    generation_->checkpoints->Discard(made.value());
    return installed;
  }
  const MutexLock lock(&mutex_);
  ++report_.merges;
  return Status::Ok();
}

Status Upkeep::InstallMerge(const table::RunList& removed, const table::RunList& added) {
  const MutexLock installing(&install_mutex_);
  if (generation_->log->progress().poisoned) {
    return Status::Error(Code::kPoisoned, "the log failed");
  }
  const std::shared_ptr<const table::RunTree> tree =
      generation_->store.runs()->With(removed, added);
  RETURN_IF_ERROR(generation_->checkpoints->PublishMerge(*tree));
  generation_->store.InstallRuns(removed, added);
  return Status::Ok();
}

Status Upkeep::PaceMerge(uint64_t bytes) {
  if (generation_->log->progress().poisoned) {
    return Status::Error(Code::kPoisoned, "the log failed");
  }
  const uint64_t now = clock_->MonotonicUs();
  const uint64_t until = now + bucket_.TakeUs(now, bytes);
  const MutexLock lock(&mutex_);
  while (!closing_) {
    const uint64_t at = clock_->MonotonicUs();
    if (at >= until) return Status::Ok();
    merge_cond_.WaitFor(&mutex_, std::min(until - at, kPacePollUs));
  }
  return Status::Error(Code::kClosed, "the store is closed");
}

void Upkeep::ExcludeLocked(const table::MergePlan& plan, const Status& status) {
  const bool damaged = status.Is(Code::kCorrupt);
  if (!damaged && merge_failures_ < kReadFailuresBorne) return;
  bool named = false;
  for (const auto& run : plan.inputs) {
    bool concerned = run->path() == status.file();
    for (const table::ValueUse& use : run->info().values) {
      const std::string values = io::JoinPath(run_options_.directory, io::ValuesName(use.file));
      concerned = concerned || values == status.file();
    }
    if (!concerned) continue;
    excluded_[run->info().number] = status;
    named = true;
  }
  if (named || !damaged) return;
  for (const auto& run : plan.inputs) excluded_[run->info().number] = status;
}

void Upkeep::EndMerge(const NextMerge& next, const Status& status) {
  const MutexLock lock(&mutex_);
  if (status.ok()) {
    merge_error_ = Status::Ok();
    merge_failures_ = 0;
    if (flush_error_.ok()) blocked_ = Status::Ok();
    flush_cond_.NotifyAll();
    return;
  }
  if (generation_->log->progress().poisoned) {
    dead_ = Status::Error(Code::kPoisoned, "the log failed: nothing is merged any more");
    done_cond_.NotifyAll();
    return;
  }
  if (closing_) return;
  ++report_.failures;
  ++merge_failures_;
  merge_error_ = status;
  ExcludeLocked(next.plan, status);
  const bool waits = !requests_.empty() && requests_.front()->id == next.requested;
  if (waits) EndRequestLocked(status);
}

Result<uint64_t> Upkeep::StartCompact(const table::Extent& extent, uint64_t through,
                                      uint64_t bytes_before) {
  auto request = std::make_shared<CompactRequest>();
  request->extent = extent;
  request->through = through;
  request->report.bytes_before = bytes_before;
  const MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EndedLocked());
  if (closing_ || merging_ended_) return Status::Error(Code::kClosed, "the store is closed");
  request->id = ++last_compaction_;
  request->failed_flushes = failed_flushes_;
  compactions_[request->id] = request;
  requests_.push_back(request);
  merge_woken_ = true;
  merge_cond_.NotifyAll();
  return request->id;
}

Result<std::optional<CompactReport>> Upkeep::AwaitCompact(uint64_t compaction,
                                                          uint64_t timeout_us) {
  const MutexLock lock(&mutex_);
  const auto at = compactions_.find(compaction);
  if (at == compactions_.end()) {
    return Status::Error(Code::kUsage, "no compaction of this number is under way");
  }
  const std::shared_ptr<CompactRequest> request = at->second;
  if (!request->done) done_cond_.WaitFor(&mutex_, timeout_us);
  if (!request->done) return std::optional<CompactReport>();
  compactions_.erase(compaction);
  if (!request->status.ok()) return request->status;
  return std::optional<CompactReport>(request->report);
}

void Upkeep::CancelCompact(uint64_t compaction) {
  const MutexLock lock(&mutex_);
  const auto at = compactions_.find(compaction);
  if (at == compactions_.end()) return;
  std::erase(requests_, at->second);
  at->second->done = true;
  at->second->status = Status::Error(Code::kClosed, "the compaction was cancelled");
  compactions_.erase(at);
  done_cond_.NotifyAll();
}

}  // namespace gapless::engine

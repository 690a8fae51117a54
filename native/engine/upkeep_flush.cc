// The flush thread: sealed memtables become runs of level 0 and a checkpoint. See upkeep.h.
#include <algorithm>

#include "engine/upkeep.h"

namespace gapless::engine {
namespace {

constexpr uint64_t kSyncRoundMs = 1000;
constexpr uint64_t kMergePollUs = 100000;

Status Closing() { return Status::Error(Code::kClosed, "the store is closed"); }

}  // namespace

void Upkeep::FlushLoop() {
  FlushJob job;
  while (TakeFlush(&job)) {
    Status flushed = WaitForMerging();
    if (flushed.ok()) flushed = Flush(job);
    EndFlush(job, flushed);
    // The tables must not be kept alive by this thread alone.
    job = FlushJob();
    if (flushed.ok()) generation_->store.Reclaim();
    owner_->OnUpkeep(generation_);
    if (flushed.ok()) {
      flush_backoff_.Reset();
      continue;
    }
    const MutexLock lock(&mutex_);
    if (!dead_.ok() || stop_) return;
    flush_cond_.WaitFor(&mutex_, flush_backoff_.NextUs());
  }
}

// Waits for sealed tables; false: the thread ends.
bool Upkeep::TakeFlush(FlushJob* job) {
  const MutexLock lock(&mutex_);
  while (!stop_ && dead_.ok() && !job_.has_value()) flush_cond_.Wait(&mutex_);
  if (stop_ || !dead_.ok()) return false;
  flushed_bytes_ = 0;
  SetLimitLocked();
  *job = *job_;
  return true;
}

// Too many runs in level 0: the last link of the chain stands still until a merge is done.
Status Upkeep::WaitForMerging() {
  while (Level0Runs() > kLevel0Stop) {
    bool told = false;
    {
      const MutexLock lock(&mutex_);
      if (stop_) return Closing();
      if (closing_) return Status::Ok();
      if (!merge_error_.ok()) {
        told = blocked_.ok();
        BlockLocked(merge_error_, merge_failures_);
        told = told && !blocked_.ok();
      }
      merge_woken_ = true;
      merge_cond_.NotifyAll();
      flush_cond_.WaitFor(&mutex_, kMergePollUs);
    }
    if (told) owner_->OnUpkeep(generation_);
    if (generation_->log->progress().poisoned) break;  // Flush says so
  }
  return Status::Ok();
}

Status Upkeep::Flush(const FlushJob& job) {
#ifndef GAPLESS_BUG_CHECKPOINT_BEFORE_LOG
  RETURN_IF_ERROR(SyncLog(job.at.position.offset));
#endif
  std::vector<table::RunInfo> written;
  Status done = job.tables == nullptr ? Status::Ok() : WriteShards(job, &written);
  if (done.ok()) done = InstallFlush(job, written);
  if (!done.ok()) generation_->checkpoints->Discard(written);
  return done;
}

// Log first: a checkpoint is never ahead of what is durable of the log.
Status Upkeep::SyncLog(uint64_t offset) {
  while (true) {
    const Status synced = generation_->log->SyncTo(offset, kSyncRoundMs);
    if (!synced.Is(Code::kTimeout)) return synced;
    const MutexLock lock(&mutex_);
    if (stop_) return Closing();
  }
}

Status Upkeep::WriteShards(const FlushJob& job, std::vector<table::RunInfo>* written) {
  const std::shared_ptr<const table::RunTree> tree = generation_->store.runs();
  const uint32_t shards = tree->shards();
  for (uint32_t shard = 0; shard < shards; ++shard) {
    table::MergeRequest request = NewRequest(job.at.position.seq, job.at.clock);
    request.inputs.push_back({job.tables->NewStream(shard), job.tables->ranges(shard)});
    request.bottom = tree->shard(shard).empty();
    request.shard = shard;
    request.next_number = [this] { return generation_->checkpoints->NextRunNumber(); };
    request.pace = [this](uint64_t bytes) { return PaceFlush(bytes); };
    table::MergeStats stats;
    Result<std::vector<table::RunInfo>> runs =
        table::Merge(run_options_, std::move(request), &stats);
    if (!runs.ok()) return runs.status();
    written->insert(written->end(), runs.value().begin(), runs.value().end());
    const MutexLock lock(&mutex_);
    report_.flush_written_bytes += stats.written_bytes;
    flushed_bytes_ = std::max(flushed_bytes_, sealed_bytes_ / shards * (shard + 1));
    SetLimitLocked();
  }
  return Status::Ok();
}

// Lets writers on as the flush goes on, and lets merging catch up.
Status Upkeep::PaceFlush(uint64_t bytes) {
  if (generation_->log->progress().poisoned) {
    return Status::Error(Code::kPoisoned, "the log failed");
  }
  const uint64_t delay = FlushDelayUs(Level0Runs());
  {
    const MutexLock lock(&mutex_);
    if (stop_) return Closing();
    flushed_bytes_ += bytes;
    SetLimitLocked();
    if (delay != 0 && !closing_) flush_cond_.WaitFor(&mutex_, delay);
  }
  owner_->OnUpkeep(generation_);
  return Status::Ok();
}

Status Upkeep::InstallFlush(const FlushJob& job, const std::vector<table::RunInfo>& written) {
  Result<table::RunList> runs = OpenRuns(written);
  if (!runs.ok()) return runs.status();
  Checkpoints* const checkpoints = generation_->checkpoints.get();
  const Position floor = owner_->UndoFloor(generation_, job.at.position);
  {
    const MutexLock installing(&install_mutex_);
    if (generation_->log->progress().poisoned) {
      return Status::Error(Code::kPoisoned, "the log failed");
    }
    const std::shared_ptr<const table::RunTree> tree =
        generation_->store.runs()->With({}, runs.value());
    RETURN_IF_ERROR(checkpoints->PublishCheckpoint(job.at.ToMeta(), *tree, floor));
    if (job.tables != nullptr) generation_->store.InstallFlush(job.tables, runs.value());
  }
  generation_->log->SetBase(checkpoints->base_offset());
  return Status::Ok();
}

void Upkeep::EndFlush(const FlushJob& job, const Status& status) {
  const MutexLock lock(&mutex_);
  if (status.ok()) {
    flushed_at_us_.store(clock_->MonotonicUs());
    ++report_.flushes;
    report_.flush_read_bytes += sealed_bytes_;
    checkpoint_ = job.at.position;
    flush_error_ = blocked_ = Status::Ok();
    flush_failures_ = 0;
    job_.reset();
    sealed_bytes_ = 0;
    sealed_waits_.store(false);
    merge_woken_ = true;
    merge_cond_.NotifyAll();
  } else if (generation_->log->progress().poisoned) {
    dead_ = Status::Error(Code::kPoisoned, "the log failed: nothing is flushed any more");
    flush_error_ = dead_;
  } else if (!stop_) {
    ++report_.failures;
    ++failed_flushes_;
    flush_error_ = status;
    BlockLocked(status, ++flush_failures_);
  }
  flushed_bytes_ = 0;
  SetLimitLocked();
  done_cond_.NotifyAll();
}

}  // namespace gapless::engine

// Upkeep: its life, sealing, waiting, and what it shows. Flushing is upkeep_flush.cc, merging
// upkeep_merge.cc.
#include "engine/upkeep.h"

#include <algorithm>

#include "engine/directory.h"
#include "table/value_file.h"

namespace gapless::engine {
namespace {

constexpr uint64_t kAwaitRoundMs = 100;
// While a flush is due, the log behind the sealed position may grow to so many times memtableBytes.
constexpr uint64_t kLogBytesPerMemtable = 4;
constexpr uint64_t kSmallestRunBytes = 64 << 10;

// Levels and runs are as large as suits the memtables whose runs come in, within the usual sizes.
table::PickerOptions MakePickerOptions(const Options& options) {
  table::PickerOptions picker;
  picker.base_bytes = std::clamp(options.memtable_bytes, kSmallestRunBytes, picker.base_bytes);
  picker.run_bytes = std::clamp(options.memtable_bytes, kSmallestRunBytes, picker.run_bytes);
  return picker;
}

table::RunOptions MakeSharedRunOptions(Generation* generation, const Options& options,
                                       const ClusterId& cluster) {
  table::RunOptions run = MakeRunOptions(options, generation->path(), cluster);
  run.value_files = generation->store.value_files();
  return run;
}

// With the values that stand in value files.
uint64_t BytesOf(const table::RunInfo& info) { return info.bytes + info.referred_bytes(); }

// The deepest level with runs holds what is live and little else; on level 0 the largest run does.
uint64_t LiveBytes(const table::ShardRuns& shard) {
  for (uint32_t level = table::kLevelsMax - 1; level > 0; --level) {
    uint64_t bytes = 0;
    for (const auto& run : shard.levels[level]) bytes += BytesOf(run->info());
    if (bytes != 0) return bytes;
  }
  uint64_t most = 0;
  for (const auto& run : shard.levels[0]) most = std::max(most, BytesOf(run->info()));
  return most;
}

}  // namespace

Upkeep::Upkeep(Generation* generation, const Options& options, const ClusterId& cluster,
               UpkeepOwner* owner)
    : generation_(generation),
      clock_(options.clock),
      owner_(owner),
      memtable_bytes_(options.memtable_bytes),
      run_options_(MakeSharedRunOptions(generation, options, cluster)),
      picker_(MakePickerOptions(options)),
      sealed_offset_(generation->checkpoints->newest()->meta.position.offset),
      limit_(options.memtable_bytes),
      checkpoint_(generation->checkpoints->newest()->meta.position),
      // Numbers of one generation mean nothing in another.
      last_compaction_(generation->id() << 32),
      bucket_(options.merge_rate_bytes) {}

Upkeep::~Upkeep() { Stop(); }

Status Upkeep::Start() {
  // In this order: Stop joins whatever was started before it came.
  const MutexLock threads(&threads_mutex_);
  {
    const MutexLock lock(&mutex_);
    if (stop_) return Status::Error(Code::kClosed, "the upkeep has ended");
  }
  if (!flusher_.joinable()) {
    RETURN_IF_ERROR(flusher_.Start("gapless-runs", [this] { FlushLoop(); }));
    flushes_.store(true);
  }
  if (merger_.joinable()) return Status::Ok();
  return merger_.Start("gapless-merge", [this] {
    Thread::LowerPriority();
    MergeLoop();
  });
}

void Upkeep::BeginClose() {
  const MutexLock lock(&mutex_);
  closing_ = true;
  flush_cond_.NotifyAll();
  merge_cond_.NotifyAll();
  done_cond_.NotifyAll();
}

void Upkeep::Stop() {
  {
    const MutexLock lock(&mutex_);
    stop_ = closing_ = true;
    flush_cond_.NotifyAll();
    merge_cond_.NotifyAll();
    done_cond_.NotifyAll();
  }
  const MutexLock threads(&threads_mutex_);
  flusher_.Join();
  merger_.Join();
}

void Upkeep::Resume() {
  {
    const MutexLock lock(&mutex_);
    stop_ = closing_ = merging_ended_ = false;
  }
  // A thread that cannot be started now is started by the housekeeper.
  (void)Start();
}

// Why nothing new is begun any more.
Status Upkeep::EndedLocked() const {
  if (!dead_.ok()) return dead_;
  if (stop_) return Status::Error(Code::kClosed, "the store is closed");
  return Status::Ok();
}

bool Upkeep::SealIsDue(uint64_t visible) {
  const uint64_t active = generation_->store.active_bytes();
  active_.store(active, std::memory_order_relaxed);
  visible_.store(visible, std::memory_order_relaxed);
  if (sealed_waits_.load(std::memory_order_relaxed)) return false;
  const uint64_t sealed = sealed_offset_.load(std::memory_order_relaxed);
  if (visible <= sealed) return false;
  return visible - sealed > memtable_bytes_ || seal_wanted_.load(std::memory_order_relaxed) ||
         active >= SealBytes(memtable_bytes_);
}

void Upkeep::Seal(const History& history) {
  generation_->store.Seal();
  FlushJob job{history.snapshot(), generation_->store.OldestSealed()};
  active_.store(0);
  sealed_waits_.store(true);
  seal_wanted_.store(false);
  sealed_offset_.store(job.at.position.offset);
  const MutexLock lock(&mutex_);
  sealed_bytes_ = job.tables == nullptr ? 0 : job.tables->bytes();
  flushed_bytes_ = 0;
  SetLimitLocked();
  job_ = std::move(job);
  flush_cond_.NotifyAll();
}

void Upkeep::SetLimitLocked() {
  limit_.store(ActiveLimit(memtable_bytes_, sealed_bytes_, flushed_bytes_));
}

// Memtables that are overwritten stay small; the log behind them, which an open replays, does not.
bool Upkeep::HasRoom(uint64_t more_bytes) const {
  const uint64_t sealed = sealed_offset_.load(std::memory_order_relaxed);
  const uint64_t visible = visible_.load(std::memory_order_relaxed);
  const bool log_is_long =
      visible > sealed && visible - sealed > kLogBytesPerMemtable * memtable_bytes_;
  if (log_is_long && sealed_waits_.load(std::memory_order_relaxed)) return false;
  return active_.load(std::memory_order_relaxed) + more_bytes <
         limit_.load(std::memory_order_relaxed);
}

Status Upkeep::blocked() const {
  const MutexLock lock(&mutex_);
  return blocked_;
}

void Upkeep::BlockLocked(const Status& why, uint32_t failures) {
  // What may pass by itself in a moment is waited for; a full disk is told at once.
  constexpr uint32_t kFailuresBorne = 2;
  if (why.Is(Code::kNoSpace)) {
    blocked_ = Status::Error(Code::kNoSpace,
                             "the memtables are full, and there is no space to "
                             "flush them: " +
                                 why.message());
  } else if (failures > kFailuresBorne) {
    blocked_ =
        Status::Error(Code::kIo, "the memtables are full and cannot be flushed: " + why.message())
            .WithFile(why.file(), why.offset());
  }
}

Status Upkeep::AwaitCheckpoint(uint64_t offset, uint64_t timeout_ms) {
  const MutexLock lock(&mutex_);
  uint64_t rounds = timeout_ms / kAwaitRoundMs + 1;
  const uint64_t failed = failed_flushes_;
  while (checkpoint_.offset < offset) {
    RETURN_IF_ERROR(EndedLocked());
    if ((closing_ || failed_flushes_ != failed) && !flush_error_.ok()) return flush_error_;
    // Counted in rounds: the injected clock may stand still.
    if (!done_cond_.WaitFor(&mutex_, kAwaitRoundMs * 1000) && --rounds == 0) {
      return Status::Error(Code::kTimeout, "no checkpoint was made in time");
    }
  }
  return Status::Ok();
}

void Upkeep::OnPoisoned() {
  const MutexLock lock(&mutex_);
  dead_ = Status::Error(Code::kPoisoned, "the log failed: nothing is flushed any more");
  flush_cond_.NotifyAll();
  merge_cond_.NotifyAll();
  done_cond_.NotifyAll();
}

Position Upkeep::checkpoint() const {
  const MutexLock lock(&mutex_);
  return checkpoint_;
}

Result<table::RunList> Upkeep::OpenRuns(const std::vector<table::RunInfo>& infos) const {
  table::RunList runs;
  for (const table::RunInfo& info : infos) {
    Result<std::shared_ptr<const table::Run>> run =
        table::Run::Open(run_options_, info, generation_->store.cache());
    if (!run.ok()) return run.status();
    runs.push_back(std::move(run.value()));
  }
  return runs;
}

uint64_t Upkeep::Level0Runs() const {
  std::map<uint64_t, Status> excluded;
  {
    const MutexLock lock(&mutex_);
    excluded = excluded_;
  }
  const std::shared_ptr<const table::RunTree> tree = generation_->store.runs();
  uint64_t most = 0;
  for (uint32_t shard = 0; shard < tree->shards(); ++shard) {
    const table::ShardRuns& runs = tree->shard(shard);
    // Where a run is damaged, merging cannot catch up: the others are not held up for that.
    bool damaged = false;
    for (uint32_t level = 0; level < table::kLevelsMax && !excluded.empty(); ++level) {
      for (const auto& run : runs.levels[level]) {
        damaged = damaged || excluded.contains(run->info().number);
      }
    }
    if (!damaged) most = std::max<uint64_t>(most, runs.levels[0].size());
  }
  return most;
}

void Upkeep::FillRuns(const Generation& generation, StoreReport* report) {
  const std::shared_ptr<const table::RunTree> tree = generation.store.runs();
  report->levels.assign(table::kLevelsMax, LevelReport{});
  for (uint32_t shard = 0; shard < tree->shards(); ++shard) {
    const table::ShardRuns& runs = tree->shard(shard);
    for (uint32_t level = 0; level < table::kLevelsMax; ++level) {
      for (const auto& run : runs.levels[level]) {
        ++report->levels[level].runs;
        report->levels[level].bytes += BytesOf(run->info());
        report->run_memory_bytes += run->memory_bytes();
      }
    }
    report->live_bytes_estimate += LiveBytes(runs);
  }
  report->run_bytes = tree->bytes();
}

void Upkeep::FillReport(StoreReport* report) const {
  FillRuns(*generation_, report);
  report->merge_debt_bytes = table::MergeDebt(*generation_->store.runs(), picker_);
  const MutexLock lock(&mutex_);
  report->upkeep = report_;
  report->upkeep.damaged_runs = excluded_.size();
  report->upkeep.last_error = flush_error_.ok() ? merge_error_ : flush_error_;
  const bool is_known = !report->upkeep.last_error.ok() || excluded_.empty();
  if (!is_known) report->upkeep.last_error = excluded_.begin()->second;
  report->checkpoint = checkpoint_;
}

}  // namespace gapless::engine

// What the engine has to do with upkeep: when memtables are sealed, who waits for them, checkpoints
// and compactions on demand, and the report.
#include <algorithm>

#include "base/hex.h"
#include "engine/engine_impl.h"

namespace gapless::engine {
namespace {

// More log than this is not left to be replayed by a clean close.
constexpr uint64_t kReplayBytesMax = 4 << 20;
constexpr uint64_t kCompactRoundMs = 1000;
// A disk that hangs holds a close up no longer than this for a checkpoint.
constexpr uint64_t kCloseTimeoutMs = 600000;
// Applied, a record takes more memory than its bytes in the log.
constexpr uint64_t kAppliedFactor = 2;

}  // namespace

void EngineImpl::StartUpkeep(Generation* generation) {
  if (options_.read_only) return;
  const ClusterId cluster = generation->checkpoints->newest()->cluster;
  UpkeepOwner* const owner = this;
  generation->upkeep = std::make_unique<Upkeep>(generation, options_, cluster, owner);
  // A thread that cannot be started now is started by the housekeeper.
  (void)generation->upkeep->Start();
}

// The housekeeper's part.
void EngineImpl::KeepUp() {
  const std::shared_ptr<Generation> live = Live();
  live->store.Reclaim();
  if (live->upkeep != nullptr) (void)live->upkeep->Start();
}

// The last checkpoint of an open, if it spares the next one much.
void EngineImpl::EndUpkeep() {
  const std::shared_ptr<Generation> live = Live();
  if (live->upkeep == nullptr) return;
  live->upkeep->BeginClose();
  uint64_t through = 0;
  {
    const MutexLock lock(&commit_mutex_);
    const uint64_t visible = live->history.position().offset;
    const uint64_t replay = live->head.offset - live->upkeep->checkpoint().offset;
    if (!poisoned_ && tickets_.empty() && replay > kReplayBytesMax) through = visible;
    if (through != 0) {
      live->upkeep->WantSeal();
      SealIfDueLocked();
    }
  }
  // The log has everything: without this checkpoint the next open only replays more.
  if (through != 0 && live->upkeep->flushes()) {
    (void)live->upkeep->AwaitCheckpoint(through, kCloseTimeoutMs);
  }
  live->upkeep->Stop();
}

void EngineImpl::SetUndoFloor(const Position& floor) {
  const MutexLock lock(&commit_mutex_);
  told_floor_ = floor;
}

// Some replica may need what was last known to be the floor: this node, if it follows another one,
// or one with a slot that nothing holds the log for.
bool EngineImpl::AbsentSlotLocked(const Generation* of,
                                  const std::vector<log::HoldInfo>& holds) const {
  if (role_ == Role::kReplica) return true;
  const std::vector<log::SlotEntry>& slots = of->history.lists().slots;
  return std::any_of(slots.begin(), slots.end(), [&](const log::SlotEntry& slot) {
    if (slot.node == shown_identity_.node) return false;
    const std::string name = HexEncode(Slice(slot.node.bytes.data(), slot.node.bytes.size()));
    return std::none_of(holds.begin(), holds.end(), [&](const log::HoldInfo& hold) {
      return hold.kind == log::HoldKind::kSlot && hold.name == name;
    });
  });
}

// The lowest position that a replica with a slot has acknowledged: where its hold stands. While
// nobody listens there are no holds; then it is what the primary announced, or the newest manifest
// says, as far as it is kept and within the cap of a slot.
Position EngineImpl::UndoFloor(const Generation* of, const Position& head) const {
  const std::vector<log::HoldInfo> holds = of->log->stats().holds;
  const uint64_t kept = of->checkpoints->base_offset();
  Position known = of->checkpoints->newest()->undo_floor;
  uint64_t lowest = head.offset;
  for (const log::HoldInfo& hold : holds) {
    if (hold.kind == log::HoldKind::kSlot) lowest = std::min(lowest, hold.offset);
  }
  {
    const MutexLock lock(&commit_mutex_);
    known = told_floor_.value_or(known);
    const uint64_t offset = std::max(known.offset, kept);
    const uint64_t most = options_.slot_max_bytes == 0 ? UINT64_MAX : options_.slot_max_bytes;
    const bool capped = offset >= head.offset || head.offset - offset > most;
    if (!capped && AbsentSlotLocked(of, holds)) lowest = std::min(lowest, offset);
  }
  if (lowest == head.offset) return head;
  if (lowest == known.offset) return known;
  const Result<Position> floor = of->log->PositionAt(lowest);
  // What cannot be told keeps everything.
  return floor.ok() ? floor.value() : Position{};
}

void EngineImpl::SealIfDueLocked() {
  Generation& live = *live_;
  if (live.upkeep == nullptr || poisoned_ || !tickets_.empty()) return;
  if (rewind_phase_ != RewindPhase::kNone) return;
  if (live.upkeep->SealIsDue(live.history.position().offset)) live.upkeep->Seal(live.history);
}

bool EngineImpl::ReplicaHasRoomLocked(uint64_t bytes) {
  Upkeep* const upkeep = live_->upkeep.get();
  if (upkeep == nullptr) return true;
  SealIfDueLocked();
  // A seal waits until everything that was received is shown.
  const bool due = upkeep->SealIsDue(live_->history.position().offset);
  return !due && upkeep->HasRoom((ticket_bytes_ + bytes) * kAppliedFactor);
}

Status EngineImpl::AskMemtablesLocked(bool* wait) {
  const Upkeep* const upkeep = live_->upkeep.get();
  *wait = false;
  if (upkeep == nullptr || upkeep->HasRoom()) return Status::Ok();
  RETURN_IF_ERROR(upkeep->blocked());
  *wait = true;
  if (stalled_since_us_ == 0) {
    stalled_since_us_ = std::max<uint64_t>(1, options_.clock->MonotonicUs());
    ++stalls_;
  }
  return Status::Ok();
}

void EngineImpl::EndStallLocked() {
  if (stalled_since_us_ == 0) return;
  stall_us_ +=
      options_.clock->MonotonicUs() - std::min(options_.clock->MonotonicUs(), stalled_since_us_);
  stalled_since_us_ = 0;
}

void EngineImpl::OnUpkeep(const Generation* from) {
  std::shared_ptr<Generation> live;
  bool appended = false;
  bool waited = false;
  {
    const MutexLock lock(&commit_mutex_);
    if (from != live_.get()) return;
    SealIfDueLocked();
    waited = stalled_since_us_ != 0;
    if (waited && !live_->upkeep->HasRoom()) {
      const Status blocked = live_->upkeep->blocked();
      if (!blocked.ok()) FailQueueLocked(blocked);
    }
    // While an epoch begins, the queue waits for it and not for room.
    if (epoch_phase_ == EpochPhase::kBegun) appended = DrainLocked();
    live = live_;
    progress_cond_.NotifyAll();
  }
  if (appended) live->log->Kick();
  if (waited) WakeClients();
}

// Asks for a checkpoint at the newest visible position, and says where that is.
Result<uint64_t> EngineImpl::WantCheckpoint(std::shared_ptr<Generation>* live) {
  const MutexLock lock(&commit_mutex_);
  if (closing_ || closed_) return Status::Error(Code::kClosed, "the store is closed");
  if (options_.read_only) return Status::Error(Code::kReadOnly, "the store was opened read-only");
  if (poisoned_) return stop_status_;
  if (rewind_phase_ != RewindPhase::kNone) {
    return Status::Error(Code::kNotReady, "the store is being rewound");
  }
  *live = live_;
  const uint64_t visible = live_->history.position().offset;
  if (visible > live_->upkeep->checkpoint().offset) {
    live_->upkeep->WantSeal();
    SealIfDueLocked();
  }
  return visible;
}

Status EngineImpl::Checkpoint(uint64_t timeout_ms) {
  std::shared_ptr<Generation> live;
  const Result<uint64_t> through = WantCheckpoint(&live);
  if (!through.ok()) return through.status();
  return live->upkeep->AwaitCheckpoint(through.value(), timeout_ms);
}

Result<uint64_t> EngineImpl::StartCompact(const std::optional<table::Extent>& extent) {
  const uint64_t bytes_before = Live()->store.runs()->bytes();
  std::shared_ptr<Generation> live;
  const Result<uint64_t> through = WantCheckpoint(&live);
  if (!through.ok()) return through.status();
  table::Extent all;
  all.unbounded = true;
  return live->upkeep->StartCompact(extent.value_or(all), through.value(), bytes_before);
}

Result<std::optional<CompactReport>> EngineImpl::AwaitCompact(uint64_t compaction,
                                                              uint64_t timeout_ms) {
  const std::shared_ptr<Generation> live = Live();
  if (live->upkeep == nullptr) return Status::Error(Code::kReadOnly, "opened read-only");
  if (compaction >> 32 != live->id()) {
    return Status::Error(Code::kInDoubt, "the history was replaced while this was waited for");
  }
  return live->upkeep->AwaitCompact(compaction, timeout_ms * 1000);
}

void EngineImpl::CancelCompact(uint64_t compaction) {
  const std::shared_ptr<Generation> live = Live();
  if (live->upkeep != nullptr) live->upkeep->CancelCompact(compaction);
}

Result<CompactReport> EngineImpl::Compact(const std::optional<table::Extent>& extent) {
  const Result<uint64_t> started = StartCompact(extent);
  if (!started.ok()) return started.status();
  while (true) {
    Result<std::optional<CompactReport>> ended = AwaitCompact(started.value(), kCompactRoundMs);
    if (!ended.ok()) return ended.status();
    if (ended.value().has_value()) return *ended.value();
  }
}

uint64_t EngineImpl::OldestViewUs() const {
  uint64_t oldest = UINT64_MAX;
  const MutexLock lock(&views_mutex_);
  for (const auto& [id, view] : views_) {
    if (!view->pinned) oldest = std::min<uint64_t>(oldest, view->used_us);
  }
  return oldest;
}

StoreReport EngineImpl::store_report() const {
  StoreReport report;
  const std::shared_ptr<Generation> live = Live();
  report.store = live->store.stats();
  report.memtable_limit_bytes = options_.memtable_bytes;
  if (live->upkeep != nullptr) {
    live->upkeep->FillReport(&report);
  } else {
    Upkeep::FillRuns(*live, &report);
    report.checkpoint = live->checkpoints->newest()->meta.position;
  }
  const uint64_t now = options_.clock->MonotonicUs();
  const uint64_t oldest = OldestViewUs();
  if (oldest <= now) report.oldest_view_age_ms = (now - oldest) / 1000;
  const MutexLock lock(&commit_mutex_);
  report.user_bytes = user_bytes_;
  report.stalls = stalls_;
  report.stall_us = stall_us_;
  if (stalled_since_us_ != 0 && now > stalled_since_us_) report.stall_us += now - stalled_since_us_;
  return report;
}

}  // namespace gapless::engine

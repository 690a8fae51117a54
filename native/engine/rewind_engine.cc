// Rewinding the live generation of a replica: everything is settled, saved, cut, recovered and
// switched to. The steps on files are those of rewind.h.
//
// Up to the intent's last chance (what is saved fits) a failure changes nothing: upkeep goes on.
// Behind it the files of the live generation change under its memory: a failure poisons the store,
// reads go on, and the next open goes on with the intent.
//
// Called by the thread of the replica's stream. rewind_phase_ keeps everybody else off: nobody
// appends or seals from kSettled on, nobody reads the log in kCut.
#include <algorithm>

#include "engine/engine_impl.h"
#include "engine/generation_builder.h"
#include "engine/rewind.h"

namespace gapless::engine {
namespace {

constexpr uint64_t kPollUs = 100000;

}  // namespace

// What one rewind works on.
struct EngineImpl::Rewinding {
  Position common;
  uint64_t lost_max_bytes = 0;
  std::shared_ptr<Generation> live;
  Position end;
  uint64_t former_mark = 0;
  StoreFiles files;
  log::ScanResult scan;  // up to `common`
  Divergence divergence;
};

void EngineImpl::SetRewindPhase(RewindPhase phase) {
  const MutexLock lock(&commit_mutex_);
  rewind_phase_ = phase;
  // What began to read the log before may end.
  while (phase == RewindPhase::kCut && log_readings_ != 0) {
    progress_cond_.WaitFor(&commit_mutex_, kPollUs);
  }
  progress_cond_.NotifyAll();
}

// Nothing is appended any more, and everything received is durable and visible.
Status EngineImpl::SettleForRewind(Rewinding* rewinding) {
  {
    const MutexLock lock(&commit_mutex_);
    if (closing_ || closed_) return Status::Error(Code::kClosed, "the store is closed");
    if (poisoned_) return stop_status_;
    if (options_.read_only) return Status::Error(Code::kReadOnly, "opened read-only");
    if (role_ != Role::kReplica || promoting_) {
      return Status::Error(Code::kAlreadyPrimary, "a primary's history is not undone");
    }
    rewind_phase_ = RewindPhase::kSettled;
  }
  RETURN_IF_ERROR(FinishTickets());
  {
    const MutexLock lock(&commit_mutex_);
    rewinding->live = live_;
    rewinding->end = live_->head;
  }
  return SyncFully(rewinding->end.offset);
}

Status EngineImpl::PrepareRewind(Rewinding* rewinding) {
  Result<StoreFiles> files = ReadStoreFiles(options_.fs, path_, true);
  if (!files.ok()) return files.status();
  rewinding->files = std::move(files.value());
  Result<log::ScanResult> scan =
      ScanToCommon(options_.fs, path_, rewinding->files, rewinding->common);
  if (!scan.ok()) return scan.status();
  rewinding->scan = std::move(scan.value());
  return SaveForRewind(rewinding);
}

// The intent, then the suffix into lost/; if that fails, the intent is taken back.
Status EngineImpl::SaveForRewind(Rewinding* rewinding) {
  const uint64_t generation = rewinding->live->number();
  const uint64_t mark = DurableMarkOf(rewinding->files.state->state(), generation);
  const Position& common = rewinding->common;
  RETURN_IF_ERROR(UpdateState([&](NodeState* state) {
    state->intent = Intent::kRewind;
    state->intent_common = common;
    state->intent_end = rewinding->end;
    state->durable_mark = common.offset;
    state->generation = generation;
  }));
  const SuffixRequest request{options_.fs, &rewinding->files, common, rewinding->end, false};
  Result<Divergence> saved = engine::SaveSuffix(
      request, path_, LostReason::kRewind, options_.clock->WallMs(), rewinding->lost_max_bytes);
  if (saved.ok()) {
    rewinding->divergence = std::move(saved.value());
    return Status::Ok();
  }
  const Status back = UpdateState([&](NodeState* state) {
    *state = WithoutRewind(*state);
    state->durable_mark = mark;
  });
  return back.ok() ? saved.status() : PoisonByRewind(back);
}

Status EngineImpl::CutForRewind(Rewinding* rewinding) {
  SetRewindPhase(RewindPhase::kCut);
  RETURN_IF_ERROR(rewinding->live->log->Close([](const Position&) { return Status::Ok(); }));
  RETURN_IF_ERROR(
      CutBack(options_.fs, path_, rewinding->files, rewinding->common, rewinding->scan));
  const Result<StoreFiles> files = ReadStoreFiles(options_.fs, path_, true);
  if (!files.ok()) return files.status();
  Result<Recovered> recovered = RecoverGeneration(options_, path_, files.value());
  if (!recovered.ok()) return recovered.status();
  std::shared_ptr<Generation> next = std::move(recovered.value().generation);
  if (next->head != rewinding->common) {
    return Status::Corrupt("the cut log ends at " + ToText(next->head), next->path(), 0);
  }
  RETURN_IF_ERROR(UpdateState([](NodeState* state) { *state = WithoutRewind(*state); }));
  InstallGeneration(std::move(next), true);
  return Status::Ok();
}

// The memory shows a history that the files no longer have.
Status EngineImpl::PoisonByRewind(const Status& why) {
  const Status poison =
      Status::Error(Code::kPoisoned,
                    "a rewind failed; it goes on when the store is opened again: " + why.message())
          .WithFile(why.file(), why.offset());
  {
    const MutexLock lock(&commit_mutex_);
    if (poisoned_) return stop_status_;
    poisoned_ = true;
    StopLocked(poison);
    if (live_->upkeep != nullptr) live_->upkeep->OnPoisoned();
  }
  return poison;
}

Result<Divergence> EngineImpl::RewindAlone(const Position& common, uint64_t lost_max_bytes) {
  Rewinding rewinding;
  rewinding.common = common;
  rewinding.lost_max_bytes = lost_max_bytes;
  RETURN_IF_ERROR(SettleForRewind(&rewinding));
  if (common == rewinding.end) {
    Divergence none;
    none.common = none.to = common;
    return none;
  }
  Upkeep* const upkeep = rewinding.live->upkeep.get();
  upkeep->Stop();
  const Status prepared = PrepareRewind(&rewinding);
  if (!prepared.ok()) {
    upkeep->Resume();
    return prepared;
  }
  const Status cut = CutForRewind(&rewinding);
  if (!cut.ok()) return PoisonByRewind(cut);
  return std::move(rewinding.divergence);
}

Result<Divergence> EngineImpl::Rewind(const Position& common, uint64_t lost_max_bytes) {
  if (!BeginBuilding()) {
    return Status::Error(Code::kConflict, "a full sync of this store is under way");
  }
  Result<Divergence> rewound = RewindAlone(common, lost_max_bytes);
  SetRewindPhase(RewindPhase::kNone);
  EndBuilding();
  WakeClients();
  return rewound;
}

std::vector<Position> EngineImpl::kept_checkpoints() const {
  std::vector<Position> positions;
  for (const auto& manifest : Live()->checkpoints->kept()) {
    positions.push_back(manifest->meta.position);
  }
  return positions;
}

Result<Divergence> EngineImpl::SaveSuffix(const std::optional<Position>& common,
                                          uint64_t lost_max_bytes) {
  RETURN_IF_ERROR(FinishTickets());
  const std::shared_ptr<Generation> live = Live();
  // What the log has of it, where it no longer reaches back so far.
  const uint64_t floor = live->log->stats().floor;
  const uint64_t from = common ? std::max(common->offset, floor) : floor;
  const Result<log::HoldId> hold = live->log->AddHold(log::HoldKind::kReader, "lost", from, 0);
  if (!hold.ok()) return hold.status();
  Position end;
  {
    const MutexLock lock(&commit_mutex_);
    end = live->head;
  }
  const Status synced = SyncFully(end.offset);
  Result<Divergence> saved = Divergence();
  if (synced.ok()) saved = SaveBetween(live.get(), from, end, lost_max_bytes);
  live->log->ReleaseHold(hold.value());
  return synced.ok() ? saved : synced;
}

Result<Divergence> EngineImpl::SaveBetween(Generation* live, uint64_t from, const Position& end,
                                           uint64_t lost_max_bytes) {
  const Result<Position> start = live->log->PositionAt(from);
  if (!start.ok()) return start.status();
  const Result<StoreFiles> files = ReadStoreFiles(options_.fs, path_, true);
  if (!files.ok()) return files.status();
  const SuffixRequest request{options_.fs, &files.value(), start.value(), end, false};
  return engine::SaveSuffix(request, path_, LostReason::kFull, options_.clock->WallMs(),
                            lost_max_bytes);
}

}  // namespace gapless::engine

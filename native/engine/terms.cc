// Terms, epochs, roles. Everything here waits for the disk under terms_mutex_ and is called by the
// housekeeper or by worker threads, never by a commit.
//
// An epoch begins in this order: (1) STATE names it durably, (2) its EPOCH record is appended and
// durable, (3) only then anything behind it is sequenced. A crash behind 1 skips a number, one
// behind 2 leaves an epoch without batches.
#include <algorithm>

#include "base/coding.h"
#include "base/crc32c.h"
#include "engine/current.h"
#include "engine/engine_impl.h"

namespace gapless::engine {
namespace {

constexpr uint8_t kCauseOpen = 1;
constexpr uint8_t kCausePromote = 2;
constexpr uint64_t kPollUs = 100000;
constexpr uint64_t kSyncRoundMs = 60000;

}  // namespace

Status EngineImpl::ChangeState(const std::function<void(NodeState*)>& change) {
  if (options_.read_only) {
    return Status::Error(Code::kReadOnly, "the store was opened read-only");
  }
  NodeState next = state_file_->state();
  change(&next);
  if (next.former_mark <= Live()->log->progress().durable.offset) next.former_mark = 0;
  RETURN_IF_ERROR(state_file_->Update(std::move(next)));
  const MutexLock lock(&commit_mutex_);
  const NodeState& state = state_file_->state();
  highest_term_ = std::max(highest_term_, state.highest_term);
  complete_ = !state.incomplete;
  former_mark_ = state.former_mark;
  return Status::Ok();
}

Status EngineImpl::UpdateState(const std::function<void(NodeState*)>& change) {
  const MutexLock lock(&terms_mutex_);
  return ChangeState(change);
}

void EngineImpl::FenceLocked() {
  fenced_ = true;
  epoch_phase_ = EpochPhase::kNone;
  StopLocked(Status::Error(Code::kFenced,
                           "a higher term was seen: this primary is fenced until "
                           "it is promoted or demoted")
                 .With("ownTerm", static_cast<int64_t>(own_term_))
                 .With("highestTerm", static_cast<int64_t>(highest_term_)));
}

Status EngineImpl::SeeTerm(uint32_t term) {
  {
    const MutexLock terms(&terms_mutex_);
    if (term <= state_file_->state().highest_term) return Status::Ok();
#ifndef GAPLESS_BUG_TERM_NOT_PERSISTED
    RETURN_IF_ERROR(ChangeState([term](NodeState* state) { state->highest_term = term; }));
#endif
    const MutexLock lock(&commit_mutex_);
#ifdef GAPLESS_BUG_TERM_NOT_PERSISTED
    highest_term_ = term;
#endif
    if (role_ != Role::kPrimary || fenced_ || poisoned_ || own_term_ >= highest_term_) {
      return Status::Ok();
    }
    FenceLocked();
  }
  WakeClients();
  return Status::Ok();
}

// Above every run of this node's own term in STATE and in the log.
uint32_t EngineImpl::NextRun(uint32_t term) const {
  uint32_t next = 0;
  const Epoch own = state_file_->state().own_epoch;
  if (own.term == term && own.term != 0) next = own.run + 1;
  const MutexLock lock(&commit_mutex_);
  for (const EpochEntry& entry : live_->history.lists().epochs) {
    if (entry.epoch.term == term) next = std::max(next, entry.epoch.run + 1);
  }
  return next;
}

// Housekeeper: the first commit behind an open waits in the queue for this.
void EngineImpl::BeginWantedEpoch() {
  {
    const MutexLock terms(&terms_mutex_);
    uint32_t term = 0;
    {
      const MutexLock lock(&commit_mutex_);
      if (epoch_phase_ != EpochPhase::kWanted) return;
      if (role_ != Role::kPrimary || !stop_status_.ok()) {
        // Nobody can have it any more, and the housekeeper must not ask again and again.
        epoch_phase_ = EpochPhase::kNone;
        progress_cond_.NotifyAll();
        return;
      }
      term = own_term_;
    }
    const Status begun = BeginEpoch(Epoch{term, NextRun(term)}, kCauseOpen).status();
    const MutexLock lock(&commit_mutex_);
    ++epoch_attempts_;
    epoch_error_ = begun;
    if (!begun.ok()) {
      if (epoch_phase_ == EpochPhase::kWanted) epoch_phase_ = EpochPhase::kNone;
      FailQueueLocked(stop_status_.ok() ? begun : stop_status_);
    }
    progress_cond_.NotifyAll();
  }
  WakeClients();
}

Result<Position> EngineImpl::BeginEpoch(Epoch epoch, uint8_t cause) {
  const auto persist = [epoch, cause](NodeState* state) {
    state->role = Role::kPrimary;
    // Who promotes a node takes what it has for the whole, also in the middle of a first sync.
    if (cause == kCausePromote) {
      state->incomplete = false;
      state->former_mark = 0;
    }
    state->own_epoch = epoch;
    state->highest_term = std::max(state->highest_term, epoch.term);
  };
#ifndef GAPLESS_BUG_EPOCH_NOT_PERSISTED_FIRST
  RETURN_IF_ERROR(ChangeState(persist));
#endif
  const Result<Position> appended = AppendEpoch(epoch, cause);
  if (!appended.ok()) return appended.status();
  RETURN_IF_ERROR(SyncFully(appended.value().offset));
#ifdef GAPLESS_BUG_EPOCH_NOT_PERSISTED_FIRST
  RETURN_IF_ERROR(ChangeState(persist));
#endif
  std::shared_ptr<Generation> live;
  bool drained = false;
  {
    const MutexLock lock(&commit_mutex_);
    RETURN_IF_ERROR(stop_status_);
    ship_limit_ = UINT64_MAX;
    epoch_phase_ = EpochPhase::kBegun;
    ShowShippingLocked();
    drained = DrainLocked();
    live = live_;
    progress_cond_.NotifyAll();
  }
  if (drained) live->log->Kick();
  return appended;
}

Result<Position> EngineImpl::AppendEpoch(Epoch epoch, uint8_t cause) {
  std::shared_ptr<Generation> live;
  Position after;
  {
    const MutexLock lock(&commit_mutex_);
    live = live_;
    // Commits of the new role wait in the queue from here on.
    role_ = Role::kPrimary;
    is_primary_ = true;
    if (fenced_) {
      fenced_ = false;
      stop_status_ = Status::Ok();
    }
    own_epoch_ = epoch;
    own_term_ = epoch.term;
    log::EpochBody body{identity_.node, 0, cause, live->head};
    options_.random->Fill(&body.random, sizeof body.random);
    std::string bytes = log::EncodeEpochBody(body);
    Work work;
    work.kind = log::RecordKind::kEpoch;
    work.body_crc = Crc32c(bytes);
    const uint64_t record_bytes = AlignUp8(log::kRecordHeaderBytes + bytes.size());
    while (true) {
      RETURN_IF_ERROR(stop_status_);
      const log::Admission admission = live->log->Admit(record_bytes);
      if (admission == log::Admission::kGo) break;
      if (admission != log::Admission::kWait) {
        return admission == log::Admission::kNoSpace
                   ? Status::Error(Code::kNoSpace, "no space for the record of a new epoch")
                   : Status::Error(Code::kPoisoned, "the log takes no record");
      }
      progress_cond_.WaitFor(&commit_mutex_, kPollUs);
      // The wait may have let records of an older epoch in.
      body.before = live->head;
      bytes = log::EncodeEpochBody(body);
      work.body_crc = Crc32c(bytes);
    }
    ship_limit_ = live->head.offset;
    (void)AppendOwnLocked(work, bytes);
    after = live->head;
  }
  live->log->Kick();
  return after;
}

Status EngineImpl::SyncFully(uint64_t offset) {
  const std::shared_ptr<Generation> live = Live();
  while (true) {
    const Status synced = live->log->SyncTo(offset, kSyncRoundMs);
    if (!synced.Is(Code::kTimeout)) return synced;
  }
}

// What was received counts: it is made durable, applied and shown before an own epoch begins, and
// before another link goes on behind it.
Status EngineImpl::FinishTickets() {
  while (true) {
    std::shared_ptr<Ticket> ticket;
    {
      const MutexLock lock(&commit_mutex_);
      while (receiving_) progress_cond_.WaitFor(&commit_mutex_, kPollUs);
      if (tickets_.empty()) return Status::Ok();
      ticket = tickets_.front();
    }
    RETURN_IF_ERROR(SyncFully(ticket->records.back().after.offset));
    ApplyToShards(ticket.get(), 0, ticket->generation->store.shards());
    const Status published = PublishTicket(ticket->id);
    // kUsage: its own thread was quicker.
    if (published.ok() || published.Is(Code::kUsage)) continue;
    if (!published.Is(Code::kNotReady)) return published;
    // A worker thread is still at one of its shards.
    const MutexLock lock(&commit_mutex_);
    progress_cond_.WaitFor(&commit_mutex_, kPollUs / 100);
  }
}

// A term did not begin. If nothing of it shows, what was there goes on; otherwise this node is its
// primary, without an epoch. What waits in the queue must have its turn either way: nobody else
// would ask for it. True: something was appended.
bool EngineImpl::GoOnWithoutTermLocked(Epoch former, EpochPhase phase) {
  if (own_epoch_ == former) epoch_phase_ = phase;
  progress_cond_.NotifyAll();
  if (epoch_phase_ == EpochPhase::kBegun) return DrainLocked();
  if (epoch_phase_ == EpochPhase::kNone && !queue_.empty()) epoch_phase_ = EpochPhase::kWanted;
  house_cond_.NotifyAll();
  return false;
}

// Between the last record that is taken and the EPOCH record nothing of another primary comes in.
Result<Position> EngineImpl::BeginTerm(uint32_t term) {
  Epoch former;
  EpochPhase phase = EpochPhase::kNone;
  {
    const MutexLock lock(&commit_mutex_);
    former = own_epoch_;
    phase = epoch_phase_;
    promoting_ = true;
    while (receiving_) progress_cond_.WaitFor(&commit_mutex_, kPollUs);
  }
  const Status finished = FinishTickets();
  if (finished.ok()) {
    const MutexLock lock(&commit_mutex_);
    epoch_phase_ = EpochPhase::kNone;
  }
  const Result<Position> begun =
      finished.ok() ? BeginEpoch(Epoch{term, 0}, kCausePromote) : Result<Position>(finished);
  std::shared_ptr<Generation> live;
  {
    const MutexLock lock(&commit_mutex_);
    promoting_ = false;
    if (!begun.ok() && GoOnWithoutTermLocked(former, phase)) live = live_;
  }
  if (live != nullptr) live->log->Kick();
  return begun;
}

Result<Position> EngineImpl::Promote(uint32_t term) {
  Result<Position> begun = Position{};
  {
    const MutexLock terms(&terms_mutex_);
    const uint32_t highest = std::max(state_file_->state().highest_term, highest_term());
    {
      const MutexLock lock(&commit_mutex_);
      if (poisoned_ || closing_) return stop_status_.ok() ? RefusalLocked() : stop_status_;
      if (rewind_phase_ != RewindPhase::kNone) {
        return Status::Error(Code::kNotReady, "the store is being rewound");
      }
      if (role_ == Role::kPrimary && !fenced_ && term == 0) {
        return Status::Error(Code::kAlreadyPrimary, "this node is the primary");
      }
      if (live_->log->progress().no_space) {
        return Status::Error(Code::kNoSpace, "no space for the record of a new epoch");
      }
    }
    if (term != 0 && term <= highest) {
      return Status::Error(Code::kUsage, "the term must be above the highest that was seen")
          .With("highestTerm", static_cast<int64_t>(highest));
    }
    if (term == 0 && highest == UINT32_MAX) {
      return Status::Error(Code::kUsage, "there is no higher term");
    }
    if (options_.read_only) {
      return Status::Error(Code::kReadOnly, "the store was opened read-only");
    }
    begun = BeginTerm(term != 0 ? term : highest + 1);
  }
  // Also behind a failure: the role may have changed, and commits have had their turn.
  WakeClients();
  return begun;
}

Status EngineImpl::Demote() {
  {
    const MutexLock terms(&terms_mutex_);
    std::shared_ptr<Generation> live;
    uint64_t end = 0;
    {
      const MutexLock lock(&commit_mutex_);
      if (role_ == Role::kReplica) return Status::Ok();
      // Nothing new comes in; what was accepted has its turn.
      role_ = Role::kReplica;
      is_primary_ = false;
      while (!queue_.empty() && stop_status_.ok() && epoch_phase_ == EpochPhase::kBegun &&
             !live_->log->progress().no_space) {
        progress_cond_.WaitFor(&commit_mutex_, kPollUs);
      }
      FailQueueLocked(
          Status::Error(Code::kReadOnly, "this node became a replica").With("primary", "unknown"));
      live = live_;
      end = live->head.offset;
    }
    Status demoted = PoisonStatus();
    if (demoted.ok()) demoted = SyncFully(end);
    if (demoted.ok()) {
      demoted = ChangeState([](NodeState* state) { state->role = Role::kReplica; });
    }
    const MutexLock lock(&commit_mutex_);
    if (!demoted.ok()) {
      role_ = Role::kPrimary;
      is_primary_ = true;
      return demoted;
    }
    epoch_phase_ = EpochPhase::kNone;
    if (fenced_) {
      fenced_ = false;
      stop_status_ = Status::Ok();
    }
    progress_cond_.NotifyAll();
  }
  WakeClients();
  return Status::Ok();
}

Status EngineImpl::PoisonStatus() const {
  const MutexLock lock(&commit_mutex_);
  return poisoned_ ? stop_status_ : Status::Ok();
}

Status EngineImpl::AdoptCluster(const ClusterId& cluster) {
  const MutexLock terms(&terms_mutex_);
  if (identity_.cluster == cluster) return Status::Ok();
  if (options_.read_only || cluster.IsNone()) {
    return Status::Error(Code::kUsage, "no cluster can be adopted here");
  }
  {
    const MutexLock lock(&commit_mutex_);
    if (!live_->head.IsEmpty() || role_ != Role::kReplica) {
      return Status::Error(Code::kClusterMismatch, "this node belongs to another cluster");
    }
  }
  IdentityFile identity = identity_;
  identity.cluster = cluster;
  const uint64_t number = Live()->number() + 1;
  RETURN_IF_ERROR(CreateEmptyGeneration(options_, path_, identity, number));
  // The pointer first: an open that finds it with the old identity completes the adoption.
  RETURN_IF_ERROR(PublishCurrent(options_.fs, path_, number));
  RETURN_IF_ERROR(PublishIdentity(options_.fs, path_, identity));
  Result<StoreFiles> files = ReadStoreFiles(options_.fs, path_, true);
  if (!files.ok()) return files.status();
  Result<Recovered> recovered = RecoverGeneration(options_, path_, files.value());
  if (!recovered.ok()) return recovered.status();
  identity_ = identity;
  {
    const MutexLock lock(&commit_mutex_);
    shown_identity_.cluster = cluster;
  }
  InstallGeneration(std::move(recovered.value().generation));
  return Status::Ok();
}

}  // namespace gapless::engine

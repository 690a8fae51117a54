// Life of the engine, its clients, what the log tells it, and what it shows of itself.
#include "engine/engine_impl.h"

#include <algorithm>

#include "engine/generation_builder.h"
#include "engine/registry.h"
#include "io/file_names.h"

namespace gapless::engine {
namespace {

constexpr uint64_t kHousekeepingUs = 250000;

}  // namespace

EngineImpl::EngineImpl(std::string path, const Options& options, std::unique_ptr<io::FileLock> lock,
                       StoreFiles files, Recovered recovered)
    : path_(std::move(path)),
      options_(options),
      lock_(std::move(lock)),
      report_(std::move(recovered.report)),
      identity_(files.identity),
      state_file_(std::move(files.state)),
      live_(std::move(recovered.generation)) {
  const NodeState& state = state_file_->state();
  const log::MetaState& lists = live_->history.lists();
  const uint32_t last_term = lists.epochs.empty() ? 0 : lists.epochs.back().epoch.term;
  shown_identity_ = Identity{identity_.cluster, identity_.node, identity_.shards};
  role_ = state.role;
  is_primary_ = role_ == Role::kPrimary;
  complete_ = !state.incomplete;
  former_mark_ = state.former_mark;
  own_epoch_ = state.own_epoch;
  // A node that began none yet goes on with the term of the history that it was given.
  own_term_ = own_epoch_.term != 0 ? own_epoch_.term : std::max<uint32_t>(1, last_term);
  highest_term_ = std::max(state.highest_term, last_term);
  counters_.replayed_records = report_.replayed_records;
  if (role_ == Role::kPrimary && own_term_ < highest_term_) FenceLocked();
  ShowVisibleLocked();
}

EngineImpl::~EngineImpl() { GAPLESS_ASSERT(!housekeeper_.joinable()); }

Status EngineImpl::Start() {
  StartUpkeep(live_.get());
  live_->Attach(this);
  {
    const MutexLock lock(&commit_mutex_);
    SealIfDueLocked();
  }
  return housekeeper_.Start("gapless-engine", [this] { Housekeep(); });
}

Status EngineImpl::Release() { return ReleaseEngine(this); }

// Commits that were accepted come first; true if they all were sequenced or answered. They may wait
// for flushes, but no longer for merging.
bool EngineImpl::DrainForClose() {
  const MutexLock lock(&commit_mutex_);
  closing_ = true;
  house_cond_.NotifyAll();
  Upkeep* const upkeep = live_->upkeep.get();
  if (upkeep != nullptr) upkeep->BeginClose();
  while (!queue_.empty() && stop_status_.ok() && !live_->log->progress().no_space) {
    if (stalled_since_us_ != 0 && !upkeep->flushes()) break;
    progress_cond_.WaitFor(&commit_mutex_, kHousekeepingUs);
  }
  const bool drained = queue_.empty();
  FailQueueLocked(Status::Error(Code::kClosed, "the store closed before the commit had its turn"));
  stop_housekeeper_ = true;
  house_cond_.NotifyAll();
  return drained;
}

Status EngineImpl::Close() {
  DrainForClose();
  housekeeper_.Join();
  EndUpkeep();
  DropRetired(true);
  const auto publish_mark = [this](const Position& end) {
    if (options_.read_only) return Status::Ok();
    const uint64_t generation = live_->number();
    return UpdateState([&](NodeState* state) {
      // A rewind that failed goes on at the next open, whatever its log holds.
      if (state->intent == Intent::kRewind) return;
      state->durable_mark = end.offset;
      state->generation = generation;
    });
  };
  const Status closed = live_->log->Close(publish_mark);
  live_->Detach();
  {
    const MutexLock lock(&commit_mutex_);
    closed_ = true;
    sink_ = nullptr;
    if (stop_status_.ok()) stop_status_ = Status::Error(Code::kClosed, "the store is closed");
    tickets_.clear();
    ticket_bytes_ = 0;
    progress_cond_.NotifyAll();
  }
  WakeClients();
  {
    const MutexLock lock(&views_mutex_);
    holds_.clear();
    pins_.clear();
    views_.clear();
  }
  lock_.reset();
  return closed;
}

std::shared_ptr<Generation> EngineImpl::Live() const {
  const MutexLock lock(&live_mutex_);
  return live_;
}

IdentityFile EngineImpl::identity_file() const {
  const MutexLock lock(&terms_mutex_);
  return identity_;
}

NodeState EngineImpl::node_state() const {
  const MutexLock lock(&terms_mutex_);
  return state_file_->state();
}

Identity EngineImpl::identity() const {
  const MutexLock lock(&commit_mutex_);
  return shown_identity_;
}

Role EngineImpl::role() const {
  const MutexLock lock(&commit_mutex_);
  return role_;
}

bool EngineImpl::fenced() const {
  const MutexLock lock(&commit_mutex_);
  return fenced_;
}

Epoch EngineImpl::own_epoch() const {
  const MutexLock lock(&commit_mutex_);
  return own_epoch_;
}

uint32_t EngineImpl::highest_term() const {
  const MutexLock lock(&commit_mutex_);
  return highest_term_;
}

bool EngineImpl::complete() const {
  const MutexLock lock(&commit_mutex_);
  return complete_;
}

Progress EngineImpl::progress() {
  const MutexLock lock(&commit_mutex_);
  const log::LogProgress log = live_->log->progress();
  // Behind the look at the log: what it says was reached within the lease.
  (void)EndLeaseIfDueLocked();
  Progress progress;
  progress.visible = live_->history.position();
  progress.written = log.written;
  progress.durable = log.durable;
  progress.acknowledging = stop_status_.ok() && !log.poisoned;
  progress.stop_status = stop_status_;
  if (log.poisoned && stop_status_.ok()) {
    progress.stop_status = Status::Error(Code::kPoisoned, "a write of the log failed");
  }
  progress.stops = stops_;
  progress.fenced = fenced_;
  const Upkeep* const upkeep = live_->upkeep.get();
  progress.no_space = log.no_space || (upkeep != nullptr && !upkeep->HasRoom() &&
                                       upkeep->blocked().Is(Code::kNoSpace));
  progress.generation = generation_count_;
  progress.below_former_mark = former_mark_ > log.durable.offset;
  return progress;
}

Position EngineImpl::ShippingLocked(const log::LogProgress& progress) const {
  const Position& end =
      options_.durability == log::Durability::kSync ? progress.durable : progress.written;
  // Until an EPOCH record is durable the history ends in front of it for everybody else.
  return end.offset > ship_limit_ ? progress.durable : end;
}

Position EngineImpl::shipping_end() const {
  const MutexLock lock(&commit_mutex_);
  return ShippingLocked(live_->log->progress());
}

log::MetaState EngineImpl::meta() const {
  History::Snapshot snapshot;
  {
    const MutexLock lock(&commit_mutex_);
    snapshot = live_->history.snapshot();
  }
  return snapshot.ToMeta();
}

Counters EngineImpl::counters() const {
  const MutexLock lock(&commit_mutex_);
  return counters_;
}

log::LogStats EngineImpl::log_stats() const { return Live()->log->stats(); }

table::StoreStats EngineImpl::store_stats() const { return Live()->store.stats(); }

Epoch EngineImpl::EpochOf(uint64_t seq) const {
  const MutexLock lock(&commit_mutex_);
  return EpochOfSeq(live_->history.lists(), seq);
}

void EngineImpl::AddClient(EngineClient* client) {
  const MutexLock lock(&clients_mutex_);
  clients_.push_back(ClientEntry{client, {}});
}

void EngineImpl::RemoveClient(EngineClient* client) {
  {
    const MutexLock lock(&commit_mutex_);
    // Accepted commits go on; nobody hears of them.
    for (Queued& queued : queue_) {
      if (queued.client == client) queued.client = nullptr;
    }
  }
  const MutexLock lock(&clients_mutex_);
  std::erase_if(clients_, [client](const ClientEntry& entry) { return entry.client == client; });
}

std::vector<Completion> EngineImpl::TakeCompletions(EngineClient* client) {
  std::vector<Completion> taken;
  const MutexLock lock(&clients_mutex_);
  for (ClientEntry& entry : clients_) {
    if (entry.client == client) taken.swap(entry.completions);
  }
  return taken;
}

void EngineImpl::WakeClients() {
  const MutexLock lock(&clients_mutex_);
  for (const ClientEntry& entry : clients_) entry.client->Wake();
}

void EngineImpl::SetSink(CommitSink* sink) {
  const MutexLock lock(&commit_mutex_);
  sink_ = sink;
}

void EngineImpl::ShowVisibleLocked() {
  const History& history = live_->history;
  visible_.Store(Visible{history.position(), history.clock(), live_->id()});
  if (sink_ != nullptr) sink_->OnApplied(history.position());
  if (!awaited_.empty()) OpenAwaitedLocked(history.position());
}

void EngineImpl::ShowShippingLocked() {
  if (sink_ == nullptr) return;
  const log::LogProgress progress = live_->log->progress();
  sink_->OnShippingEnd(ShippingLocked(progress).offset, progress.durable.offset);
}

void EngineImpl::StopLocked(Status why) {
  FailQueueLocked(why);
  stop_status_ = std::move(why);
  last_stop_ = stop_status_;
  ++stops_;
  progress_cond_.NotifyAll();
}

void EngineImpl::OnLogProgress() {
  {
    const MutexLock lock(&commit_mutex_);
    if (!poisoned_) ShowShippingLocked();
    progress_cond_.NotifyAll();
  }
  WakeClients();
}

void EngineImpl::OnLogRoom() {
  std::shared_ptr<Generation> live;
  bool appended = false;
  {
    const MutexLock lock(&commit_mutex_);
    // While an epoch begins, the queue waits for it and not for room.
    if (epoch_phase_ == EpochPhase::kBegun) appended = DrainLocked();
    live = live_;
    progress_cond_.NotifyAll();
  }
  if (appended) live->log->Kick();
  WakeClients();
}

void EngineImpl::OnLogNoSpace(const Status& why) {
  {
    const MutexLock lock(&commit_mutex_);
    FailQueueLocked(
        Status::Error(Code::kNoSpace, "no space for the next segment: " + why.message()));
    progress_cond_.NotifyAll();
  }
  WakeClients();
}

void EngineImpl::OnLogSpaceBack() {
  {
    const MutexLock lock(&commit_mutex_);
    progress_cond_.NotifyAll();
  }
  WakeClients();
}

void EngineImpl::OnLogPoisoned(const Generation* from, const Status& why) {
  {
    const MutexLock lock(&commit_mutex_);
    if (from != live_.get()) return;
    poisoned_ = true;
    StopLocked(Status::Error(Code::kPoisoned,
                             "the log failed and takes nothing more until the "
                             "store is opened again: " +
                                 why.message())
                   .WithFile(why.file(), why.offset()));
    if (live_->upkeep != nullptr) live_->upkeep->OnPoisoned();
  }
  WakeClients();
}

void EngineImpl::InstallGeneration(std::shared_ptr<Generation> next, bool same_files) {
  StartUpkeep(next.get());
  const std::shared_ptr<Generation> live = next;
  std::shared_ptr<Generation> old;
  {
    const MutexLock lock(&commit_mutex_);
    old = live_;
    {
      const MutexLock pointer(&live_mutex_);
      live_ = std::move(next);
    }
    tickets_.clear();
    ticket_bytes_ = 0;
    told_floor_.reset();
    // Behind a rewind the log can be read again in the step that shows the new history.
    rewind_phase_ = RewindPhase::kNone;
    ++generation_count_;
    ship_limit_ = UINT64_MAX;
    if (sink_ != nullptr) sink_->OnHistoryReset(live_->history.position().offset);
    ShowVisibleLocked();
    ShowShippingLocked();
    retired_.push_back(Retired{old, options_.clock->MonotonicUs(), same_files});
    SealIfDueLocked();
    progress_cond_.NotifyAll();
    house_cond_.NotifyAll();
  }
  // Not before it is the live one: what its log says would be passed over.
  live->Attach(this);
  OnLogProgress();
  if (old->upkeep != nullptr) old->upkeep->Stop();
  old->Detach();
  WakeClients();
}

// An old generation goes when nobody reads it any more, or when its views have had their time.
void EngineImpl::DropRetired(bool all) {
  std::vector<Retired> dropped;
  {
    const MutexLock lock(&commit_mutex_);
    for (size_t i = 0; i < retired_.size();) {
      const bool old = ReachedViewAge(retired_[i].since_us);
      if (!all && !old && retired_[i].generation.use_count() > 1) {
        ++i;
        continue;
      }
      dropped.push_back(std::move(retired_[i]));
      retired_.erase(retired_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  for (const Retired& entry : dropped) {
    if (entry.generation->upkeep != nullptr) entry.generation->upkeep->Stop();
    // Its end no longer matters: nothing is published, and a file that stays is removed at the next
    // open.
    (void)entry.generation->log->Close([](const Position&) { return Status::Ok(); });
    if (!entry.keeps_files) (void)io::RemoveTree(options_.fs, entry.generation->path());
  }
}

// Once reached, the mark goes from STATE too; an update that fails is made up for by the next one.
void EngineImpl::ForgetFormerMark() {
  {
    const MutexLock lock(&commit_mutex_);
    if (former_mark_ == 0 || former_mark_ > live_->log->progress().durable.offset) return;
    former_mark_ = 0;
  }
  (void)UpdateState([](NodeState*) {});
}

void EngineImpl::Housekeep() {
  while (true) {
    bool epoch_wanted = false;
    {
      const MutexLock lock(&commit_mutex_);
      if (stop_housekeeper_) return;
      epoch_wanted = epoch_phase_ == EpochPhase::kWanted;
      if (!epoch_wanted) house_cond_.WaitFor(&commit_mutex_, kHousekeepingUs);
      if (stop_housekeeper_) return;
    }
    EndLeaseIfDue();
    if (epoch_wanted) BeginWantedEpoch();
    ForgetFormerMark();
    ExpireViews();
    KeepUp();
    DropRetired(false);
  }
}

Result<std::unique_ptr<GenerationBuilder>> EngineImpl::NewGeneration() {
  return MakeGenerationBuilder(this);
}

}  // namespace gapless::engine

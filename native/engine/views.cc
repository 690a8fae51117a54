// Reads, views, pins and holds: what readers keep alive, and for how long.
#include <algorithm>
#include <optional>

#include "engine/engine_impl.h"
#include "table/value_file.h"

namespace gapless::engine {
namespace {

constexpr size_t kChunkEntries = 256;
constexpr size_t kChunkBytes = 256 * 1024;
constexpr int kVisibleTries = 3;
constexpr size_t kAwaitedMax = 64;

class Scope final : public ReadScope {
 public:
  explicit Scope(std::shared_ptr<Generation> generation) : generation_(std::move(generation)) {}
  explicit Scope(std::shared_ptr<ViewHandle> view)
      : generation_(view->generation), view_(std::move(view)) {
    guard_.emplace(&generation_->store);
    point_ = view_->point();
    position_ = view_->at.position;
  }

  // The newest visible position, if `visible` is still that behind taking the guard.
  bool Take(const Visible& visible) {
    guard_.emplace(&generation_->store);
    if (guard_->visible_seq() != visible.position.seq || visible.generation != generation_->id()) {
      guard_.reset();
      return false;
    }
    position_ = visible.position;
    point_ = {visible.position.seq, visible.clock >> 16};
    return true;
  }
  // A plain read hides what has expired by the clock, too.
  void HideExpired(uint64_t now_ms) { point_.as_of_ms = std::max(point_.as_of_ms, now_ms); }

  const table::Store& store() const override { return generation_->store; }
  table::ReadPoint at() const override { return point_; }
  Position position() const override { return position_; }

 private:
  // In this order: the guard goes first, the generation last.
  const std::shared_ptr<Generation> generation_;
  const std::shared_ptr<ViewHandle> view_;
  std::optional<table::ReadGuard> guard_;
  table::ReadPoint point_;
  Position position_;
};

// Entries of one shard at a view, copied out chunk by chunk so that no guard is held in between.
class ShardSource final : public snapshot::EntrySource {
 public:
  ShardSource(std::shared_ptr<ViewHandle> view, uint32_t shard, io::Clock* clock)
      : view_(std::move(view)), shard_(shard), clock_(clock) {}

  bool Next(table::Entry* entry, Status* error) override {
    if (next_ == chunk_.size() && !at_end_) *error = Fill();
    if (!error->ok() || next_ == chunk_.size()) return false;
    const Copied& copied = chunk_[next_++];
    entry->key = Slice(bytes_).Sub(copied.at, copied.key_bytes);
    entry->value = Slice(bytes_).Sub(copied.at + copied.key_bytes, copied.value_bytes);
    entry->seq = copied.seq;
    entry->expires_at_ms = copied.expires_at_ms;
    return true;
  }

 private:
  struct Copied {
    size_t at = 0;
    size_t key_bytes = 0;
    size_t value_bytes = 0;
    uint64_t seq = 0;
    uint64_t expires_at_ms = 0;
  };

  Status Fill() {
    view_->used_us = clock_->MonotonicUs();
    std::string resume;
    if (!chunk_.empty()) {
      const Copied& last = chunk_.back();
      resume.assign(bytes_, last.at, last.key_bytes);
      resume.push_back('\0');  // the smallest key behind it
    }
    const bool first = chunk_.empty();
    chunk_.clear();
    bytes_.clear();
    next_ = 0;
    const table::Store& store = view_->generation->store;
    const table::ReadGuard guard(&store);
    const std::unique_ptr<table::Iterator> at = store.NewShardIterator(shard_, view_->point());
    if (first) {
      at->SeekToFirst();
    } else {
      at->Seek(resume);
    }
    for (; at->Valid(); at->Next()) {
      if (chunk_.size() >= kChunkEntries || bytes_.size() >= kChunkBytes) return Status::Ok();
      const table::Entry& entry = at->entry();
      const size_t begin = bytes_.size();
      bytes_.append(entry.key.data(), entry.key.size());
      bytes_.resize(bytes_.size() + entry.value_bytes());
      RETURN_IF_ERROR(table::CopyValue(entry, bytes_.data() + begin + entry.key.size()));
      chunk_.push_back(
          {begin, entry.key.size(), entry.value_bytes(), entry.seq, entry.expires_at_ms});
    }
    at_end_ = at->status().ok();
    return at->status();
  }

  const std::shared_ptr<ViewHandle> view_;
  const uint32_t shard_;
  io::Clock* const clock_;
  std::string bytes_;
  std::vector<Copied> chunk_;
  size_t next_ = 0;
  bool at_end_ = false;
};

Status ViewExpired() {
  return Status::Error(Code::kViewExpired, "the view was released, or reached its greatest age");
}

Status HoldExpired(const std::string& why) {
  return Status::Error(Code::kEvicted, "the hold of the snapshot ended: " + why)
      .With("reason", "hold_expired");
}

}  // namespace

std::unique_ptr<ReadScope> EngineImpl::Read() {
  for (int i = 0; i < kVisibleTries; ++i) {
    auto scope = std::make_unique<Scope>(Live());
    if (!scope->Take(visible_.Load())) continue;
    if (is_primary_.load(std::memory_order_relaxed)) scope->HideExpired(options_.clock->WallMs());
    return scope;
  }
  // Commits come faster than this thread looks: stop them for a moment.
  const MutexLock lock(&commit_mutex_);
  auto scope = std::make_unique<Scope>(live_);
  const bool taken = scope->Take(visible_.Load());
  GAPLESS_ASSERT(taken);
  if (role_ == Role::kPrimary) scope->HideExpired(options_.clock->WallMs());
  return scope;
}

std::shared_ptr<ViewHandle> EngineImpl::MakeViewLocked() {
  auto view = std::make_shared<ViewHandle>(live_, visible_.Load());
  view->store_view = live_->store.AddView(view->at.position.seq);
  view->used_us = options_.clock->MonotonicUs();
  return view;
}

ViewId EngineImpl::KeepView(std::shared_ptr<ViewHandle> view) {
  const MutexLock lock(&views_mutex_);
  const ViewId id = next_id_++;
  views_[id] = std::move(view);
  return id;
}

ViewInfo EngineImpl::OpenView() {
  std::shared_ptr<ViewHandle> view;
  {
    const MutexLock lock(&commit_mutex_);
    view = MakeViewLocked();
  }
  const Position position = view->at.position;
  return ViewInfo{KeepView(std::move(view)), position};
}

Result<ViewId> EngineImpl::OpenViewAt(uint64_t seq) {
  const MutexLock lock(&commit_mutex_);
  const Position visible = live_->history.position();
  if (visible.seq > seq) {
    return Status::Error(Code::kPositionUnavailable, "the state at this sequence has gone by");
  }
  if (visible.seq == seq) return KeepView(MakeViewLocked());
  if (awaited_.size() >= kAwaitedMax) {
    return Status::Error(Code::kTooMany, "64 views wait for their positions already");
  }
  ViewId id = 0;
  {
    const MutexLock views(&views_mutex_);
    id = next_id_++;
  }
  awaited_[id] = Awaited{seq, false};
  return id;
}

void EngineImpl::OpenAwaitedLocked(const Position& visible) {
  for (auto at = awaited_.begin(); at != awaited_.end();) {
    Awaited& awaited = at->second;
    if (visible.seq == awaited.seq) {
      std::shared_ptr<ViewHandle> view = MakeViewLocked();
      const MutexLock views(&views_mutex_);
      views_[at->first] = std::move(view);
      at = awaited_.erase(at);
      continue;
    }
    if (visible.seq > awaited.seq) awaited.missed = true;
    ++at;
  }
}

Result<std::optional<Position>> EngineImpl::ViewPosition(ViewId view) {
  {
    const MutexLock lock(&commit_mutex_);
    const auto at = awaited_.find(view);
    if (at != awaited_.end()) {
      if (!at->second.missed) return std::optional<Position>();
      return Status::Error(Code::kNotARecordEnd, "no record ends at this sequence");
    }
  }
  Result<std::unique_ptr<ReadScope>> scope = ReadView(view);
  if (!scope.ok()) return scope.status();
  return std::optional<Position>(scope.value()->position());
}

bool EngineImpl::ReachedViewAge(uint64_t since_us) const {
  const uint64_t most_ms = options_.view_max_age_ms;  // 0: never
  return most_ms != 0 && options_.clock->MonotonicUs() - since_us >= most_ms * 1000;
}

bool EngineImpl::ViewIsOld(const ViewHandle& view) const {
  return !view.pinned && ReachedViewAge(view.used_us);
}

// Nobody has read the snapshot for so long: its joiner went away.
bool EngineImpl::PinIsOld(const ViewHandle& view) const {
  return options_.clock->MonotonicUs() - view.used_us >= options_.snapshot_hold_ms * 1000;
}

Result<std::shared_ptr<ViewHandle>> EngineImpl::FindView(ViewId view) {
  std::shared_ptr<ViewHandle> handle;
  {
    const MutexLock lock(&views_mutex_);
    const auto at = views_.find(view);
    if (at != views_.end()) handle = at->second;
  }
  if (handle == nullptr) return ViewExpired();
  if (ViewIsOld(*handle)) {
    ReleaseView(view);
    return ViewExpired();
  }
  return handle;
}

Result<std::unique_ptr<ReadScope>> EngineImpl::ReadView(ViewId view) {
  Result<std::shared_ptr<ViewHandle>> found = FindView(view);
  if (!found.ok()) return found.status();
  return std::unique_ptr<ReadScope>(std::make_unique<Scope>(std::move(found.value())));
}

// The view protects the read point; a guard held so long would keep every memtable and block that
// is let go meanwhile.
Result<table::Store::DigestPart> EngineImpl::DigestShard(ViewId view, uint32_t shard) {
  const Result<std::shared_ptr<ViewHandle>> found = FindView(view);
  if (!found.ok()) return found.status();
  const ViewHandle& handle = *found.value();
  return handle.generation->store.DigestShard(shard, handle.point());
}

void EngineImpl::ReleaseView(ViewId view) {
  {
    const MutexLock lock(&commit_mutex_);
    if (awaited_.erase(view) != 0) return;
  }
  std::shared_ptr<ViewHandle> released;  // ends behind the lock
  const MutexLock lock(&views_mutex_);
  const auto at = views_.find(view);
  if (at == views_.end()) return;
  released = std::move(at->second);
  views_.erase(at);
}

// Views by viewMaxAge; pins, whose views are their own, by snapshotHold.
void EngineImpl::ExpireViews() {
  std::vector<std::shared_ptr<ViewHandle>> views;
  std::vector<uint64_t> pins;
  {
    const MutexLock lock(&views_mutex_);
    for (auto at = views_.begin(); at != views_.end();) {
      if (!ViewIsOld(*at->second)) {
        ++at;
        continue;
      }
      views.push_back(std::move(at->second));
      at = views_.erase(at);
    }
    for (const auto& [id, pin] : pins_) {
      if (pin.view != nullptr && PinIsOld(*pin.view)) pins.push_back(id);
    }
  }
  for (const uint64_t pin : pins) EndPin(pin);
}

// The pin stays known, so that its owner hears why it ended; what it held is let go.
void EngineImpl::EndPin(uint64_t pin) {
  PinEntry ended;
  {
    const MutexLock lock(&views_mutex_);
    const auto at = pins_.find(pin);
    if (at == pins_.end()) return;
    ended = std::move(at->second);
    at->second = PinEntry{};
  }
  ReleaseHold(ended.hold);
  ReleaseView(ended.view_id);
}

Result<PinInfo> EngineImpl::Pin(const std::string& name) {
  if (options_.read_only) return PinWithoutHold();
  PinInfo info;
  PinEntry pin;
  History::Snapshot snapshot;
  std::shared_ptr<Generation> live;
  log::HoldId hold = 0;
  {
    const MutexLock lock(&commit_mutex_);
    if (closed_) return stop_status_;
    if (poisoned_) return stop_status_;
    live = live_;
    snapshot = live->history.snapshot();
    const Result<log::HoldId> held = live->log->AddHold(
        log::HoldKind::kSnapshot, name, snapshot.position.offset, options_.hold_max_bytes);
    if (!held.ok()) return held.status();
    hold = held.value();
    pin.view = MakeViewLocked();
    pin.view->pinned = true;
    info.cluster = shown_identity_.cluster;
  }
  info.meta = snapshot.ToMeta();
#ifdef GAPLESS_BUG_SNAPSHOT_OFFSET_OFF_BY_ONE
  info.meta.position.offset += 8;
#endif
  info.shards = live->store.shards();
  pin.view_id = KeepView(pin.view);
  info.view = pin.view_id;
  const MutexLock lock(&views_mutex_);
  pin.hold = next_id_++;
  holds_[pin.hold] = HoldEntry{live, hold};
  info.id = next_id_++;
  pins_[info.id] = std::move(pin);
  return info;
}

// A read-only open holds the directory's lock: its log stays as it is.
Result<PinInfo> EngineImpl::PinWithoutHold() {
  PinInfo info;
  PinEntry pin;
  History::Snapshot snapshot;
  {
    const MutexLock lock(&commit_mutex_);
    snapshot = live_->history.snapshot();
    pin.view = MakeViewLocked();
    pin.view->pinned = true;
    info.cluster = shown_identity_.cluster;
    info.shards = live_->store.shards();
  }
  info.meta = snapshot.ToMeta();
  pin.view_id = KeepView(pin.view);
  info.view = pin.view_id;
  const MutexLock lock(&views_mutex_);
  info.id = next_id_++;
  pins_[info.id] = std::move(pin);
  return info;
}

Status EngineImpl::CheckPin(uint64_t pin) const {
  const std::shared_ptr<Generation> live = Live();
  const MutexLock lock(&views_mutex_);
  const auto at = pins_.find(pin);
  if (at == pins_.end()) return HoldExpired("the pin was released");
  const PinEntry& entry = at->second;
  if (entry.view == nullptr) return HoldExpired("it reached its greatest age");
  if (entry.view->generation != live) return HoldExpired("the store took another history");
  if (PinIsOld(*entry.view)) return HoldExpired("it reached its greatest age");
  const auto hold = holds_.find(entry.hold);
  if (hold != holds_.end() && !live->log->HoldIsAlive(hold->second.hold)) {
    return HoldExpired("the log behind it grew too long");
  }
  return Status::Ok();
}

void EngineImpl::ReleasePin(uint64_t pin) {
  EndPin(pin);
  const MutexLock lock(&views_mutex_);
  pins_.erase(pin);
}

Result<std::unique_ptr<snapshot::EntrySource>> EngineImpl::PinnedShard(uint64_t pin,
                                                                       uint32_t flow) {
  RETURN_IF_ERROR(CheckPin(pin));
  std::shared_ptr<ViewHandle> view;
  {
    const MutexLock lock(&views_mutex_);
    const auto at = pins_.find(pin);
    if (at != pins_.end()) view = at->second.view;
  }
  if (view == nullptr) return HoldExpired("the pin was released");
  if (flow >= view->generation->store.shards()) {
    return Status::Error(Code::kUsage, "there is no shard of that number");
  }
  return std::unique_ptr<snapshot::EntrySource>(
      std::make_unique<ShardSource>(std::move(view), flow, options_.clock));
}

// While a rewind cuts the log nobody reads it; what reads it already ends first.
Result<std::shared_ptr<Generation>> EngineImpl::BeginLogReading() {
  const MutexLock lock(&commit_mutex_);
  if (rewind_phase_ == RewindPhase::kCut) {
    return Status::Error(Code::kNotReady, "the store is being rewound");
  }
  ++log_readings_;
  return live_;
}

void EngineImpl::EndLogReading() {
  const MutexLock lock(&commit_mutex_);
  --log_readings_;
  if (rewind_phase_ != RewindPhase::kNone) progress_cond_.NotifyAll();
}

Result<log::LogChunk> EngineImpl::ReadLog(uint64_t from, uint64_t max_bytes) {
  const uint64_t until = shipping_end().offset;
  if (from > until) {
    return Status::Error(Code::kPositionUnavailable, "the offset lies behind what is shipped");
  }
  const Result<std::shared_ptr<Generation>> live = BeginLogReading();
  if (!live.ok()) return live.status();
  Result<log::LogChunk> chunk = live.value()->log->Read(from, until, max_bytes);
  EndLogReading();
  return chunk;
}

Result<Position> EngineImpl::PositionAt(uint64_t offset) {
  const Result<std::shared_ptr<Generation>> live = BeginLogReading();
  if (!live.ok()) return live.status();
  const Result<Position> position = live.value()->log->PositionAt(offset);
  EndLogReading();
  return position;
}

Result<Position> EngineImpl::PositionBeforeSeq(uint64_t seq) {
  const Result<std::shared_ptr<Generation>> live = BeginLogReading();
  if (!live.ok()) return live.status();
  const Result<Position> position = live.value()->log->PositionBeforeSeq(seq);
  EndLogReading();
  return position;
}

Result<log::HoldId> EngineImpl::AddHold(log::HoldKind kind, const std::string& name,
                                        uint64_t offset, uint64_t max_bytes) {
  const std::shared_ptr<Generation> live = Live();
  const Result<log::HoldId> hold = live->log->AddHold(kind, name, offset, max_bytes);
  if (!hold.ok()) return hold;
  const MutexLock lock(&views_mutex_);
  const log::HoldId id = next_id_++;
  holds_[id] = HoldEntry{live, hold.value()};
  return id;
}

Status EngineImpl::MoveHold(log::HoldId hold, uint64_t offset) {
  std::shared_ptr<Generation> generation;
  log::HoldId inner = 0;
  {
    const MutexLock lock(&views_mutex_);
    const auto at = holds_.find(hold);
    if (at != holds_.end()) {
      generation = at->second.generation.lock();
      inner = at->second.hold;
    }
  }
  if (generation == nullptr || generation != Live()) {
    return HoldExpired("the store took another history");
  }
  return generation->log->MoveHold(inner, offset);
}

void EngineImpl::ReleaseHold(log::HoldId hold) {
  std::shared_ptr<Generation> generation;
  log::HoldId inner = 0;
  {
    const MutexLock lock(&views_mutex_);
    const auto at = holds_.find(hold);
    if (at == holds_.end()) return;
    generation = at->second.generation.lock();
    inner = at->second.hold;
    holds_.erase(at);
  }
  if (generation != nullptr) generation->log->ReleaseHold(inner);
}

bool EngineImpl::HoldIsAlive(log::HoldId hold) const {
  std::shared_ptr<Generation> generation;
  log::HoldId inner = 0;
  {
    const MutexLock lock(&views_mutex_);
    const auto at = holds_.find(hold);
    if (at == holds_.end()) return false;
    generation = at->second.generation.lock();
    inner = at->second.hold;
  }
  return generation != nullptr && generation == Live() && generation->log->HoldIsAlive(inner);
}

}  // namespace gapless::engine

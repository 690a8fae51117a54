// The commit path: one timeline. Everything that makes a record of a commit happens in one critical
// section of commit_mutex_; bodies and their CRCs were made before it.
#include <algorithm>

#include "base/coding.h"
#include "base/crc32c.h"
#include "engine/engine_impl.h"

namespace gapless::engine {
namespace {

uint64_t RecordBytesOf(uint64_t body_bytes) {
  return AlignUp8(log::kRecordHeaderBytes + body_bytes);
}

// What the state says to a batch: its checks hold, its increments have results. Requires: the
// commit mutex. *effects: the body to log, if the batch has increments.
Status EvaluateBatch(const Work& work, const Generation& live, std::string* effects,
                     std::vector<int64_t>* results) {
  if (work.checks.empty() && !work.increments) return Status::Ok();
  const table::ReadGuard guard(&live.store);
  const StateBefore before{&live.store,
                           {live.head.seq, live.head_clock >> 16},
                           [&live](uint64_t seq) { return EpochOfSeq(live.history.lists(), seq); }};
  RETURN_IF_ERROR(EvaluateChecks(work.checks, before));
  if (!work.increments) return Status::Ok();
  return EvaluateIncrements(work.body, before, effects, results);
}

}  // namespace

Status EngineImpl::RefusalLocked() const {
  if (closing_ || closed_) return Status::Error(Code::kClosed, "the store is closed");
  if (poisoned_) return stop_status_;
  if (options_.read_only) return Status::Error(Code::kReadOnly, "the store was opened read-only");
  if (role_ != Role::kPrimary) {
    return Status::Error(Code::kReadOnly, "this node is a replica").With("primary", "unknown");
  }
  if (fenced_) return stop_status_;
  return Status::Ok();
}

Submitted EngineImpl::Submit(EngineClient* client, const WriteRequest& request, bool may_queue) {
  Work work;
  Status prepared = PrepareBatch(request, options_.durability, &work);
  if (!prepared.ok()) {
    Submitted refused;
    refused.status = std::move(prepared);
    return refused;
  }
  WarmKeys(work, Live()->store);
  return SubmitWork(client, work, may_queue);
}

Submitted EngineImpl::SubmitControl(EngineClient* client, log::RecordKind kind, Slice body) {
  Work work;
  Status prepared = PrepareControl(kind, body, options_.durability, &work);
  if (!prepared.ok()) {
    Submitted refused;
    refused.status = std::move(prepared);
    return refused;
  }
  return SubmitWork(client, work, true);
}

Submitted EngineImpl::SubmitWork(EngineClient* client, const Work& work, bool may_queue) {
  Submitted submitted;
  std::shared_ptr<Generation> live;
  bool kick = false;
  {
    const MutexLock lock(&commit_mutex_);
    submitted = SubmitLocked(client, work, may_queue, &kick);
    if (kick) live = live_;
  }
  if (live != nullptr) live->log->Kick();
  return submitted;
}

Submitted EngineImpl::SubmitLocked(EngineClient* client, const Work& work, bool may_queue,
                                   bool* kick) {
  Submitted submitted;
  (void)EndLeaseIfDueLocked();
  submitted.status = RefusalLocked();
  if (!submitted.status.ok()) return submitted;
  const bool needs_record = work.kind != log::RecordKind::kBatch || work.operations != 0;
  if (needs_record && epoch_phase_ != EpochPhase::kBegun) {
    // What is refused must not begin an epoch. Behind others in the queue nobody can say yet.
    if (queue_.empty()) {
      submitted.status = work.kind == log::RecordKind::kBatch
                             ? EvaluateBatch(work, *live_, &effects_, &submitted.commit.results)
                             : CheckControlLocked(work);
      if (!submitted.status.ok()) return submitted;
    }
    if (may_queue) return EnqueueLocked(client, work, may_queue);
    // Once an open, the first write of a caller that cannot queue waits for the epoch.
    submitted.status = WaitForEpochLocked();
    if (!submitted.status.ok()) return submitted;
  }
  if (!queue_.empty()) return EnqueueLocked(client, work, may_queue);
  log::Admission admission = log::Admission::kGo;
  submitted.status = SequenceLocked(work, &submitted.commit, &admission);
  if (admission == log::Admission::kWait) return EnqueueLocked(client, work, may_queue);
  if (!submitted.status.ok()) return submitted;
  submitted.state = Submitted::State::kSequenced;
  *kick = needs_record;
  return submitted;
}

Status EngineImpl::WaitForEpochLocked() {
  const uint64_t attempts = epoch_attempts_;
  while (epoch_phase_ != EpochPhase::kBegun) {
    RETURN_IF_ERROR(RefusalLocked());
    if (epoch_attempts_ != attempts && !epoch_error_.ok()) return epoch_error_;
    if (epoch_phase_ == EpochPhase::kNone) {
      epoch_phase_ = EpochPhase::kWanted;
      house_cond_.NotifyAll();
    }
    progress_cond_.Wait(&commit_mutex_);
  }
  return Status::Ok();
}

Submitted EngineImpl::EnqueueLocked(EngineClient* client, const Work& work, bool may_queue) {
  // The memtables wait for a flush: whoever blocks its thread anyhow waits for his turn.
  if (!may_queue && stalled_since_us_ != 0) return WaitForMemtablesLocked(work);
  Submitted submitted;
  const uint64_t bytes = RecordBytesOf(work.body.size()) + work.checks.size();
  const uint64_t pending = live_->log->progress().pending_bytes + queued_bytes_;
  if (!may_queue || (!queue_.empty() && pending + bytes > 2 * options_.pending_bytes)) {
    submitted.status =
        Status::Error(Code::kQueueFull, "too much is waiting to be written; try again later");
    return submitted;
  }
  QueueLocked(client, work, nullptr);
  if (epoch_phase_ == EpochPhase::kNone) {
    epoch_phase_ = EpochPhase::kWanted;
    house_cond_.NotifyAll();
  }
  submitted.state = Submitted::State::kQueued;
  submitted.ticket = queue_.back().ticket;
  return submitted;
}

void EngineImpl::QueueLocked(EngineClient* client, const Work& work, Completion* answer) {
  Queued& queued = queue_.emplace_back();
  queued.client = client;
  queued.ticket = next_ticket_++;
  queued.body = work.body.ToString();
  queued.checks = work.checks.ToString();
  queued.work = work;
  queued.work.body = queued.body;
  queued.work.checks = queued.checks;
  queued.answer = answer;
  queued_bytes_ += RecordBytesOf(work.body.size()) + work.checks.size();
}

Submitted EngineImpl::WaitForMemtablesLocked(const Work& work) {
  Completion answer;
  QueueLocked(nullptr, work, &answer);
  while (answer.ticket == 0) progress_cond_.Wait(&commit_mutex_);
  Submitted submitted;
  submitted.status = std::move(answer.status);
  if (!submitted.status.ok()) return submitted;
  submitted.state = Submitted::State::kSequenced;
  submitted.commit = std::move(answer.commit);
  return submitted;
}

bool EngineImpl::DrainLocked() {
  bool appended = false;
  // A lease that ends fails what is queued.
  while (!EndLeaseIfDueLocked() && !queue_.empty()) {
    Queued& queued = queue_.front();
    Completion completion;
    completion.ticket = queued.ticket;
    log::Admission admission = log::Admission::kGo;
    completion.status = SequenceLocked(queued.work, &completion.commit, &admission);
    if (admission == log::Admission::kWait) break;
    appended = appended || completion.status.ok();
    CompleteLocked(queued, std::move(completion));
    queued_bytes_ -= RecordBytesOf(queued.body.size()) + queued.checks.size();
    queue_.pop_front();
  }
  if (queue_.empty()) {
    EndStallLocked();
    progress_cond_.NotifyAll();
  }
  return appended;
}

void EngineImpl::FailQueueLocked(const Status& why) {
  while (!queue_.empty()) {
    CompleteLocked(queue_.front(), Completion{queue_.front().ticket, why, {}});
    queue_.pop_front();
  }
  queued_bytes_ = 0;
  EndStallLocked();
}

void EngineImpl::CompleteLocked(const Queued& queued, Completion completion) {
  if (queued.answer != nullptr) {
    *queued.answer = std::move(completion);
    progress_cond_.NotifyAll();
    return;
  }
  if (queued.client == nullptr) return;
  const MutexLock lock(&clients_mutex_);
  for (ClientEntry& entry : clients_) {
    if (entry.client != queued.client) continue;
    entry.completions.push_back(std::move(completion));
    return;
  }
}

// Limits of the lists that a control record would make longer.
Status EngineImpl::CheckControlLocked(const Work& work) const {
  const log::MetaState& lists = live_->history.lists();
  log::CursorBody cursor;
  log::ConfigBody config;
  if (work.kind == log::RecordKind::kCursor && log::DecodeCursorBody(work.body, &cursor)) {
    if (cursor.position.offset > live_->head.offset) {
      return Status::Error(Code::kCursorAheadOfLog, "the cursor lies behind the end of the log");
    }
    const bool known =
        std::any_of(lists.cursors.begin(), lists.cursors.end(),
                    [&](const log::CursorEntry& entry) { return entry.name == cursor.name; });
    if (!known && lists.cursors.size() >= log::kCursorsMax) {
      return Status::Error(Code::kTooMany, "there are 1024 cursors already");
    }
  }
  if (work.kind == log::RecordKind::kConfig && log::DecodeConfigBody(work.body, &config)) {
    const bool known =
        std::any_of(lists.slots.begin(), lists.slots.end(),
                    [&](const log::SlotEntry& entry) { return entry.node == config.node; });
    if (config.kind == 1 && !known && lists.slots.size() >= log::kSlotsMax) {
      return Status::Error(Code::kTooMany, "there are 64 slots already");
    }
  }
  return Status::Ok();
}

Status EngineImpl::SequenceLocked(const Work& work, Commit* commit, log::Admission* admission) {
  Generation& live = *live_;
  Slice body = work.body;
  Work made = work;
  if (work.kind == log::RecordKind::kBatch && work.operations != 0) {
    bool wait = false;
    RETURN_IF_ERROR(AskMemtablesLocked(&wait));
    if (wait) {
      *admission = log::Admission::kWait;
      return Status::Ok();
    }
  }
  if (work.kind != log::RecordKind::kBatch) {
    RETURN_IF_ERROR(CheckControlLocked(work));
  } else {
    RETURN_IF_ERROR(EvaluateBatch(work, live, &effects_, &commit->results));
    if (work.increments) {
      body = effects_;
      made.body_crc = Crc32c(body);
    }
  }
  if (work.kind == log::RecordKind::kBatch && work.operations == 0) {
    commit->position = live.head;
    commit->first_seq = live.head.seq + 1;
    return Status::Ok();
  }
  *admission = live.log->Admit(RecordBytesOf(body.size()));
  switch (*admission) {
    case log::Admission::kGo:
      break;
    case log::Admission::kWait:
      return Status::Ok();
    case log::Admission::kNoSpace:
      return Status::Error(Code::kNoSpace, "there is no space for the next segment of the log");
    case log::Admission::kPoisoned:
      return stop_status_.ok() ? Status::Error(Code::kPoisoned, "a write of the log failed")
                               : stop_status_;
    case log::Admission::kClosed:
      return Status::Error(Code::kClosed, "the store is closed");
  }
  const log::RecordHeader header = AppendOwnLocked(made, body);
  commit->position = live.head;
  commit->first_seq = header.first_seq;
  return Status::Ok();
}

// Requires: the log admitted exactly this record.
log::RecordHeader EngineImpl::AppendOwnLocked(const Work& work, Slice body) {
  Generation& live = *live_;
  log::RecordHeader header;
  header.kind = work.kind;
  header.body_crc = work.body_crc;
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.epoch = own_epoch_;
  header.first_seq = live.head.seq + 1;
  header.operations = work.operations;
  header.timestamp = std::max(options_.clock->WallMs() << 16, live.head_clock + 1);
  char bytes[log::kRecordHeaderBytes];
  const Position before = live.head;
  log::SealHeader(shown_identity_.cluster, before, &header, bytes);
  const Position after = header.After(before.offset);
  live.log->Append(bytes, body, after, work.want);
  live.head = after;
  live.head_clock = header.timestamp;
  if (sink_ != nullptr) sink_->OnAppend(before.offset, Slice(bytes, sizeof bytes), body, after);
  const log::RecordView record{header, body, Slice()};
  ReplayRecord(record, before, after, &live.store, &live.history);
  ++counters_.committed_records;
  counters_.committed_operations += work.operations;
  if (work.kind == log::RecordKind::kBatch) user_bytes_ += UserBytesOf(body, work.operations);
  ShowVisibleLocked();
  SealIfDueLocked();
  return header;
}

Status EngineImpl::WaitFor(const Position& position, log::Durability level, uint64_t timeout_ms) {
  const uint64_t deadline = timeout_ms > UINT64_MAX / 2000
                                ? UINT64_MAX
                                : options_.clock->MonotonicUs() + timeout_ms * 1000;
  const MutexLock lock(&commit_mutex_);
  const uint64_t stops = stops_;
  const uint64_t generation = generation_count_;
  while (true) {
    const log::LogProgress progress = live_->log->progress();
    (void)EndLeaseIfDueLocked();
    // A stop that a change of role ended before this thread looked, and offsets of another history.
    if (stops_ != stops) return last_stop_.With("position", ToText(position));
    if (generation_count_ != generation) {
      return Status::Error(Code::kInDoubt, "the history was replaced while this was waited for")
          .With("position", ToText(position));
    }
    // Two phases: what is reached counts only while this node may still acknowledge.
    if (!stop_status_.ok() && !closed_) return stop_status_.With("position", ToText(position));
    const Position& reached = level == log::Durability::kSync ? progress.durable
                              : level == log::Durability::kOs ? progress.written
                                                              : live_->history.position();
    if (reached.offset >= position.offset) return Status::Ok();
    if (closed_) return stop_status_.With("position", ToText(position));
    const uint64_t now = options_.clock->MonotonicUs();
    if (now >= deadline) {
      return Status::Error(Code::kTimeout, "the position was not reached in time")
          .With("position", ToText(position));
    }
    progress_cond_.WaitFor(&commit_mutex_, std::min<uint64_t>(deadline - now, 1000000));
  }
}

Status EngineImpl::SyncTo(uint64_t offset, uint64_t timeout_ms) {
  return Live()->log->SyncTo(offset, timeout_ms);
}

}  // namespace gapless::engine

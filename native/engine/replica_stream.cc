// A replica's stream: check once, append at the same offsets, apply by shard, publish at record
// ends.
//
// AppendReplicated and PublishTicket are called by one thread at a time; ApplyTicketShard by one
// thread a shard, tickets in order. What is received may run ahead of what is visible.
#include <algorithm>
#include <bit>

#include "engine/engine_impl.h"
#include "engine/received.h"

namespace gapless::engine {
namespace {

// Longest wait of one call for room in the log; behind it the caller hears how far it came.
constexpr uint64_t kRoomWaitUs = 5000;
constexpr uint64_t kRoomPollUs = 1000;

}  // namespace

// What one call of AppendReplicated works on.
struct EngineImpl::Incoming {
  std::shared_ptr<Ticket> ticket = std::make_shared<Ticket>();
  Skipped skipped;
  uint64_t skipped_bytes = 0;
  ClusterId cluster;
  Position head;
  uint64_t clock = 0;
};

// What is written can be asked of the log, what is younger is still a ticket.
Status EngineImpl::CheckKnown(const Incoming& incoming) {
  if (incoming.skipped.records == 0) return Status::Ok();
  {
    const MutexLock lock(&commit_mutex_);
    for (const std::shared_ptr<Ticket>& ticket : tickets_) {
      for (const TicketRecord& record : ticket->records) {
        if (record.after.seq != incoming.skipped.end_seq) continue;
        return CheckSkippedEnd(incoming.skipped, record.after);
      }
    }
  }
  return CheckSkipped(incoming.skipped, incoming.head, incoming.ticket->generation->log.get());
}

Status EngineImpl::CheckIncoming(Slice records, Incoming* incoming) {
  const size_t given = records.size();
  RETURN_IF_ERROR(SkipKnown(incoming->head.seq, &records, &incoming->skipped));
  RETURN_IF_ERROR(CheckKnown(*incoming));
  incoming->skipped_bytes = given - records.size();
  Ticket& ticket = *incoming->ticket;
  ticket.bytes = records.ToString();
  Slice rest = ticket.bytes;
  Position at = incoming->head;
  uint64_t clock = incoming->clock;
  const uint64_t latest_ms = options_.clock->WallMs() + options_.clock_max_ahead_ms;
  while (!rest.empty()) {
    TicketRecord record;
    RETURN_IF_ERROR(CheckReceived(incoming->cluster, latest_ms, at, clock, rest, &record.record,
                                  &ticket.operations));
    record.before = at;
    record.after = record.record.header.After(at.offset);
    at = record.after;
    clock = record.record.header.timestamp;
    rest.RemovePrefix(static_cast<size_t>(record.record.header.RecordBytes()));
    ticket.records.push_back(record);
  }
  return Status::Ok();
}

// A term is durable here before a record of it is.
Status EngineImpl::SeeIncomingTerms(const Incoming& incoming) {
  uint32_t highest = 0;
  for (const TicketRecord& record : incoming.ticket->records) {
    highest = std::max(highest, record.record.header.epoch.term);
  }
  return highest > highest_term() ? SeeTerm(highest) : Status::Ok();
}

void EngineImpl::TakeIncomingLocked(const TicketRecord& record, Slice bytes) {
  Generation& live = *live_;
  const Slice header = bytes.Sub(0, log::kRecordHeaderBytes);
  live.log->Append(header.data(), record.record.body, record.after, options_.durability);
  live.head = record.after;
  live.head_clock = record.record.header.timestamp;
  if (sink_ != nullptr) {
    sink_->OnAppend(record.before.offset, header, record.record.body, record.after);
  }
}

Status EngineImpl::AppendIncoming(Incoming* incoming, size_t* appended) {
  const Ticket& ticket = *incoming->ticket;
  uint64_t waited = 0;
  size_t at = 0;
  const MutexLock lock(&commit_mutex_);
  while (*appended < ticket.records.size()) {
    const bool taking =
        role_ == Role::kReplica && !promoting_ && rewind_phase_ == RewindPhase::kNone;
    if (poisoned_ || closing_ || !taking || live_ != ticket.generation) {
      return poisoned_ ? stop_status_ : Status::Error(Code::kClosed, "the stream was ended");
    }
    const TicketRecord& record = ticket.records[*appended];
    const auto bytes = static_cast<size_t>(record.record.header.RecordBytes());
    const bool has_room = ReplicaHasRoomLocked(at);
    if (!has_room) RETURN_IF_ERROR(live_->upkeep->blocked());
    const log::Admission admission = has_room ? live_->log->Admit(bytes) : log::Admission::kWait;
    if (admission == log::Admission::kWait) {
      if (waited >= kRoomWaitUs) {
        return Status::Error(Code::kQueueFull, "the log or the memtables have no room yet");
      }
      live_->log->Kick();
      waited += kRoomPollUs;
      progress_cond_.WaitFor(&commit_mutex_, kRoomPollUs);
      continue;
    }
    if (admission == log::Admission::kNoSpace) {
      return Status::Error(Code::kNoSpace, "there is no space for the next segment of the log");
    }
    if (admission != log::Admission::kGo) {
      return Status::Error(Code::kPoisoned, "the log takes no record");
    }
    receiving_ = true;
    TakeIncomingLocked(record, Slice(ticket.bytes).Sub(at, bytes));
    at += bytes;
    ++*appended;
  }
  return Status::Ok();
}

Result<Engine::Received> EngineImpl::AppendReplicated(Slice records) {
  Incoming incoming;
  {
    const MutexLock lock(&commit_mutex_);
    if (closing_ || closed_) return Status::Error(Code::kClosed, "the store is closed");
    if (poisoned_) return stop_status_;
    if (options_.read_only) return Status::Error(Code::kReadOnly, "opened read-only");
    if (role_ != Role::kReplica || promoting_) {
      return Status::Error(Code::kAlreadyPrimary, "a primary takes no records of others");
    }
    if (rewind_phase_ != RewindPhase::kNone) {
      return Status::Error(Code::kNotReady, "the store is being rewound");
    }
    incoming.ticket->generation = live_;
    incoming.cluster = shown_identity_.cluster;
    incoming.head = live_->head;
    incoming.clock = live_->head_clock;
  }
  const Status checked = CheckIncoming(records, &incoming);
  if (!checked.ok()) {
    const MutexLock lock(&commit_mutex_);
    for (const Detail& detail : checked.details()) {
      if (detail.name == "reason" && detail.text == "gap") ++counters_.gaps;
    }
    return checked;
  }
  RETURN_IF_ERROR(SeeIncomingTerms(incoming));
  size_t appended = 0;
  const Status taken = AppendIncoming(&incoming, &appended);
  if (appended == 0 && !taken.ok()) return taken;
  Received received;
  Ticket& ticket = *incoming.ticket;
  if (appended < ticket.records.size()) {
    ticket.records.resize(appended);
    ticket.operations = 0;
    for (const TicketRecord& record : ticket.records) {
      ticket.operations += record.record.header.operations;
    }
  }
  received.records = appended;
  received.operations = ticket.operations;
  received.after = appended != 0 ? ticket.records.back().after : incoming.head;
  received.bytes = incoming.skipped_bytes + received.after.offset - incoming.head.offset;
  {
    const MutexLock lock(&commit_mutex_);
    counters_.dropped_records += incoming.skipped.records;
    receiving_ = false;
    progress_cond_.NotifyAll();
    if (appended != 0 && live_ == ticket.generation) {
      ticket.id = received.ticket = next_ticket_++;
      tickets_.push_back(incoming.ticket);
      ticket_bytes_ += received.after.offset - incoming.head.offset;
    }
  }
  if (appended != 0) ticket.generation->log->Kick();
  return received;
}

std::shared_ptr<EngineImpl::Ticket> EngineImpl::FindTicket(uint64_t ticket) {
  const MutexLock lock(&commit_mutex_);
  for (const std::shared_ptr<Ticket>& known : tickets_) {
    if (known->id == ticket) return known;
  }
  return nullptr;
}

// A shard that somebody took is passed over: nothing is applied twice, whoever asks.
void EngineImpl::ApplyToShards(Ticket* ticket, uint32_t from, uint32_t to) {
  table::Store& store = ticket->generation->store;
  uint64_t bits = 0;
  for (uint32_t shard = from; shard < to; ++shard) bits |= uint64_t{1} << shard;
  bits &= ~ticket->taken.fetch_or(bits, std::memory_order_acq_rel);
  const bool all = static_cast<uint32_t>(std::popcount(bits)) == store.shards();
  for (const TicketRecord& entry : ticket->records) {
    if (entry.record.header.kind != log::RecordKind::kBatch) continue;
    log::BatchReader reader(entry.record.body);
    log::Operation operation;
    for (uint64_t seq = entry.record.header.first_seq; reader.Next(&operation); ++seq) {
      const table::Mutation mutation = ToMutation(entry.record.header, operation, seq);
      if (all) {
        store.Apply(mutation);
        continue;
      }
      for (uint32_t shard = from; shard < to; ++shard) {
        if ((bits >> shard & 1) != 0) store.ApplyToShard(shard, mutation);
      }
    }
  }
  ticket->applied.fetch_or(bits, std::memory_order_acq_rel);
}

void EngineImpl::ApplyTicketShard(uint64_t ticket, uint32_t shard) {
  const std::shared_ptr<Ticket> known = FindTicket(ticket);
  if (known == nullptr || shard >= known->generation->store.shards()) return;
  ApplyToShards(known.get(), shard, shard + 1);
}

void EngineImpl::ApplyTicket(uint64_t ticket) {
  const std::shared_ptr<Ticket> known = FindTicket(ticket);
  if (known != nullptr) ApplyToShards(known.get(), 0, known->generation->store.shards());
}

Status EngineImpl::PublishTicket(uint64_t ticket) {
  {
    const MutexLock lock(&commit_mutex_);
    if (tickets_.empty() || tickets_.front()->id != ticket) {
      return Status::Error(Code::kUsage, "tickets are published in their order");
    }
    const std::shared_ptr<Ticket> known = tickets_.front();
    Generation& live = *live_;
    const uint32_t shards = live.store.shards();
    const uint64_t all = shards == 64 ? UINT64_MAX : (uint64_t{1} << shards) - 1;
    if (known->applied.load(std::memory_order_acquire) != all) {
      return Status::Error(Code::kNotReady, "the ticket is not applied on all shards");
    }
    if (poisoned_) return stop_status_;
    const log::LogProgress progress = live.log->progress();
    const Position& safe =
        options_.durability == log::Durability::kSync ? progress.durable : progress.written;
    if (safe.offset < known->records.back().after.offset) {
      return Status::Error(Code::kNotReady, "the ticket's records are not safe on disk yet");
    }
    for (const TicketRecord& record : known->records) {
      live.history.Advance(record.record, record.before, record.after);
      live.store.Publish(record.after.seq);
      ShowVisibleLocked();
      ++counters_.applied_records;
      counters_.applied_operations += record.record.header.operations;
      if (record.record.header.kind == log::RecordKind::kBatch) {
        user_bytes_ += UserBytesOf(record.record.body, record.record.header.operations);
      }
    }
    ticket_bytes_ -= known->records.back().after.offset - known->records.front().before.offset;
    tickets_.pop_front();
    SealIfDueLocked();
    progress_cond_.NotifyAll();
  }
  WakeClients();
  return Status::Ok();
}

}  // namespace gapless::engine

// The sequencer's side of the log writer: buffers, admission, the plan of segments, waiting.
// The flusher's side is flusher.cc.
#include "log/log_writer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/coding.h"

namespace gapless::log {
namespace {

constexpr size_t kBufferBytesMin = 256 << 10;
// What a record may cost besides itself: a mark in front of it and one behind its group.
constexpr uint64_t kRecordAllowance = 2 * kMarkBytes;
// Kept free behind the last record of a segment, for the marks of idling and closing.
constexpr uint64_t kSegmentSlack = 4 * kMarkBytes;

}  // namespace

GroupBuffer::~GroupBuffer() { std::free(data_); }

char* GroupBuffer::Extend(size_t bytes) {
  if (capacity_ - size_ < bytes) {
    capacity_ = std::max({kBufferBytesMin, capacity_ * 2, size_ + bytes});
    data_ = static_cast<char*>(std::realloc(data_, capacity_));
    GAPLESS_ASSERT(data_ != nullptr);
  }
  size_ += bytes;
  return data_ + size_ - bytes;
}

void GroupBuffer::Clear() {
  size_ = 0;
  breaks.clear();
  points.clear();
  allowance = 0;
  urgent = needs_sync = false;
}

LogWriter::LogWriter(const LogOptions& options, SegmentSet* segments, LogListener* listener,
                     std::unique_ptr<SegmentWriter> writer, const Position& end, uint64_t timestamp)
    : options_(options),
      segments_(segments),
      listener_(listener),
      writer_(std::move(writer)),
      flight_(&buffers_[1]),
      active_(&buffers_[0]),
      appended_(end),
      timestamp_(timestamp),
      written_(end),
      durable_(end) {
  Result<SegmentView> last = segments_->Find(end.offset);
  GAPLESS_ASSERT(last.ok());
  current_ = last.value().segment;
  planned_start_ = current_->start.offset;
  planned_fill_ = writer_->file_end();
  planned_capacity_ = std::min(writer_->capacity(), options_.segment_bytes);
}

LogWriter::~LogWriter() {
  {
    const MutexLock lock(&mutex_);
    abandoned_ = true;
    work_.NotifyOne();
  }
  thread_.Join();
}

Status LogWriter::Start() {
  return thread_.Start("gapless-flush", [this] { Run(); });
}

bool LogWriter::FitsPlanned(uint64_t record_bytes) const {
  return planned_fill_ + record_bytes + kSegmentSlack <= planned_capacity_;
}

bool LogWriter::PlannedIsEmpty() const { return planned_start_ == appended_.offset; }

Admission LogWriter::Admit(uint64_t record_bytes) {
  const MutexLock lock(&mutex_);
  if (poisoned_) return Admission::kPoisoned;
  if (closing_ || abandoned_) return Admission::kClosed;
  const uint64_t pending = appended_.offset - written_.offset;
  if (pending > 0 && pending + record_bytes > options_.pending_bytes) {
    room_wanted_ = pressed_ = true;
    WakeFlusher();
    return Admission::kWait;
  }
  return FitsPlanned(record_bytes) ? Admission::kGo : AskForRoom(record_bytes);
}

Admission LogWriter::AskForRoom(uint64_t record_bytes) {
  const uint64_t need = kSegmentHeaderBytes + record_bytes + kSegmentSlack + kMarkBytes;
  if (PlannedIsEmpty()) {
    // Two segments cannot begin at one offset: the empty one has to grow.
    grow_wanted_ = std::max(grow_wanted_, planned_fill_ + record_bytes + kSegmentSlack);
  } else {
    if (!next_claimed_ && next_capacity_ >= need) return Admission::kGo;
    next_wanted_ = std::max(next_wanted_, need);
  }
  room_wanted_ = pressed_ = true;
  WakeFlusher();
  const uint64_t asked = std::max(need, options_.segment_bytes);
  return no_space_ && asked >= refused_bytes_ ? Admission::kNoSpace : Admission::kWait;
}

void LogWriter::BreakSegment(uint64_t record_bytes) {
  const uint64_t need = kSegmentHeaderBytes + record_bytes + kSegmentSlack + kMarkBytes;
  GAPLESS_ASSERT(!PlannedIsEmpty() && !next_claimed_ && next_capacity_ >= need);
  active_->breaks.push_back(GroupBuffer::Break{active_->size(), appended_, timestamp_});
  active_->allowance = 0;
  planned_start_ = appended_.offset;
  planned_fill_ = kSegmentHeaderBytes + kMarkBytes;
  // One record may make a segment larger than the option says, never the next one too.
  planned_capacity_ = std::min(next_capacity_, std::max(options_.segment_bytes, need));
  next_capacity_ = 0;
  next_claimed_ = true;
  unindexed_ = 0;
}

void LogWriter::Append(const void* header, Slice body, const Position& after, Durability want) {
  const size_t used = kRecordHeaderBytes + body.size();
  const size_t bytes = AlignUp8(used);
  const MutexLock lock(&mutex_);
  GAPLESS_ASSERT(after.offset == appended_.offset + bytes);
  if (poisoned_ || closing_) {  // between Admit and here: in doubt, as everything pending is
    appended_ = after;
    return;
  }
  if (!FitsPlanned(bytes)) BreakSegment(bytes);
  const bool was_empty = active_->size() == 0;
  unindexed_ += bytes;
  if (unindexed_ >= kIndexIntervalBytes) {
    active_->points.push_back(GroupBuffer::Point{active_->size(), appended_, timestamp_});
    unindexed_ = 0;
  }
  char* to = active_->Extend(bytes);
  std::memcpy(to, header, kRecordHeaderBytes);
  if (!body.empty()) std::memcpy(to + kRecordHeaderBytes, body.data(), body.size());
  std::memset(to + used, 0, bytes - used);
  planned_fill_ += bytes + kRecordAllowance;
  active_->allowance += bytes + kRecordAllowance;
  timestamp_ = LoadU64(static_cast<const char*>(header) + kRecordTimestamp);
  appended_ = after;
  if (want != Durability::kMemory) active_->urgent = true;
  if (want == Durability::kSync) active_->needs_sync = true;
  if (was_empty) {
    active_->deadline_us =
        options_.clock->MonotonicUs() + uint64_t{options_.flush_interval_ms} * 1000;
  }
  const uint64_t pending = appended_.offset - written_.offset;
  // Somebody has to set the timer; what is urgent waits for Kick.
  if ((was_empty && want == Durability::kMemory) || pending >= options_.pending_bytes / 2) {
    WakeFlusher();
  }
}

void LogWriter::Kick() {
  const MutexLock lock(&mutex_);
  if (active_->urgent) WakeFlusher();
}

void LogWriter::WakeFlusher() {
  if (flusher_waits_) work_.NotifyOne();
}

LogProgress LogWriter::ProgressLocked() const {
  LogProgress progress;
  progress.appended = appended_;
  progress.written = written_;
  progress.durable = durable_;
  progress.poisoned = poisoned_;
  progress.no_space = no_space_;
  progress.pending_bytes = appended_.offset - written_.offset;
  progress.fdatasyncs = fdatasyncs_;
  progress.writes = writes_;
  return progress;
}

LogProgress LogWriter::progress() const {
  const MutexLock lock(&mutex_);
  return ProgressLocked();
}

Status LogWriter::SyncTo(uint64_t offset, uint64_t timeout_ms) {
  const MutexLock lock(&mutex_);
  if (offset > appended_.offset) {
    return Status::Error(Code::kPositionUnavailable, "the log does not reach this offset");
  }
  const uint64_t until = options_.clock->MonotonicUs() + timeout_ms * 1000;
  while (durable_.offset < offset) {
    if (poisoned_) return poison_;
    if (closing_ || abandoned_) return Status::Error(Code::kClosed, "the log is closed");
    sync_wanted_ = std::max(sync_wanted_, offset);
    WakeFlusher();
    const uint64_t now = options_.clock->MonotonicUs();
    ++sync_waiters_;
    const bool in_time = now < until && done_.WaitFor(&mutex_, until - now);
    --sync_waiters_;
    if (!in_time && durable_.offset < offset && !poisoned_) {
      return Status::Error(Code::kTimeout, "the log was not synced in time");
    }
  }
  return Status::Ok();
}

void LogWriter::Retain() {
  const MutexLock lock(&mutex_);
  retain_wanted_ = true;
  WakeFlusher();
}

Status LogWriter::Close(const std::function<Status(const Position& end)>& publish_mark) {
  {
    const MutexLock lock(&mutex_);
    if (closing_) return Status::Error(Code::kClosed, "the log is closed");
    closing_ = true;
    work_.NotifyOne();
    done_.NotifyAll();
  }
  thread_.Join();
  Position end;
  {
    const MutexLock lock(&mutex_);
    if (poisoned_) return poison_;
    GAPLESS_ASSERT(durable_ == appended_);
    end = durable_;
  }
  RETURN_IF_ERROR(publish_mark(end));
  RETURN_IF_ERROR(writer_->Trim());
  return writer_->DropPrepared();
}

}  // namespace gapless::log

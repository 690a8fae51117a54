// The flusher thread of the log writer: the only place where log bytes reach the disk while the
// store is open. Steps run one at a time, without the mutex; the first one that fails poisons.
#include <algorithm>

#include "io/file_names.h"
#include "log/log_writer.h"

namespace gapless::log {
namespace {

constexpr uint64_t kNoSpaceRetryUs = 100 * 1000;
// A segment larger than usual that cannot be had for so many tries is forgotten.
constexpr uint32_t kLargeRefusalsMax = 10;
constexpr uint64_t kNever = UINT64_MAX;

}  // namespace

void LogWriter::Run() {
  while (true) {
    Step step = Step::kWait;
    {
      const MutexLock lock(&mutex_);
      while (true) {
        uint64_t wait_us = kNever;
        step = NextStep(options_.clock->MonotonicUs(), &wait_us);
        if (step != Step::kWait) break;
        flusher_waits_ = true;
        if (wait_us == kNever) {
          work_.Wait(&mutex_);
        } else {
          (void)work_.WaitFor(&mutex_, wait_us);
        }
        flusher_waits_ = false;
      }
    }
    Status status;
    switch (step) {
      case Step::kGroup:
        status = FlushGroup();
        break;
      case Step::kSync:
        status = SyncWritten();
        break;
      case Step::kAllocate:
        status = AllocateStep();
        break;
      case Step::kRetain:
        status = RetainStep();
        break;
      case Step::kEnd:
      case Step::kWait:
        return;
    }
    if (!status.ok()) Poison(status);
  }
}

// Room first: a writer that finds none waits longer than one that waits for its group.
LogWriter::Step LogWriter::NextStep(uint64_t now, uint64_t* wait_us) const {
  if (abandoned_ || (poisoned_ && closing_)) return Step::kEnd;
  if (poisoned_) return Step::kWait;
  uint64_t wake = kNever;
  if (AllocateIsDue(now, &wake)) return Step::kAllocate;
  if (retain_wanted_ && !closing_) return Step::kRetain;
  if (GroupIsDue(now, &wake)) return Step::kGroup;
  if (SyncIsDue(now, &wake)) return Step::kSync;
  if (closing_) return Step::kEnd;
  if (wake != kNever) *wait_us = wake - now;
  return Step::kWait;
}

bool LogWriter::GroupIsDue(uint64_t now, uint64_t* wake) const {
  if (active_->size() == 0) return false;
  if (active_->urgent || pressed_ || closing_ || sync_wanted_ > written_.offset) return true;
  if (appended_.offset - written_.offset >= options_.pending_bytes / 2) return true;
  if (now >= active_->deadline_us) return true;
  *wake = std::min(*wake, active_->deadline_us);
  return false;
}

bool LogWriter::SyncIsDue(uint64_t now, uint64_t* wake) const {
  if (sync_deadline_ == 0) return false;
  if (closing_ || now >= sync_deadline_) return true;
  if (sync_wanted_ > durable_.offset && written_.offset > durable_.offset) return true;
  *wake = std::min(*wake, sync_deadline_);
  return false;
}

bool LogWriter::AllocateIsDue(uint64_t now, uint64_t* wake) const {
  if (closing_) return false;
  if (no_space_) {
    if (now >= retry_at_) return true;
    *wake = std::min(*wake, retry_at_);
    // Another size may still fit.
    return !next_claimed_ && next_wanted_ > next_capacity_ &&
           std::max(next_wanted_, options_.segment_bytes) < refused_bytes_;
  }
  if (grow_wanted_ > planned_capacity_) return true;
  if (next_claimed_) return false;
  const bool half_full = planned_fill_ > planned_capacity_ / 2 && !PlannedIsEmpty();
  return next_wanted_ > next_capacity_ || (next_capacity_ == 0 && half_full);
}

Status LogWriter::FlushGroup() {
  Position end;
  {
    const MutexLock lock(&mutex_);
    std::swap(active_, flight_);
    end = appended_;
    pressed_ = false;
  }
  size_t from = 0;
  for (const GroupBuffer::Break& at : flight_->breaks) {
    RETURN_IF_ERROR(WritePart(from, at.at, at.start));
    RETURN_IF_ERROR(Rotate(at));
    from = at.at;
  }
  RETURN_IF_ERROR(WritePart(from, flight_->size(), end));
  const bool wants_sync = flight_->needs_sync;
  FinishGroup();
  ReportProgress();
  ReportRoom();
  bool sync = wants_sync;
  {
    const MutexLock lock(&mutex_);
    sync = sync || sync_wanted_ > durable_.offset;
  }
  return sync ? SyncWritten() : Status::Ok();
}

Status LogWriter::WritePart(size_t from, size_t to, const Position& end) {
  if (from == to) return Status::Ok();
  uint64_t offset = 0;
  uint64_t durable = 0;
  {
    const MutexLock lock(&mutex_);
    offset = written_.offset;
    durable = durable_.offset;
  }
  GAPLESS_ASSERT(offset + (to - from) == end.offset && durable <= offset);
  Result<uint64_t> first =
      writer_->Write(Slice(flight_->data() + from, to - from), offset, durable);
  if (!first.ok()) return first.status();
  IndexPart(current_.get(), from, to, first.value());
  segments_->SetWritten(end, writer_->file_end());
  const MutexLock lock(&mutex_);
  written_ = end;
  ++writes_;
  if (sync_deadline_ == 0) {
    sync_deadline_ = options_.clock->MonotonicUs() + uint64_t{options_.sync_interval_ms} * 1000;
  }
  return Status::Ok();
}

void LogWriter::IndexPart(Segment* segment, size_t from, size_t to, uint64_t file_position) {
  const MutexLock lock(&segment->mutex);
  for (const GroupBuffer::Point& point : flight_->points) {
    if (point.at < from || point.at >= to) continue;
    segment->index.push_back(
        IndexEntry{point.before, file_position + (point.at - from), point.timestamp});
  }
}

// After this the buffer is free and the plan knows the facts.
void LogWriter::FinishGroup() {
  const MutexLock lock(&mutex_);
  flight_->Clear();
  if (!next_claimed_) planned_fill_ = writer_->file_end() + active_->allowance;
}

Status LogWriter::SyncWritten() {
  Position target;
  bool closing = false;
  {
    const MutexLock lock(&mutex_);
    target = written_;
    sync_deadline_ = 0;
    closing = closing_;
  }
#ifdef GAPLESS_BUG_ACK_BEFORE_SYNC
  RETURN_IF_ERROR(RaiseDurable(target));
#endif
#ifdef GAPLESS_BUG_SYNC_RETRIED
  if (!writer_->SyncData().ok()) RETURN_IF_ERROR(writer_->SyncData());
#else
  RETURN_IF_ERROR(writer_->SyncData());
#endif
  RETURN_IF_ERROR(RaiseDurable(target));
  {
    const MutexLock lock(&mutex_);
    if (closing || active_->size() != 0) return Status::Ok();
  }
  const uint64_t file_end = writer_->file_end();
  RETURN_IF_ERROR(writer_->WriteMark(target.offset, target.offset));
  if (writer_->file_end() == file_end) return Status::Ok();
  const MutexLock lock(&mutex_);
  if (!next_claimed_) planned_fill_ = writer_->file_end() + active_->allowance;
  sync_deadline_ = options_.clock->MonotonicUs() + uint64_t{options_.sync_interval_ms} * 1000;
  return Status::Ok();
}

Status LogWriter::RaiseDurable(const Position& position) {
  {
    const MutexLock lock(&mutex_);
    ++fdatasyncs_;
    if (durable_ == position) return Status::Ok();
    GAPLESS_ASSERT(durable_.offset < position.offset && position.offset <= written_.offset);
    durable_ = position;
    if (sync_waiters_ > 0) done_.NotifyAll();
  }
  ReportProgress();
  return Status::Ok();
}

Status LogWriter::Rotate(const GroupBuffer::Break& at) {
  RETURN_IF_ERROR(writer_->SyncData());
  RETURN_IF_ERROR(RaiseDurable(at.start));
  RETURN_IF_ERROR(writer_->Rotate(at.start, at.clock));
  WriteSidecar(*current_);
  current_ = std::make_shared<Segment>(writer_->path(), at.start, at.clock);
  {
    const MutexLock lock(&current_->mutex);
    current_->index_known = true;
  }
  segments_->Add(current_, writer_->file_end());
  const MutexLock lock(&mutex_);
  // A second break of the same group cannot be: the sequencer waits for this one.
  next_claimed_ = false;
  retain_wanted_ = true;
  sync_deadline_ = 0;
  return Status::Ok();
}

void LogWriter::WriteSidecar(const Segment& segment) {
  std::string bytes;
  {
    const MutexLock lock(&segment.mutex);
    bytes = EncodeSegmentIndex(segment.start.offset, segment.index);
  }
  const std::string path =
      io::JoinPath(options_.directory, io::SegmentIndexName(segment.start.offset));
  const Result<bool> exists = options_.fs->Exists(path);
  if (!exists.ok() || (exists.value() && !options_.fs->Remove(path).ok())) return;
  Result<std::unique_ptr<io::File>> file = options_.fs->Open(path, io::OpenMode::kCreateNew);
  // A cache: without it, or with half of it, the segment is walked.
  if (file.ok()) (void)file.value()->WriteAt(0, Slice(bytes)).ok();
}

Status LogWriter::AllocateStep() {
  const uint64_t standard = options_.segment_bytes;
  uint64_t grow = 0;
  uint64_t next = 0;
  {
    const MutexLock lock(&mutex_);
    if (grow_wanted_ > planned_capacity_ && PlannedIsEmpty()) {
      grow = std::max(grow_wanted_, standard);
    } else if (!next_claimed_) {
      next = std::max(next_wanted_, standard);
      if (next <= next_capacity_) next = 0;
    } else if (no_space_ && next_wanted_ != 0) {
      // What was refused is wanted still, and can be tried when the claimed segment is in use.
      retry_at_ = options_.clock->MonotonicUs() + kNoSpaceRetryUs;
      return Status::Ok();
    }
  }
  Status status;
  if (grow != 0) {
    status = writer_->Grow(grow);
    const MutexLock lock(&mutex_);
    if (status.ok()) planned_capacity_ = grow;
  } else if (next != 0) {
    status = PrepareAtLeast(next, standard);
  }
  if (status.Is(Code::kNoSpace)) {
    Refuse(std::max(grow, next), status);
    return Status::Ok();
  }
  RETURN_IF_ERROR(status);
  {
    const MutexLock lock(&mutex_);
    grow_wanted_ = 0;
    if (next_wanted_ <= next_capacity_) next_wanted_ = 0;
  }
  EndNoSpace();
  ReportRoom();
  return Status::Ok();
}

// If a segment larger than usual cannot be had, the usual one keeps everybody else going.
Status LogWriter::PrepareAtLeast(uint64_t wanted, uint64_t standard) {
  Status status = writer_->Prepare(wanted);
  if (status.Is(Code::kNoSpace) && wanted > standard && writer_->prepared() == 0) {
    const Status usual = writer_->Prepare(standard);
    if (!usual.ok() && !usual.Is(Code::kNoSpace)) status = usual;
  }
  const MutexLock lock(&mutex_);
  next_capacity_ = writer_->prepared();
  return status;
}

void LogWriter::Refuse(uint64_t bytes, const Status& why) {
  bool begins = false;
  {
    const MutexLock lock(&mutex_);
    begins = !no_space_;
    refused_bytes_ = no_space_ ? std::min(refused_bytes_, bytes) : bytes;
    no_space_ = true;
    retry_at_ = options_.clock->MonotonicUs() + kNoSpaceRetryUs;
    if (bytes > options_.segment_bytes && ++refusals_ >= kLargeRefusalsMax) {
      next_wanted_ = grow_wanted_ = 0;
    }
  }
  if (begins && listener_ != nullptr) listener_->OnNoSpace(why);
  if (begins) ReportProgress();
  ReportRoom();
}

void LogWriter::EndNoSpace() {
  {
    const MutexLock lock(&mutex_);
    if (!no_space_) return;
    no_space_ = false;
    refused_bytes_ = 0;
    refusals_ = 0;
  }
  if (listener_ != nullptr) listener_->OnSpaceBack();
  ReportProgress();
}

// Oldest first, each removal durable before the next: a crash leaves no hole. What cannot be
// removed
// now is tried again with the next segment that goes.
Status LogWriter::RetainStep() {
  {
    const MutexLock lock(&mutex_);
    retain_wanted_ = false;
  }
  for (std::shared_ptr<Segment>& segment : segments_->TakeRemovable()) {
    doomed_.push_back(std::move(segment));
  }
  io::FileSystem* fs = options_.fs;
  while (!doomed_.empty()) {
    const Segment& segment = *doomed_.front();
    const std::string index =
        io::JoinPath(options_.directory, io::SegmentIndexName(segment.start.offset));
    const Result<bool> exists = fs->Exists(index);
    if (exists.ok() && exists.value() && !fs->Remove(index).ok()) return Status::Ok();
    if (!fs->Remove(segment.path).ok()) return Status::Ok();
    RETURN_IF_ERROR(fs->SyncDirectory(options_.directory));
    doomed_.pop_front();
  }
  return Status::Ok();
}

void LogWriter::Poison(const Status& why) {
  Status poison;
  LogProgress progress;
  {
    const MutexLock lock(&mutex_);
    poisoned_ = true;
    poison = poison_ =
        Status::Error(Code::kPoisoned, "the log failed: " + why.message())
            .WithFile(why.file().empty() ? writer_->path() : why.file(), why.offset())
            .With("cause", CodeText(why.code()));
    done_.NotifyAll();
    progress = ProgressLocked();
  }
  if (listener_ == nullptr) return;
  listener_->OnPoisoned(poison);
  listener_->OnProgress(progress);
  listener_->OnRoom();
}

void LogWriter::ReportProgress() {
  if (listener_ != nullptr) listener_->OnProgress(progress());
}

void LogWriter::ReportRoom() {
  {
    const MutexLock lock(&mutex_);
    if (!room_wanted_) return;
    room_wanted_ = false;
  }
  if (listener_ != nullptr) listener_->OnRoom();
}

}  // namespace gapless::log

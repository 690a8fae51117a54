// Which segments there are and which may go. See the header for the threads.
#include "log/segment_set.h"

#include <algorithm>

namespace gapless::log {
namespace {

Status Evicted(uint64_t wanted, uint64_t floor) {
  return Status::Error(Code::kEvicted, "this part of the log was removed")
      .With("wanted", std::to_string(wanted))
      .With("floor", std::to_string(floor));
}

Status Unavailable(const char* what, uint64_t wanted, uint64_t end) {
  return Status::Error(Code::kPositionUnavailable, what)
      .With("wanted", std::to_string(wanted))
      .With("end", std::to_string(end));
}

}  // namespace

void SegmentSet::Add(std::shared_ptr<Segment> segment, uint64_t file_limit) {
  const MutexLock lock(&mutex_);
  segments_.push_back(Entry{std::move(segment), file_limit});
}

void SegmentSet::SetWritten(const Position& written, uint64_t file_limit) {
  const MutexLock lock(&mutex_);
  written_ = written;
  segments_.back().file_limit = file_limit;
}

std::vector<std::shared_ptr<Segment>> SegmentSet::TakeRemovable() {
  const MutexLock lock(&mutex_);
  DropOversized();
  std::vector<std::shared_ptr<Segment>> taken;
  for (size_t count = RemovableCount(); count > 0; --count) {
    taken.push_back(std::move(segments_.front().segment));
    segments_.pop_front();
  }
  return taken;
}

SegmentView SegmentSet::ViewOf(size_t index) const {
  const bool last = index + 1 == segments_.size();
  const Entry& entry = segments_[index];
  const uint64_t end = last ? written_.offset : segments_[index + 1].segment->start.offset;
  return SegmentView{entry.segment, end, entry.file_limit, written_};
}

Result<SegmentView> SegmentSet::Find(uint64_t offset) const {
  const MutexLock lock(&mutex_);
  const uint64_t floor = segments_.front().segment->start.offset;
  if (offset < floor) return Evicted(offset, floor);
  if (offset > written_.offset) {
    return Unavailable("the log does not reach this offset", offset, written_.offset);
  }
  size_t index = segments_.size() - 1;
  while (segments_[index].segment->start.offset > offset) --index;
  return ViewOf(index);
}

Result<SegmentView> SegmentSet::FindSeq(uint64_t seq) const {
  const MutexLock lock(&mutex_);
  if (seq > written_.seq) {
    return Unavailable("the log does not reach this sequence", seq, written_.seq);
  }
  for (size_t index = segments_.size(); index > 0; --index) {
    if (segments_[index - 1].segment->start.seq < seq) return ViewOf(index - 1);
  }
  return Evicted(seq, segments_.front().segment->start.seq + 1);
}

Position SegmentSet::written() const {
  const MutexLock lock(&mutex_);
  return written_;
}

uint64_t SegmentSet::floor() const {
  const MutexLock lock(&mutex_);
  return segments_.front().segment->start.offset;
}

Result<HoldId> SegmentSet::AddHold(HoldKind kind, const std::string& name, uint64_t offset,
                                   uint64_t max_bytes) {
  const MutexLock lock(&mutex_);
  const uint64_t floor = segments_.front().segment->start.offset;
  if (offset < floor) return Evicted(offset, floor);
  holds_.push_back(HoldInfo{next_hold_++, kind, name, offset, max_bytes});
  return holds_.back().id;
}

Status SegmentSet::MoveHold(HoldId id, uint64_t offset, bool* removable) {
  const MutexLock lock(&mutex_);
  *removable = false;
  for (HoldInfo& hold : holds_) {
    if (hold.id != id) continue;
    hold.offset = std::max(hold.offset, offset);
    *removable = RemovableCount() > 0;
    return Status::Ok();
  }
  return Evicted(offset, segments_.front().segment->start.offset);
}

void SegmentSet::ReleaseHold(HoldId id) {
  const MutexLock lock(&mutex_);
  std::erase_if(holds_, [id](const HoldInfo& hold) { return hold.id == id; });
}

bool SegmentSet::HoldIsAlive(HoldId id) const {
  const MutexLock lock(&mutex_);
  return std::any_of(holds_.begin(), holds_.end(),
                     [id](const HoldInfo& hold) { return hold.id == id; });
}

void SegmentSet::SetBase(uint64_t offset) {
  const MutexLock lock(&mutex_);
  base_ = offset;
}

void SegmentSet::FillStats(LogStats* stats) const {
  const MutexLock lock(&mutex_);
  stats->floor = segments_.front().segment->start.offset;
  stats->end = written_.offset;
  stats->segments = segments_.size();
  for (const Entry& entry : segments_) stats->file_bytes += entry.file_limit;
  stats->holds = holds_;
}

uint64_t SegmentSet::KeepFrom() const {
  const uint64_t end = written_.offset;
  uint64_t keep = std::min(base_, end > retain_bytes_ ? end - retain_bytes_ : 0);
  for (const HoldInfo& hold : holds_) keep = std::min(keep, hold.offset);
  return keep;
}

size_t SegmentSet::RemovableCount() const {
  const uint64_t keep = KeepFrom();
  size_t count = 0;
  while (count + 1 < segments_.size() && segments_[count + 1].segment->start.offset <= keep) {
    ++count;
  }
  return count;
}

void SegmentSet::DropOversized() {
  const uint64_t end = written_.offset;
  std::erase_if(holds_, [end](const HoldInfo& hold) {
    return hold.max_bytes != 0 && end > hold.offset && end - hold.offset > hold.max_bytes;
  });
}

}  // namespace gapless::log

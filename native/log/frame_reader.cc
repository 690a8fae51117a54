// Frames: judging one, and walking a file of them. See the header.
#include "log/frame_reader.h"

#include <algorithm>

#include "base/coding.h"

namespace gapless::log {

Frame ParseFrame(const ClusterId& cluster, const MarkPlace& place, const Position& before,
                 uint64_t timestamp_before, Slice bytes) {
  Frame frame;
  frame.file_position = place.file_position;
  // A record is never sixteen zero bytes: its kind stands among them.
  const size_t probe = bytes.size() < 16 ? bytes.size() : 16;
  if (probe > 0 && std::all_of(bytes.data(), bytes.data() + probe, [](char c) { return c == 0; })) {
    frame.kind = FrameKind::kZero;
    return frame;
  }
  if (bytes.size() < 8) {
    frame.bytes = 8;
    return frame;
  }
  const uint64_t first = LoadU64(bytes.data());
  if (first == kMarkMagic) {
    if (bytes.size() < kMarkBytes) {
      frame.bytes = kMarkBytes;
      return frame;
    }
    if (DecodeMark(place, bytes.data(), &frame.mark)) {
      frame.kind = frame.mark.offset == before.offset ? FrameKind::kMark : FrameKind::kBad;
      frame.check = RecordCheck::kSequence;
      frame.bytes = kMarkBytes;
      frame.raw = bytes.Sub(0, kMarkBytes);
      return frame;
    }
  }
  frame.bytes = kRecordHeaderBytes;
  if (bytes.size() < kRecordHeaderBytes) return frame;
  frame.check = CheckRecord(cluster, before, timestamp_before, bytes, &frame.record);
  if (frame.check == RecordCheck::kHeaderCrc) {
    frame.kind = FrameKind::kBad;
    return frame;
  }
  frame.bytes = frame.record.header.RecordBytes();
  if (frame.check == RecordCheck::kShort) return frame;
  frame.kind = frame.check == RecordCheck::kOk ? FrameKind::kRecord : FrameKind::kBad;
  if (frame.kind == FrameKind::kRecord) frame.raw = bytes.Sub(0, frame.bytes);
  return frame;
}

FrameReader::FrameReader(io::File* file, const ClusterId& cluster, const Id128& secret,
                         uint64_t segment_start, uint64_t limit, size_t chunk_bytes)
    : file_(file),
      cluster_(cluster),
      place_{secret, segment_start, 0},
      limit_(limit),
      chunk_bytes_(chunk_bytes) {}

void FrameReader::Seek(const Position& before, uint64_t timestamp, uint64_t file_position) {
  position_ = before;
  timestamp_ = timestamp;
  file_position_ = file_position;
  begin_ = end_ = 0;
}

Status FrameReader::Next(Frame* frame) {
  size_t wanted = kRecordHeaderBytes;
  while (true) {
    RETURN_IF_ERROR(Fill(wanted));
    place_.file_position = file_position_;
    const Slice bytes(buffer_.get() + begin_, end_ - begin_);
    *frame = ParseFrame(cluster_, place_, position_, timestamp_, bytes);
    if (frame->kind != FrameKind::kEnd) break;
    if (bytes.size() < wanted) {
      // No more can be read: nothing at all is the end, a part of a frame is a short one.
      if (!bytes.empty()) {
        frame->kind = FrameKind::kBad;
        frame->check = RecordCheck::kShort;
      }
      return Status::Ok();
    }
    wanted = frame->bytes;
  }
  if (frame->kind == FrameKind::kRecord) {
    position_ = frame->record.header.After(position_.offset);
    timestamp_ = frame->record.header.timestamp;
  }
  if (frame->kind == FrameKind::kRecord || frame->kind == FrameKind::kMark) {
    file_position_ += frame->bytes;
    begin_ += frame->bytes;
  }
  return Status::Ok();
}

Status FrameReader::Fill(size_t wanted) {
  if (end_ - begin_ >= wanted) return Status::Ok();
  const uint64_t have_until = file_position_ + (end_ - begin_);
  if (have_until >= limit_) return Status::Ok();
  const size_t capacity = std::max(wanted, chunk_bytes_);
  if (capacity > capacity_) {
    std::unique_ptr<char[]> larger(new char[capacity]);
    if (end_ > begin_) std::memcpy(larger.get(), buffer_.get() + begin_, end_ - begin_);
    buffer_ = std::move(larger);
    capacity_ = capacity;
  } else if (end_ > begin_) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
  }
  end_ -= begin_;
  begin_ = 0;
  const uint64_t room = std::min<uint64_t>(capacity_ - end_, limit_ - have_until);
  size_t got = 0;
  RETURN_IF_ERROR(file_->ReadAt(have_until, buffer_.get() + end_, static_cast<size_t>(room), &got));
  end_ += got;
  return Status::Ok();
}

}  // namespace gapless::log

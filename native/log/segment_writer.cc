// The flusher's hands: every byte of log that is written goes through here.
#include "log/segment_writer.h"

#include <algorithm>
#include <memory>
#include <string>

#include "io/file_names.h"
#include "log/frame_reader.h"

namespace gapless::log {
namespace {

constexpr uint64_t kWriteAgainBytes = 1 << 20;

Status RemoveIfThere(io::FileSystem* fs, const std::string& path) {
  const Result<bool> exists = fs->Exists(path);
  if (!exists.ok()) return exists.status();
  return exists.value() ? fs->Remove(path) : Status::Ok();
}

}  // namespace

Status SegmentWriter::Create(const LogOptions& options, const Position& start, uint64_t clock,
                             bool padded) {
  const std::string path = io::JoinPath(options.directory, io::SegmentName(start.offset));
  Result<std::unique_ptr<io::File>> file = options.fs->Open(path, io::OpenMode::kCreateNew);
  if (!file.ok()) return file.status();
  char header[kSegmentHeaderBytes];
  EncodeSegmentHeader(SegmentHeader{options.cluster, start, clock, padded}, header);
  RETURN_IF_ERROR(file.value()->WriteAt(0, Slice(header, sizeof header)));
  RETURN_IF_ERROR(file.value()->Allocate(0, options.segment_bytes));
  RETURN_IF_ERROR(file.value()->Sync());
  return options.fs->SyncDirectory(options.directory);
}

Status SegmentWriter::Open(const ScanResult& scan) {
  const SegmentInfo& last = scan.segments.back();
  Result<std::unique_ptr<io::File>> file = options_.fs->Open(last.path, io::OpenMode::kReadWrite);
  if (!file.ok()) return file.status();
  file_ = std::move(file.value());
  path_ = last.path;
  start_ = last.start.offset;
  file_end_ = record_end_ = scan.end_file_offset;
  // What the scan read may stand in the page cache only; from here on it counts as durable. After a
  // failed sync the kernel calls those pages clean and no sync writes them: they are made dirty
  // again, with the marks, of which a lost one would be a hole in front of the next record.
  uint64_t proven = scan.proven_file_offset;
  RETURN_IF_ERROR(SkipMarksBefore(&proven));
  RETURN_IF_ERROR(WriteAgain(scan, proven));
  RETURN_IF_ERROR(file_->Sync());
  RETURN_IF_ERROR(options_.fs->SyncDirectory(options_.directory));
  RETURN_IF_ERROR(RemoveIfThere(options_.fs, io::JoinPath(options_.directory, kNextSegmentFile)));
  RETURN_IF_ERROR(SkipMarksBefore(&record_end_));
  const Result<uint64_t> size = file_->Size();
  if (!size.ok()) return size.status();
  capacity_ = size.value();
  if (capacity_ >= options_.segment_bytes) return Status::Ok();
  const Status grown = Grow(options_.segment_bytes);
  return grown.Is(Code::kNoSpace) ? Status::Ok() : grown;
}

Status SegmentWriter::SkipMarksBefore(uint64_t* position) {
  char bytes[kMarkBytes];
  while (*position >= kSegmentHeaderBytes + kMarkBytes) {
    size_t got = 0;
    RETURN_IF_ERROR(file_->ReadAt(*position - kMarkBytes, bytes, sizeof bytes, &got));
    Mark mark;
    if (got != sizeof bytes || !DecodeMark(PlaceAt(*position - kMarkBytes), bytes, &mark)) break;
    *position -= kMarkBytes;
  }
  return Status::Ok();
}

// Read again, these bytes are other ones than the scan verified: what is written has been verified
// itself.
Status SegmentWriter::WriteAgain(const ScanResult& scan, uint64_t begin) {
  const uint64_t end = scan.end_file_offset;
  if (begin >= end) return Status::Ok();
  FrameReader reader(file_.get(), options_.cluster, options_.secret, start_, end, kWriteAgainBytes);
  reader.Seek(scan.proven, scan.proven_timestamp, begin);
  std::string verified;
  while (begin < end) {
    Frame frame;
    RETURN_IF_ERROR(reader.Next(&frame));
    const bool whole = frame.kind == FrameKind::kRecord || frame.kind == FrameKind::kMark;
    if (whole) verified.append(frame.raw.data(), frame.raw.size());
    const bool last = reader.file_position() == end;
    if (!whole || (last && reader.position() != scan.end)) {
      return Status::Corrupt("the log's last segment changed while it was opened", path_,
                             frame.file_position);
    }
    if (!last && verified.size() < kWriteAgainBytes) continue;
    RETURN_IF_ERROR(file_->WriteAt(begin, verified));
    begin = reader.file_position();
    verified.clear();
  }
  return Status::Ok();
}

Result<uint64_t> SegmentWriter::Write(Slice records, uint64_t offset, uint64_t durable) {
  char mark[kMarkBytes];
  const bool stands = mark_stands_ && mark_.durable == durable && mark_.offset == offset;
  const size_t mark_bytes = stands ? 0 : kMarkBytes;
  if (!stands) EncodeMark(PlaceAt(file_end_), Mark{offset, durable}, mark);
  const uint64_t first = file_end_ + mark_bytes;
  GAPLESS_ASSERT(first + records.size() <= capacity_);
  const io::IoVec parts[2] = {{mark, mark_bytes}, {records.data(), records.size()}};
  RETURN_IF_ERROR(file_->WriteAt(file_end_, stands ? parts + 1 : parts, stands ? 1 : 2));
  mark_stands_ = false;
  file_end_ = record_end_ = first + records.size();
  return first;
}

Status SegmentWriter::WriteMark(uint64_t offset, uint64_t durable) {
  if (mark_stands_ && mark_.durable == durable && mark_.offset == offset) return Status::Ok();
  char bytes[kMarkBytes];
  GAPLESS_ASSERT(file_end_ + kMarkBytes <= capacity_);
  mark_ = Mark{offset, durable};
  EncodeMark(PlaceAt(file_end_), mark_, bytes);
  RETURN_IF_ERROR(file_->WriteAt(file_end_, Slice(bytes, sizeof bytes)));
  file_end_ += kMarkBytes;
  mark_stands_ = true;
  return Status::Ok();
}

Status SegmentWriter::Prepare(uint64_t bytes) {
  const std::string path = io::JoinPath(options_.directory, kNextSegmentFile);
  if (next_ == nullptr) {
    RETURN_IF_ERROR(RemoveIfThere(options_.fs, path));
    Result<std::unique_ptr<io::File>> file = options_.fs->Open(path, io::OpenMode::kCreateNew);
    if (!file.ok()) return file.status();
    next_ = std::move(file.value());
    next_capacity_ = 0;
  }
  Status status = next_->Allocate(0, bytes);
  if (status.ok()) status = next_->Sync();
  if (status.ok()) {
    next_capacity_ = bytes;
  } else if (next_capacity_ == 0) {
    next_.reset();
    RETURN_IF_ERROR(options_.fs->Remove(path));
  }
  return status;
}

Status SegmentWriter::Grow(uint64_t bytes) {
  RETURN_IF_ERROR(file_->Allocate(0, bytes));
  capacity_ = std::max(capacity_, bytes);
  return Status::Ok();
}

Status SegmentWriter::Rotate(const Position& start, uint64_t clock) {
  RETURN_IF_ERROR(CloseCurrent(start.offset));
  char bytes[kSegmentHeaderBytes + kMarkBytes];
  EncodeSegmentHeader(SegmentHeader{options_.cluster, start, clock, false}, bytes);
  start_ = start.offset;
  mark_ = Mark{start.offset, start.offset};
  EncodeMark(PlaceAt(kSegmentHeaderBytes), mark_, bytes + kSegmentHeaderBytes);
  RETURN_IF_ERROR(next_->WriteAt(0, Slice(bytes, sizeof bytes)));
  RETURN_IF_ERROR(next_->Sync());
  path_ = io::JoinPath(options_.directory, io::SegmentName(start.offset));
  RETURN_IF_ERROR(options_.fs->Rename(io::JoinPath(options_.directory, kNextSegmentFile), path_));
  RETURN_IF_ERROR(options_.fs->SyncDirectory(options_.directory));
  file_ = std::move(next_);
  capacity_ = next_capacity_;
  record_end_ = kSegmentHeaderBytes;
  file_end_ = sizeof bytes;
  mark_stands_ = true;
  return Status::Ok();
}

// Before the successor is visible everything here is durable: garbage in a closed segment is
// damage.
// The last mark says that the segment is complete; a segment that was trimmed and could not grow
// again has no room for it.
Status SegmentWriter::CloseCurrent(uint64_t end) {
  if (file_end_ + kMarkBytes <= capacity_) RETURN_IF_ERROR(WriteMark(end, end));
  RETURN_IF_ERROR(file_->Truncate(file_end_));
  return file_->Sync();
}

Status SegmentWriter::Trim() {
  RETURN_IF_ERROR(file_->Truncate(record_end_));
  return file_->Sync();
}

Status SegmentWriter::DropPrepared() {
  if (next_ == nullptr) return Status::Ok();
  next_.reset();
  return options_.fs->Remove(io::JoinPath(options_.directory, kNextSegmentFile));
}

}  // namespace gapless::log

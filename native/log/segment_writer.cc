// The flusher's hands: every byte of log that is written goes through here.
#include "log/segment_writer.h"

#include <algorithm>
#include <memory>

#include "io/file_names.h"

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

Status SegmentWriter::Open(const SegmentInfo& last, uint64_t proven, uint64_t file_end) {
  Result<std::unique_ptr<io::File>> file = options_.fs->Open(last.path, io::OpenMode::kReadWrite);
  if (!file.ok()) return file.status();
  file_ = std::move(file.value());
  path_ = last.path;
  start_ = last.start.offset;
  file_end_ = record_end_ = file_end;
  // What the scan read may stand in the page cache only; from here on it counts as durable. After a
  // failed sync the kernel calls those pages clean and no sync writes them: they are made dirty
  // again, with the marks, of which a lost one would be a hole in front of the next record.
  RETURN_IF_ERROR(SkipMarksBefore(&proven));
  RETURN_IF_ERROR(WriteAgain(proven, file_end));
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

Status SegmentWriter::WriteAgain(uint64_t begin, uint64_t end) {
  if (begin >= end) return Status::Ok();
  const std::unique_ptr<char[]> chunk(new char[std::min(kWriteAgainBytes, end - begin)]);
  while (begin < end) {
    const size_t wanted = static_cast<size_t>(std::min(kWriteAgainBytes, end - begin));
    size_t got = 0;
    RETURN_IF_ERROR(file_->ReadAt(begin, chunk.get(), wanted, &got));
    if (got != wanted) {
      return Status::Error(Code::kIo, "the log's last segment became shorter while it was opened")
          .WithFile(path_, static_cast<int64_t>(begin + got));
    }
    RETURN_IF_ERROR(file_->WriteAt(begin, Slice(chunk.get(), wanted)));
    begin += wanted;
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

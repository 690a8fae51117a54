// Finding and reading records. Lock order: a segment's mutex, then the reader's; the set's is never
// held together with another.
#include "log/log_reader.h"

#include <algorithm>

#include "io/file_names.h"

namespace gapless::log {
namespace {

constexpr size_t kWalkChunkBytes = 128 << 10;
constexpr uint64_t kReadChunkMax = 4 << 20;

}  // namespace

LogReader::LogReader(const LogOptions& options, SegmentSet* segments)
    : options_(options), segments_(segments) {}

Result<LogChunk> LogReader::Read(uint64_t from, uint64_t until, uint64_t max_bytes) {
  Result<SegmentView> found = segments_->Find(from);
  if (!found.ok()) return found.status();
  const SegmentView& view = found.value();
  LogChunk chunk;
  if (from >= until || from == view.written.offset) {
    Result<Position> at = PositionAt(from);
    if (!at.ok()) {
      if (!at.status().Is(Code::kNotARecordEnd)) return at.status();
      return Status::Error(Code::kPositionUnavailable, at.status().message());
    }
    chunk.before = chunk.after = at.value();
    return chunk;
  }
  std::shared_ptr<io::File> file;
  RETURN_IF_ERROR(OpenSegment(view, &file));
  const uint64_t end = std::min(until, view.end);
  const uint64_t wanted =
      std::min(std::min(end - from, max_bytes) + kRecordHeaderBytes * 4, kReadChunkMax);
  FrameReader reader(file.get(), options_.cluster, options_.secret, view.segment->start.offset,
                     view.file_limit, std::max<size_t>(static_cast<size_t>(wanted), 4096));
  const IndexEntry near = NearestOffset(view, from);
  reader.Seek(near.before, near.timestamp, near.file_position);
  RETURN_IF_ERROR(WalkTo(view, from, &reader));
  if (reader.position().offset != from) {
    return Status::Error(Code::kPositionUnavailable, "no record begins at this offset")
        .With("wanted", std::to_string(from));
  }
  chunk.before = chunk.after = reader.position();
  Frame frame;
  while (chunk.after.offset < end) {
    const FrameReader::State before = reader.state();
    RETURN_IF_ERROR(reader.Next(&frame));
    if (frame.kind == FrameKind::kMark) continue;
    if (frame.kind != FrameKind::kRecord) return DamageAt(view, reader, frame);
    const bool too_much = !chunk.bytes.empty() && chunk.bytes.size() + frame.bytes > max_bytes;
    if (too_much || reader.position().offset > end) {
      reader.Restore(before);
      break;
    }
    chunk.bytes.append(frame.raw.data(), frame.raw.size());
    chunk.after = reader.position();
  }
  Remember(view.segment.get(), reader);
  return chunk;
}

Result<Position> LogReader::PositionAt(uint64_t offset) {
  Result<SegmentView> found = segments_->Find(offset);
  if (!found.ok()) return found.status();
  const SegmentView& view = found.value();
  if (offset == view.written.offset) return view.written;
  if (offset == view.segment->start.offset) return view.segment->start;
  std::shared_ptr<io::File> file;
  RETURN_IF_ERROR(OpenSegment(view, &file));
  FrameReader reader(file.get(), options_.cluster, options_.secret, view.segment->start.offset,
                     view.file_limit, kWalkChunkBytes);
  const IndexEntry near = NearestOffset(view, offset);
  reader.Seek(near.before, near.timestamp, near.file_position);
  RETURN_IF_ERROR(WalkTo(view, offset, &reader));
  if (reader.position().offset != offset) {
    return Status::Error(Code::kNotARecordEnd, "no record ends at this offset")
        .With("wanted", std::to_string(offset));
  }
  Remember(view.segment.get(), reader);
  return reader.position();
}

Result<Position> LogReader::PositionBeforeSeq(uint64_t seq) {
  Result<SegmentView> found = segments_->FindSeq(seq);
  if (!found.ok()) return found.status();
  const SegmentView& view = found.value();
  std::shared_ptr<io::File> file;
  RETURN_IF_ERROR(OpenSegment(view, &file));
  FrameReader reader(file.get(), options_.cluster, options_.secret, view.segment->start.offset,
                     view.file_limit, kWalkChunkBytes);
  const IndexEntry near = NearestSeq(view, seq);
  reader.Seek(near.before, near.timestamp, near.file_position);
  const IndexEntry start{view.segment->start, kSegmentHeaderBytes, view.segment->clock};
  bool from_start = near.before == start.before;
  Frame frame;
  while (true) {
    const Position before = reader.position();
    RETURN_IF_ERROR(reader.Next(&frame));
    if (frame.kind == FrameKind::kMark) continue;
    if (frame.kind == FrameKind::kRecord) {
      if (reader.position().seq >= seq) return before;
      continue;
    }
    if (from_start) return DamageAt(view, reader, frame);
    from_start = true;
    ForgetIndex(view.segment.get());
    reader.Seek(start.before, start.timestamp, start.file_position);
  }
}

Status LogReader::OpenSegment(const SegmentView& view, std::shared_ptr<io::File>* file) {
  Segment& segment = *view.segment;
  {
    const MutexLock lock(&segment.mutex);
    if (!segment.index_known) LoadIndex(&segment);
    if (segment.file != nullptr) {
      *file = segment.file;
      return Status::Ok();
    }
    Result<std::unique_ptr<io::File>> opened = options_.fs->Open(segment.path, io::OpenMode::kRead);
    if (!opened.ok()) return EvictedOr(view, opened.status());
    // The header of a segment in front of the scanned part is verified only here.
    char bytes[kSegmentHeaderBytes];
    size_t got = 0;
    RETURN_IF_ERROR(opened.value()->ReadAt(0, bytes, sizeof bytes, &got));
    SegmentHeader header;
    const HeaderCheck check = DecodeSegmentHeader(options_.cluster, Slice(bytes, got), &header);
    if (check != HeaderCheck::kOk || header.start != segment.start) {
      const char* what = check == HeaderCheck::kOk ? "order" : HeaderCheckText(check);
      return Status::Corrupt(std::string("segment header: ") + what, segment.path, 0);
    }
    segment.file = std::move(opened.value());
    *file = segment.file;
  }
  LimitOpenFiles(view.segment);
  return Status::Ok();
}

// A file that cannot be opened may have been removed since it was looked up.
Status LogReader::EvictedOr(const SegmentView& view, const Status& failure) const {
  const uint64_t floor = segments_->floor();
  if (view.segment->start.offset >= floor) return failure;
  return Status::Error(Code::kEvicted, "this part of the log was removed")
      .With("floor", std::to_string(floor));
}

void LogReader::LoadIndex(Segment* segment) {
  segment->index_known = true;
  const std::string name = io::SegmentIndexName(segment->start.offset);
  segment->index =
      LoadSegmentIndex(options_.fs, io::JoinPath(options_.directory, name), segment->start.offset);
}

IndexEntry LogReader::NearestOffset(const SegmentView& view, uint64_t offset) {
  IndexEntry near{view.segment->start, kSegmentHeaderBytes, view.segment->clock};
  {
    const MutexLock lock(&view.segment->mutex);
    const IndexEntry* entry = FindIndexEntry(view.segment->index, offset);
    if (entry != nullptr) near = *entry;
  }
  const MutexLock lock(&mutex_);
  for (const Place& place : places_) {
    if (place.segment != view.segment.get()) continue;
    const uint64_t at = place.at.before.offset;
    if (at <= offset && at > near.before.offset) near = place.at;
  }
  return near;
}

IndexEntry LogReader::NearestSeq(const SegmentView& view, uint64_t seq) {
  IndexEntry near{view.segment->start, kSegmentHeaderBytes, view.segment->clock};
  const MutexLock lock(&view.segment->mutex);
  for (const IndexEntry& entry : view.segment->index) {
    if (entry.before.seq >= seq) break;
    near = entry;
  }
  return near;
}

Status LogReader::WalkTo(const SegmentView& view, uint64_t offset, FrameReader* reader) {
  const IndexEntry start{view.segment->start, kSegmentHeaderBytes, view.segment->clock};
  bool from_start = reader->position() == start.before;
  std::vector<IndexEntry> passed;
  uint64_t indexed_at = reader->file_position();
  Frame frame;
  while (reader->position().offset < offset) {
    const FrameReader::State before = reader->state();
    RETURN_IF_ERROR(reader->Next(&frame));
    if (frame.kind == FrameKind::kRecord || frame.kind == FrameKind::kMark) {
      if (before.file_position < indexed_at + kIndexIntervalBytes) continue;
      passed.push_back(IndexEntry{before.position, before.file_position, before.timestamp});
      indexed_at = before.file_position;
      continue;
    }
    if (from_start) return DamageAt(view, *reader, frame);
    // The index led astray, or the damage is real: the segment's own start decides.
    from_start = true;
    ForgetIndex(view.segment.get());
    passed.clear();
    indexed_at = kSegmentHeaderBytes;
    reader->Seek(start.before, start.timestamp, start.file_position);
  }
  if (!passed.empty()) AddToIndex(view.segment.get(), passed);
  return Status::Ok();
}

// What a walk passed need not be walked again: a missing index is rebuilt by its use.
void LogReader::AddToIndex(Segment* segment, const std::vector<IndexEntry>& entries) {
  const MutexLock lock(&segment->mutex);
  std::vector<IndexEntry>& index = segment->index;
  const auto by_offset = [](const IndexEntry& a, const IndexEntry& b) {
    return a.before.offset < b.before.offset;
  };
  index.insert(index.end(), entries.begin(), entries.end());
  std::sort(index.begin(), index.end(), by_offset);
  const auto same = [](const IndexEntry& a, const IndexEntry& b) { return a.before == b.before; };
  index.erase(std::unique(index.begin(), index.end(), same), index.end());
}

void LogReader::ForgetIndex(Segment* segment) {
  const MutexLock lock(&segment->mutex);
  segment->index.clear();
}

Status LogReader::DamageAt(const SegmentView& view, const FrameReader& reader,
                           const Frame& frame) const {
  const uint64_t at = reader.position().offset;
  const char* what = frame.kind == FrameKind::kBad ? RecordCheckText(frame.check) : "short";
  if (frame.kind == FrameKind::kBad && frame.check == RecordCheck::kFormat) {
    return Status::Error(Code::kFormatUnsupported, "the log was written by another version")
        .WithFile(view.segment->path, static_cast<int64_t>(reader.file_position()));
  }
  return Status::Corrupt(std::string("the log is damaged: ") + what, view.segment->path,
                         reader.file_position())
      .With("what", what)
      .With("logOffset", std::to_string(at));
}

void LogReader::Remember(const Segment* segment, const FrameReader& reader) {
  const MutexLock lock(&mutex_);
  const IndexEntry at{reader.position(), reader.file_position(), reader.timestamp()};
  places_[next_place_] = Place{segment, at};
  next_place_ = (next_place_ + 1) % kPlaces;
}

void LogReader::LimitOpenFiles(const std::shared_ptr<Segment>& segment) {
  std::shared_ptr<Segment> oldest;
  {
    const MutexLock lock(&mutex_);
    oldest = open_[next_open_].lock();
    open_[next_open_] = segment;
    next_open_ = (next_open_ + 1) % kOpenFiles;
  }
  if (oldest == nullptr || oldest == segment) return;
  const MutexLock lock(&oldest->mutex);
  oldest->file.reset();  // who reads it keeps it open
}

}  // namespace gapless::log

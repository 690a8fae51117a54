// The recovery scan: walks the segments from the newest checkpoint on, searches what stands behind
// the last valid record for evidence, and judges. One Scanner object a scan, one thread.
//
// position_ and survivor_ always say: everything up to position_ is valid, and it ends in segment
// survivor_ at end_file_offset_.
#include "log/recovery.h"

#include <algorithm>
#include <optional>

#include "base/coding.h"
#include "io/file_names.h"
#include "log/frame_reader.h"
#include "log/recovery_tail.h"
#include "log/segment.h"

namespace gapless::log {

ScanVerdict Decide(uint64_t h, uint64_t durable, bool anything_behind) {
  if (h < durable) return ScanVerdict::kCorrupt;
  return anything_behind ? ScanVerdict::kTail : ScanVerdict::kClean;
}

Status ScanResult::ToStatus() const {
  if (verdict != ScanVerdict::kCorrupt) return Status::Ok();
  const Damage& first = damage.front();
  return Status::Corrupt("the log is damaged: " + first.what, first.file, first.offset)
      .With("what", first.what)
      .With("logOffset", std::to_string(first.log_offset))
      .With("seq", std::to_string(first.seq))
      .With("durable", std::to_string(durable_mark))
      .With("repair", "gapless repair DIR --truncate-at " + std::to_string(end.offset) + " --yes");
}

namespace {

constexpr size_t kScanChunkBytes = 1 << 20;

struct Listed {
  uint64_t offset = 0;
  std::string path;
};

// Where the walk ended before the log did.
struct Stop {
  size_t segment = 0;
  uint64_t file_offset = 0;
  std::string file;
  std::string what;
  bool foreign = false;  // the log is not the one that the checkpoint speaks of
};

Result<std::vector<Listed>> ListSegments(io::FileSystem* fs, const std::string& directory) {
  Result<std::vector<std::string>> names = fs->List(directory);
  if (!names.ok()) return names.status();
  std::vector<Listed> listed;
  for (const std::string& name : names.value()) {
    Listed entry;
    if (!io::ParseSegmentName(name, &entry.offset)) continue;
    entry.path = io::JoinPath(directory, name);
    listed.push_back(std::move(entry));
  }
  std::sort(listed.begin(), listed.end(),
            [](const Listed& a, const Listed& b) { return a.offset < b.offset; });
  return listed;
}

struct OpenSegment {
  std::unique_ptr<io::File> file;
  uint64_t size = 0;
  SegmentHeader header;
  HeaderCheck check = HeaderCheck::kOk;
};

Result<OpenSegment> OpenForScan(const ScanOptions& options, const Listed& listed) {
  OpenSegment segment;
  Result<std::unique_ptr<io::File>> file = options.fs->Open(listed.path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  segment.file = std::move(file.value());
  const Result<uint64_t> size = segment.file->Size();
  if (!size.ok()) return size.status();
  segment.size = size.value();
  char bytes[kSegmentHeaderBytes];
  size_t got = 0;
  RETURN_IF_ERROR(segment.file->ReadAt(0, bytes, sizeof bytes, &got));
  segment.check = DecodeSegmentHeader(options.cluster, Slice(bytes, got), &segment.header);
  return segment;
}

Status Unsupported(const std::string& path, uint64_t offset) {
  return Status::Error(Code::kFormatUnsupported, "the log was written by another version")
      .WithFile(path, static_cast<int64_t>(offset));
}

class Scanner {
 public:
  Scanner(const ScanOptions& options, const RecordSink& sink) : options_(options), sink_(sink) {
    result_.durable_mark = std::max(options.durable_mark, options.from.offset);
  }

  Result<ScanResult> Run();

 private:
  bool FindFirst();
  Status DescribeEarlier();
  Status ScanSegment(size_t index);
  bool Links(size_t index, const SegmentHeader& header);
  Status SeekToFrom(size_t index, const OpenSegment& segment, FrameReader* reader);
  Status Walk(size_t index, FrameReader* reader);
  bool CheckFrom(size_t index, uint64_t file_position);
  Status TakeRecord(const Frame& frame, const Position& before, uint64_t timestamp_before);
  Status CheckRestOfClosed(size_t index, const OpenSegment& segment);
  void NoteProven();
  void StopAt(size_t index, uint64_t file_offset, const std::string& what);
  void StopAtGap(size_t index);
  Status ExamineBehind();
  Status Judge();
  Status FindLaterDamage();

  const ScanOptions& options_;
  const RecordSink& sink_;
  ScanResult result_;
  std::vector<Listed> listed_;
  std::optional<Stop> stop_;
  size_t first_ = 0;
  bool any_survivor_ = false;
  size_t survivor_ = 0;
  uint64_t end_file_offset_ = 0;
  Position position_;
  uint64_t timestamp_ = 0;
  bool reached_from_ = false;
  bool complete_ = false;  // the segment ends with the mark that a rotation leaves
  uint64_t indexed_at_ = 0;
  bool anything_behind_ = false;
};

Result<ScanResult> Scanner::Run() {
  Result<std::vector<Listed>> listed = ListSegments(options_.fs, options_.directory);
  if (!listed.ok()) return listed.status();
  listed_ = std::move(listed.value());
  position_ = options_.from;
  timestamp_ = options_.from_timestamp;
  if (FindFirst()) {
    RETURN_IF_ERROR(DescribeEarlier());
    for (size_t i = first_; i < listed_.size() && !stop_; ++i) {
      RETURN_IF_ERROR(ScanSegment(i));
    }
  } else {
    const std::string name = io::SegmentName(options_.from.offset);
    stop_ = Stop{0, 0, io::JoinPath(options_.directory, name), "missing", true};
  }
  RETURN_IF_ERROR(ExamineBehind());
  RETURN_IF_ERROR(Judge());
  return std::move(result_);
}

// The segment that holds `from`: the last one that does not begin behind it.
bool Scanner::FindFirst() {
  size_t holding = listed_.size();
  for (size_t i = 0; i < listed_.size() && listed_[i].offset <= options_.from.offset; ++i) {
    holding = i;
  }
  if (holding == listed_.size()) return false;
  first_ = options_.whole ? 0 : holding;
  return true;
}

// Segments in front of the scanned part are only retained: damage there shows when they are read.
Status Scanner::DescribeEarlier() {
  for (size_t i = 0; i < first_; ++i) {
    Result<OpenSegment> segment = OpenForScan(options_, listed_[i]);
    if (!segment.ok()) return segment.status();
    const OpenSegment& open = segment.value();
    SegmentInfo info;
    info.path = listed_[i].path;
    if (open.check == HeaderCheck::kOk) {
      info.start = open.header.start;
      info.clock = open.header.clock;
      info.padded = open.header.padded;
    }
    info.start.offset = listed_[i].offset;
    info.file_bytes = open.size;
    result_.segments.push_back(std::move(info));
  }
  return Status::Ok();
}

Status Scanner::ScanSegment(size_t index) {
  Result<OpenSegment> opened = OpenForScan(options_, listed_[index]);
  if (!opened.ok()) return opened.status();
  const OpenSegment& segment = opened.value();
  const SegmentHeader& header = segment.header;
  if (segment.check == HeaderCheck::kFormat) return Unsupported(listed_[index].path, 0);
  if (segment.check != HeaderCheck::kOk) {
    StopAt(index, 0, HeaderCheckText(segment.check));
    return Status::Ok();
  }
  if (header.start.offset != listed_[index].offset) {
    StopAt(index, 32, "order");
    return Status::Ok();
  }
  if (index != first_ && !Links(index, header)) return Status::Ok();
  position_ = header.start;
  timestamp_ = header.clock;
  any_survivor_ = true;
  survivor_ = index;
  end_file_offset_ = kSegmentHeaderBytes;
  result_.segments.push_back(
      SegmentInfo{listed_[index].path, header.start, header.clock, segment.size, header.padded});
  result_.index.clear();
  indexed_at_ = 0;
  FrameReader reader(segment.file.get(), options_.cluster, options_.secret, header.start.offset,
                     segment.size, kScanChunkBytes);
  reader.Seek(position_, timestamp_, kSegmentHeaderBytes);
  if (index == first_ && !options_.whole) {
    RETURN_IF_ERROR(SeekToFrom(index, segment, &reader));
  }
  result_.proven_file_offset = kSegmentHeaderBytes;
  result_.proven = header.start;
  result_.proven_timestamp = header.clock;
  NoteProven();
  RETURN_IF_ERROR(Walk(index, &reader));
  if (!stop_ && index + 1 < listed_.size()) return CheckRestOfClosed(index, segment);
  return Status::Ok();
}

// Does the next segment begin exactly where the one before it ended?
bool Scanner::Links(size_t index, const SegmentHeader& header) {
  if (header.padded) {
    for (const PaddedRange& range : options_.padded) {
      if (range.from == position_ && range.to == header.start) return true;
    }
  }
  if (header.start.offset > position_.offset) {
    StopAtGap(index - 1);
  } else if (header.start != position_ || header.clock != timestamp_) {
    StopAt(index, 32, header.start.offset < position_.offset ? "order" : "chain");
  } else {
    return true;
  }
  return false;
}

// Moves near `from` with the sidecar index, if that leads there; otherwise the walk begins at the
// segment's start.
Status Scanner::SeekToFrom(size_t index, const OpenSegment& segment, FrameReader* reader) {
  if (options_.from.offset <= segment.header.start.offset) return Status::Ok();
  const std::string name = io::SegmentIndexName(listed_[index].offset);
  const std::vector<IndexEntry> entries =
      LoadSegmentIndex(options_.fs, io::JoinPath(options_.directory, name), listed_[index].offset);
  const IndexEntry* entry = FindIndexEntry(entries, options_.from.offset);
  if (entry == nullptr) return Status::Ok();
  reader->Seek(entry->before, entry->timestamp, entry->file_position);
  Frame frame;
  while (reader->position().offset < options_.from.offset) {
    RETURN_IF_ERROR(reader->Next(&frame));
    if (frame.kind != FrameKind::kRecord && frame.kind != FrameKind::kMark) break;
  }
  if (reader->position() != options_.from) {
    reader->Seek(segment.header.start, segment.header.clock, kSegmentHeaderBytes);
    return Status::Ok();
  }
  position_ = reader->position();
  timestamp_ = reader->timestamp();
  end_file_offset_ = reader->file_position();
  return Status::Ok();
}

Status Scanner::Walk(size_t index, FrameReader* reader) {
  Frame frame;
  complete_ = false;
  while (true) {
    if (!reached_from_ && !CheckFrom(index, reader->file_position())) return Status::Ok();
    const uint64_t timestamp_before = timestamp_;
    RETURN_IF_ERROR(reader->Next(&frame));
    switch (frame.kind) {
      case FrameKind::kRecord:
        if (reader->position().offset > options_.until) {
          StopAt(index, frame.file_position, "cut");
          return Status::Ok();
        }
        RETURN_IF_ERROR(TakeRecord(frame, position_, timestamp_before));
        position_ = reader->position();
        timestamp_ = reader->timestamp();
        complete_ = false;
        break;
      case FrameKind::kMark:
        result_.durable_mark = std::max(result_.durable_mark, frame.mark.durable);
        complete_ = frame.mark.durable == frame.mark.offset;
        break;
      case FrameKind::kZero:
        complete_ = false;
        return Status::Ok();
      case FrameKind::kEnd:
        return Status::Ok();
      case FrameKind::kBad:
        if (frame.check == RecordCheck::kFormat) {
          return Unsupported(listed_[index].path, frame.file_position);
        }
        StopAt(index, frame.file_position, RecordCheckText(frame.check));
        return Status::Ok();
    }
    end_file_offset_ = reader->file_position();
    NoteProven();
  }
}

// Whatever raises D says so in a mark that stands behind everything it covers, or is known from the
// beginning: one pass is enough.
void Scanner::NoteProven() {
  if (position_.offset > result_.durable_mark) return;
  result_.proven_file_offset = end_file_offset_;
  result_.proven = position_;
  result_.proven_timestamp = timestamp_;
}

// The history that leads to `from` must be the checkpoint's own. False stops the scan.
bool Scanner::CheckFrom(size_t index, uint64_t file_position) {
  if (position_.offset < options_.from.offset) return true;
  if (position_ == options_.from) {
    reached_from_ = true;
    return true;
  }
  StopAt(index, file_position, position_.offset == options_.from.offset ? "chain" : "order");
  stop_->foreign = true;
  return false;
}

Status Scanner::TakeRecord(const Frame& frame, const Position& before, uint64_t timestamp_before) {
  if (frame.file_position >= indexed_at_ + kIndexIntervalBytes || indexed_at_ == 0) {
    result_.index.push_back(IndexEntry{before, frame.file_position, timestamp_before});
    indexed_at_ = frame.file_position;
  }
  if (!reached_from_) return Status::Ok();
  ++result_.records;
  return sink_ ? sink_(frame.record, before, frame.record.header.After(before.offset))
               : Status::Ok();
}

// A segment that others follow was synced and closed: nothing but zeros may stand behind its end.
Status Scanner::CheckRestOfClosed(size_t index, const OpenSegment& segment) {
  const Result<TailFacts> rest =
      ExamineTail(segment.file.get(), segment.size, options_.cluster, options_.secret,
                  segment.header.start.offset, end_file_offset_, position_.offset);
  if (!rest.ok()) return rest.status();
  if (rest.value().last_used != 0) StopAt(index, end_file_offset_, "short");
  return Status::Ok();
}

void Scanner::StopAt(size_t index, uint64_t file_offset, const std::string& what) {
  stop_ = Stop{index, file_offset, listed_[index].path, what, false};
}

// Records lack between the end of segment `index` and what follows. A segment that was closed ends
// with a mark that covers it: then a whole file is missing, otherwise this one is too short.
void Scanner::StopAtGap(size_t index) {
  if (complete_) {
    const std::string name = io::SegmentName(position_.offset);
    stop_ = Stop{index, 0, io::JoinPath(options_.directory, name), "missing", false};
  } else {
    StopAt(index, end_file_offset_, "short");
  }
}

// Marks behind the end count too; everything behind it is what a cut would erase.
Status Scanner::ExamineBehind() {
  const size_t begin = any_survivor_ ? survivor_ : 0;
  TailCut& cut = result_.cut;
  for (size_t i = begin; i < listed_.size(); ++i) {
    Result<OpenSegment> opened = OpenForScan(options_, listed_[i]);
    if (!opened.ok()) return opened.status();
    const OpenSegment& segment = opened.value();
    const bool holds_end = any_survivor_ && i == survivor_;
    const uint64_t from = holds_end ? end_file_offset_ : kSegmentHeaderBytes;
    const Result<TailFacts> facts =
        ExamineTail(segment.file.get(), segment.size, options_.cluster, options_.secret,
                    listed_[i].offset, from, holds_end ? position_.offset : listed_[i].offset);
    if (!facts.ok()) return facts.status();
    result_.durable_mark = std::max(result_.durable_mark, facts.value().highest_durable);
    cut.valid_records += facts.value().valid_records;
    const uint64_t used = facts.value().last_used;
    if (holds_end) {
      cut.bytes += used > from ? used - from : 0;
    } else {
      cut.bytes += std::max(used, std::min<uint64_t>(segment.size, kSegmentHeaderBytes));
      anything_behind_ = true;
    }
  }
  if (cut.bytes != 0) anything_behind_ = true;
#ifdef GAPLESS_BUG_IGNORE_MARKS
  result_.durable_mark = 0;
#endif
  return Status::Ok();
}

Status Scanner::Judge() {
  result_.end = position_;
  result_.end_timestamp = timestamp_;
  result_.end_file_offset = end_file_offset_;
  result_.verdict = Decide(position_.offset, result_.durable_mark, anything_behind_);
  const bool foreign = stop_ && stop_->foreign;
  if (foreign || !any_survivor_) result_.verdict = ScanVerdict::kCorrupt;
  if (any_survivor_) {
    result_.cut.from = position_;
    result_.cut.file = listed_[survivor_].path;
    result_.cut.file_offset = end_file_offset_;
  }
  if (result_.verdict != ScanVerdict::kCorrupt) return Status::Ok();
  if (!stop_) StopAtGap(survivor_);
  result_.damage.push_back(Damage{"log", stop_->file, stop_->file_offset, position_.offset,
                                  stop_->what, position_.seq + 1});
  return FindLaterDamage();
}

// Each file tells its own first damage; the scan itself cannot go on behind the first one.
Status Scanner::FindLaterDamage() {
  Frame frame;
  for (size_t i = stop_->segment + 1; i < listed_.size(); ++i) {
    if (stop_->file == listed_[i].path) continue;
    Result<OpenSegment> opened = OpenForScan(options_, listed_[i]);
    if (!opened.ok()) return opened.status();
    const OpenSegment& segment = opened.value();
    if (segment.check != HeaderCheck::kOk) {
      result_.damage.push_back(
          Damage{"log", listed_[i].path, 0, listed_[i].offset, HeaderCheckText(segment.check), 0});
      continue;
    }
    FrameReader reader(segment.file.get(), options_.cluster, options_.secret, listed_[i].offset,
                       segment.size, kScanChunkBytes);
    reader.Seek(segment.header.start, segment.header.clock, kSegmentHeaderBytes);
    do {
      RETURN_IF_ERROR(reader.Next(&frame));
    } while (frame.kind == FrameKind::kRecord || frame.kind == FrameKind::kMark);
    if (frame.kind != FrameKind::kBad) continue;
    result_.damage.push_back(Damage{"log", listed_[i].path, frame.file_position,
                                    reader.position().offset, RecordCheckText(frame.check),
                                    reader.position().seq + 1});
  }
  return Status::Ok();
}

}  // namespace

Result<ScanResult> ScanLog(const ScanOptions& options, const RecordSink& sink) {
  Scanner scanner(options, sink);
  return scanner.Run();
}

Status CutLog(const ScanOptions& options, const ScanResult& scan) {
  if (scan.segments.empty()) return scan.ToStatus();
  const SegmentInfo& last = scan.segments.back();
  Result<std::vector<Listed>> listed = ListSegments(options.fs, options.directory);
  if (!listed.ok()) return listed.status();
  // Highest first and each synced: whatever a crash leaves has no hole.
  for (auto at = listed.value().rbegin(); at != listed.value().rend(); ++at) {
    if (at->offset < last.start.offset) break;
    const std::string index = io::JoinPath(options.directory, io::SegmentIndexName(at->offset));
    const Result<bool> exists = options.fs->Exists(index);
    if (!exists.ok()) return exists.status();
    if (exists.value()) RETURN_IF_ERROR(options.fs->Remove(index));
    if (at->offset > last.start.offset) RETURN_IF_ERROR(options.fs->Remove(at->path));
    RETURN_IF_ERROR(options.fs->SyncDirectory(options.directory));
  }
  Result<std::unique_ptr<io::File>> file = options.fs->Open(last.path, io::OpenMode::kReadWrite);
  if (!file.ok()) return file.status();
#ifndef GAPLESS_BUG_CUT_WITHOUT_ERASE
  // One step for the disk, where overwriting with zeros could be half done; what is allocated
  // behind it again reads as zero.
  RETURN_IF_ERROR(file.value()->Truncate(scan.end_file_offset));
#endif
  return file.value()->Sync();
}

}  // namespace gapless::log

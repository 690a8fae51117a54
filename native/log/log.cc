// Log: puts writer, reader and segment set together. Owns no thread itself.
#include "log/log.h"

#include "log/log_reader.h"
#include "log/log_writer.h"
#include "log/segment_set.h"
#include "log/segment_writer.h"

namespace gapless::log {
namespace {

class LogOfFiles final : public Log {
 public:
  explicit LogOfFiles(const LogOptions& options)
      : options_(options), segments_(options.retain_bytes), reader_(options_, &segments_) {}

  Status Begin(const ScanResult& scan, LogListener* listener);

  Admission Admit(uint64_t record_bytes) override {
    return writer_ == nullptr ? Admission::kClosed : writer_->Admit(record_bytes);
  }
  void Append(const void* header, Slice body, const Position& after, Durability want) override {
    GAPLESS_ASSERT(writer_ != nullptr);
    writer_->Append(header, body, after, want);
  }
  void Kick() override {
    if (writer_ != nullptr) writer_->Kick();
  }
  LogProgress progress() const override;
  Status SyncTo(uint64_t offset, uint64_t timeout_ms) override;

  Result<LogChunk> Read(uint64_t from, uint64_t until, uint64_t max_bytes) override {
    return reader_.Read(from, until, max_bytes);
  }
  Result<Position> PositionAt(uint64_t offset) override { return reader_.PositionAt(offset); }
  Result<Position> PositionBeforeSeq(uint64_t seq) override {
    return reader_.PositionBeforeSeq(seq);
  }

  Result<HoldId> AddHold(HoldKind kind, const std::string& name, uint64_t offset,
                         uint64_t max_bytes) override {
    return segments_.AddHold(kind, name, offset, max_bytes);
  }
  Status MoveHold(HoldId id, uint64_t offset) override;
  void ReleaseHold(HoldId id) override;
  bool HoldIsAlive(HoldId id) const override { return segments_.HoldIsAlive(id); }
  void SetBase(uint64_t offset) override;
  LogStats stats() const override;
  Status Close(const std::function<Status(const Position& end)>& publish_mark) override;

 private:
  const LogOptions options_;
  SegmentSet segments_;
  LogReader reader_;
  std::unique_ptr<LogWriter> writer_;  // null if read only
};

Status LogOfFiles::Begin(const ScanResult& scan, LogListener* listener) {
  for (size_t i = 0; i < scan.segments.size(); ++i) {
    const SegmentInfo& info = scan.segments[i];
    const bool last = i + 1 == scan.segments.size();
    auto segment = std::make_shared<Segment>(info.path, info.start, info.clock);
    if (last) {
      const MutexLock lock(&segment->mutex);
      segment->index_known = true;
      segment->index = scan.index;
    }
    segments_.Add(std::move(segment), last ? scan.end_file_offset : info.file_bytes);
  }
  segments_.SetWritten(scan.end, scan.end_file_offset);
  if (options_.read_only) return Status::Ok();
  auto hands = std::make_unique<SegmentWriter>(options_);
  RETURN_IF_ERROR(hands->Open(scan));
  writer_ = std::make_unique<LogWriter>(options_, &segments_, listener, std::move(hands), scan.end,
                                        scan.end_timestamp);
  return writer_->Start();
}

LogProgress LogOfFiles::progress() const {
  if (writer_ != nullptr) return writer_->progress();
  LogProgress progress;
  progress.appended = progress.written = progress.durable = segments_.written();
  return progress;
}

Status LogOfFiles::SyncTo(uint64_t offset, uint64_t timeout_ms) {
  if (writer_ != nullptr) return writer_->SyncTo(offset, timeout_ms);
  return Status::Error(Code::kReadOnly, "the log was opened for reading");
}

Status LogOfFiles::MoveHold(HoldId id, uint64_t offset) {
  bool removable = false;
  RETURN_IF_ERROR(segments_.MoveHold(id, offset, &removable));
  if (removable && writer_ != nullptr) writer_->Retain();
  return Status::Ok();
}

void LogOfFiles::ReleaseHold(HoldId id) {
  segments_.ReleaseHold(id);
  if (writer_ != nullptr) writer_->Retain();
}

void LogOfFiles::SetBase(uint64_t offset) {
  segments_.SetBase(offset);
  if (writer_ != nullptr) writer_->Retain();
}

LogStats LogOfFiles::stats() const {
  LogStats stats;
  segments_.FillStats(&stats);
  const LogProgress now = progress();
  stats.durable = now.durable.offset;
  stats.fdatasyncs = now.fdatasyncs;
  stats.writes = now.writes;
  return stats;
}

Status LogOfFiles::Close(const std::function<Status(const Position& end)>& publish_mark) {
  return writer_ == nullptr ? Status::Ok() : writer_->Close(publish_mark);
}

}  // namespace

Status Log::Create(const LogOptions& options, const Position& start, uint64_t clock, bool padded) {
  return SegmentWriter::Create(options, start, clock, padded);
}

Result<std::unique_ptr<Log>> Log::Open(const LogOptions& options, const ScanResult& scan,
                                       LogListener* listener) {
  RETURN_IF_ERROR(scan.ToStatus());
  GAPLESS_ASSERT(!scan.segments.empty());
  if (scan.verdict == ScanVerdict::kTail && !options.read_only) {
    ScanOptions cut;
    cut.fs = options.fs;
    cut.directory = options.directory;
    cut.cluster = options.cluster;
    cut.secret = options.secret;
    RETURN_IF_ERROR(CutLog(cut, scan));
  }
  auto log = std::make_unique<LogOfFiles>(options);
  RETURN_IF_ERROR(log->Begin(scan, listener));
  return std::unique_ptr<Log>(std::move(log));
}

}  // namespace gapless::log

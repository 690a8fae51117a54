// Repair of a log that recovery refuses: what a cut would drop, and the cut.
//
// Order with `truncate_at`: what is dropped into lost/, durable; the log is cut; STATE no longer
// promises what was cut. A crash between two steps leaves a store that is still refused, and the
// same command again ends the repair.
#include <algorithm>
#include <vector>

#include "base/coding.h"
#include "base/crc32c.h"
#include "engine/generation_builder.h"
#include "engine/offline_lost.h"
#include "engine/offline_read.h"
#include "io/file_names.h"
#include "log/segment.h"

namespace gapless::engine {
namespace {

// What stands behind the cut, found again without anything that leads to it: a record proves itself
// by its place, marks say where the places are.
class SuffixWalk {
 public:
  using Visitor = std::function<Status(const LostEntry&)>;
  SuffixWalk(io::FileSystem* fs, const StoreFiles& files, const log::ScanResult& scan)
      : fs_(fs), files_(files), scan_(scan), to_(scan.end) {}

  Status Run(const Visitor& visit);
  uint64_t records() const { return records_; }
  uint64_t operations() const { return operations_; }
  uint64_t bytes() const { return bytes_; }
  const Position& to() const { return to_; }

 private:
  Status WalkFile(const std::string& path, uint64_t segment_start, uint64_t begin,
                  uint64_t log_offset, const Visitor& visit);
  Status EndDamage(const Visitor& visit, const char* bytes, size_t end);
  Status Give(const Visitor& visit, bool whole, uint64_t offset, Slice bytes);
  // Length of the record at the front of `rest`, or 0; *whole: its body verifies too.
  size_t RecordAt(uint64_t offset, Slice rest, bool* whole);

  io::FileSystem* const fs_;
  const StoreFiles& files_;
  const log::ScanResult& scan_;
  uint64_t records_ = 0;
  uint64_t operations_ = 0;
  uint64_t bytes_ = 0;
  Position to_;
  bool in_damage_ = false;
  size_t damage_begin_ = 0;
  uint64_t damage_offset_ = 0;
};

Status SuffixWalk::Run(const Visitor& visit) {
  records_ = operations_ = bytes_ = 0;
  to_ = scan_.end;
  const std::string directory = io::JoinPath(files_.generation_path, io::kLogDirectory);
  const Result<std::vector<std::string>> paths = ListSegmentFiles(fs_, directory);
  if (!paths.ok()) return paths.status();
  const log::SegmentInfo& last = scan_.segments.back();
  for (const std::string& path : paths.value()) {
    uint64_t start = 0;
    (void)io::ParseSegmentName(
        Slice(path).Sub(directory.size() + 1, path.size() - directory.size() - 1), &start);
    if (start < last.start.offset) continue;
    const bool holds_end = start == last.start.offset;
    RETURN_IF_ERROR(WalkFile(path, start,
                             holds_end ? scan_.end_file_offset : log::kSegmentHeaderBytes,
                             holds_end ? scan_.end.offset : start, visit));
  }
  return Status::Ok();
}

size_t SuffixWalk::RecordAt(uint64_t offset, Slice rest, bool* whole) {
  log::RecordHeader header;
  if (rest.size() < log::kRecordHeaderBytes ||
      log::CheckHeader(files_.identity.cluster, offset, rest.data(), &header) !=
          log::RecordCheck::kOk) {
    return 0;
  }
  ++records_;
  operations_ += header.operations;
  const uint64_t bytes = header.RecordBytes();
  *whole = bytes <= rest.size() &&
           Crc32c(rest.Sub(log::kRecordHeaderBytes, header.body_bytes)) == header.body_crc;
  if (*whole) to_ = header.After(offset);
  return static_cast<size_t>(std::min<uint64_t>(bytes, rest.size()));
}

Status SuffixWalk::Give(const Visitor& visit, bool whole, uint64_t offset, Slice bytes) {
  bytes_ += bytes.size();
  return visit ? visit(LostEntry{whole, offset, bytes}) : Status::Ok();
}

Status SuffixWalk::EndDamage(const Visitor& visit, const char* bytes, size_t end) {
  if (!in_damage_) return Status::Ok();
  in_damage_ = false;
  return Give(visit, false, damage_offset_, Slice(bytes + damage_begin_, end - damage_begin_));
}

Status SuffixWalk::WalkFile(const std::string& path, uint64_t segment_start, uint64_t begin,
                            uint64_t log_offset, const Visitor& visit) {
  Result<std::unique_ptr<io::File>> file = fs_->Open(path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  const Result<uint64_t> size = file.value()->Size();
  if (!size.ok()) return size.status();
  if (size.value() <= begin) return Status::Ok();
  std::string bytes(static_cast<size_t>(size.value() - begin), '\0');
  size_t got = 0;
  RETURN_IF_ERROR(file.value()->ReadAt(begin, bytes.data(), bytes.size(), &got));
  size_t used = bytes.find_last_not_of('\0') + 1;  // npos + 1 is 0
  // A record may end in zeros: whole words, and as much more as the record says.
  used = std::min(static_cast<size_t>(AlignUp8(used)), bytes.size());
  for (size_t at = 0; at < used;) {
    const Slice rest = Slice(bytes).Sub(at, bytes.size() - at);
    log::Mark mark;
    if (rest.size() >= log::kMarkBytes &&
        log::DecodeMark({files_.identity.secret, segment_start, begin + at}, rest.data(), &mark)) {
      RETURN_IF_ERROR(EndDamage(visit, bytes.data(), at));
      log_offset = mark.offset;
      at += log::kMarkBytes;
      continue;
    }
    bool whole = false;
    size_t step = RecordAt(log_offset, rest, &whole);
    if (step != 0) {
      RETURN_IF_ERROR(EndDamage(visit, bytes.data(), at));
      RETURN_IF_ERROR(Give(visit, whole, log_offset, rest.Sub(0, step)));
    } else {
      step = std::min<size_t>(8, rest.size());
      if (!in_damage_) {
        in_damage_ = true;
        damage_begin_ = at;
        damage_offset_ = log_offset;
      }
    }
    at += step;
    log_offset += step;
  }
  return EndDamage(visit, bytes.data(), std::max(used, damage_begin_));
}

// A cut mends the log only if what is left of it reaches the checkpoint.
bool CanCut(const log::ScanResult& scan, const Position& checkpoint) {
  if (scan.cut.file.empty() || scan.segments.empty()) return false;
  return scan.end.offset > checkpoint.offset || scan.end == checkpoint;
}

// What a cut of the log does not mend has to come from somewhere else.
std::string AdviceFor(const std::vector<log::Damage>& damage) {
  const auto names = [&damage](const char* kind) {
    return std::any_of(damage.begin(), damage.end(),
                       [kind](const log::Damage& found) { return found.kind == kind; });
  };
  if (names("manifest") || names("run")) {
    return "no cut of the log mends a manifest or a run: restore a snapshot, or empty the "
           "directory of a replica and let it sync again";
  }
  if (names("identity") || names("current") || names("state")) {
    return "no cut of the log mends IDENTITY, CURRENT or STATE: restore a snapshot, or put the "
           "file back from a copy of the directory";
  }
  if (names("log")) return "the log does not reach the checkpoint: restore a snapshot";
  if (names("index")) return "an index is made anew when the store is opened for writing";
  if (names("snapshot")) return "a damaged snapshot can be removed; the store does not need it";
  return "";
}

// One thread, the lock is held.
class Repairer {
 public:
  Repairer(io::FileSystem* fs, io::Clock* clock, const std::string& path)
      : fs_(fs), clock_(clock), path_(path) {}
  Result<RepairReport> Run(std::optional<uint64_t> truncate_at);

 private:
  Status Scan();
  Status CheckOffset(uint64_t truncate_at) const;
  Status Save();
  Status LowerMark();

  io::FileSystem* const fs_;
  io::Clock* const clock_;
  const std::string& path_;
  StoreFiles files_;
  log::ScanOptions options_;
  log::ScanResult scan_;
  std::vector<uint64_t> ends_;  // record ends between the checkpoint and the cut
  RepairReport report_;
};

Status Repairer::Scan() {
  options_ = MakeScanOptions(fs_, files_, files_.manifests.newest);
  ends_.assign(1, options_.from.offset);
  const log::RecordSink collect = [this](const log::RecordView&, const Position&,
                                         const Position& after) {
    ends_.push_back(after.offset);
    return Status::Ok();
  };
  Result<log::ScanResult> scan = log::ScanLog(options_, collect);
  if (!scan.ok()) return scan.status();
  scan_ = std::move(scan.value());
  return Status::Ok();
}

Status Repairer::CheckOffset(uint64_t truncate_at) const {
  if (truncate_at == scan_.end.offset) return Status::Ok();
  const bool is_end = std::binary_search(ends_.begin(), ends_.end(), truncate_at);
  return Status::Error(is_end ? Code::kUsage : Code::kNotARecordEnd,
                       "the log can be cut at " + std::to_string(scan_.end.offset) + " only")
      .With("offset", std::to_string(scan_.end.offset));
}

Status Repairer::Save() {
  SuffixWalk walk(fs_, files_, scan_);
  RETURN_IF_ERROR(walk.Run(nullptr));
  if (walk.bytes() == 0) return Status::Ok();
  const Position to = walk.to();
  const std::string name = io::LostName(to.epoch.term, to.epoch.run, scan_.end.seq + 1,
                                        std::max(to.seq, scan_.end.seq + 1));
  Result<std::unique_ptr<LostWriter>> writer = LostWriter::Begin(fs_, path_, name);
  if (!writer.ok()) return writer.status();
  RETURN_IF_ERROR(
      walk.Run([&writer](const LostEntry& entry) { return writer.value()->Add(entry); }));
  LostHeader header;
  header.reason = LostReason::kRepair;
  header.cluster = files_.identity.cluster;
  header.from = scan_.end;
  header.to = to;
  header.time_ms = clock_->WallMs();
  header.records = walk.records();
  header.operations = walk.operations();
  header.bytes = walk.bytes();
  RETURN_IF_ERROR(writer.value()->Publish(header));
  report_.saved = io::JoinPath(io::kLostDirectory, name);
  return Status::Ok();
}

Status Repairer::LowerMark() {
  Result<std::unique_ptr<StateFile>> state = StateFile::Open(fs_, path_, false);
  if (!state.ok()) return state.status();
  NodeState next = state.value()->state();
  const uint64_t promised = DurableMarkOf(next, files_.generation);
  next.durable_mark = std::min(promised, scan_.end.offset);
  next.generation = files_.generation;
  // A replica has to reach again what it once had before it counts for anybody.
  if (next.role == Role::kReplica) {
    next.former_mark = std::max(next.former_mark, scan_.durable_mark);
  }
  return state.value()->Update(next);
}

Result<RepairReport> Repairer::Run(std::optional<uint64_t> truncate_at) {
  // What is only asked for tells everything that is damaged; a cut need not read the runs for that.
  Result<VerifyReport> verified = VerifyFiles(fs_, path_, !truncate_at.has_value());
  if (!verified.ok()) return verified.status();
  report_.damage = std::move(verified.value().damage);
  report_.advice = AdviceFor(report_.damage);
  Result<StoreFiles> files = ReadStoreFiles(fs_, path_, true);
  Status refused = files.status();
  if (files.ok()) {
    files_ = std::move(files.value());
    refused = Scan();
  }
  if (!refused.ok()) {
    // Without these files no cut can be judged.
    const bool damage = refused.Is(Code::kCorrupt) || refused.Is(Code::kFormatUnsupported);
    if (truncate_at || !damage) return refused;
    return std::move(report_);
  }
  if (scan_.verdict != log::ScanVerdict::kCorrupt) {
    if (truncate_at) RETURN_IF_ERROR(CheckOffset(*truncate_at));
    return std::move(report_);
  }
  if (!CanCut(scan_, files_.manifests.newest.meta.position)) {
    if (truncate_at) return RefusalOf(scan_, files_.manifests.newest, path_);
    return std::move(report_);
  }
  SuffixWalk walk(fs_, files_, scan_);
  RETURN_IF_ERROR(walk.Run(nullptr));
  report_.would_drop = true;
  const bool log_only = std::all_of(report_.damage.begin(), report_.damage.end(),
                                    [](const log::Damage& damage) { return damage.kind == "log"; });
  if (log_only) report_.advice.clear();
  report_.from = scan_.end;
  report_.records = walk.records();
  report_.operations = walk.operations();
  report_.bytes = walk.bytes();
  if (!truncate_at) return std::move(report_);
  RETURN_IF_ERROR(CheckOffset(*truncate_at));
  RETURN_IF_ERROR(Save());
  RETURN_IF_ERROR(log::CutLog(options_, scan_));
  RETURN_IF_ERROR(LowerMark());
  report_.dropped = true;
  return std::move(report_);
}

}  // namespace

Result<RepairReport> Repair(io::FileSystem* fs, io::Clock* clock, const std::string& path,
                            std::optional<uint64_t> truncate_at) {
  const auto mode = truncate_at ? io::LockMode::kExclusive : io::LockMode::kShared;
  const Result<std::unique_ptr<io::FileLock>> lock = LockStore(fs, clock, path, mode);
  if (!lock.ok()) return lock.status();
  return Repairer(fs, clock, path).Run(truncate_at);
}

}  // namespace gapless::engine

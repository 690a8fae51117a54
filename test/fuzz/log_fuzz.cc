// A log directory of one or two segments with any content: the scan says clean, tail or corrupt
// with a place, never more; a cut leaves a clean log with the same records; frames can be walked by
// the reader that replication uses. Target `record` judges single frames.
#include <algorithm>

#include "base/coding.h"
#include "base/crc32c.h"
#include "fuzz.h"
#include "io/fault_file_system.h"
#include "log/frame_reader.h"
#include "log/record.h"
#include "log/recovery.h"
#include "log/segment.h"

namespace gapless::fuzz {
namespace {

using namespace log;  // NOLINT: one room is fuzzed here

constexpr uint8_t kRepairHeader = 1;
constexpr uint8_t kRepairFrames = 2;
constexpr uint8_t kWithMark = 4;  // STATE's mark stands at the first records

ClusterId Cluster() {
  ClusterId cluster;
  cluster.bytes.fill(0xA5);
  return cluster;
}
Id128 Secret() {
  Id128 secret;
  secret.fill(0x3C);
  return secret;
}

// Seals the record at `at` for its place; returns its length, or 0 if it does not fit.
size_t SealRecord(std::string* bytes, size_t at, Position* before, uint64_t* clock) {
  if (bytes->size() - at < kRecordHeaderBytes) return 0;
  char* const from = bytes->data() + at;
  RecordHeader header;
  header.body_bytes = LoadU32(from + kRecordBodyBytes);
  header.kind = static_cast<RecordKind>(from[kRecordKind]);
  header.flags = static_cast<uint8_t>(from[kRecordFlags]);
  header.epoch = {LoadU32(from + kRecordTerm), LoadU32(from + kRecordRun)};
  header.first_seq = before->seq + 1;
  header.operations = LoadU32(from + kRecordOperations);
  header.timestamp = std::max(*clock + 1, LoadU64(from + kRecordTimestamp));
  const uint64_t length = header.RecordBytes();
  if (length > bytes->size() - at) return 0;
  header.body_crc = Crc32c(0, from + kRecordHeaderBytes, header.body_bytes);
  SealHeader(Cluster(), *before, &header, from);
  *before = header.After(before->offset);
  *clock = header.timestamp;
  return length;
}

// Makes marks and checksums right as far as the lengths lead. `before` is where the segment begins.
void RepairSegment(uint8_t mode, Position* before, uint64_t* clock, std::string* bytes) {
  if ((mode & kRepairHeader) != 0) {
    bytes->resize(std::max(bytes->size(), kSegmentHeaderBytes));
    SegmentHeader header;
    header.cluster = Cluster();
    header.start = *before;
    header.clock = *clock;
    EncodeSegmentHeader(header, bytes->data());
  }
  if ((mode & kRepairFrames) == 0) return;
  MarkPlace place{Secret(), before->offset, 0};
  size_t at = kSegmentHeaderBytes;
  while (at < bytes->size()) {
    if (bytes->size() - at >= kMarkBytes && LoadU32(bytes->data() + at) == kMarkMagic) {
      place.file_position = at;
      const Mark mark{before->offset, std::min(before->offset, LoadU64(bytes->data() + at + 16))};
      EncodeMark(place, mark, bytes->data() + at);
      at += kMarkBytes;
      continue;
    }
    const size_t length = SealRecord(bytes, at, before, clock);
    if (length == 0) return;
    at += length;
  }
}

struct Seen {
  Status status;
  ScanResult result;
  std::vector<Position> ends;
};

Seen Scan(const ScanOptions& options) {
  Seen seen;
  Position at = options.from;
  std::vector<Position>* const ends = &seen.ends;
  Result<ScanResult> result =
      ScanLog(options,
              [&at, ends](const RecordView& record, const Position& before, const Position& after) {
                FUZZ_CHECK(before == at);
                FUZZ_CHECK(after.offset == before.offset + record.header.RecordBytes());
                FUZZ_CHECK(record.body.size() == record.header.body_bytes);
                uint64_t sum = 0;
                for (const char c : record.body.View()) sum += static_cast<uint8_t>(c);
                if (sum == UINT64_MAX) return Status::Error(Code::kIo, "cannot be");
                at = after;
                ends->push_back(after);
                return Status::Ok();
              });
  seen.status = result.status();
  if (result.ok()) seen.result = std::move(result.value());
  return seen;
}

void CheckScan(io::FaultFileSystem* fs, uint64_t durable_mark) {
  ScanOptions options;
  options.fs = fs;
  options.directory = "/log";
  options.cluster = Cluster();
  options.secret = Secret();
  options.durable_mark = durable_mark;
  const Seen seen = Scan(options);
  if (!seen.status.ok()) {
    FUZZ_CHECK(seen.status.Is(Code::kFormatUnsupported) || seen.status.Is(Code::kCorrupt));
    return;
  }
  const ScanResult& scan = seen.result;
  FUZZ_CHECK(scan.records == seen.ends.size());
  if (!seen.ends.empty()) FUZZ_CHECK(scan.end == seen.ends.back());
  FUZZ_CHECK(scan.durable_mark >= durable_mark);
  if (scan.verdict == ScanVerdict::kCorrupt) {
    // A segment gets its name only behind its synced header: damage there is never a tail.
    FUZZ_CHECK(!scan.damage.empty());
    FUZZ_CHECK(scan.end.offset < scan.durable_mark ||
               scan.damage.front().offset < kSegmentHeaderBytes);
    FUZZ_CHECK(scan.ToStatus().Is(Code::kCorrupt) && scan.ToStatus().offset() >= 0);
    FUZZ_CHECK(!scan.ToStatus().file().empty());
    return;
  }
  FUZZ_CHECK(scan.ToStatus().ok() && scan.end.offset >= scan.durable_mark);
  FUZZ_CHECK(CutLog(options, scan).ok());
  const Seen again = Scan(options);
  FUZZ_CHECK(again.status.ok() && again.result.verdict == ScanVerdict::kClean);
  FUZZ_CHECK(again.result.end == scan.end && again.ends == seen.ends);
}

// Layout: mode, length of the first segment (u16), both segments.
void RunLog(Slice input) {
  const uint8_t mode = TakeMode(&input);
  if (input.size() < 2) return;
  const size_t first_bytes = std::min<size_t>(LoadU16(input.data()), input.size() - 2);
  input.RemovePrefix(2);
  std::string first = input.Sub(0, first_bytes).ToString();
  std::string second = input.Sub(first_bytes, input.size() - first_bytes).ToString();
  io::FaultFileSystem fs;
  Position at;
  uint64_t clock = 0;
  RepairSegment(mode, &at, &clock, &first);
  fs.PutRaw("/log/00000000000000000000.log", first);
  const uint64_t mark = (mode & kWithMark) != 0 ? at.offset : 0;
  if (!second.empty()) {
    std::string name = std::to_string(at.offset);
    name.insert(0, 20 - name.size(), '0');
    RepairSegment(mode, &at, &clock, &second);
    if (at.offset != 0) fs.PutRaw("/log/" + name + ".log", second);
  }
  CheckScan(&fs, mark);
}

void RunRecord(Slice input) {
  const uint8_t mode = TakeMode(&input);
  std::string bytes = input.ToString();
  const Position start{{1, 0}, 7, 640, 0x55};
  Position at = start;
  uint64_t clock = 100;
  if ((mode & kRepairFrames) != 0) (void)SealRecord(&bytes, 0, &at, &clock);
  const std::vector<char> exact(bytes.begin(), bytes.end());
  const Slice slice(exact.data(), exact.size());
  const Frame frame = ParseFrame(Cluster(), {Secret(), 512, 768}, start, 100, slice);
  if (frame.kind == FrameKind::kRecord) {
    FUZZ_CHECK(frame.bytes <= slice.size() && frame.raw == slice.Sub(0, frame.bytes));
    FUZZ_CHECK(frame.record.header.first_seq == start.seq + 1);
    // The same bytes are no record one place further.
    Position elsewhere = start;
    elsewhere.offset += 8;
    RecordView view;
    FUZZ_CHECK(CheckRecord(Cluster(), elsewhere, 100, slice, &view) == RecordCheck::kHeaderCrc);
    MetaState meta;
    meta.Advance(frame.record, start, frame.record.header.After(start.offset));
    const Result<MetaState> back = DecodeMetaState(EncodeMetaState(meta), "meta", 0);
    FUZZ_CHECK(back.ok() && back.value() == meta);
  }
  // A torn record never counts as one.
  for (const size_t cut : {size_t{1}, size_t{8}, slice.size() / 2}) {
    if (frame.kind != FrameKind::kRecord || cut == 0 || cut > frame.bytes) continue;
    const Frame torn =
        ParseFrame(Cluster(), {Secret(), 512, 768}, start, 100, slice.Sub(0, frame.bytes - cut));
    FUZZ_CHECK(torn.kind != FrameKind::kRecord);
  }
}

std::string Record(RecordKind kind, const std::string& body, uint32_t operations) {
  RecordHeader header;
  header.kind = kind;
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.body_crc = Crc32c(body);
  header.operations = operations;
  header.epoch = {1, 0};
  header.timestamp = 101;
  header.first_seq = 8;
  std::string bytes(kRecordHeaderBytes, '\0');
  SealHeader(Cluster(), {{1, 0}, 7, 640, 0x55}, &header, bytes.data());
  bytes += body;
  bytes.resize(AlignUp8(bytes.size()));
  return bytes;
}

std::string MarkFrame() {
  std::string bytes(kMarkBytes, '\0');
  EncodeMark({Secret(), 0, 0}, {0, UINT64_MAX}, bytes.data());
  return bytes;
}

std::string Put(const std::string& key, const std::string& value) {
  std::string body = {1, 0, static_cast<char>(key.size()), 0};
  AppendLe<uint32_t>(&body, static_cast<uint32_t>(value.size()));
  return body + key + value;
}

std::vector<std::string> RecordSeeds() {
  const std::string mode(1, static_cast<char>(kRepairFrames));
  return {mode + Record(RecordKind::kBatch, Put("k", "value"), 1),
          mode + Record(RecordKind::kEpoch, EncodeEpochBody({{}, 1, 1, {}}), 0),
          mode + Record(RecordKind::kCursor, EncodeCursorBody({{}, "indexer"}), 0),
          mode + Record(RecordKind::kConfig, EncodeConfigBody({1, {}}), 0),
          mode + Record(RecordKind::kNoop, "", 0),
          mode + Record(RecordKind::kDigest, std::string(16, 'd'), 0),
          std::string(1, '\0') + MarkFrame()};
}

std::vector<std::string> LogSeeds() {
  std::string first(kSegmentHeaderBytes, '\0');
  first += Record(RecordKind::kEpoch, EncodeEpochBody({{}, 1, 1, {}}), 0) + MarkFrame();
  for (int i = 0; i < 4; ++i) {
    first += Record(RecordKind::kBatch, Put("k" + std::to_string(i), std::string(40, 'v')), 1);
    if (i % 2 == 1) first += MarkFrame();
  }
  std::string second(kSegmentHeaderBytes, '\0');
  second += MarkFrame() + Record(RecordKind::kBatch, Put("z", "last"), 1);
  const std::string mode(1, static_cast<char>(kRepairHeader | kRepairFrames));
  const auto whole = [&mode](const std::string& a, const std::string& b) {
    std::string bytes = mode;
    AppendLe<uint16_t>(&bytes, static_cast<uint16_t>(a.size()));
    return bytes + a + b;
  };
  return {whole(first, ""), whole(first, second), whole(first + std::string(96, '\0'), ""),
          whole(first + first.substr(kSegmentHeaderBytes), "")};
}

const Registration kRecordTarget({"record", RunRecord, RecordSeeds});
const Registration kLogTarget({"log", RunLog, LogSeeds});

}  // namespace
}  // namespace gapless::fuzz

// The recovery scan over whole images: what is refused, what is cut, and what it says.
#include <algorithm>
#include <cstring>

#include "log_fixture.h"

namespace gapless::log::test {
namespace {

std::vector<std::string> LogFiles(const io::FaultFileSystem& fs) {
  std::vector<std::string> files;
  for (const std::string& path : fs.ListAll()) {
    if (path.size() > 4 && path.substr(path.size() - 4) == ".log") files.push_back(path);
  }
  return files;
}

TEST("a cleanly closed log reads back as it was written") {
  io::FaultFileSystem fs;
  Position mark;
  const auto bodies = BuildClosedLog(&fs, 40, 200, 4096, &mark);
  const Seen seen = Scan(ScanFor(&fs, mark.offset));
  REQUIRE_OK(seen.status);
  CHECK(seen.result.verdict == ScanVerdict::kClean);
  CHECK(seen.bodies == bodies);
  CHECK(seen.result.end == mark);
  CHECK_GT(seen.result.segments.size(), 2);
  CHECK_EQ(seen.result.durable_mark, mark.offset);
}

TEST("every flipped byte of a cleanly closed log is refused with file and offset") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 14, 100, 1024, &mark);
  size_t flips = 0;
  for (const std::string& path : LogFiles(fs)) {
    const size_t size = fs.ReadRaw(path).size();
    for (size_t at = 0; at < size; ++at) {
      const auto mask = static_cast<uint8_t>(at % 3 == 0 ? 0xFF : 1u << (at % 8));
      const auto disk = fs.ImageAllKept();
      disk->FlipBits(path, at, mask);
      const Seen seen = Scan(ScanFor(disk.get(), mark.offset));
      ++flips;
      if (!seen.status.ok()) {
        CHECK(seen.status.Is(Code::kFormatUnsupported));  // a version nobody knows
        continue;
      }
      CHECK(seen.result.verdict == ScanVerdict::kCorrupt);
      REQUIRE(!seen.result.damage.empty());
      CHECK_EQ(seen.result.damage[0].file, path);
      CHECK_LE(seen.result.damage[0].offset, at);
      CHECK(seen.result.ToStatus().Is(Code::kCorrupt));
      if (check::Failed()) return;
    }
  }
  CHECK_GT(flips, 2000);
}

TEST("every truncation of a cleanly closed log is refused with file and offset") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 14, 100, 1024, &mark);
  const auto files = LogFiles(fs);
  for (const std::string& path : files) {
    const size_t size = fs.ReadRaw(path).size();
    for (size_t cut = 0; cut < size; ++cut) {
      // A closed segment ends with a mark: without all of it no record is gone.
      if (path != files.back() && cut == size - kMarkBytes) continue;
      const auto disk = fs.ImageAllKept();
      disk->TruncateRaw(path, cut);
      const Seen seen = Scan(ScanFor(disk.get(), mark.offset));
      REQUIRE_OK(seen.status);
      CHECK(seen.result.verdict == ScanVerdict::kCorrupt);
      REQUIRE(!seen.result.damage.empty());
      CHECK_LE(seen.result.damage[0].offset, cut);
      if (check::Failed()) return;
    }
  }
}

TEST("a missing segment is refused by name, first, middle and last") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 30, 100, 1024, &mark);
  const auto files = LogFiles(fs);
  REQUIRE(files.size() > 3);
  for (const std::string& path : files) {
    const auto disk = fs.ImageAllKept();
    REQUIRE_OK(disk->Remove(path));
    const Seen seen = Scan(ScanFor(disk.get(), mark.offset));
    REQUIRE_OK(seen.status);
    CHECK(seen.result.verdict == ScanVerdict::kCorrupt);
    REQUIRE(!seen.result.damage.empty());
    CHECK_EQ(seen.result.damage[0].what, "missing");
    CHECK_EQ(seen.result.damage[0].file, path);
  }
}

TEST("the marks alone, without that of STATE, refuse damage below the last mark") {
  io::FaultFileSystem fs;
  const LogOptions options = OptionsFor(&fs, 8192);
  REQUIRE_OK(fs.CreateDirectory(kDir));
  REQUIRE_OK(Log::Create(options, Position{}, 0));
  Result<std::unique_ptr<Log>> log = Log::Open(options, Scan(ScanFor(&fs)).result, nullptr);
  REQUIRE_OK(log);
  Appender appender(log.value().get(), Position{}, 0);
  std::vector<uint64_t> ends;
  for (size_t i = 0; i < 12; ++i) {
    REQUIRE(appender.AppendSynced(BodyOf(i, 60)));
    ends.push_back(appender.at().offset);
  }
  log.value().reset();  // killed: no Close
  const std::string path = LogFiles(fs).front();
  const size_t size = fs.ReadRaw(path).size();
  const Seen whole = Scan(ScanFor(&fs));
  REQUIRE_OK(whole.status);
  CHECK(whole.result.verdict == ScanVerdict::kClean);
  const uint64_t durable = whole.result.durable_mark;
  CHECK_GE(durable, ends[10]);
  for (size_t at = kSegmentHeaderBytes; at < size && at < whole.result.end_file_offset + 64; ++at) {
    const auto disk = fs.ImageAllKept();
    disk->FlipBits(path, at, 0x40);
    const Seen seen = Scan(ScanFor(disk.get()));
    REQUIRE_OK(seen.status);
    const bool below = seen.result.end.offset < seen.result.durable_mark;
    CHECK_EQ(seen.result.verdict == ScanVerdict::kCorrupt, below);
    // Only the mark that was flipped may be lost: damage of a record below the last mark is
    // refused.
    if (seen.result.end.offset < ends[9]) CHECK(seen.result.verdict == ScanVerdict::kCorrupt);
    if (check::Failed()) return;
  }
}

TEST("what was never synced never makes a log refuse: any damage behind the marks is cut") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 8192);
  options.sync_interval_ms = 600000;
  REQUIRE_OK(fs.CreateDirectory(kDir));
  REQUIRE_OK(Log::Create(options, Position{}, 0));
  Result<std::unique_ptr<Log>> log = Log::Open(options, Scan(ScanFor(&fs)).result, nullptr);
  REQUIRE_OK(log);
  Appender appender(log.value().get(), Position{}, 0);
  REQUIRE(appender.AppendSynced(BodyOf(0, 60)));
  const uint64_t synced = appender.at().offset;
  for (size_t i = 1; i < 8; ++i) REQUIRE(appender.Append(BodyOf(i, 60), Durability::kOs));
  while (log.value()->progress().written.offset < appender.at().offset) sched_yield();
  log.value().reset();
  const std::string path = LogFiles(fs).front();
  const Seen whole = Scan(ScanFor(&fs));
  CHECK_EQ(whole.result.durable_mark, synced);
  CHECK_EQ(whole.bodies.size(), 8);
  size_t cuts = 0;
  for (size_t at = kSegmentHeaderBytes; at < whole.result.end_file_offset; ++at) {
    const auto disk = fs.ImageAllKept();
    disk->FlipBits(path, at, 0x10);
    const Seen seen = Scan(ScanFor(disk.get()));
    REQUIRE_OK(seen.status);
    if (seen.result.end.offset < synced) {
      CHECK(seen.result.verdict == ScanVerdict::kCorrupt);
      continue;
    }
    ++cuts;
    CHECK(seen.result.verdict == ScanVerdict::kTail);
    CHECK_GT(seen.result.cut.bytes, 0);
    if (check::Failed()) return;
    REQUIRE_OK(CutLog(ScanFor(disk.get()), seen.result));
    const Seen again = Scan(ScanFor(disk.get()));
    CHECK(again.result.verdict == ScanVerdict::kClean);
    CHECK(again.result.end == seen.result.end);
    CHECK(again.bodies == seen.bodies);
  }
  CHECK_GT(cuts, 300);
}

TEST("valid records behind the damage are counted in the report of the cut") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 8192);
  options.sync_interval_ms = 600000;
  REQUIRE_OK(fs.CreateDirectory(kDir));
  REQUIRE_OK(Log::Create(options, Position{}, 0));
  Result<std::unique_ptr<Log>> log = Log::Open(options, Scan(ScanFor(&fs)).result, nullptr);
  REQUIRE_OK(log);
  Appender appender(log.value().get(), Position{}, 0);
  for (size_t i = 0; i < 8; ++i) REQUIRE(appender.Append(BodyOf(i, 60), Durability::kOs));
  while (log.value()->progress().written.offset < appender.at().offset) sched_yield();
  log.value().reset();
  const std::string path = LogFiles(fs).front();
  fs.FlipBits(path, kSegmentHeaderBytes + kMarkBytes + kRecordHeaderBytes + 4, 1);
  const Seen seen = Scan(ScanFor(&fs));
  CHECK(seen.result.verdict == ScanVerdict::kTail);
  CHECK_EQ(seen.result.end.offset, 0);
  CHECK_EQ(seen.result.cut.valid_records, 7);
  CHECK_EQ(seen.result.cut.file, path);
}

TEST("padding that is not zero is damage") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 3, 33, 4096, &mark);
  const std::string path = LogFiles(fs).front();
  const size_t size = fs.ReadRaw(path).size();
  const TestRecord last = MakeRecord(Position{}, 1, BodyOf(2, 33));
  REQUIRE((kRecordHeaderBytes + last.body.size()) % 8 != 0);
  fs.FlipBits(path, size - 1, 0x80);
  const Seen seen = Scan(ScanFor(&fs, mark.offset));
  CHECK(seen.result.verdict == ScanVerdict::kCorrupt);
  CHECK_EQ(seen.bodies.size(), 2);
}

TEST("a record of another history at the right place is not accepted") {
  // Sequence, offset and both checksums fit; only the chain tells that it follows another record.
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 1, 40, 4096, &mark);
  const TestRecord other = MakeRecord(Position{}, 1, BodyOf(7, 40));
  const TestRecord alien = MakeRecord(other.after, 2, BodyOf(8, 40));
  const std::string path = LogFiles(fs).front();
  REQUIRE_EQ(other.after.offset, mark.offset);
  fs.WriteRaw(path, fs.ReadRaw(path).size(), alien.Bytes());
  const Seen seen = Scan(ScanFor(&fs, mark.offset));
  REQUIRE_OK(seen.status);
  CHECK(seen.result.verdict == ScanVerdict::kTail);
  CHECK_EQ(seen.bodies.size(), 1);
  CHECK_EQ(seen.result.cut.valid_records, 1);
}

TEST("a value that holds whole segments, marks included, raises no mark") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 1 << 16);
  options.sync_interval_ms = 600000;
  REQUIRE_OK(fs.CreateDirectory(kDir));
  REQUIRE_OK(Log::Create(options, Position{}, 0));
  Result<std::unique_ptr<Log>> log = Log::Open(options, Scan(ScanFor(&fs)).result, nullptr);
  REQUIRE_OK(log);
  Appender appender(log.value().get(), Position{}, 0);
  for (size_t i = 0; i < 5; ++i) REQUIRE(appender.AppendSynced(BodyOf(i, 50)));
  const uint64_t synced = appender.at().offset;
  const std::string path = LogFiles(fs).front();
  const std::string copy = fs.ReadRaw(path).substr(0, 2000);
  for (size_t shift = 0; shift < 8; ++shift) {
    const std::string value = std::string(shift, 'x') + copy + copy;
    REQUIRE(appender.Append(PutBody("embedded", value), Durability::kOs));
  }
  while (log.value()->progress().written.offset < appender.at().offset) sched_yield();
  log.value().reset();
  const Seen whole = Scan(ScanFor(&fs));
  CHECK(whole.result.verdict == ScanVerdict::kClean);
  CHECK_EQ(whole.result.durable_mark, synced);
  CHECK_EQ(whole.bodies.size(), 13);
  // Damage in front of the values: they are searched for marks, and hold none that counts.
  const Position first = MakeRecord(Position{}, 1, BodyOf(0, 50)).after;
  const auto disk = fs.ImageAllKept();
  const Seen part = Scan([&] {
    ScanOptions until = ScanFor(disk.get());
    until.until = synced;
    return until;
  }());
  CHECK_EQ(part.result.end.offset, synced);
  CHECK_EQ(part.result.durable_mark, synced);
  CHECK(part.result.verdict == ScanVerdict::kTail);
  CHECK_LT(first.offset, synced);
}

TEST("the scan begins at the checkpoint and refuses one of another history") {
  io::FaultFileSystem fs;
  Position mark;
  const auto bodies = BuildClosedLog(&fs, 40, 200, 4096, &mark);
  Position at;
  std::vector<Position> ends;
  uint64_t timestamp = 0;
  for (const std::string& body : bodies) {
    const TestRecord record = MakeRecord(at, ++timestamp, body);
    at = record.after;
    ends.push_back(at);
  }
  REQUIRE(at == mark);
  for (size_t i = 0; i < ends.size(); ++i) {
    const Seen seen = Scan(ScanFor(&fs, mark.offset, ends[i], i + 1));
    REQUIRE_OK(seen.status);
    CHECK(seen.result.verdict == ScanVerdict::kClean);
    CHECK_EQ(seen.bodies.size(), bodies.size() - i - 1);
    CHECK_EQ(seen.result.records, seen.bodies.size());
    Position foreign = ends[i];
    foreign.chain ^= 1;
    const Seen other = Scan(ScanFor(&fs, mark.offset, foreign, i + 1));
    CHECK(other.result.verdict == ScanVerdict::kCorrupt);
    CHECK(other.bodies.empty());
    Position between = ends[i];
    between.offset -= 8;
    CHECK(Scan(ScanFor(&fs, mark.offset, between, i + 1)).result.verdict == ScanVerdict::kCorrupt);
  }
  Position beyond = mark;
  beyond.offset += 8;
  CHECK(Scan(ScanFor(&fs, mark.offset, beyond, 99)).result.verdict == ScanVerdict::kCorrupt);
}

TEST("a whole scan finds damage in front of the checkpoint, an ordinary one does not look there") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 40, 200, 4096, &mark);
  const auto files = LogFiles(fs);
  fs.FlipBits(files[0], 500, 4);
  ScanOptions options = ScanFor(&fs, mark.offset, mark, 40);
  CHECK(Scan(options).result.verdict == ScanVerdict::kClean);
  options.whole = true;
  const Seen seen = Scan(options);
  CHECK(seen.result.verdict == ScanVerdict::kCorrupt);
  REQUIRE(!seen.result.damage.empty());
  CHECK_EQ(seen.result.damage[0].file, files[0]);
}

TEST("each damaged file is listed once, in order") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 40, 200, 4096, &mark);
  const auto files = LogFiles(fs);
  REQUIRE(files.size() >= 3);
  fs.FlipBits(files[0], 500, 4);
  fs.FlipBits(files[1], 3, 4);
  fs.FlipBits(files[2], 700, 4);
  const Seen seen = Scan(ScanFor(&fs, mark.offset));
  REQUIRE_EQ(seen.result.damage.size(), 3);
  for (size_t i = 0; i < 3; ++i) CHECK_EQ(seen.result.damage[i].file, files[i]);
  CHECK_EQ(seen.result.damage[1].what, "magic");
}

TEST("a wrong or missing sidecar index changes nothing but time") {
  io::FaultFileSystem fs;
  Position mark;
  const auto bodies = BuildClosedLog(&fs, 600, 3000, 512 << 10, &mark);
  std::vector<std::string> indexes;
  for (const std::string& path : fs.ListAll()) {
    if (path.find(".idx") != std::string::npos) indexes.push_back(path);
  }
  REQUIRE(indexes.size() >= 2);
  Position at;
  for (size_t i = 0; i < 150; ++i) at = MakeRecord(at, i + 1, bodies[i]).after;
  for (int damage = 0; damage < 4; ++damage) {
    const auto disk = fs.ImageAllKept();
    const std::string other = disk->ReadRaw(indexes[1]);
    if (damage == 1) disk->FlipBits(indexes[0], 90, 1);
    if (damage == 2) REQUIRE_OK(disk->Remove(indexes[0]));
    if (damage == 3) disk->PutRaw(indexes[0], other);
    const Seen seen = Scan(ScanFor(disk.get(), mark.offset, at, 150));
    REQUIRE_OK(seen.status);
    CHECK(seen.result.verdict == ScanVerdict::kClean);
    CHECK_EQ(seen.bodies.size(), 450);
    Result<std::unique_ptr<Log>> log =
        Log::Open(OptionsFor(disk.get(), 512 << 10), seen.result, nullptr);
    REQUIRE_OK(log);
    Result<Position> found = log.value()->PositionAt(at.offset);
    REQUIRE_OK(found);
    CHECK(found.value() == at);
  }
}

TEST("a padded segment is accepted only where a padded range says so") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 3, 100, 4096, &mark);
  Position to = mark;
  to.offset += 4096;
  to.seq += 40;
  to.chain = 77;
  to.epoch.term = 2;
  REQUIRE_OK(Log::Create(OptionsFor(&fs), to, 900, true));
  ScanOptions options = ScanFor(&fs, mark.offset);
  const Seen refused = Scan(options);
  CHECK(refused.result.end == mark);
  options.padded.push_back(PaddedRange{mark, to});
  const Seen seen = Scan(options);
  CHECK(seen.result.verdict == ScanVerdict::kClean);
  CHECK(seen.result.end == to);
  CHECK(seen.result.segments.back().padded);
}

TEST("an unknown format stops the scan and is never cut") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 2, 40, 4096, &mark);
  TestRecord record = MakeRecord(mark, 99, BodyOf(3, 40));
  record.fields.flags = 1;
  SealHeader(TestCluster(), mark, &record.fields, record.header.data());
  const std::string path = LogFiles(fs).front();
  const size_t size = fs.ReadRaw(path).size();
  fs.WriteRaw(path, size, record.Bytes());
  const Seen seen = Scan(ScanFor(&fs, mark.offset));
  CHECK(seen.status.Is(Code::kFormatUnsupported));
  CHECK_EQ(seen.status.file(), path);
  CHECK_EQ(seen.status.offset(), size);
}

TEST("an error of the disk is an error, not damage, at every read of the scan") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 14, 100, 1024, &mark);
  const uint32_t reads = static_cast<uint32_t>(io::OperationKind::kRead) |
                         static_cast<uint32_t>(io::OperationKind::kOpen);
  uint64_t struck = 0;
  for (uint64_t skip = 0;; ++skip) {
    const auto disk = fs.ImageAllKept();
    io::FaultRule rule;
    rule.kinds = reads;
    rule.skip = skip;
    disk->AddRule(rule);
    const Seen seen = Scan(ScanFor(disk.get(), mark.offset));
    if (disk->FaultsStruck() == 0) break;
    ++struck;
    CHECK(seen.status.Is(Code::kIo));
    if (check::Failed()) return;
  }
  CHECK_GT(struck, 6);
}

TEST("h below D is corrupt, everything else a tail or clean") {
  CHECK(Decide(7, 8, false) == ScanVerdict::kCorrupt);
  CHECK(Decide(7, 8, true) == ScanVerdict::kCorrupt);
  CHECK(Decide(8, 8, false) == ScanVerdict::kClean);
  CHECK(Decide(8, 8, true) == ScanVerdict::kTail);
  CHECK(Decide(9, 8, true) == ScanVerdict::kTail);
}

}  // namespace
}  // namespace gapless::log::test

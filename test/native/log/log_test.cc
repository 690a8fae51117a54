// A living log: group commit, rotation, reading, retention, space, close, and what they cost.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "base/thread.h"
#include "log_fixture.h"

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

// Counts every allocation of this executable; the rest is as usual.
void* operator new(size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return operator new(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace gapless::log::test {
namespace {

class Listener final : public LogListener {
 public:
  void OnProgress(const LogProgress& progress) override {
    if (progress.durable.offset > progress.written.offset) ++wrong;
    if (progress.written.offset > progress.appended.offset) ++wrong;
    if (progress.durable.offset < last_durable) ++wrong;
    last_durable = progress.durable.offset;
  }
  void OnRoom() override { ++room; }
  void OnNoSpace(const Status& why) override {
    if (!why.Is(Code::kNoSpace)) ++wrong;
    ++no_space;
  }
  void OnSpaceBack() override { ++space_back; }
  void OnPoisoned(const Status&) override { ++poisoned; }
  std::atomic<uint64_t> last_durable{0};
  std::atomic<int> wrong{0};
  std::atomic<int> room{0};
  std::atomic<int> no_space{0};
  std::atomic<int> space_back{0};
  std::atomic<int> poisoned{0};
};

struct Opened {
  std::unique_ptr<Log> log;
  std::unique_ptr<Appender> appender;
  Listener listener;
  ~Opened() { log.reset(); }
};

void OpenNew(io::FileSystem* fs, const LogOptions& options, Opened* opened) {
  REQUIRE_OK(fs->CreateDirectory(options.directory));
  REQUIRE_OK(Log::Create(options, Position{}, 0));
  ScanOptions scan = ScanFor(fs);
  scan.directory = options.directory;
  Result<std::unique_ptr<Log>> log = Log::Open(options, Scan(scan).result, &opened->listener);
  REQUIRE_OK(log);
  opened->log = std::move(log.value());
  opened->appender = std::make_unique<Appender>(opened->log.get(), Position{}, 0);
}

void WaitFor(const std::function<bool()>& happened) {
  for (int i = 0; i < 20000 && !happened(); ++i) {
    const timespec pause{0, 1000000};
    nanosleep(&pause, nullptr);
  }
  CHECK(happened());
}

Status Nothing(const Position&) { return Status::Ok(); }

std::vector<std::string> ReadAll(Log* log, uint64_t max_bytes) {
  std::vector<std::string> bodies;
  uint64_t at = log->stats().floor;
  const uint64_t end = log->progress().written.offset;
  while (at < end) {
    Result<LogChunk> chunk = log->Read(at, end, max_bytes);
    CHECK_OK(chunk);
    if (!chunk.ok()) break;
    const LogChunk& got = chunk.value();
    CHECK_EQ(got.before.offset, at);
    CHECK_EQ(got.bytes.size(), got.after.offset - at);
    Position before = got.before;
    Slice rest(got.bytes);
    while (!rest.empty()) {
      RecordView view;
      CHECK(CheckRecord(TestCluster(), before, 0, rest, &view) == RecordCheck::kOk);
      if (check::Failed()) return bodies;
      bodies.push_back(view.body.ToString());
      before = view.header.After(before.offset);
      rest.RemovePrefix(static_cast<size_t>(view.header.RecordBytes()));
    }
    CHECK(before == got.after);
    at = got.after.offset;
  }
  return bodies;
}

TEST("records are read back over segments in chunks of any size") {
  io::FaultFileSystem fs;
  Opened opened;
  OpenNew(&fs, OptionsFor(&fs, 4096), &opened);
  for (size_t i = 0; i < 100; ++i) {
    REQUIRE(opened.appender->Append(BodyOf(i, 30 + i * 7), Durability::kOs));
  }
  REQUIRE_OK(opened.log->SyncTo(opened.appender->at().offset, 10000));
  CHECK_GT(opened.log->stats().segments, 5);
  for (const uint64_t size : {1u, 500u, 5000u, 1u << 20}) {
    CHECK(ReadAll(opened.log.get(), size) == opened.appender->bodies);
  }
  Result<LogChunk> empty = opened.log->Read(0, 0, 100);
  REQUIRE_OK(empty);
  CHECK(empty.value().bytes.empty());
  CHECK(opened.log->Read(8, 1000, 100).status().Is(Code::kPositionUnavailable));
  CHECK_EQ(opened.listener.wrong.load(), 0);
  CHECK_OK(opened.log->Close(Nothing));
}

TEST("positions are found by offset and by sequence, and only at record ends") {
  io::FaultFileSystem fs;
  Opened opened;
  OpenNew(&fs, OptionsFor(&fs, 4096), &opened);
  std::vector<Position> ends{Position{}};
  for (size_t i = 0; i < 60; ++i) {
    REQUIRE(opened.appender->Append(BodyOf(i, 100), Durability::kOs));
    ends.push_back(opened.appender->at());
  }
  REQUIRE_OK(opened.log->SyncTo(opened.appender->at().offset, 10000));
  for (size_t i = 0; i < ends.size(); ++i) {
    Result<Position> at = opened.log->PositionAt(ends[i].offset);
    REQUIRE_OK(at);
    CHECK(at.value() == ends[i]);
    CHECK(opened.log->PositionAt(ends[i].offset + 8)
              .status()
              .Is(i + 1 == ends.size() ? Code::kPositionUnavailable : Code::kNotARecordEnd));
    if (i == 0) continue;
    Result<Position> before = opened.log->PositionBeforeSeq(ends[i].seq);
    REQUIRE_OK(before);
    CHECK(before.value() == ends[i - 1]);
  }
  CHECK(opened.log->PositionBeforeSeq(61).status().Is(Code::kPositionUnavailable));
  CHECK(opened.log->PositionBeforeSeq(0).status().Is(Code::kEvicted));
}

TEST("a record larger than a segment gets one of its own, also as the first one") {
  io::FaultFileSystem fs;
  Opened opened;
  OpenNew(&fs, OptionsFor(&fs, 4096), &opened);
  for (const size_t size : {20000u, 100u, 30000u, 100u, 100u, 9000u}) {
    REQUIRE(opened.appender->AppendSynced(BodyOf(size, size)));
  }
  CHECK_EQ(opened.log->stats().segments, 5);
  CHECK(ReadAll(opened.log.get(), 64) == opened.appender->bodies);
  CHECK_OK(opened.log->Close(Nothing));
  const Seen seen = Scan(ScanFor(&fs, opened.appender->at().offset));
  CHECK(seen.result.verdict == ScanVerdict::kClean);
  CHECK(seen.bodies == opened.appender->bodies);
}

TEST("kMemory is written within the flush interval and synced within the sync interval") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 1 << 16);
  options.flush_interval_ms = 20;
  options.sync_interval_ms = 60;
  Opened opened;
  OpenNew(&fs, options, &opened);
  REQUIRE(opened.appender->Append(BodyOf(1, 50), Durability::kMemory));
  const Position end = opened.appender->at();
  CHECK_EQ(opened.log->progress().durable.offset, 0);
  WaitFor([&] { return opened.log->progress().written == end; });
  WaitFor([&] { return opened.log->progress().durable == end; });
}

TEST("an idle log makes its last mark durable by itself") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 1 << 16);
  options.sync_interval_ms = 30;
  Opened opened;
  OpenNew(&fs, options, &opened);
  REQUIRE_OK(fs.SyncDirectory("/"));
  REQUIRE(opened.appender->AppendSynced(BodyOf(1, 50)));
  const uint64_t end = opened.appender->at().offset;
  WaitFor([&] { return Scan(ScanFor(fs.ImageAllLost().get())).result.durable_mark == end; });
}

TEST("beyond pendingBytes Admit says wait, and calls when there is room") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 1 << 20);
  options.pending_bytes = 1000;
  options.flush_interval_ms = 600000;
  Opened opened;
  OpenNew(&fs, options, &opened);
  // One record larger than all that may wait is admitted when nothing waits.
  CHECK_EQ(opened.log->Admit(5000), Admission::kGo);
  REQUIRE(opened.appender->Append(BodyOf(1, 300), Durability::kMemory));
  CHECK_EQ(opened.log->Admit(900), Admission::kWait);
  WaitFor([&] { return opened.listener.room > 0; });
  CHECK_EQ(opened.log->Admit(900), Admission::kGo);
}

TEST("without space records are refused before they have a sequence, and go on later") {
  io::FaultFileSystem fs;
  Opened opened;
  OpenNew(&fs, OptionsFor(&fs, 16384), &opened);
  REQUIRE(opened.appender->AppendSynced(BodyOf(0, 100)));
  fs.SetCapacity(fs.UsedBytes());
  size_t written = 1;
  while (opened.appender->AppendSynced(BodyOf(written, 1000))) {
    REQUIRE(++written < 50);
  }
  CHECK_EQ(opened.appender->admission, Admission::kNoSpace);
  CHECK(opened.log->progress().no_space);
  CHECK(!opened.log->progress().poisoned);
  CHECK_EQ(opened.listener.no_space.load(), 1);
  CHECK_EQ(opened.listener.space_back.load(), 0);
  CHECK(ReadAll(opened.log.get(), 1 << 20) == opened.appender->bodies);
  fs.SetCapacity(io::kForever);
  WaitFor([&] { return opened.listener.space_back == 1; });
  for (size_t i = 0; i < 40; ++i) {
    REQUIRE(opened.appender->AppendSynced(BodyOf(written + i, 1000)));
  }
  CHECK_EQ(opened.listener.no_space.load(), 1);
  CHECK_EQ(opened.listener.poisoned.load(), 0);
  CHECK_OK(opened.log->Close(Nothing));
  CHECK(Scan(ScanFor(&fs, opened.appender->at().offset)).bodies == opened.appender->bodies);
}

TEST("a record for which no segment can be allocated does not stop the smaller ones") {
  io::FaultFileSystem fs;
  Opened opened;
  OpenNew(&fs, OptionsFor(&fs, 16384), &opened);
  REQUIRE(opened.appender->AppendSynced(BodyOf(0, 100)));
  fs.SetCapacity(fs.UsedBytes() + 65536);
  CHECK(!opened.appender->Append(BodyOf(1, 1 << 20), Durability::kSync));
  CHECK_EQ(opened.appender->admission, Admission::kNoSpace);
  for (size_t i = 0; i < 20; ++i) REQUIRE(opened.appender->AppendSynced(BodyOf(i, 1000)));
  CHECK(ReadAll(opened.log.get(), 4096) == opened.appender->bodies);
}

TEST("a log without space opens, is read, and grows again later") {
  io::FaultFileSystem fs;
  Position mark;
  auto bodies = BuildClosedLog(&fs, 5, 100, 16384, &mark);
  fs.SetCapacity(fs.UsedBytes());
  const Seen seen = Scan(ScanFor(&fs, mark.offset));
  Listener listener;
  Result<std::unique_ptr<Log>> log = Log::Open(OptionsFor(&fs, 16384), seen.result, &listener);
  REQUIRE_OK(log);
  Appender appender(log.value().get(), seen.result.end, seen.result.end_timestamp);
  CHECK(!appender.Append(BodyOf(9, 4000), Durability::kSync));
  CHECK_EQ(appender.admission, Admission::kNoSpace);
  fs.SetCapacity(io::kForever);
  WaitFor([&] { return listener.space_back == 1; });
  REQUIRE(appender.AppendSynced(BodyOf(9, 4000)));
  bodies.push_back(BodyOf(9, 4000));
  CHECK_OK(log.value()->Close(Nothing));
  const Seen after = Scan(ScanFor(&fs, appender.at().offset));
  CHECK(after.result.verdict == ScanVerdict::kClean);
  CHECK(after.bodies == bodies);
}

TEST("retention keeps what base, holds and logRetainBytes need, and nothing else") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 1024);
  options.retain_bytes = 0;
  Opened opened;
  OpenNew(&fs, options, &opened);
  Log* log = opened.log.get();
  std::vector<Position> ends;
  const auto put = [&](size_t count) {
    for (size_t i = 0; i < count; ++i) {
      CHECK(opened.appender->AppendSynced(BodyOf(i, 200)));
      ends.push_back(opened.appender->at());
    }
  };
  put(20);
  CHECK_EQ(log->stats().floor, 0);  // no checkpoint was named yet
  Result<HoldId> hold = log->AddHold(HoldKind::kReader, "reader", ends[5].offset, 0);
  REQUIRE_OK(hold);
  Result<HoldId> capped = log->AddHold(HoldKind::kSlot, "dead", ends[2].offset, 1024);
  REQUIRE_OK(capped);
  log->SetBase(ends[19].offset);
  WaitFor([&] { return log->stats().floor > 0; });
  CHECK(!log->HoldIsAlive(capped.value()));
  CHECK(log->MoveHold(capped.value(), ends[10].offset).Is(Code::kEvicted));
  CHECK(log->HoldIsAlive(hold.value()));
  const uint64_t floor = log->stats().floor;
  CHECK_LE(floor, ends[5].offset);
  CHECK_GT(floor + 1024, ends[5].offset);
  CHECK_OK(log->Read(ends[5].offset, ends[6].offset, 4096));
  CHECK(log->Read(ends[0].offset, ends[1].offset, 4096).status().Is(Code::kEvicted));
  CHECK(log->PositionAt(ends[0].offset).status().Is(Code::kEvicted));
  CHECK(log->PositionBeforeSeq(2).status().Is(Code::kEvicted));
  CHECK(log->AddHold(HoldKind::kReader, "late", ends[0].offset, 0).status().Is(Code::kEvicted));
  CHECK_OK(log->MoveHold(hold.value(), ends[12].offset));
  WaitFor([&] { return log->stats().floor > ends[5].offset; });
  CHECK_LE(log->stats().floor, ends[12].offset);
  log->ReleaseHold(hold.value());
  WaitFor([&] { return log->stats().floor > ends[12].offset; });
  CHECK_LE(log->stats().floor, ends[19].offset);
  put(10);
  CHECK_LE(log->stats().floor, ends[19].offset);  // the base
  CHECK_OK(log->Close(Nothing));
  size_t files = 0;
  for (const std::string& path : fs.ListAll()) files += path.find(".log") != std::string::npos;
  CHECK_EQ(files, log->stats().segments);
}

TEST("logRetainBytes is kept beyond every need") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 1024);
  options.retain_bytes = 3000;
  Opened opened;
  OpenNew(&fs, options, &opened);
  for (size_t i = 0; i < 40; ++i) {
    REQUIRE(opened.appender->AppendSynced(BodyOf(i, 200)));
    opened.log->SetBase(opened.appender->at().offset);
  }
  WaitFor([&] { return opened.log->stats().floor > 0; });
  const uint64_t end = opened.appender->at().offset;
  CHECK_LE(opened.log->stats().floor, end - 3000);
  WaitFor([&] { return opened.log->stats().floor + 3000 + 2 * 1024 > end; });
}

TEST("closing leaves nothing behind the last record and nothing prepared") {
  io::FaultFileSystem fs;
  Opened opened;
  OpenNew(&fs, OptionsFor(&fs, 4096), &opened);
  for (size_t i = 0; i < 17; ++i) REQUIRE(opened.appender->AppendSynced(BodyOf(i, 100)));
  Position published;
  const TestRecord last = MakeRecord(Position{}, 1, BodyOf(16, 100));
  CHECK_OK(opened.log->Close([&](const Position& end) {
    published = end;
    return Status::Ok();
  }));
  CHECK(published == opened.appender->at());
  CHECK(!fs.Exists(std::string(kDir) + "/next.tmp").value());
  std::string path;
  for (const std::string& name : fs.ListAll()) {
    if (name.find(".log") != std::string::npos && name.back() == 'g') path = name;
  }
  const std::string bytes = fs.ReadRaw(path);
  CHECK_EQ(bytes.substr(bytes.size() - last.Bytes().size()).find(last.body), kRecordHeaderBytes);
  CHECK_EQ(opened.log->Admit(100), Admission::kClosed);
  CHECK(opened.log->Close(Nothing).Is(Code::kClosed));
}

TEST("a log opened for reading changes nothing on disk and reads up to its end") {
  io::FaultFileSystem fs;
  Position mark;
  const auto bodies = BuildClosedLog(&fs, 20, 100, 1024, &mark);
  const auto operations = fs.operations();
  LogOptions options = OptionsFor(&fs, 1024);
  options.read_only = true;
  Result<std::unique_ptr<Log>> log =
      Log::Open(options, Scan(ScanFor(&fs, mark.offset)).result, nullptr);
  REQUIRE_OK(log);
  CHECK(ReadAll(log.value().get(), 300) == bodies);
  CHECK_EQ(log.value()->Admit(64), Admission::kClosed);
  CHECK_OK(log.value()->Close(Nothing));
  CHECK_EQ(fs.operations(), operations);
}

TEST("damage that a reader meets is told with file and offset") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 20, 100, 1024, &mark);
  Result<std::unique_ptr<Log>> log =
      Log::Open(OptionsFor(&fs, 1024), Scan(ScanFor(&fs, mark.offset)).result, nullptr);
  REQUIRE_OK(log);
  const std::string path = std::string(kDir) + "/00000000000000000000.log";
  fs.FlipBits(path, 300, 1);
  const Status status = log.value()->Read(0, 1000, 1 << 20).status();
  CHECK(status.Is(Code::kCorrupt));
  CHECK_EQ(status.file(), path);
  CHECK_LE(status.offset(), 300);
  CHECK_GT(status.offset(), 0);
}

TEST("a reader is right while the log is written, rotated and removed under it") {
  check::TempDir dir;
  LogOptions options = OptionsFor(io::PosixFileSystem(), 1 << 16);
  options.directory = dir / "log";
  options.retain_bytes = 1 << 18;
  Opened opened;
  OpenNew(options.fs, options, &opened);
  REQUIRE(opened.log != nullptr);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> read{0};
  Thread readers[2];
  for (size_t i = 0; i < 2; ++i) {
    REQUIRE_OK(readers[i].Start("reader", [&, i] {
      uint64_t at = 0;
      while (!stop) {
        const uint64_t end = opened.log->progress().written.offset;
        if (at >= end) {
          sched_yield();
          continue;
        }
        Result<LogChunk> chunk = opened.log->Read(at, end, 4096 + i * 60000);
        if (chunk.status().Is(Code::kEvicted)) {
          at = opened.log->stats().floor;
          continue;
        }
        CHECK_OK(chunk);
        if (!chunk.ok()) return;
        CHECK_EQ(chunk.value().bytes.size(), chunk.value().after.offset - at);
        at = chunk.value().after.offset;
        ++read;
      }
    }));
  }
  for (size_t i = 0; i < 4000; ++i) {
    REQUIRE(opened.appender->Append(BodyOf(i, 100 + i % 900), Durability::kOs));
    if (i % 64 == 0) opened.log->SetBase(opened.log->progress().durable.offset);
  }
  WaitFor([&] { return read > 20; });
  stop = true;
  for (Thread& reader : readers) reader.Join();
  CHECK_GT(opened.log->stats().floor, 0);
  CHECK_OK(opened.log->Close(Nothing));
}

TEST("appending allocates nothing in the steady state") {
  check::TempDir dir;
  LogOptions options = OptionsFor(io::PosixFileSystem(), 64 << 20);
  options.directory = dir / "log";
  Opened opened;
  OpenNew(options.fs, options, &opened);
  REQUIRE(opened.log != nullptr);
  const std::string body = BodyOf(1, 60);
  std::string header(kRecordHeaderBytes, '\0');
  Position at;
  uint64_t timestamp = 0;
  const auto append = [&](size_t count) {
    for (size_t i = 0; i < count; ++i) {
      RecordHeader fields;
      fields.body_crc = Crc32c(body);
      fields.body_bytes = static_cast<uint32_t>(body.size());
      fields.kind = RecordKind::kBatch;
      fields.first_seq = at.seq + 1;
      fields.operations = 1;
      fields.timestamp = ++timestamp;
      SealHeader(TestCluster(), at, &fields, header.data());
      while (opened.log->Admit(fields.RecordBytes()) != Admission::kGo) sched_yield();
      at = fields.After(at.offset);
      opened.log->Append(header.data(), body, at, Durability::kMemory);
    }
  };
  append(20000);
  const uint64_t before = allocations;
  append(100000);
  const uint64_t used = allocations - before;
  CHECK_LT(used, 200);  // index entries and a segment now and then
  CHECK_OK(opened.log->Close(Nothing));
}

TEST("a million small records are scanned in one go") {
  check::TempDir dir;
  LogOptions options = OptionsFor(io::PosixFileSystem(), 64 << 20);
  options.directory = dir / "log";
  options.pending_bytes = 16 << 20;
  options.sync_interval_ms = 600000;
  Opened opened;
  OpenNew(options.fs, options, &opened);
  REQUIRE(opened.log != nullptr);
  const size_t records = 1000000;
  const std::string body = PutBody("key-000001", std::string(20, 'v'));
  for (size_t i = 0; i < records; ++i) {
    if (!opened.appender->Append(body, Durability::kMemory)) break;
    if (i % 4096 == 0) opened.appender->bodies.clear();
  }
  CHECK_OK(opened.log->Close(Nothing));
  ScanOptions scan = ScanFor(options.fs, opened.appender->at().offset);
  scan.directory = options.directory;
  uint64_t count = 0;
  const uint64_t begin = io::SystemClock()->MonotonicUs();
  Result<ScanResult> result =
      ScanLog(scan, [&count](const RecordView&, const Position&, const Position&) {
        ++count;
        return Status::Ok();
      });
  const uint64_t us = io::SystemClock()->MonotonicUs() - begin;
  REQUIRE_OK(result);
  CHECK(result.value().verdict == ScanVerdict::kClean);
  CHECK_EQ(count, records);
  std::printf("scan: %.2f million records a second, %.0f MB/s\n",
              static_cast<double>(records) / static_cast<double>(us + 1),
              static_cast<double>(result.value().end.offset) / static_cast<double>(us + 1));
}

}  // namespace
}  // namespace gapless::log::test

// Crashes at every operation of small scripts, again while recovering, and failed writes and syncs.
//
// Oracles: what was acknowledged as synced is there; what is there is a prefix of what was
// appended;
// an undamaged disk is never refused; a cut log stays cut. GAPLESS_CRASH_SCALE multiplies the
// images.
#include <atomic>
#include <cstdlib>

#include "log_fixture.h"

namespace gapless::log::test {
namespace {

uint64_t Scale() {
  const char* text = std::getenv("GAPLESS_CRASH_SCALE");
  const uint64_t scale = text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
  return scale == 0 ? 1 : scale;
}

// What the rest of the node knows when the machine stops.
struct Ledger {
  bool created = false;
  uint64_t state_mark = 0;          // STATE's durableMark
  std::vector<std::string> bodies;  // in order of appending
  size_t acknowledged = 0;          // of them, synced
  Position base;                    // the checkpoint that recovery may begin at
  uint64_t base_timestamp = 0;
  size_t base_bodies = 0;
};

using Script = std::function<void(io::FileSystem* fs, Ledger* ledger)>;

struct Session {
  std::unique_ptr<Log> log;
  std::unique_ptr<Appender> appender;
};

// Opens whatever is there; null log after a crash.
Session OpenSession(io::FileSystem* fs, const LogOptions& options, Ledger* ledger) {
  Session session;
  Seen seen = Scan(ScanFor(fs, ledger->state_mark, ledger->base, ledger->base_timestamp));
  if (!seen.status.ok()) return session;
  Result<std::unique_ptr<Log>> log = Log::Open(options, seen.result, nullptr);
  if (!log.ok()) return session;
  ledger->bodies.resize(ledger->base_bodies);
  ledger->bodies.insert(ledger->bodies.end(), seen.bodies.begin(), seen.bodies.end());
  session.log = std::move(log.value());
  session.appender =
      std::make_unique<Appender>(session.log.get(), seen.result.end, seen.result.end_timestamp);
  return session;
}

bool Put(Session* session, Ledger* ledger, size_t value_bytes, Durability want) {
  const std::string body = BodyOf(ledger->bodies.size(), value_bytes);
  // In the ledger first: a crash may keep what was never confirmed.
  ledger->bodies.push_back(body);
  if (!session->appender->Append(body, want)) {
    ledger->bodies.pop_back();
    return false;
  }
  if (want != Durability::kSync) return true;
  if (!session->log->SyncTo(session->appender->at().offset, 10000).ok()) return false;
  ledger->acknowledged = ledger->bodies.size();
  return true;
}

void CloseSession(Session* session, Ledger* ledger) {
  (void)session->log
      ->Close([ledger](const Position& end) {
        ledger->state_mark = end.offset;
        return Status::Ok();
      })
      .ok();
  session->log.reset();
}

bool CreateLog(io::FileSystem* fs, const LogOptions& options, Ledger* ledger) {
  if (!fs->CreateDirectory(kDir).ok() || !fs->SyncDirectory("/").ok()) return false;
  ledger->created = Log::Create(options, Position{}, 0).ok();
  return ledger->created;
}

// Acknowledged one by one, over two rotations, then closed, reopened and killed.
void SyncedScript(io::FileSystem* fs, Ledger* ledger) {
  const LogOptions options = OptionsFor(fs, 1024);
  if (!CreateLog(fs, options, ledger)) return;
  for (int life = 0; life < 2; ++life) {
    Session session = OpenSession(fs, options, ledger);
    if (session.log == nullptr) return;
    for (size_t i = 0; i < 6; ++i) {
      if (!Put(&session, ledger, 90 + 40 * i, Durability::kSync)) return;
    }
    if (life == 0) CloseSession(&session, ledger);
  }
}

// Groups of weak records between strong ones, one larger than a segment, killed twice.
void MixedScript(io::FileSystem* fs, Ledger* ledger) {
  LogOptions options = OptionsFor(fs, 2048);
  options.flush_interval_ms = 1;
  options.sync_interval_ms = 2;
  if (!CreateLog(fs, options, ledger)) return;
  for (int life = 0; life < 2; ++life) {
    Session session = OpenSession(fs, options, ledger);
    if (session.log == nullptr) return;
    for (size_t i = 0; i < 8; ++i) {
      const Durability want = i % 4 == 3   ? Durability::kSync
                              : i % 2 == 0 ? Durability::kOs
                                           : Durability::kMemory;
      if (!Put(&session, ledger, i == 5 ? 5000 : 100 + 30 * i, want)) return;
    }
  }
}

// Segments go while records come.
void RetentionScript(io::FileSystem* fs, Ledger* ledger) {
  LogOptions options = OptionsFor(fs, 1024);
  options.retain_bytes = 0;
  if (!CreateLog(fs, options, ledger)) return;
  Session session = OpenSession(fs, options, ledger);
  if (session.log == nullptr) return;
  for (size_t i = 0; i < 14; ++i) {
    if (!Put(&session, ledger, 150, Durability::kSync)) return;
    if (i % 4 != 3) continue;
    ledger->base = session.appender->at();
    ledger->base_timestamp = session.appender->timestamp();
    ledger->base_bodies = ledger->bodies.size();
    session.log->SetBase(ledger->base.offset);
  }
  CloseSession(&session, ledger);
}

bool IsPrefix(const std::vector<std::string>& part, const std::vector<std::string>& all) {
  if (part.size() > all.size()) return false;
  for (size_t i = 0; i < part.size(); ++i) {
    if (part[i] != all[i]) return false;
  }
  return true;
}

std::vector<std::string> Recovered(const Ledger& ledger, const Seen& seen) {
  std::vector<std::string> all(
      ledger.bodies.begin(),
      ledger.bodies.begin() + static_cast<std::ptrdiff_t>(ledger.base_bodies));
  all.insert(all.end(), seen.bodies.begin(), seen.bodies.end());
  return all;
}

// Judges one image: the oracles, then recovery and a life behind it. Returns the operations that
// the
// recovery took.
uint64_t CheckImage(io::FaultFileSystem* disk, const Ledger& ledger) {
  const ScanOptions scan = ScanFor(disk, ledger.state_mark, ledger.base, ledger.base_timestamp);
  const Seen seen = Scan(scan);
  CHECK_OK(seen.status);
  CHECK(seen.result.verdict != ScanVerdict::kCorrupt);
  if (check::Failed()) {
    if (!seen.result.damage.empty()) CHECK_OK(seen.result.ToStatus());
    return 0;
  }
  const std::vector<std::string> found = Recovered(ledger, seen);
  CHECK(IsPrefix(found, ledger.bodies));
  CHECK_GE(found.size(), ledger.acknowledged);
  const uint64_t before = disk->operations();
  if (seen.result.verdict == ScanVerdict::kTail) CHECK_OK(CutLog(scan, seen.result));
  const uint64_t used = disk->operations() - before;
  if (disk->crashed()) return used;
  const Seen again = Scan(scan);
  CHECK(again.result.verdict == ScanVerdict::kClean);
  CHECK(again.result.end == seen.result.end);
  return used;
}

// The store lives on behind a recovery, and dies once more.
void CheckNextLife(const io::FaultFileSystem& image, Ledger ledger, uint64_t seed) {
  const auto disk = image.Clone();
  Session session = OpenSession(disk.get(), OptionsFor(disk.get(), 1024), &ledger);
  CHECK(session.log != nullptr);
  if (session.log == nullptr) return;
  for (size_t i = 0; i < 2; ++i) {
    CHECK(Put(&session, &ledger, 120 + 8 * (seed % 5), Durability::kSync));
  }
  disk->CrashNow();
  session.log.reset();
  (void)CheckImage(disk->ImageOfSeed(seed).get(), ledger);
}

void CheckCrashDuringRecovery(const io::FaultFileSystem& image, const Ledger& ledger,
                              uint64_t operations, uint64_t seed) {
  for (uint64_t n = 0; n < operations && !check::Failed(); ++n) {
    const auto disk = image.Clone();
    const ScanOptions scan =
        ScanFor(disk.get(), ledger.state_mark, ledger.base, ledger.base_timestamp);
    const Seen seen = Scan(scan);
    disk->CrashAfter(disk->operations() + n);
    CHECK(!CutLog(scan, seen.result).ok());
    (void)CheckImage(disk->ImageOfSeed(seed + n).get(), ledger);
    (void)CheckImage(disk->ImageAllLost().get(), ledger);
  }
}

void CrashEverywhere(const Script& script) {
  uint64_t operations = 0;
  {
    io::FaultFileSystem fs;
    Ledger ledger;
    script(&fs, &ledger);
    operations = fs.operations();
    CHECK(ledger.created);
    CHECK_GT(ledger.acknowledged, 0);
  }
  const uint64_t images = 6 * Scale();
  for (uint64_t n = 0; n <= operations && !check::Failed(); ++n) {
    io::FaultFileSystem fs;
    Ledger ledger;
    fs.CrashAfter(n);
    script(&fs, &ledger);
    if (!fs.crashed()) fs.CrashNow();
    if (!ledger.created) continue;
    for (uint64_t seed = 0; seed < images + 2 && !check::Failed(); ++seed) {
      const auto disk = seed == images       ? fs.ImageAllLost()
                        : seed == images + 1 ? fs.ImageAllKept()
                                             : fs.ImageOfSeed(seed * 7919 + n);
      const auto untouched = disk->Clone();
      const uint64_t used = CheckImage(disk.get(), ledger);
      CheckCrashDuringRecovery(*untouched, ledger, used, seed);
      if (seed % 3 == 0) CheckNextLife(*untouched, ledger, seed + n);
    }
  }
}

TEST("after a crash at any operation synced records are there, in a prefix, never refused") {
  CrashEverywhere(SyncedScript);
}

TEST("the same with weak records, groups and a record larger than a segment") {
  CrashEverywhere(MixedScript);
}

TEST("the same while retention removes segments") { CrashEverywhere(RetentionScript); }

// The stale tail: a hole cuts a valid record off; the next life writes the same bytes into the
// hole.
TEST("a record that a first crash cut off is not revived by a second one") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 8192);
  options.sync_interval_ms = 600000;
  Ledger ledger;
  REQUIRE(CreateLog(&fs, options, &ledger));
  Session session = OpenSession(&fs, options, &ledger);
  REQUIRE(session.log != nullptr);
  REQUIRE(Put(&session, &ledger, 80, Durability::kSync));
  const Position synced = session.appender->at();
  // Let the mark behind the synced group be written first: the file looks the same in both lives.
  while (fs.ReadRaw(std::string(kDir) + "/00000000000000000000.log").find("GMRK", 200) ==
         std::string::npos) {
    sched_yield();
  }
  REQUIRE(Put(&session, &ledger, 80, Durability::kOs));
  const Position second = session.appender->at();
  REQUIRE(Put(&session, &ledger, 80, Durability::kOs));
  while (session.log->progress().written.offset < session.appender->at().offset) sched_yield();
  session.log.reset();
  // First crash: the second record is a hole, the third stands.
  const std::string path = std::string(kDir) + "/00000000000000000000.log";
  const TestRecord lost = MakeRecord(synced, 2, ledger.bodies[1]);
  REQUIRE(lost.after == second);
  const size_t hole = fs.ReadRaw(path).find(lost.header);
  REQUIRE(hole != std::string::npos);
  fs.WriteRaw(path, hole, std::string(lost.Bytes().size(), '\0'));
  Session next = OpenSession(&fs, options, &ledger);
  REQUIRE(next.log != nullptr);
  REQUIRE_EQ(ledger.bodies.size(), 1);
  // The same record again, at the same place; then the second crash.
  REQUIRE(Put(&next, &ledger, 80, Durability::kSync));
  REQUIRE(next.appender->at() == second);
  fs.CrashNow();
  next.log.reset();
  const Seen seen = Scan(ScanFor(fs.ImageAllKept().get()));
  CHECK(seen.result.verdict == ScanVerdict::kClean);
  CHECK_EQ(seen.bodies.size(), 2);
}

TEST("a log that was cut scans clean and nothing stands behind its end") {
  io::FaultFileSystem fs;
  Position mark;
  BuildClosedLog(&fs, 6, 100, 4096, &mark);
  const std::string path = std::string(kDir) + "/00000000000000000000.log";
  const size_t size = fs.ReadRaw(path).size();
  fs.WriteRaw(path, size, std::string(300, 'g'));
  const Seen seen = Scan(ScanFor(&fs, mark.offset));
  REQUIRE(seen.result.verdict == ScanVerdict::kTail);
  REQUIRE_OK(CutLog(ScanFor(&fs, mark.offset), seen.result));
  CHECK_EQ(fs.ReadRaw(path).size(), size);
  CHECK(Scan(ScanFor(&fs, mark.offset)).result.verdict == ScanVerdict::kClean);
}

TEST("a decided cut at any record end can crash anywhere and be repeated") {
  io::FaultFileSystem built;
  Position mark;
  const auto bodies = BuildClosedLog(&built, 24, 100, 1024, &mark);
  Position at;
  for (size_t i = 0; i < bodies.size(); ++i) {
    ScanOptions options = ScanFor(nullptr, 0);
    options.until = at.offset;
    uint64_t operations = 1;
    for (uint64_t n = 0; n <= operations && !check::Failed(); ++n) {
      const auto disk = built.Clone();
      options.fs = disk.get();
      const uint64_t before = disk->operations();
      disk->CrashAfter(before + n);
      const Seen seen = Scan(options);
      CHECK(seen.result.end == at);
      const bool done = CutLog(options, seen.result).ok();
      operations = n + (done ? 0 : 1);
      const auto image = disk->ImageOfSeed(n + i * 31);
      options.fs = image.get();
      const Seen again = Scan(options);
      CHECK_EQ(ToText(again.result.end), ToText(at));
      CHECK(IsPrefix(again.bodies, bodies));
      CHECK_OK(CutLog(options, again.result));
      const Seen last = Scan(ScanFor(image.get()));
      CHECK(last.result.verdict == ScanVerdict::kClean);
      CHECK(last.result.end == at);
    }
    at = MakeRecord(at, i + 1, bodies[i]).after;
  }
}

// Counts what it is told; any thread.
class CountingListener final : public LogListener {
 public:
  void OnProgress(const LogProgress& progress) override {
    if (poisoned > 0 && progress.durable.offset > durable_at_poison.load()) ++raised_after_poison;
    if (poisoned == 0) durable_at_poison = progress.durable.offset;
  }
  void OnRoom() override {}
  void OnNoSpace(const Status&) override { ++no_space; }
  void OnSpaceBack() override { ++space_back; }
  void OnPoisoned(const Status&) override { ++poisoned; }
  std::atomic<int> poisoned{0};
  std::atomic<int> no_space{0};
  std::atomic<int> space_back{0};
  std::atomic<int> raised_after_poison{0};
  std::atomic<uint64_t> durable_at_poison{0};
};

void FailNth(uint32_t kinds, uint64_t skip, uint64_t times, bool* struck) {
  io::FaultFileSystem fs;
  const LogOptions options = OptionsFor(&fs, 1024);
  Ledger ledger;
  REQUIRE(CreateLog(&fs, options, &ledger));
  const Seen empty = Scan(ScanFor(&fs));
  io::FaultRule rule;
  rule.kinds = kinds;
  rule.path_contains = kDir;
  rule.skip = skip;
  rule.times = times;
  fs.AddRule(rule);
  CountingListener listener;
  Result<std::unique_ptr<Log>> log = Log::Open(options, empty.result, &listener);
  if (!log.ok()) {
    *struck = true;
    return;
  }
  Appender appender(log.value().get(), Position{}, 0);
  bool failed = false;
  for (size_t i = 0; i < 12; ++i) {
    const bool acknowledged = appender.AppendSynced(BodyOf(i, 150));
    CHECK(!(failed && acknowledged));
    if (acknowledged) ledger.acknowledged = appender.bodies.size();
    failed = failed || !acknowledged;
  }
  const LogProgress progress = log.value()->progress();
  *struck = fs.FaultsStruck() > 0;
  CHECK(progress.poisoned || !failed);
  while (failed && listener.poisoned == 0) sched_yield();
  CHECK_LE(listener.poisoned.load(), 1);
  CHECK_EQ(listener.raised_after_poison.load(), 0);
  if (failed) {
    CHECK_EQ(log.value()->Admit(100), Admission::kPoisoned);
    const bool durable = progress.durable == appender.at();  // only the mark behind it failed
    CHECK_EQ(log.value()->SyncTo(appender.at().offset, 10).code(),
             durable ? Code::kOk : Code::kPoisoned);
    CHECK(log.value()
              ->Close([](const Position&) {
                CHECK(false);
                return Status::Ok();
              })
              .Is(Code::kPoisoned));
    // Reads go on.
    CHECK_OK(log.value()->Read(0, progress.written.offset, 1 << 20));
  }
  fs.ClearRules();
  fs.CrashNow();
  log.value().reset();
  ledger.bodies = appender.bodies;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    (void)CheckImage(fs.ImageOfSeed(seed).get(), ledger);
  }
}

void FailEach(uint32_t kinds) {
  for (const uint64_t times : {uint64_t{1}, io::kForever}) {
    bool struck = true;
    for (uint64_t skip = 0; struck && !check::Failed(); ++skip) {
      FailNth(kinds, skip, times, &struck);
    }
  }
}

TEST("nothing is acknowledged after the Nth write failed, once or for ever") {
  FailEach(static_cast<uint32_t>(io::OperationKind::kWrite));
}

TEST("nothing is acknowledged after the Nth sync failed, once or for ever") {
  FailEach(io::kSyncOperations);
}

// A failed sync leaves bytes that every read shows and no later sync writes. What a reopen after it
// sees, and what is acknowledged behind it, must outlive the loss of everything unsynced.
void ReopenAfterFailedSync(size_t value_bytes, uint64_t segment_bytes, uint64_t skip,
                           bool* struck) {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, segment_bytes);
  options.sync_interval_ms = 600000;
  Ledger ledger;
  REQUIRE(CreateLog(&fs, options, &ledger));
  io::FaultRule rule;
  rule.kinds = io::kSyncOperations;
  rule.path_contains = kDir;
  rule.skip = skip;
  fs.AddRule(rule);
  Session session = OpenSession(&fs, options, &ledger);
  for (size_t i = 0; i < 8 && session.log != nullptr; ++i) {
    // The group that fails holds more than one page.
    if (!Put(&session, &ledger, value_bytes, Durability::kOs) ||
        !Put(&session, &ledger, value_bytes, Durability::kSync)) {
      break;
    }
  }
  *struck = fs.FaultsStruck() > 0;
  session.log.reset();
  fs.ClearRules();
  Session next = OpenSession(&fs, options, &ledger);
  REQUIRE(next.log != nullptr);
  CHECK_GE(ledger.bodies.size(), ledger.acknowledged);
  ledger.acknowledged = ledger.bodies.size();
  (void)CheckImage(fs.ImageAllLost().get(), ledger);
  for (size_t i = 0; i < 2; ++i) CHECK(Put(&next, &ledger, value_bytes, Durability::kSync));
  fs.CrashNow();
  next.log.reset();
  (void)CheckImage(fs.ImageAllLost().get(), ledger);
  for (uint64_t seed = 0; seed < 4; ++seed) (void)CheckImage(fs.ImageOfSeed(seed).get(), ledger);
}

TEST("what a reopen after a failed sync shows, and what follows it, outlives a power loss") {
  for (const uint64_t segment_bytes : {uint64_t{8192}, uint64_t{262144}}) {
    for (const size_t value_bytes : {size_t{150}, size_t{1500}, size_t{6000}}) {
      bool struck = true;
      for (uint64_t skip = 0; struck && !check::Failed(); ++skip) {
        ReopenAfterFailedSync(value_bytes, segment_bytes, skip, &struck);
      }
    }
  }
}

TEST("a mark whose sync failed leaves no hole in front of the next record") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 65536);
  options.sync_interval_ms = 1;
  Ledger ledger;
  REQUIRE(CreateLog(&fs, options, &ledger));
  io::FaultRule rule;
  rule.kinds = static_cast<uint32_t>(io::OperationKind::kSyncData);
  rule.path_contains = kDir;
  rule.skip = 1;  // the record's own sync passes, the one of the mark behind it fails
  fs.AddRule(rule);
  Session session = OpenSession(&fs, options, &ledger);
  REQUIRE(session.log != nullptr);
  // Header, mark, record and mark are one page together.
  constexpr size_t kValueBytes =
      4096 - kSegmentHeaderBytes - 2 * kMarkBytes - kRecordHeaderBytes - kOpHeaderBytes - 2;
  REQUIRE(Put(&session, &ledger, kValueBytes, Durability::kSync));
  while (!session.log->progress().poisoned) sched_yield();
  session.log.reset();
  CHECK_EQ(fs.FaultsStruck(), 1);
  fs.ClearRules();
  Session next = OpenSession(&fs, options, &ledger);
  REQUIRE(next.log != nullptr);
  REQUIRE(Put(&next, &ledger, 100, Durability::kSync));
  fs.CrashNow();
  next.log.reset();
  (void)CheckImage(fs.ImageAllLost().get(), ledger);
}

TEST(
    "what was read once and reads otherwise when it is written again is refused, and not written") {
  io::FaultFileSystem fs;
  LogOptions options = OptionsFor(&fs, 65536);
  options.sync_interval_ms = 600000;
  Ledger ledger;
  REQUIRE(CreateLog(&fs, options, &ledger));
  Session session = OpenSession(&fs, options, &ledger);
  REQUIRE(session.log != nullptr);
  REQUIRE(Put(&session, &ledger, 100, Durability::kSync));
  REQUIRE(Put(&session, &ledger, 60, Durability::kOs));
  io::FaultRule rule;
  rule.kinds = io::kSyncOperations;
  rule.path_contains = kDir;
  rule.times = io::kForever;
  fs.AddRule(rule);
  CHECK(!Put(&session, &ledger, 60, Durability::kSync));
  session.log.reset();
  fs.ClearRules();
  const Seen seen = Scan(ScanFor(&fs));
  REQUIRE_OK(seen.status);
  const std::string path = seen.result.segments.back().path;
  REQUIRE(seen.result.proven_file_offset < seen.result.end_file_offset);
  for (uint64_t at = seen.result.proven_file_offset; at < seen.result.end_file_offset; ++at) {
    const auto disk = fs.Clone();
    disk->FlipBits(path, at, 4);
    const std::string before = disk->ReadRaw(path);
    const Result<std::unique_ptr<Log>> log =
        Log::Open(OptionsFor(disk.get(), 65536), seen.result, nullptr);
    if (!log.status().Is(Code::kCorrupt) || log.status().file() != path ||
        disk->ReadRaw(path) != before) {
      check::Fail(__FILE__, __LINE__,
                  "byte " + std::to_string(at) + ": " + log.status().ToString());
    }
  }
  CHECK_OK(Log::Open(options, seen.result, nullptr));
}

TEST("opening a log that was closed properly writes none of its records again") {
  io::FaultFileSystem fs;
  Position mark;
  (void)BuildClosedLog(&fs, 5, 3000, 65536, &mark);
  const uint64_t before = fs.operations();
  const Seen seen = Scan(ScanFor(&fs, mark.offset));
  REQUIRE_OK(Log::Open(OptionsFor(&fs, 65536), seen.result, nullptr));
  for (const io::Operation& operation : fs.Trace()) {
    if (operation.number <= before) continue;
    CHECK(operation.kind != io::OperationKind::kWrite);
  }
}

}  // namespace
}  // namespace gapless::log::test

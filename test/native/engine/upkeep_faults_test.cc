// When the disk says no to a flush or a merge, is slow, or has rotted; memory bounds; readers and
// writers beside upkeep; closing at any moment.
#include <cstdio>

#include "base/random.h"
#include "upkeep_fixture.h"

namespace gapless::engine::test {
namespace {

// Holds back writes to run files while it is closed.
class Gate {
 public:
  void Close() {
    const MutexLock lock(&mutex_);
    closed_ = true;
  }
  void Open() {
    const MutexLock lock(&mutex_);
    closed_ = false;
    opened_.NotifyAll();
  }
  void Pass(const io::Operation& operation) {
    const MutexLock lock(&mutex_);
    if (operation.path.find("/runs/") == std::string::npos) return;
    while (closed_) opened_.Wait(&mutex_);
  }

 private:
  Mutex mutex_;
  CondVar opened_;
  bool closed_ = false;
};

constexpr int kNoSpaceErrno = 28;
constexpr int kIoErrno = 5;

// Three checkpoints and a compaction, every key twice; ends at the first error.
Status Work(UpkeepBench* bench, Model* model, uint64_t round) {
  for (uint64_t i = 0; i < 3; ++i) {
    RETURN_IF_ERROR(WriteKeys(bench, model, i * 40, 80, round + i));
    RETURN_IF_ERROR(bench->engine->Checkpoint(kLong));
  }
  return bench->engine->Compact(std::nullopt).status();
}

// One call fails; whatever was hit, it works again without an open, and nothing is lost.
bool FailOneCall(uint32_t kinds, const char* path, uint64_t skip, int sys_errno, bool* struck) {
  UpkeepBench bench;
  bench.options.value_file_bytes_min = 128;  // so that each run has a value file, too
  if (!bench.Open().ok()) return false;
  Model model;
  if (!WriteKeys(&bench, &model, 0, 100, 0).ok()) return false;
  io::FaultRule rule;
  rule.kinds = kinds;
  rule.path_contains = path;
  rule.skip = skip;
  rule.sys_errno = sys_errno;
  bench.fs.AddRule(rule);
  const std::string what =
      std::string(path) + " call " + std::to_string(skip) + " errno " + std::to_string(sys_errno);
  const Status met = Work(&bench, &model, 1);
  *struck = bench.fs.FaultsStruck() != 0;
  const auto complain = [&](const std::string& why) {
    check::Fail(__FILE__, __LINE__, what + ": " + why);
    return false;
  };
  const Code expected = sys_errno == kNoSpaceErrno ? Code::kNoSpace : Code::kIo;
  if (!met.ok() && !met.Is(expected)) return complain(met.ToString());
  if (!SameAsModel(bench.engine.get(), model)) return complain("reads do not go on");
  Status again;
  // A retry of the failed step may be waiting for its time still, and fail it once more.
  for (int tries = 0; tries < 3; ++tries) {
    again = Work(&bench, &model, 10);
    if (again.ok()) break;
  }
  if (!again.ok()) return complain("does not work again: " + again.ToString());
  if (!SameAsModel(bench.engine.get(), model)) return complain("another state behind it");
  if (!bench.Reopen().ok()) return complain("no open behind it");
  if (!SameAsModel(bench.engine.get(), model)) return complain("another state when opened again");
  return true;
}

TEST("a call of flush, merge or manifest that fails is told, tried again, and loses nothing") {
  uint64_t faults = 0;
  for (const char* path : {"/runs", "MANIFEST"}) {
    for (const int sys_errno : {kNoSpaceErrno, kIoErrno}) {
      bool struck = true;
      for (uint64_t skip = 0; struck && skip < 200 && !check::Failed(); ++skip) {
        if (!FailOneCall(io::kMutatingOperations, path, skip, sys_errno, &struck)) break;
        faults += struck ? 1 : 0;
      }
    }
  }
  std::printf("upkeep calls failed: %llu\n", static_cast<unsigned long long>(faults));
  CHECK_GT(faults, 80u);
}

TEST("a read of a run that fails once is told, and the merge is tried again") {
  bool struck = true;
  uint64_t faults = 0;
  for (uint64_t skip = 0; struck && skip < 60 && !check::Failed(); ++skip) {
    UpkeepBench bench;
    bench.options.cache_bytes = 0;
    bench.options.value_file_bytes_min = 128;
    REQUIRE_OK(bench.Open());
    Model model;
    REQUIRE_OK(WriteKeys(&bench, &model, 0, 200, 0));
    REQUIRE_OK(bench.engine->Checkpoint(kLong));
    REQUIRE_OK(WriteKeys(&bench, &model, 100, 200, 1));
    REQUIRE_OK(bench.engine->Checkpoint(kLong));
    io::FaultRule rule;
    rule.kinds = static_cast<uint32_t>(io::OperationKind::kRead);
    rule.path_contains = "/runs/";
    rule.skip = skip;
    bench.fs.AddRule(rule);
    const Status met = bench.engine->Compact(std::nullopt).status();
    struck = bench.fs.FaultsStruck() != 0;
    faults += struck ? 1 : 0;
    CHECK(met.ok() || met.Is(Code::kIo));
    bench.fs.ClearRules();
    REQUIRE_OK(bench.engine->Compact(std::nullopt));
    CHECK(SameAsModel(bench.engine.get(), model));
  }
  CHECK_GT(faults, 2u);
}

TEST("a full disk refuses commits before a sequence, and they go on by themselves with room") {
  UpkeepBench bench;
  bench.options.log_retain_bytes = 64 << 20;
  bench.options.segment_bytes = 8 << 20;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 1000, 0));
  // The log has its segment; what fills up are the runs.
  io::FaultRule rule;
  rule.path_contains = "/runs/";
  rule.times = io::kForever;
  rule.sys_errno = kNoSpaceErrno;
  bench.fs.AddRule(rule);
  Status refused;
  uint64_t written = 0;
  for (uint64_t i = 0; i < 10000 && refused.ok(); ++i) {
    refused = bench.Commit1(Ops().Put(KeyOf(i), ValueOf(i, 9))).status();
    if (refused.ok()) model[KeyOf(i)] = ValueOf(i, 9);
    if (refused.ok()) ++written;
  }
  REQUIRE(refused.Is(Code::kNoSpace));
  CHECK_GT(written, 100u);
  const Position before = bench.engine->progress().visible;
  CHECK(bench.engine->progress().no_space);
  CHECK(bench.engine->progress().acknowledging);
  CHECK(bench.Commit1(Ops().Put("x", "1")).status().Is(Code::kNoSpace));
  const Submitted blocked =
      bench.engine->Submit(&bench.client, Ops().Put("x", "1").Request(), false);
  CHECK(blocked.status.Is(Code::kNoSpace));
  CHECK(bench.engine->progress().visible == before);
  CHECK(bench.Report().upkeep.last_error.Is(Code::kNoSpace));
  CHECK_LE(bench.Report().store.memtable_bytes, kTinyMemtable + 16384);
  CHECK(SameAsModel(bench.engine.get(), model));
  bench.fs.ClearRules();
  // An attempt that met the full disk may still have to say so: a flush that succeeded ends it.
  CHECK(bench.Eventually(
      [&] { return !bench.engine->progress().no_space && bench.Report().upkeep.last_error.ok(); }));
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 3000, 10));
  CHECK_OK(bench.Report().upkeep.last_error);
  CHECK(SameAsModel(bench.engine.get(), model));
  REQUIRE_OK(bench.Reopen());
  CHECK(SameAsModel(bench.engine.get(), model));
}

TEST("the log behind a flush that cannot run is bounded, however small the memtables stay") {
  constexpr uint64_t kMemtable = 2 << 20;  // one hot key keeps far less than half of it
  UpkeepBench bench;
  bench.options.memtable_bytes = kMemtable;
  bench.options.segment_bytes = 8 << 20;
  REQUIRE_OK(bench.Open());
  io::FaultRule rule;
  rule.path_contains = "/runs/";
  rule.times = io::kForever;
  rule.sys_errno = kNoSpaceErrno;
  bench.fs.AddRule(rule);
  Status refused;
  uint64_t rounds = 0;
  for (; rounds < 10000 && refused.ok(); ++rounds) {
    refused = bench.Commit1(Ops().Put("hot", ValueOf(0, rounds, 4000))).status();
  }
  REQUIRE(refused.Is(Code::kNoSpace));
  const uint64_t replayed =
      bench.engine->progress().visible.offset - bench.Report().checkpoint.offset;
  CHECK_LE(replayed, 6 * kMemtable);
  CHECK_LE(bench.Report().store.memtable_bytes, kMemtable / 2);
  bench.fs.ClearRules();
  CHECK(bench.Eventually([&] { return bench.Report().upkeep.last_error.ok(); }));
  REQUIRE_OK(bench.Commit1(Ops().Put("hot", "last")));
  REQUIRE_OK(bench.Reopen());
  CHECK(bench.Get("hot") == "last");
}

TEST("commits wait for a slow flush within the bound of memory, in order, and none is lost") {
  Gate gate;  // outlives the threads that pass it
  UpkeepBench bench;
  bench.fs.SetObserver([&gate](const io::Operation& operation) { gate.Pass(operation); });
  bench.options.segment_bytes = 8 << 20;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("n", "0")));
  gate.Close();
  std::vector<uint64_t> tickets;
  uint64_t sequenced = 0;
  for (uint64_t i = 0; tickets.size() < 300 && i < 20000; ++i) {
    const Ops ops = Ops().Put(KeyOf(i), ValueOf(i, 0)).Increment("n", 1);
    const Submitted submitted = bench.engine->Submit(&bench.client, ops.Request(), true);
    REQUIRE(submitted.state != Submitted::State::kFailed);
    if (submitted.state == Submitted::State::kSequenced) {
      CHECK(tickets.empty());
      ++sequenced;
    } else {
      tickets.push_back(submitted.ticket);
    }
  }
  REQUIRE_EQ(tickets.size(), 300u);
  CHECK_EQ(bench.Report().stalls, 1u);
  CHECK_LE(bench.Report().store.memtable_bytes, kTinyMemtable + 4096);
  // A caller that blocks anyhow waits, too, behind the others.
  Submitted blocking;
  Thread thread;
  REQUIRE_OK(thread.Start("blocking", [&] {
    blocking = bench.engine->Submit(&bench.client, Ops().Increment("n", 1).Request(), false);
  }));
  bench.clock.AdvanceMs(5);
  gate.Open();
  for (size_t i = 0; i < tickets.size(); ++i) {
    const Completion completion = bench.client.Await(bench.engine.get(), tickets[i]);
    REQUIRE_OK(completion.status);
    REQUIRE_EQ(completion.commit.results.size(), 1u);
    CHECK_EQ(completion.commit.results[0], static_cast<int64_t>(sequenced + i + 1));
  }
  thread.Join();
  REQUIRE(blocking.state == Submitted::State::kSequenced);
  CHECK_EQ(blocking.commit.results.at(0), static_cast<int64_t>(sequenced + tickets.size() + 1));
  CHECK(bench.Eventually([&] { return bench.Report().stalls >= 1; }));
  CHECK_GE(bench.Report().stall_us, 5000u);
  CHECK_LE(bench.Report().store.memtable_bytes, kTinyMemtable + 4096);
}

TEST("on a poisoned store nothing is flushed, merged or published") {
  UpkeepBench bench;
  bench.options.segment_bytes = 8 << 20;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 300, 0));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  const Position checkpoint = bench.Report().checkpoint;
  io::FaultRule rule;
  rule.kinds = io::kSyncOperations;
  rule.path_contains = ".log";
  bench.fs.AddRule(rule);
  CHECK(bench.Sync1(Ops().Put("lost", "1")).status().Is(Code::kPoisoned));
  const uint64_t operations = bench.fs.operations();
  CHECK(bench.engine->Checkpoint(kLong).Is(Code::kPoisoned));
  CHECK(bench.engine->Compact(std::nullopt).status().Is(Code::kPoisoned));
  CHECK(bench.Report().checkpoint == checkpoint);
  CHECK_EQ(bench.fs.operations(), operations);
  CHECK(bench.Get("lost") == "1");
  CHECK(bench.Close().Is(Code::kPoisoned));
  REQUIRE_OK(bench.Open());
  CHECK(bench.Get(KeyOf(299)) == model[KeyOf(299)]);
}

TEST("a damaged run is left out of merging, told, and everything else goes on") {
  UpkeepBench bench;
  bench.options.cache_bytes = 0;
  bench.options.shards = 1;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 300, 0));
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  std::string run;
  for (const std::string& path : bench.fs.ListAll()) {
    if (path.find("/runs/") != std::string::npos && path.back() != '/') run = path;
  }
  bench.fs.FlipBits(run, 3000, 4);
  REQUIRE_OK(WriteKeys(&bench, &model, 1000, 300, 0));
  const Status told = bench.engine->Compact(std::nullopt).status();
  if (!told.ok()) {
    CHECK(told.Is(Code::kCorrupt));
    CHECK_EQ(told.file(), run);
  }
  // Enough runs of level 0 that a merge into the damaged one would be due.
  for (uint64_t round = 0; round < 30; ++round) {
    REQUIRE_OK(WriteKeys(&bench, &model, 0, 20, round));
    REQUIRE_OK(bench.engine->Checkpoint(kLong));
  }
  CHECK(bench.Eventually([&] { return bench.Report().upkeep.damaged_runs == 1; }));
  const Status again = bench.engine->Compact(std::nullopt).status();
  CHECK(again.Is(Code::kCorrupt));
  CHECK_EQ(again.file(), run);
  CHECK(bench.Report().upkeep.last_error.Is(Code::kCorrupt));
  const table::Extent beside{KeyOf(500), KeyOf(600), false};
  CHECK_OK(bench.engine->Compact(beside));
  const uint64_t failures = bench.Report().upkeep.failures;
  REQUIRE_OK(WriteKeys(&bench, &model, 1000, 3000, 7));
  CHECK(bench.Get(KeyOf(1100)) == model[KeyOf(1100)]);
  CHECK_LE(bench.Report().upkeep.failures, failures + 2);
}

// Readers with views and plain reads, one writer, checkpoints, compactions; every read is whole.
TEST("readers, a writer and upkeep go on beside each other") {
  UpkeepBench bench;
  bench.options.view_max_age_ms = 0;
  REQUIRE_OK(bench.Open());
  constexpr uint64_t kKeys = 400;
  const auto write = [&](uint64_t round) {
    Ops ops;
    for (uint64_t i = 0; i < kKeys; ++i) ops.Put(KeyOf(i), ValueOf(i, round, 100));
    if (round % 5 == 0) ops.DelRange(KeyOf(kKeys), KeyOf(kKeys + 100));
    if (round % 5 == 3) ops.Put(KeyOf(kKeys + round % 100), "extra");
    return bench.Commit1(ops).status();
  };
  REQUIRE_OK(write(0));
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> bad{0};
  std::atomic<uint64_t> reads{0};
  std::vector<std::unique_ptr<Thread>> threads;
  for (uint64_t reader = 0; reader < 4; ++reader) {
    threads.push_back(std::make_unique<Thread>());
    REQUIRE_OK(threads.back()->Start("reader", [&, reader] {
      SeededRandom random(reader + 1);
      while (!stop.load()) {
        const ViewInfo view = bench.engine->OpenView();
        const std::optional<std::string> first = ViewValue(bench.engine.get(), view.id, KeyOf(0));
        if (!first.has_value()) ++bad;
        const std::string round =
            first.value_or("0:0:").substr(2, first.value_or("").find(':', 2) - 2);
        for (int i = 0; i < 40; ++i) {
          const uint64_t key = random.Next() % kKeys;
          const std::optional<std::string> value =
              ViewValue(bench.engine.get(), view.id, KeyOf(key));
          const std::string start = std::to_string(key) + ":" + round + ":";
          if (!value.has_value() || value->compare(0, start.size(), start) != 0) ++bad;
          if (!GetValue(bench.engine.get(), KeyOf(key)).has_value()) ++bad;
          ++reads;
        }
        bench.engine->ReleaseView(view.id);
      }
    }));
  }
  threads.push_back(std::make_unique<Thread>());
  REQUIRE_OK(threads.back()->Start("compact", [&] {
    while (!stop.load()) {
      if (!bench.engine->Checkpoint(kLong).ok()) ++bad;
      if (!bench.engine->Compact(std::nullopt).ok()) ++bad;
      (void)bench.engine->store_report();
    }
  }));
  for (uint64_t round = 1; round <= 120; ++round) REQUIRE_OK(write(round));
  CHECK(bench.Eventually([&] { return reads.load() > 400; }));
  stop.store(true);
  for (const auto& thread : threads) thread->Join();
  CHECK_EQ(bad.load(), 0u);
  CHECK_GT(bench.Report().upkeep.flushes, 5u);
}

TEST("closing at any moment of flushes, merges and compactions loses nothing") {
  UpkeepBench bench;
  SeededRandom random(5);
  Model model;
  for (uint64_t life = 0; life < 40 && !check::Failed(); ++life) {
    REQUIRE_OK(bench.Open());
    CHECK(SameAsModel(bench.engine.get(), model));
    // A second holder keeps nothing open but its own reference.
    Result<std::shared_ptr<Engine>> other = Engine::Open("/db", bench.options);
    REQUIRE_OK(other);
    const uint64_t count = 20 * (1 + random.Next() % 60);
    REQUIRE_OK(WriteKeys(&bench, &model, random.Next() % 2000, count, life));
    std::vector<uint64_t> compactions;
    if (life % 3 == 0) {
      const Result<uint64_t> started = bench.engine->StartCompact(std::nullopt);
      REQUIRE_OK(started);
      if (life % 2 == 0) bench.engine->CancelCompact(started.value());
    }
    REQUIRE_OK(other.value()->Release());
    if (life % 4 == 1) {
      Mutex mutex;
      CondVar pause;
      const MutexLock lock(&mutex);
      pause.WaitFor(&mutex, random.Next() % 3000);
    }
    REQUIRE_OK(bench.Close());
  }
}

}  // namespace
}  // namespace gapless::engine::test

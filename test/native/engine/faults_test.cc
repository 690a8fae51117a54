// When the disk says no, or is slow: poison, no space, the queue, the order in which an epoch
// begins.
#include "engine_fixture.h"

namespace gapless::engine::test {
namespace {

// Holds back calls on the log's files while it is closed.
class Gate {
 public:
  void Close(uint32_t kinds) {
    const MutexLock lock(&mutex_);
    kinds_ = kinds;
  }
  void Open() {
    const MutexLock lock(&mutex_);
    kinds_ = 0;
    opened_.NotifyAll();
  }
  void Pass(const io::Operation& operation) {
    const MutexLock lock(&mutex_);
    if (operation.path.find(".log") == std::string::npos) return;
    while ((kinds_ & static_cast<uint32_t>(operation.kind)) != 0) opened_.Wait(&mutex_);
  }

 private:
  Mutex mutex_;
  CondVar opened_;
  uint32_t kinds_ = 0;
};

constexpr uint32_t kWrites = static_cast<uint32_t>(io::OperationKind::kWrite);
constexpr uint32_t kSyncs = static_cast<uint32_t>(io::OperationKind::kSyncData) |
                            static_cast<uint32_t>(io::OperationKind::kSync);

TEST("a failed sync of the log poisons: nothing more is acknowledged, reads go on") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  const Position durable = bench.engine->progress().durable;
  io::FaultRule rule;
  rule.kinds = kSyncs;
  rule.path_contains = ".log";
  bench.fs.AddRule(rule);
  const Result<Commit> lost = bench.Sync1(Ops().Put("a", "2"));
  CHECK(lost.status().Is(Code::kPoisoned));
  CHECK_NE(DetailOf(lost.status(), "position"), "(none)");
  CHECK_EQ(bench.fs.FaultsStruck(), 1u);
  const Progress progress = bench.engine->progress();
  CHECK(!progress.acknowledging);
  CHECK(progress.stop_status.Is(Code::kPoisoned));
  CHECK_EQ(progress.durable.offset, durable.offset);
  CHECK(bench.Get("a") == "2");
  CHECK(bench.Commit1(Ops().Put("b", "1")).status().Is(Code::kPoisoned));
  CHECK(bench.Commit1(Ops()).status().Is(Code::kPoisoned));
  CHECK(bench.engine->Pin("p").status().Is(Code::kPoisoned));
  CHECK(bench.engine->Promote(9).status().Is(Code::kPoisoned));
  CHECK(bench.engine->SyncTo(progress.visible.offset, kLong).Is(Code::kPoisoned));
  CHECK(bench.engine->WaitFor(durable, log::Durability::kSync, kLong).Is(Code::kPoisoned));
  bench.fs.ClearRules();
  CHECK(bench.Commit1(Ops().Put("b", "1")).status().Is(Code::kPoisoned));
  CHECK(bench.Close().Is(Code::kPoisoned));
  REQUIRE_OK(bench.Open());
  CHECK_OK(bench.Sync1(Ops().Put("c", "1")));
}

TEST("without space commits are refused before a sequence is given and go on by themselves") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  bench.fs.SetCapacity(bench.fs.UsedBytes() + 4096);
  Status refused;
  uint64_t accepted = 0;
  for (int i = 0; i < 2000 && refused.ok(); ++i) {
    refused = bench.Sync1(Ops().Put("k", std::string(1000, 'v')).Increment("n", 1)).status();
    if (refused.ok()) ++accepted;
  }
  REQUIRE(refused.Is(Code::kNoSpace));
  const Position before = bench.engine->progress().visible;
  CHECK(bench.engine->progress().acknowledging);
  CHECK(bench.engine->progress().no_space);
  CHECK(bench.Commit1(Ops().Put("big", std::string(2000, 'x'))).status().Is(Code::kNoSpace));
  CHECK(bench.engine->progress().visible == before);
  bench.fs.SetCapacity(io::kForever);
  Status again = Status::Error(Code::kNoSpace, "");
  for (int i = 0; i < 3000 && again.Is(Code::kNoSpace); ++i) {
    bench.clock.AdvanceMs(50);
    again = bench.Commit1(Ops().Put("k", "after")).status();
    Mutex mutex;
    CondVar pause;
    const MutexLock lock(&mutex);
    pause.WaitFor(&mutex, 2000);
  }
  CHECK_OK(again);
  CHECK(bench.Get("n") == std::to_string(accepted));
  REQUIRE_OK(bench.Reopen());
  CHECK(bench.Get("n") == std::to_string(accepted));
  CHECK(bench.Get("k") == "after");
}

TEST("beyond pendingBytes commits queue in call order, beyond twice that they are QUEUE_FULL") {
  Gate gate;  // outlives the flusher that passes it
  Bench bench;
  bench.fs.SetObserver([&gate](const io::Operation& operation) { gate.Pass(operation); });
  bench.options.pending_bytes = 8192;
  bench.options.durability = log::Durability::kOs;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("n", "0")));
  gate.Close(kWrites);
  std::vector<uint64_t> tickets;
  uint64_t sequenced = 0;
  Status full;
  for (int i = 0; i < 100 && full.ok(); ++i) {
    const Ops ops = Ops().Put("pad", std::string(900, 'p')).Increment("n", 1);
    Submitted submitted = bench.engine->Submit(&bench.client, ops.Request(), true);
    if (submitted.state == Submitted::State::kSequenced) {
      CHECK(tickets.empty());
      ++sequenced;
    } else if (submitted.state == Submitted::State::kQueued) {
      tickets.push_back(submitted.ticket);
    } else {
      full = submitted.status;
    }
  }
  CHECK(full.Is(Code::kQueueFull));
  CHECK_GT(sequenced, 2u);
  CHECK_GT(tickets.size(), 2u);
  CHECK_LT(tickets.size(), 30u);
  const Ops one = Ops().Put("x", "1");
  CHECK(bench.engine->Submit(&bench.client, one.Request(), false).status.Is(Code::kQueueFull));
  // A batch without operations keeps its place behind them.
  const Ops none;
  const Submitted empty = bench.engine->Submit(&bench.client, none.Request(), true);
  CHECK(empty.state == Submitted::State::kFailed || empty.state == Submitted::State::kQueued);
  CHECK(bench.Get("n") == std::to_string(sequenced));
  gate.Open();
  int64_t value = static_cast<int64_t>(sequenced);
  for (const uint64_t ticket : tickets) {
    const Completion completion = bench.client.Await(bench.engine.get(), ticket);
    REQUIRE_OK(completion.status);
    REQUIRE_EQ(completion.commit.results.size(), 1u);
    CHECK_EQ(completion.commit.results[0], ++value);
  }
  CHECK_OK(bench.Sync1(Ops().Put("x", "1")));
}

TEST("poison answers what is queued, a close lets it have its turn first") {
  for (const bool poison : {false, true}) {
    Gate gate;
    Bench bench;
    bench.fs.SetObserver([&gate](const io::Operation& operation) { gate.Pass(operation); });
    bench.options.pending_bytes = 4096;
    REQUIRE_OK(bench.Open());
    REQUIRE_OK(bench.Sync1(Ops().Put("n", "0")));
    gate.Close(kWrites);
    uint64_t ticket = 0;
    uint64_t count = 0;
    while (ticket == 0 && count < 100) {
      const Ops ops = Ops().Put("pad", std::string(900, 'p')).Increment("n", 1);
      ticket = bench.engine->Submit(&bench.client, ops.Request(), true).ticket;
      ++count;
    }
    REQUIRE(ticket != 0);
    if (poison) {
      io::FaultRule rule;
      rule.kinds = kWrites;
      rule.path_contains = ".log";
      bench.fs.AddRule(rule);
      gate.Open();
      const Completion completion = bench.client.Await(bench.engine.get(), ticket);
      CHECK(completion.status.Is(Code::kPoisoned));
      CHECK(bench.Close().Is(Code::kPoisoned));
      continue;
    }
    gate.Open();
    REQUIRE_OK(bench.Close());
    REQUIRE_OK(bench.Open());
    CHECK(bench.Get("n") == std::to_string(count));
  }
}

TEST("commits that waited for room when a promotion failed have their turn") {
  Gate gate;
  Bench bench;
  bench.fs.SetObserver([&gate](const io::Operation& operation) { gate.Pass(operation); });
  bench.options.pending_bytes = 4096;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("n", "0")));
  gate.Close(kWrites);
  uint64_t ticket = 0;
  for (int i = 0; ticket == 0 && i < 100; ++i) {
    const Ops ops = Ops().Put("pad", std::string(900, 'p')).Increment("n", 1);
    ticket = bench.engine->Submit(&bench.client, ops.Request(), true).ticket;
  }
  REQUIRE(ticket != 0);
  io::FaultRule rule;
  rule.kinds = kWrites;
  rule.path_contains = "STATE";
  bench.fs.AddRule(rule);
  CHECK(bench.engine->Promote(9).status().Is(Code::kIo));
  gate.Open();
  std::vector<Completion> done;
  for (int i = 0; i < 5000 && done.empty(); ++i) {
    done = bench.engine->TakeCompletions(&bench.client);
    Mutex mutex;
    CondVar pause;
    const MutexLock lock(&mutex);
    pause.WaitFor(&mutex, 1000);
  }
  REQUIRE_EQ(done.size(), 1u);
  CHECK_OK(done[0].status);
  CHECK(bench.engine->own_epoch() == (Epoch{1, 0}));
  CHECK_OK(bench.Sync1(Ops().Put("n", "0")));
}

TEST("an epoch is durable in STATE, then in the log, before anything behind it is sequenced") {
  Gate gate;  // outlives the flusher that passes it
  Bench bench;
  bench.fs.SetObserver([&gate](const io::Operation& operation) { gate.Pass(operation); });
  bench.options.durability = log::Durability::kOs;
  REQUIRE_OK(bench.Open());
  const size_t before = bench.fs.Trace().size();
  gate.Close(kSyncs);
  const Ops ops = Ops().Put("a", "1");
  const Submitted submitted = bench.engine->Submit(&bench.client, ops.Request(), true);
  REQUIRE(submitted.state == Submitted::State::kQueued);
  for (int i = 0; i < 2000 && bench.engine->progress().written.seq < 1; ++i) {
    Mutex mutex;
    CondVar pause;
    const MutexLock lock(&mutex);
    pause.WaitFor(&mutex, 1000);
  }
  // Written, not durable: nobody else may see it, and the commit still waits.
  CHECK_EQ(bench.engine->progress().visible.seq, 1u);
  CHECK(bench.engine->shipping_end().IsEmpty());
  CHECK(bench.engine->TakeCompletions(&bench.client).empty());
  gate.Open();
  const Completion completion = bench.client.Await(bench.engine.get(), submitted.ticket);
  REQUIRE_OK(completion.status);
  CHECK_EQ(completion.commit.first_seq, 2u);
  const std::vector<io::Operation> trace = bench.fs.Trace();
  size_t state_syncs = 0;
  bool log_written = false;
  for (size_t i = before; i < trace.size(); ++i) {
    const bool state = trace[i].path.find("STATE") != std::string::npos;
    if (state && trace[i].kind == io::OperationKind::kSyncData) ++state_syncs;
    const bool write = trace[i].kind == io::OperationKind::kWrite;
    if (!state && write && !log_written) {
      log_written = true;
      CHECK_EQ(state_syncs, 2u);
    }
  }
  CHECK(log_written);
}

TEST("a crash between STATE and the EPOCH record skips a number") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  io::FaultRule rule;
  rule.kinds = kWrites;
  rule.path_contains = ".log";
  bench.fs.AddRule(rule);
  CHECK(!bench.Commit1(Ops().Put("a", "1")).ok());
  (void)bench.Close();
  bench.fs.ClearRules();
  REQUIRE_OK(bench.Open());
  CHECK(bench.engine->own_epoch() == (Epoch{1, 0}));
  CHECK(bench.engine->progress().visible.IsEmpty());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  CHECK(bench.engine->own_epoch() == (Epoch{1, 1}));
}

TEST("a STATE that cannot be written refuses the first commit and nothing of it is found later") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  io::FaultRule rule;
  rule.kinds = kSyncs;
  rule.path_contains = "STATE";
  bench.fs.AddRule(rule);
  const Result<Commit> refused = bench.Commit1(Ops().Put("a", "1"));
  CHECK(refused.status().Is(Code::kIo));
  const Ops ops = Ops().Put("a", "1");
  CHECK(bench.engine->Submit(&bench.client, ops.Request(), false).status.Is(Code::kIo));
  CHECK(bench.engine->progress().visible.IsEmpty());
  bench.fs.ClearRules();
  (void)bench.Close();
  REQUIRE_OK(bench.Open());
  CHECK(!bench.Get("a").has_value());
  CHECK_OK(bench.Sync1(Ops().Put("a", "1")));
}

TEST("WaitFor tells durable from written from visible, and times out") {
  Gate gate;  // outlives the flusher that passes it
  Bench bench;
  bench.fs.SetObserver([&gate](const io::Operation& operation) { gate.Pass(operation); });
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "0")));
  gate.Close(kSyncs);
  const Result<Commit> commit = bench.Commit1(Ops().Put("a", "1"));
  REQUIRE_OK(commit);
  const Position position = commit.value().position;
  CHECK_OK(bench.engine->WaitFor(position, log::Durability::kMemory, kLong));
  CHECK_OK(bench.engine->WaitFor(position, log::Durability::kOs, kLong));
  CHECK(bench.engine->WaitFor(position, log::Durability::kSync, 0).Is(Code::kTimeout));
  gate.Open();
  CHECK_OK(bench.engine->WaitFor(position, log::Durability::kSync, kLong));
  CHECK_GT(bench.client.wakes(), 0u);
}

}  // namespace
}  // namespace gapless::engine::test

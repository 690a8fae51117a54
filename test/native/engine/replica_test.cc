// A replica's stream from a primary's log: same bytes, same offsets, same state, and what is
// refused.
#include <atomic>

#include "engine_fixture.h"
#include "log/record.h"

namespace gapless::engine::test {
namespace {

struct Pair {
  Bench primary;
  Bench replica;

  bool Open() {
    replica.options.as_replica = true;
    replica.options.shards = 4;
    CHECK_OK(primary.Open());
    CHECK_OK(replica.Open());
    CHECK_OK(replica.engine->AdoptCluster(primary.engine->identity().cluster));
    return !check::Failed();
  }
  std::string Records(uint64_t from) {
    Result<log::LogChunk> chunk = primary.engine->ReadLog(from, 64 << 20);
    return chunk.ok() ? chunk.value().bytes : "";
  }
  // Takes and shows everything that the primary ships.
  Status Follow() {
    Engine* to = replica.engine.get();
    const std::string records = Records(to->progress().visible.offset);
    if (records.empty()) return Status::Ok();
    Result<Engine::Received> received = to->AppendReplicated(records);
    if (!received.ok()) return received.status();
    RETURN_IF_ERROR(to->SyncTo(received.value().after.offset, kLong));
    to->ApplyTicket(received.value().ticket);
    return to->PublishTicket(received.value().ticket);
  }
  bool Same() {
    return primary.engine->progress().visible == replica.engine->progress().visible &&
           SameDigest(DigestOf(primary.engine.get()), DigestOf(replica.engine.get()));
  }
};

TEST("a view awaited at a record end shows exactly that state, whatever is published with it") {
  Pair pair;
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(pair.Follow());
  const uint64_t seq = pair.replica.engine->progress().visible.seq;
  CHECK(pair.replica.engine->OpenViewAt(seq - 1).status().Is(Code::kPositionUnavailable));
  Result<ViewId> there = pair.replica.engine->OpenViewAt(seq + 1);
  Result<ViewId> inside = pair.replica.engine->OpenViewAt(seq + 2);
  Result<ViewId> own = pair.primary.engine->OpenViewAt(seq + 1);
  REQUIRE_OK(there);
  REQUIRE_OK(inside);
  REQUIRE_OK(own);
  const Result<std::optional<Position>> early = pair.replica.engine->ViewPosition(there.value());
  REQUIRE_OK(early);
  CHECK(!early.value().has_value());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "2")));
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "3").Put("b", "3")));
  REQUIRE_OK(pair.Follow());  // both records in one ticket
  CHECK(pair.replica.Get("a") == "3");
  CHECK(ViewValue(pair.replica.engine.get(), there.value(), "a") == "2");
  CHECK(ViewValue(pair.primary.engine.get(), own.value(), "a") == "2");
  const Result<std::optional<Position>> at = pair.replica.engine->ViewPosition(there.value());
  REQUIRE_OK(at);
  CHECK(at.value().has_value() && at.value()->seq == seq + 1);
  CHECK(pair.replica.engine->ViewPosition(inside.value()).status().Is(Code::kNotARecordEnd));
  for (const ViewId id : {there.value(), inside.value()}) pair.replica.engine->ReleaseView(id);
  CHECK(pair.replica.engine->ViewPosition(inside.value()).status().Is(Code::kViewExpired));
}

TEST("a replica that took the primary's bytes has its position, its state and its epochs") {
  Pair pair;
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1").Put("b", "2").Increment("n", 4)));
  REQUIRE_OK(pair.Follow());
  REQUIRE_OK(pair.primary.Sync1(Ops().DelRange("a", "b").Put("c", std::string(3000, 'c'))));
  REQUIRE_OK(pair.Follow());
  CHECK(pair.Same());
  CHECK(pair.replica.Get("n") == "4");
  CHECK(pair.replica.engine->meta() == pair.primary.engine->meta());
  CHECK_EQ(pair.replica.engine->highest_term(), 1u);
  const Counters counters = pair.replica.engine->counters();
  CHECK_EQ(counters.applied_records, 3u);
  CHECK_EQ(counters.applied_operations, 5u);
  CHECK_EQ(counters.dropped_records, 0u);
  CHECK(pair.replica.Commit1(Ops().Put("x", "1")).status().Is(Code::kReadOnly));
  CHECK(pair.replica.engine->AppendReplicated("short").status().Is(Code::kProtocol));
  REQUIRE_OK(pair.replica.Reopen());
  CHECK(pair.replica.engine->role() == Role::kReplica);
  CHECK(pair.Same());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("d", "1")));
  REQUIRE_OK(pair.Follow());
  CHECK(pair.Same());
}

TEST("a replica below its former mark says so until that is durable again, or it is promoted") {
  Pair pair;
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(pair.Follow());
  CHECK(!pair.replica.engine->progress().below_former_mark);
  const auto impl = [&] { return static_cast<EngineImpl*>(pair.replica.engine.get()); };
  const uint64_t above = pair.replica.engine->progress().durable.offset + 8;
  const auto lower = [above](NodeState* state) { state->former_mark = above; };
  REQUIRE_OK(impl()->UpdateState(lower));
  REQUIRE_OK(pair.replica.Reopen());
  CHECK(pair.replica.engine->progress().below_former_mark);
  CHECK_EQ(impl()->node_state().former_mark, above);
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("b", "2")));
  REQUIRE_OK(pair.Follow());
  CHECK(!pair.replica.engine->progress().below_former_mark);
  REQUIRE_OK(impl()->UpdateState([](NodeState*) {}));
  CHECK_EQ(impl()->node_state().former_mark, 0u);
  REQUIRE_OK(impl()->UpdateState([](NodeState* state) { state->former_mark = UINT64_MAX; }));
  CHECK(pair.replica.engine->progress().below_former_mark);
  REQUIRE_OK(pair.replica.engine->Promote(0));
  CHECK(!pair.replica.engine->progress().below_former_mark);
}

TEST("a ticket is visible only when it is applied on all shards, durable, and its turn has come") {
  Pair pair;
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1")));
  const uint64_t first_end = pair.primary.engine->progress().visible.offset;
  const std::string first = pair.Records(0);
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "2").Put("b", "2")));
  const std::string second = pair.Records(first_end);
  Engine* to = pair.replica.engine.get();
  const Result<Engine::Received> one = to->AppendReplicated(first);
  REQUIRE_OK(one);
  const Result<Engine::Received> two = to->AppendReplicated(second);
  REQUIRE_OK(two);
  CHECK_EQ(one.value().records, 2u);
  CHECK_EQ(two.value().operations, 2u);
  CHECK_EQ(two.value().bytes, second.size());
  CHECK(two.value().after == pair.primary.engine->progress().visible);
  REQUIRE_OK(to->SyncTo(two.value().after.offset, kLong));
  CHECK(to->PublishTicket(one.value().ticket).Is(Code::kNotReady));
  std::vector<std::unique_ptr<Thread>> threads;
  for (uint32_t shard = 0; shard < 4; ++shard) {
    threads.push_back(std::make_unique<Thread>());
    REQUIRE_OK(threads.back()->Start("apply", [&, shard] {
      to->ApplyTicketShard(one.value().ticket, shard);
      to->ApplyTicketShard(two.value().ticket, shard);
    }));
  }
  for (const auto& thread : threads) thread->Join();
  CHECK(to->PublishTicket(two.value().ticket).Is(Code::kUsage));
  CHECK(!pair.replica.Get("a").has_value());
  REQUIRE_OK(to->PublishTicket(one.value().ticket));
  CHECK(pair.replica.Get("a") == "1");
  CHECK(!pair.replica.Get("b").has_value());
  REQUIRE_OK(to->PublishTicket(two.value().ticket));
  CHECK(pair.Same());
}

TEST("what is here already is dropped and counted, a gap and every damaged byte are PROTOCOL") {
  Pair pair;
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(pair.Follow());
  const Position end = pair.replica.engine->progress().visible;
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("b", "22")));
  const uint64_t behind = pair.primary.engine->progress().visible.offset;
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("c", "3")));
  Engine* to = pair.replica.engine.get();
  const Result<Engine::Received> gap = to->AppendReplicated(pair.Records(behind));
  CHECK(gap.status().Is(Code::kProtocol));
  CHECK_EQ(DetailOf(gap.status(), "reason"), "gap");
  CHECK_EQ(to->counters().gaps, 1u);
  const std::string good = pair.Records(end.offset);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 16);
    const Result<Engine::Received> refused = to->AppendReplicated(bad);
    if (refused.ok()) check::Fail(__FILE__, __LINE__, "byte " + std::to_string(i) + " accepted");
  }
  CHECK(to->AppendReplicated(Slice(good).Sub(0, good.size() - 8)).status().Is(Code::kProtocol));
  CHECK(to->progress().visible == end);
  const Result<Engine::Received> all = to->AppendReplicated(pair.Records(0));
  REQUIRE_OK(all);
  CHECK_EQ(all.value().records, 2u);
  CHECK_EQ(to->counters().dropped_records, 2u);
  CHECK_EQ(all.value().bytes, end.offset + good.size());
  const Result<Engine::Received> none = to->AppendReplicated(pair.Records(0));
  REQUIRE_OK(none);
  CHECK_EQ(none.value().ticket, 0u);
}

TEST("a record too far ahead of the replica's clock is refused with clock_ahead") {
  Pair pair;
  pair.replica.options.clock_max_ahead_ms = 1000;
  REQUIRE(pair.Open());
  pair.primary.clock.AdvanceMs(5000);
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1")));
  const Status refused = pair.Follow();
  CHECK(refused.Is(Code::kProtocol));
  CHECK_EQ(DetailOf(refused, "reason"), "clock_ahead");
  pair.replica.clock.AdvanceMs(4000);
  CHECK_OK(pair.Follow());
}

TEST("a higher term in the stream is durable before the record that brings it") {
  Pair pair;
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.engine->Promote(6));
  const std::string records = pair.Records(0);
  REQUIRE_OK(pair.replica.engine->AppendReplicated(records));
  const auto disk = pair.replica.fs.ImageAllLost();
  Options options = pair.replica.options;
  options.fs = disk.get();
  Result<std::shared_ptr<Engine>> engine = Engine::Open("/db", options);
  REQUIRE_OK(engine);
  CHECK_EQ(engine.value()->highest_term(), 6u);
  CHECK_OK(engine.value()->Release());
}

TEST(
    "a promoted replica first finishes what it received, and takes nothing more from the old one") {
  Pair pair;
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1").Increment("n", 1)));
  Engine* to = pair.replica.engine.get();
  const Result<Engine::Received> received = to->AppendReplicated(pair.Records(0));
  REQUIRE_OK(received);
  to->ApplyTicketShard(received.value().ticket, 1);
  const Result<Position> promoted = to->Promote(0);
  REQUIRE_OK(promoted);
  CHECK(promoted.value().epoch == (Epoch{2, 0}));
  CHECK(pair.replica.Get("a") == "1");
  CHECK(pair.replica.Get("n") == "1");
  CHECK(to->meta().epochs.back().before == received.value().after);
  const Result<Commit> commit = pair.replica.Sync1(Ops().Increment("n", 1));
  REQUIRE_OK(commit);
  CHECK(commit.value().results == (std::vector<int64_t>{2}));
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("b", "1")));
  CHECK(to->AppendReplicated(pair.Records(received.value().after.offset))
            .status()
            .Is(Code::kAlreadyPrimary));
}

TEST("a shard of a ticket is applied once, whoever asks how often") {
  Pair pair;
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1").Put("b", "2").Put("c", "3").Increment("n", 1)));
  Engine* to = pair.replica.engine.get();
  const Result<Engine::Received> received = to->AppendReplicated(pair.Records(0));
  REQUIRE_OK(received);
  REQUIRE_OK(to->SyncTo(received.value().after.offset, kLong));
  for (int i = 0; i < 2; ++i) to->ApplyTicketShard(received.value().ticket, 1);
  for (int i = 0; i < 2; ++i) to->ApplyTicket(received.value().ticket);
  REQUIRE_OK(to->PublishTicket(received.value().ticket));
  CHECK(pair.Same());
}

TEST("tickets that a terminated thread left are finished, and the next one has its turn") {
  Pair pair;
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1")));
  const uint64_t first_end = pair.primary.engine->progress().visible.offset;
  Engine* to = pair.replica.engine.get();
  const Result<Engine::Received> left = to->AppendReplicated(pair.Records(0));
  REQUIRE_OK(left);
  to->ApplyTicketShard(left.value().ticket, 1);
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("b", "2")));
  REQUIRE_OK(to->AppendReplicated(pair.Records(first_end)));
  REQUIRE_OK(to->FinishTickets());
  CHECK(pair.Same());
  REQUIRE_OK(to->FinishTickets());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("c", "3")));
  REQUIRE_OK(pair.Follow());
  CHECK(pair.Same());
}

TEST("records that are here already are compared by chain with the log's own") {
  Pair pair;
  REQUIRE(pair.Open());
  std::vector<uint64_t> ends;
  for (const char* key : {"a", "b", "c"}) {
    REQUIRE_OK(pair.primary.Sync1(Ops().Put(key, "1")));
    ends.push_back(pair.primary.engine->progress().visible.offset);
  }
  Engine* to = pair.replica.engine.get();
  const std::string records = pair.Records(0);
  const Result<Engine::Received> received = to->AppendReplicated(records);
  REQUIRE_OK(received);
  // The second time with everything shown, so that only the log can tell.
  for (const bool shown : {false, true}) {
    if (shown) REQUIRE_OK(to->FinishTickets());
    for (size_t i = 0; i < ends.size(); ++i) {
      CHECK_OK(to->AppendReplicated(Slice(records).Sub(0, ends[i])));
      std::string other = records.substr(0, ends[i]);
      const size_t last = i == 0 ? 0 : ends[i - 1];
      // The first of these pieces ends with the batch behind the epoch's record.
      const size_t header = ends[i] - (ends[1] - ends[0]);
      REQUIRE(header >= last);
      other[header + 48] = static_cast<char>(other[header + 48] ^ 1);
      const Result<Engine::Received> refused = to->AppendReplicated(other);
      CHECK(refused.status().Is(Code::kProtocol));
      CHECK_EQ(DetailOf(refused.status(), "reason"), "chain");
    }
  }
  CHECK(pair.Same());
}

TEST("a promotion leaves no record in its log that its state does not show") {
  Pair pair;
  std::atomic<bool> armed{false};
  bool delivered = false;
  std::string late;
  // Another thread's link delivers while STATE is written.
  pair.replica.fs.SetObserver([&](const io::Operation& operation) {
    if (operation.path != "/db/STATE" || !armed.exchange(false)) return;
    delivered = true;
    (void)pair.replica.engine->AppendReplicated(late);
  });
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(pair.Follow());
  const uint64_t from = pair.replica.engine->progress().visible.offset;
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("b", "2")));
  late = pair.Records(from);
  armed = true;
  REQUIRE_OK(pair.replica.engine->Promote(0));
  CHECK(delivered);
  const std::optional<std::string> shown = pair.replica.Get("b");
  REQUIRE_OK(pair.replica.Reopen());
  CHECK(pair.replica.Get("b") == shown);
}

TEST("an adoption of a cluster id survives a crash at any operation, and is refused with records") {
  bool crashed = true;
  for (uint64_t n = 0; crashed && n < 100; ++n) {
    Bench bench;
    bench.options.as_replica = true;
    REQUIRE_OK(bench.Open());
    ClusterId cluster;
    cluster.bytes[5] = 77;
    bench.fs.CrashAfter(bench.fs.operations() + n);
    const Status adopted = bench.engine->AdoptCluster(cluster);
    crashed = bench.fs.crashed();
    (void)bench.Close();
    for (uint64_t seed = 0; seed < 8; ++seed) {
      const auto disk = bench.fs.ImageOfSeed(seed);
      Options options = bench.options;
      options.fs = disk.get();
      Result<std::shared_ptr<Engine>> engine = Engine::Open("/db", options);
      REQUIRE_OK(engine);
      const ClusterId is = engine.value()->identity().cluster;
      CHECK(is.IsNone() || is == cluster);
      if (adopted.ok()) CHECK(is == cluster);
      CHECK_OK(engine.value()->AdoptCluster(cluster));
      CHECK(engine.value()->identity().cluster == cluster);
      CHECK_OK(engine.value()->Release());
    }
  }
  CHECK(!crashed);
  Pair pair;
  REQUIRE(pair.Open());
  REQUIRE_OK(pair.primary.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(pair.Follow());
  ClusterId other;
  other.bytes[0] = 1;
  CHECK(pair.replica.engine->AdoptCluster(other).Is(Code::kClusterMismatch));
}

TEST("a view stays on the old generation across a switch, whose files go when it is released") {
  Bench bench;
  bench.options.as_replica = true;
  REQUIRE_OK(bench.Open());
  const ViewInfo view = bench.engine->OpenView();
  const uint64_t generation = bench.engine->progress().generation;
  ClusterId cluster;
  cluster.bytes[1] = 1;
  REQUIRE_OK(bench.engine->AdoptCluster(cluster));
  CHECK_EQ(bench.engine->progress().generation, generation + 1);
  CHECK_OK(bench.engine->ReadView(view.id));
  CHECK(bench.fs.Exists("/db/gen-000001").value());
  bench.engine->ReleaseView(view.id);
  bool gone = false;
  for (int i = 0; i < 2000 && !gone; ++i) {
    Mutex mutex;
    CondVar pause;
    const MutexLock lock(&mutex);
    pause.WaitFor(&mutex, 2000);
    gone = !bench.fs.Exists("/db/gen-000001").value();
  }
  CHECK(gone);
  CHECK(bench.fs.Exists("/db/gen-000002").value());
}

}  // namespace
}  // namespace gapless::engine::test

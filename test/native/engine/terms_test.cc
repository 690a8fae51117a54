// Terms, fencing, promotion, demotion.
#include "engine_fixture.h"

namespace gapless::engine::test {
namespace {

TEST("a primary that sees a higher term is fenced, at once and after a restart") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  CHECK_OK(bench.engine->SeeTerm(1));
  CHECK(!bench.engine->fenced());
  REQUIRE_OK(bench.engine->SeeTerm(5));
  CHECK(bench.engine->fenced());
  CHECK(bench.engine->role() == Role::kPrimary);
  CHECK(!bench.engine->progress().acknowledging);
  CHECK(bench.engine->progress().stop_status.Is(Code::kFenced));
  const Result<Commit> refused = bench.Commit1(Ops().Put("a", "2"));
  CHECK(refused.status().Is(Code::kFenced));
  CHECK_EQ(DetailOf(refused.status(), "highestTerm"), "5");
  CHECK(bench.Get("a") == "1");
  REQUIRE_OK(bench.Reopen());
  CHECK(bench.engine->fenced());
  CHECK_EQ(bench.engine->highest_term(), 5u);
  CHECK(bench.Commit1(Ops().Put("a", "2")).status().Is(Code::kFenced));
  CHECK(bench.engine->Promote(5).status().Is(Code::kUsage));
  const Result<Position> promoted = bench.engine->Promote(0);
  REQUIRE_OK(promoted);
  CHECK(promoted.value().epoch == (Epoch{6, 0}));
  CHECK(!bench.engine->fenced());
  CHECK(bench.engine->progress().acknowledging);
  CHECK(bench.engine->progress().durable == promoted.value());
  CHECK_OK(bench.Sync1(Ops().Put("a", "2")));
  REQUIRE_OK(bench.Reopen());
  CHECK_OK(bench.Sync1(Ops().Put("a", "3")));
  CHECK(bench.engine->own_epoch() == (Epoch{6, 1}));
  const log::MetaState meta = bench.engine->meta();
  REQUIRE_EQ(meta.epochs.size(), 3u);
  CHECK_EQ(meta.epochs[1].cause, 2);
  CHECK_EQ(meta.epochs[2].cause, 1);
}

TEST("a seen term is durable before SeeTerm returns") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.engine->SeeTerm(9));
  const auto disk = bench.fs.ImageAllLost();
  Options options = bench.options;
  options.fs = disk.get();
  Result<std::shared_ptr<Engine>> engine = Engine::Open("/db", options);
  REQUIRE_OK(engine);
  CHECK_EQ(engine.value()->highest_term(), 9u);
  CHECK(engine.value()->fenced());
  CHECK_OK(engine.value()->Release());
}

TEST("a term that cannot be persisted fences nobody and is reported") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  io::FaultRule rule;
  rule.path_contains = "STATE";
  bench.fs.AddRule(rule);
  CHECK(bench.engine->SeeTerm(9).Is(Code::kIo));
  CHECK(!bench.engine->fenced());
  CHECK_EQ(bench.engine->highest_term(), 1u);
}

TEST("a primary that is not fenced is promoted only to a named higher term") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  CHECK(bench.engine->Promote(0).status().Is(Code::kAlreadyPrimary));
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  CHECK(bench.engine->Promote(1).status().Is(Code::kUsage));
  const Result<Position> promoted = bench.engine->Promote(4);
  REQUIRE_OK(promoted);
  CHECK(promoted.value().epoch == (Epoch{4, 0}));
  CHECK_EQ(bench.engine->highest_term(), 4u);
  const Result<Commit> commit = bench.Sync1(Ops().Put("b", "1"));
  REQUIRE_OK(commit);
  CHECK(commit.value().position.epoch == (Epoch{4, 0}));
  CHECK(bench.engine->EpochOf(SeqOf(bench.engine.get(), "a")) == (Epoch{1, 0}));
  CHECK(bench.engine->EpochOf(SeqOf(bench.engine.get(), "b")) == (Epoch{4, 0}));
  CHECK_EQ(bench.engine->counters().committed_records, 4u);
}

TEST("a demoted node refuses writes, stays a replica when reopened, and can be promoted") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("a", "1")));
  REQUIRE_OK(bench.engine->Demote());
  CHECK_OK(bench.engine->Demote());
  CHECK(bench.engine->role() == Role::kReplica);
  CHECK(bench.engine->progress().durable == bench.engine->progress().visible);
  const Result<Commit> refused = bench.Commit1(Ops().Put("a", "2"));
  CHECK(refused.status().Is(Code::kReadOnly));
  CHECK_EQ(DetailOf(refused.status(), "primary"), "unknown");
  REQUIRE_OK(bench.Reopen());
  CHECK(bench.engine->role() == Role::kReplica);
  CHECK(bench.Commit1(Ops().Put("a", "2")).status().Is(Code::kReadOnly));
  REQUIRE_OK(bench.engine->SeeTerm(7));
  CHECK(!bench.engine->fenced());
  REQUIRE_OK(bench.engine->Promote(0));
  CHECK(bench.engine->own_epoch() == (Epoch{8, 0}));
  CHECK_OK(bench.Sync1(Ops().Put("a", "2")));
}

TEST("asReplica turns a primary's directory into a replica's for good") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(bench.Close());
  bench.options.as_replica = true;
  REQUIRE_OK(bench.Open());
  CHECK(bench.engine->role() == Role::kReplica);
  REQUIRE_OK(bench.Close());
  bench.options.as_replica = false;
  REQUIRE_OK(bench.Open());
  CHECK(bench.engine->role() == Role::kReplica);
  CHECK(bench.Get("a") == "1");
}

TEST("a wait that a fence interrupted is not fulfilled because a change of role ended the fence") {
  for (const bool promoted : {false, true}) {
    Bench bench;
    REQUIRE_OK(bench.Open());
    REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
    const uint64_t stops = bench.engine->progress().stops;
    Position ahead = bench.engine->progress().visible;
    ahead.offset += 1 << 20;
    Thread waiter;
    std::atomic<bool> over{false};
    Status waited;
    REQUIRE_OK(waiter.Start("waiter", [&] {
      waited = bench.engine->WaitFor(ahead, log::Durability::kSync, kLong);
      over = true;
    }));
    // A thread that came too late would meet no stop: it is stopped again until it has seen one.
    for (uint32_t term = 2; !over; term += 2) {
      REQUIRE_OK(bench.engine->SeeTerm(term));
      if (!promoted) REQUIRE_OK(bench.engine->Demote());
      REQUIRE_OK(bench.engine->Promote(0));
      CHECK(bench.engine->progress().acknowledging);
    }
    waiter.Join();
    CHECK(waited.Is(Code::kFenced));
    CHECK(bench.engine->progress().stops > stops);
  }
}

TEST("a term beside commits fences without a commit acknowledged in a lower term behind it") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("n", "0")));
  Thread writer;
  std::atomic<bool> fenced{false};
  std::atomic<uint64_t> wrong{0};
  REQUIRE_OK(writer.Start("writer", [&] {
    for (int i = 0; i < 5000; ++i) {
      const bool was_fenced = fenced.load();
      const Ops ops = Ops().Increment("n", 1);
      const Submitted submitted = bench.engine->Submit(nullptr, ops.Request(), true);
      if (was_fenced && submitted.state != Submitted::State::kFailed) ++wrong;
      if (submitted.status.Is(Code::kFenced)) return;
    }
  }));
  REQUIRE_OK(bench.engine->SeeTerm(2));
  fenced = true;
  writer.Join();
  CHECK_EQ(wrong.load(), 0u);
  CHECK(!bench.engine->progress().acknowledging);
}

}  // namespace
}  // namespace gapless::engine::test

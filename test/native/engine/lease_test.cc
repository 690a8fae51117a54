// The lease of a primary: looked at before a record is appended and before it is acknowledged.
#include "engine_fixture.h"

namespace gapless::engine::test {
namespace {

TEST("a commit behind the end of the lease is refused, and is not in the log") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  bench.engine->SetLease(bench.engine->LeaseClockMs() + 1000);
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  const Position before = bench.engine->progress().visible;
  bench.clock.AdvanceMs(1000);
  const Result<Commit> late = bench.Commit1(Ops().Put("a", "2"));
  CHECK(late.status().Is(Code::kFenced));
  CHECK(bench.engine->progress().visible == before);
  CHECK(bench.engine->fenced());
  CHECK(bench.Get("a") == "1");
}

TEST("a lease ends while the machine sleeps, and whatever the wall clock is set to") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  bench.engine->SetLease(bench.engine->LeaseClockMs() + 1000);
  bench.clock.SetWallMs(io::FakeClock::kStartWallMs + 3600000);
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  bench.clock.SetWallMs(io::FakeClock::kStartWallMs - 3600000);
  bench.clock.SuspendMs(1000);
  CHECK(bench.Commit1(Ops().Put("a", "2")).status().Is(Code::kFenced));
}

TEST("what became durable is not acknowledged behind the end of the lease") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  bench.engine->SetLease(bench.engine->LeaseClockMs() + 1000);
  const Result<Commit> commit = bench.Commit1(Ops().Put("a", "1"));
  REQUIRE_OK(commit);
  CHECK(bench.engine->progress().acknowledging);
  bench.clock.AdvanceMs(1000);
  const Progress progress = bench.engine->progress();
  CHECK(!progress.acknowledging);
  CHECK(progress.fenced);
  CHECK(progress.stop_status.Is(Code::kFenced));
  const Status waited =
      bench.engine->WaitFor(commit.value().position, log::Durability::kSync, kLong);
  CHECK(waited.Is(Code::kFenced));
  CHECK_EQ(DetailOf(waited, "position"), ToText(commit.value().position));
}

TEST("a thread that waits for its commit is not told that it is safe behind the end of the lease") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  bench.engine->SetLease(bench.engine->LeaseClockMs() + 1000);
  const Result<Commit> commit = bench.Commit1(Ops().Put("a", "1"));
  REQUIRE_OK(commit);
  bench.clock.AdvanceMs(1000);
  const Status waited =
      bench.engine->WaitFor(commit.value().position, log::Durability::kSync, kLong);
  CHECK(waited.Is(Code::kFenced));
}

TEST("a lease that is renewed in time goes on, and one that is over is revived by nothing") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  for (int i = 0; i < 5; ++i) {
    bench.engine->SetLease(bench.engine->LeaseClockMs() + 1000);
    REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
    bench.clock.AdvanceMs(999);
  }
  bench.clock.AdvanceMs(1);
  bench.engine->SetLease(bench.engine->LeaseClockMs() + 1000);
  CHECK(bench.Commit1(Ops().Put("a", "2")).status().Is(Code::kFenced));
  bench.engine->SetLease(Engine::kNoLease);
  CHECK(bench.Commit1(Ops().Put("a", "2")).status().Is(Code::kFenced));
  REQUIRE_OK(bench.engine->Promote(0));
  CHECK_OK(bench.Sync1(Ops().Put("a", "3")));
}

TEST("a replica has no use for a lease, and a promotion needs one that is not over") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(bench.engine->Demote());
  bench.engine->SetLease(bench.engine->LeaseClockMs());
  CHECK(!bench.engine->progress().fenced);
  bench.engine->SetLease(bench.engine->LeaseClockMs() + 1000);
  REQUIRE_OK(bench.engine->Promote(7));
  CHECK_OK(bench.Sync1(Ops().Put("a", "2")));
  bench.clock.AdvanceMs(1000);
  CHECK(bench.Commit1(Ops().Put("a", "3")).status().Is(Code::kFenced));
}

}  // namespace
}  // namespace gapless::engine::test

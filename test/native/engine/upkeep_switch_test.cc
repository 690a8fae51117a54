// Upkeep when the generation is switched under it, and when merging is held to a rate.
#include <cstdio>

#include "full_sync.h"
#include "upkeep_fixture.h"

namespace gapless::engine::test {
namespace {

TEST("a generation is switched in the middle of flushes and merges, and the next has its own") {
  UpkeepBench primary;
  primary.options.log_retain_bytes = uint64_t{1} << 30;
  REQUIRE_OK(primary.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&primary, &model, 0, 2000, 0));
  UpkeepBench replica;
  replica.options.as_replica = true;
  REQUIRE_OK(replica.Open());
  for (uint64_t round = 1; round <= 6; ++round) {
    const Transfer transfer = Capture(primary.engine.get(), [&] {
      CHECK_OK(WriteKeys(&primary, &model, round * 300, 600, round));
    });
    REQUIRE_OK(FullSync(replica.engine.get(), transfer));
    CHECK(replica.engine->progress().visible == transfer.end);
    CHECK(SameAsModel(replica.engine.get(), model));
    // Something to flush and to merge, still under way at the next switch.
    REQUIRE_OK(WriteKeys(&primary, &model, round * 100, 900, round + 50));
    const Position end = primary.engine->progress().visible;
    REQUIRE_OK(primary.engine->SyncTo(end.offset, kLong));
    const ViewInfo view = replica.engine->OpenView();
    const DigestSum before = DigestOf(replica.engine.get());
    for (uint64_t from = transfer.end.offset; from < end.offset;) {
      const Result<log::LogChunk> chunk = primary.engine->ReadLog(from, 30000);
      REQUIRE_OK(chunk);
      const Result<Engine::Received> received =
          replica.engine->AppendReplicated(chunk.value().bytes);
      if (!received.ok()) {
        REQUIRE(received.status().Is(Code::kQueueFull));
        continue;
      }
      from = received.value().after.offset;
      REQUIRE_OK(replica.engine->FinishTickets());
    }
    CHECK(SameAsModel(replica.engine.get(), model));
    CHECK(!SameDigest(before, DigestOf(replica.engine.get())));
    Result<uint64_t> compaction = replica.engine->StartCompact(std::nullopt);
    REQUIRE_OK(compaction);
    replica.engine->ReleaseView(view.id);
  }
  REQUIRE_OK(replica.engine->Compact(std::nullopt));
  REQUIRE_OK(replica.Reopen());
  CHECK(SameAsModel(replica.engine.get(), model));
}

TEST("merging keeps to its rate, and holds flushes and commits up instead of falling behind") {
  UpkeepBench bench;
  bench.options.shards = 1;
  bench.options.segment_bytes = 8 << 20;
  bench.options.merge_rate_bytes = 64 << 10;  // on a clock that stands still
  REQUIRE_OK(bench.Open());
  std::vector<uint64_t> tickets;
  uint64_t most = 0;
  for (uint64_t i = 0; tickets.size() < 50 && i < 60000; ++i) {
    const Ops ops = Ops().Put(KeyOf(i * 7919 % 5000), ValueOf(i, 1, 400));
    const Submitted submitted = bench.engine->Submit(&bench.client, ops.Request(), true);
    REQUIRE(submitted.state != Submitted::State::kFailed);
    if (submitted.state == Submitted::State::kSequenced) continue;
    // What waits for the epoch, or for a flush, goes on; what waits for a merge stays.
    tickets.push_back(submitted.ticket);
    const uint64_t behind = bench.Report().levels.at(0).runs;
    most = std::max(most, behind);
    if (behind <= 16) {
      REQUIRE_OK(bench.client.Await(bench.engine.get(), tickets.back()).status);
      tickets.pop_back();
    }
  }
  REQUIRE_EQ(tickets.size(), 50u);
  CHECK_EQ(most, 17u);
  CHECK_LE(bench.Report().store.memtable_bytes, kTinyMemtable + 4096);
  const uint64_t merged = bench.Report().upkeep.merge_written_bytes;
  const uint64_t from_us = bench.clock.MonotonicUs();
  CHECK(bench.Eventually([&] {
    bench.clock.AdvanceMs(100);
    return bench.Report().levels.at(0).runs <= 8 && bench.Report().upkeep.merges > 0;
  }));
  const StoreReport report = bench.Report();
  const uint64_t passed_us = bench.clock.MonotonicUs() - from_us;
  const double rate = static_cast<double>(report.upkeep.merge_written_bytes - merged) * 1e6 /
                      static_cast<double>(passed_us);
  std::printf("merged %.0f bytes a second of 65536\n", rate);
  // A quarter of a second and one piece of the output may be ahead.
  CHECK_LE(rate, 65536 * 1.5 + 300000.0 * 1e6 / static_cast<double>(passed_us));
  for (const uint64_t ticket : tickets) {
    REQUIRE_OK(bench.client.Await(bench.engine.get(), ticket).status);
  }
  CHECK_GE(report.stalls, 1u);
}

TEST("closing flushes what accepted commits wait for, and does not wait for merging") {
  UpkeepBench bench;
  bench.options.shards = 1;
  bench.options.segment_bytes = 8 << 20;
  bench.options.merge_rate_bytes = 64 << 10;  // on a clock that stands still: no merge ends
  REQUIRE_OK(bench.Open());
  Model model;
  uint64_t queued = 0;
  for (uint64_t i = 0; queued < 50 && i < 60000; ++i) {
    const std::string key = KeyOf(i * 7919 % 5000);
    const Submitted submitted =
        bench.engine->Submit(&bench.client, Ops().Put(key, ValueOf(i, 1, 400)).Request(), true);
    REQUIRE(submitted.state != Submitted::State::kFailed);
    model[key] = ValueOf(i, 1, 400);
    if (submitted.state == Submitted::State::kSequenced) continue;
    if (bench.Report().levels.at(0).runs > 16) {
      ++queued;
    } else {
      REQUIRE_OK(bench.client.Await(bench.engine.get(), submitted.ticket).status);
    }
  }
  REQUIRE_EQ(queued, 50u);
  std::atomic<bool> closed{false};
  Thread closer;
  REQUIRE_OK(closer.Start("closer", [&] {
    CHECK_OK(bench.Close());
    closed = true;
  }));
  CHECK(bench.Eventually([&] { return closed.load(); }));
  (void)bench.Eventually([&] {
    if (!closed) bench.clock.AdvanceMs(1000);
    return closed.load();
  });
  closer.Join();
  REQUIRE_OK(bench.Open());
  CHECK(SameAsModel(bench.engine.get(), model));
}

TEST("a log that failed before anybody listened is told to who listens then") {
  struct Listener final : GenerationOwner {
    void OnLogProgress() override {}
    void OnLogRoom() override {}
    void OnLogNoSpace(const Status&) override {}
    void OnLogSpaceBack() override {}
    void OnLogPoisoned(const Generation*, const Status& why) override { told = why; }
    Status told;
  };
  Generation generation(1, "/db/gen-000001", table::StoreOptions{1, 0});
  log::LogListener* const of_log = &generation;
  of_log->OnPoisoned(Status::Error(Code::kPoisoned, "a write failed"));
  Listener listener;
  generation.Attach(&listener);
  CHECK(listener.told.Is(Code::kPoisoned));
  generation.Detach();
}

}  // namespace
}  // namespace gapless::engine::test

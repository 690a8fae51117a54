// Flushing, merging, checkpoints and compaction of a live store, and what close leaves.
#include "io/file_names.h"
#include "upkeep_fixture.h"

namespace gapless::engine::test {
namespace {

uint64_t RunsOf(const StoreReport& report) {
  uint64_t runs = 0;
  for (const LevelReport& level : report.levels) runs += level.runs;
  return runs;
}

uint64_t RunFiles(const io::FaultFileSystem& fs) {
  uint64_t files = 0;
  for (const std::string& path : fs.ListAll()) {
    if (path.find("/runs/") != std::string::npos && path.back() != '/') ++files;
  }
  return files;
}

TEST("what is written beyond the memtables goes to runs, is merged, and reads the same") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  for (uint64_t round = 0; round < 4; ++round) {
    REQUIRE_OK(WriteKeys(&bench, &model, 0, 3000, round));
    CHECK_LE(bench.Report().store.memtable_bytes, kTinyMemtable + 16384);
  }
  CHECK(bench.Eventually([&] { return bench.Report().upkeep.merges >= 2; }));
  const StoreReport report = bench.Report();
  CHECK_GE(report.upkeep.flushes, 8u);
  CHECK_GT(report.run_bytes, 0u);
  CHECK_GT(report.live_bytes_estimate, 0u);
  CHECK_LE(report.live_bytes_estimate, report.run_bytes);
  CHECK_GT(report.upkeep.flush_written_bytes, 0u);
  CHECK_GT(report.upkeep.merge_written_bytes, 0u);
  CHECK_EQ(report.upkeep.failures, 0u);
  CHECK_OK(report.upkeep.last_error);
  CHECK_GE(report.user_bytes, uint64_t{4} * 3000 * 200);
  CHECK(SameAsModel(bench.engine.get(), model));
  CHECK(bench.Get(KeyOf(7)) == model[KeyOf(7)]);
  CHECK(!bench.Get("key").has_value());
  REQUIRE_OK(bench.Reopen());
  CHECK(SameAsModel(bench.engine.get(), model));
  CHECK(bench.Get(KeyOf(2999)) == model[KeyOf(2999)]);
}

TEST("a checkpoint on demand takes everything, and the next open replays nothing") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 100, 0));
  CHECK_EQ(bench.Report().checkpoint.offset, 0u);
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  const Position visible = bench.engine->progress().visible;
  CHECK(bench.Report().checkpoint == visible);
  CHECK(bench.engine->progress().durable == visible);
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  CHECK_EQ(bench.Report().upkeep.flushes, 1u);
  REQUIRE_OK(bench.Reopen());
  CHECK_EQ(bench.engine->recovery().replayed_records, 0u);
  CHECK(bench.engine->progress().visible == visible);
  CHECK(SameAsModel(bench.engine.get(), model));
}

TEST("a checkpoint syncs the log first, in every durability mode") {
  UpkeepBench bench;
  bench.options.durability = log::Durability::kMemory;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("a", "1")));
  REQUIRE_OK(bench.Commit1(Ops().Put("b", "2")));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  const auto lost = bench.fs.ImageAllLost();
  Options options = bench.options;
  options.fs = lost.get();
  Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", options);
  REQUIRE_OK(opened);
  CHECK(GetValue(opened.value().get(), "b") == "2");
  CHECK_OK(opened.value()->Release());
}

TEST("control records alone move the checkpoint without a run") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  const uint64_t runs = RunsOf(bench.Report());
  REQUIRE_OK(bench.engine->Promote(9));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  CHECK_EQ(RunsOf(bench.Report()), runs);
  CHECK(bench.Report().checkpoint == bench.engine->progress().visible);
  REQUIRE_OK(bench.Reopen());
  CHECK_EQ(bench.engine->recovery().replayed_records, 0u);
  CHECK_EQ(bench.engine->meta().epochs.size(), 2u);
  CHECK(bench.Get("a") == "1");
}

TEST("a log that grows by overwriting one key is cut off by checkpoints") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  for (int i = 0; i < 1500; ++i) {
    REQUIRE_OK(bench.Commit1(Ops().Put("one", ValueOf(1, static_cast<uint64_t>(i), 1000))));
  }
  CHECK(bench.Eventually([&] {
    return bench.engine->log_stats().end - bench.Report().checkpoint.offset <= 2 * kTinyMemtable;
  }));
  CHECK(bench.Eventually([&] { return bench.engine->log_stats().floor > 0; }));
  CHECK(bench.Get("one") == ValueOf(1, 1499, 1000));
}

TEST("compact leaves nothing of what was deleted, and says what it freed") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 4000, 0));
  REQUIRE_OK(bench.Sync1(Ops().DelRange(KeyOf(0), KeyOf(3900))));
  model.erase(model.lower_bound(KeyOf(0)), model.lower_bound(KeyOf(3900)));
  const Result<CompactReport> compacted = bench.engine->Compact(std::nullopt);
  REQUIRE_OK(compacted);
  const StoreReport report = bench.Report();
  CHECK_EQ(report.run_bytes, compacted.value().bytes_after);
  CHECK_LT(report.run_bytes, uint64_t{100} * 400);
  CHECK_GT(compacted.value().bytes_before, compacted.value().bytes_after);
  CHECK_EQ(RunFiles(bench.fs), RunsOf(report));
  CHECK(SameAsModel(bench.engine.get(), model));
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  REQUIRE_OK(bench.Reopen());
  CHECK(SameAsModel(bench.engine.get(), model));
}

TEST("compacting drops what has expired where the oldest reader stands") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  const auto both = [&](const char* value) { return Ops().Put("a", value).Put("z", value); };
  REQUIRE_OK(bench.Sync1(both("1").Put("short", "x", bench.clock.WallMs() + 1000)));
  const ViewInfo view = bench.engine->OpenView();
  bench.clock.AdvanceMs(5000);
  REQUIRE_OK(bench.Sync1(both("2")));
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  CHECK(ViewValue(bench.engine.get(), view.id, "short") == "x");
  CHECK(!bench.Get("short").has_value());
  CHECK_GE(bench.Report().store.keys_estimate, 3u);
  bench.engine->ReleaseView(view.id);
  REQUIRE_OK(bench.Sync1(both("3")));
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  CHECK_EQ(bench.Report().store.keys_estimate, 2u);
  CHECK(!bench.Get("short").has_value());
}

TEST("compacting an extent or an empty store is fine") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 2000, 0));
  table::Extent some;
  some.lower = KeyOf(100);
  some.upper = KeyOf(200);
  REQUIRE_OK(bench.engine->Compact(some));
  CHECK(SameAsModel(bench.engine.get(), model));
  CHECK(bench.engine->AwaitCompact(12345678, 1).status().Is(Code::kInDoubt));
}

TEST("views held across flushes, merges and compaction read the same to the end") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  std::vector<std::pair<ViewId, Model>> views;
  for (uint64_t round = 0; round < 5; ++round) {
    REQUIRE_OK(WriteKeys(&bench, &model, round * 100, 1500, round));
    REQUIRE_OK(bench.Commit1(Ops().DelRange(KeyOf(round * 200), KeyOf(round * 200 + 50))));
    model.erase(model.lower_bound(KeyOf(round * 200)), model.lower_bound(KeyOf(round * 200 + 50)));
    views.emplace_back(bench.engine->OpenView().id, model);
  }
  REQUIRE_OK(bench.Commit1(Ops().DelFrom("")));
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  CHECK(SameDigest(DigestOf(bench.engine.get()), DigestSum{}));
  CHECK(bench.Report().oldest_view_age_ms.has_value());
  for (const auto& [view, expected] : views) {
    DigestSum sum;
    for (uint32_t shard = 0; shard < bench.engine->identity().shards; ++shard) {
      const auto part = bench.engine->DigestShard(view, shard);
      REQUIRE_OK(part);
      sum.Add(part.value().sum);
    }
    CHECK(SameDigest(sum, DigestOfModel(expected)));
    for (uint64_t i = 0; i < 2000; i += 97) {
      const auto at = expected.find(KeyOf(i));
      const std::optional<std::string> got = ViewValue(bench.engine.get(), view, KeyOf(i));
      CHECK(got == (at == expected.end() ? std::nullopt : std::make_optional(at->second)));
    }
  }
  CHECK_GT(bench.Report().run_bytes, 0u);
  for (const auto& [view, expected] : views) bench.engine->ReleaseView(view);
  CHECK(!bench.Report().oldest_view_age_ms.has_value());
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  CHECK_EQ(bench.Report().run_bytes, 0u);
}

TEST("a digest of more than the cache holds keeps no block longer than a chunk") {
  UpkeepBench bench;
  bench.options.shards = 1;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 20000, 0));
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  const ViewInfo view = bench.engine->OpenView();
  const table::CacheStats before = bench.Report().store.cache;
  REQUIRE_OK(bench.engine->DigestShard(view.id, 0));
  const table::CacheStats after = bench.Report().store.cache;
  CHECK_GT(after.misses - before.misses, 50u);
  CHECK_LE(after.used_bytes, 2 * bench.options.cache_bytes);
}

TEST("close checkpoints what would take long to replay, and nothing else") {
  UpkeepBench bench;
  bench.options.memtable_bytes = 64 << 20;
  bench.options.segment_bytes = 4 << 20;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 100, 0));
  REQUIRE_OK(bench.Reopen());
  CHECK_GT(bench.engine->recovery().replayed_records, 0u);
  CHECK_EQ(RunFiles(bench.fs), 0u);
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 6000, 1, 1000));
  REQUIRE_OK(bench.Reopen());
  CHECK_EQ(bench.engine->recovery().replayed_records, 0u);
  CHECK_GT(RunFiles(bench.fs), 0u);
  CHECK(SameAsModel(bench.engine.get(), model));
}

TEST("a read-only open flushes nothing and reads everything") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 3000, 0));
  REQUIRE_OK(bench.Close());
  const uint64_t operations = bench.fs.operations();
  bench.options.read_only = true;
  REQUIRE_OK(bench.Open());
  CHECK(SameAsModel(bench.engine.get(), model));
  CHECK(bench.engine->Checkpoint(kLong).Is(Code::kReadOnly));
  CHECK(bench.engine->Compact(std::nullopt).status().Is(Code::kReadOnly));
  REQUIRE_OK(bench.Close());
  CHECK_EQ(bench.fs.operations(), operations);
}

TEST("a replica seals between tickets, keeps the bound, and ends with the same state") {
  UpkeepBench primary;
  UpkeepBench replica;
  primary.options.log_retain_bytes = uint64_t{1} << 30;
  replica.options.as_replica = true;
  REQUIRE_OK(primary.Open());
  REQUIRE_OK(replica.Open());
  REQUIRE_OK(replica.engine->AdoptCluster(primary.engine->identity().cluster));
  Model model;
  std::vector<uint64_t> tickets;
  uint64_t refused = 0;
  for (uint64_t round = 0; round < 12; ++round) {
    REQUIRE_OK(WriteKeys(&primary, &model, round * 50, 500, round));
    const Position end = primary.engine->progress().visible;
    REQUIRE_OK(primary.engine->SyncTo(end.offset, kLong));
    Position at = replica.engine->progress().written;
    uint64_t from = replica.engine->log_stats().end;
    for (int tries = 0; from < end.offset && tries < 20000; ++tries) {
      const Result<log::LogChunk> chunk = primary.engine->ReadLog(from, 20000);
      REQUIRE_OK(chunk);
      const Result<Engine::Received> received =
          replica.engine->AppendReplicated(chunk.value().bytes);
      if (received.ok()) {
        from = received.value().after.offset;
        tickets.push_back(received.value().ticket);
        at = received.value().after;
        // Applied at once, shown when several are open.
        replica.engine->ApplyTicket(tickets.back());
        if (tickets.size() < 5) continue;
      } else {
        REQUIRE(received.status().Is(Code::kQueueFull));
        ++refused;
      }
      REQUIRE_OK(replica.engine->SyncTo(at.offset, kLong));
      for (const uint64_t ticket : tickets) REQUIRE_OK(replica.engine->PublishTicket(ticket));
      tickets.clear();
      CHECK_LE(replica.Report().store.memtable_bytes, kTinyMemtable + 65536);
    }
    REQUIRE_OK(replica.engine->FinishTickets());
    tickets.clear();
    CHECK(replica.engine->progress().visible == end);
  }
  CHECK_GE(replica.Report().upkeep.flushes, 3u);
  CHECK_GT(refused, 0u);
  CHECK(SameAsModel(replica.engine.get(), model));
  REQUIRE_OK(replica.engine->Checkpoint(kLong));
  REQUIRE_OK(replica.Reopen());
  CHECK_EQ(replica.engine->recovery().replayed_records, 0u);
  CHECK(SameAsModel(replica.engine.get(), model));
}

TEST("checks and increments of keys that only runs hold are right") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("n", "41").Put("c", "x")));
  const uint64_t seq = SeqOf(bench.engine.get(), "c");
  const Epoch epoch = bench.engine->EpochOf(seq);
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  CHECK_EQ(bench.Report().store.sealed_bytes, 0u);
  const Result<Commit> added = bench.Commit1(Ops().Increment("n", 1));
  REQUIRE_OK(added);
  CHECK_EQ(added.value().results.at(0), 42);
  CHECK(bench.Commit1(Ops().CheckAbsent("c").Put("c", "y")).status().Is(Code::kConflict));
  CHECK_OK(bench.Commit1(Ops().Check("c", epoch, seq).Put("c", "y")));
  CHECK(bench.Get("c") == "y");
}

}  // namespace
}  // namespace gapless::engine::test

// Repair and restore: what changes a directory from outside, and what a crash leaves of it.
#include <algorithm>

#include "engine/offline_lost.h"
#include "offline_fixture.h"

namespace gapless::engine::test {
namespace {

struct FoundRecord {
  Position before;
  Position after;
  log::RecordHeader header;
};

std::vector<FoundRecord> RecordsOf(io::FileSystem* fs) {
  std::vector<FoundRecord> records;
  CHECK_OK(
      VisitLog(fs, "/db", 0,
               [&](const log::RecordView& record, const Position& before, const Position& after) {
                 records.push_back({before, after, record.header});
                 return true;
               }));
  return records;
}

// File position of the record at `offset`: its header's bytes are found again, they are unique.
size_t FilePositionOf(const io::FaultFileSystem& fs, const std::string& path,
                      const FoundRecord& record) {
  const std::string bytes = fs.ReadRaw(path);
  std::string needle;
  AppendLe<uint64_t>(&needle, record.header.chain);
  const size_t at = bytes.find(needle);
  CHECK(at != std::string::npos);
  return at - log::kRecordChain;
}

TEST(
    "a flip in the middle of the log is refused, reported, cut with its records saved, and opens "
    "again") {
  for (const size_t where : {size_t{0}, size_t{60}}) {  // in the header, in the body
    ClosedStore store(14);
    const std::vector<FoundRecord> records = RecordsOf(store.fs());
    REQUIRE(records.size() > 10);
    const FoundRecord& hit = records[7];
    store.fs()->FlipBits(Segment(0), FilePositionOf(*store.fs(), Segment(0), hit) + where, 4);
    CHECK(store.bench.Open().Is(Code::kCorrupt));
    const auto damaged = ContentOf(*store.fs());
    const Result<RepairReport> report = Repair(store.fs(), &store.bench.clock, "/db", std::nullopt);
    REQUIRE_OK(report);
    CHECK(report.value().would_drop);
    CHECK(!report.value().dropped);
    CHECK_EQ(report.value().damage.size(), 1u);
    CHECK(report.value().from == hit.before);
    const size_t behind = records.size() - 8;
    CHECK_EQ(report.value().records, behind + (where == 60 ? 1 : 0));
    CHECK_EQ(report.value().bytes, store.end.offset - hit.before.offset);
    CHECK(ContentOf(*store.fs()) == damaged);
    const auto repair = [&](uint64_t at) {
      return Repair(store.fs(), &store.bench.clock, "/db", at);
    };
    CHECK(repair(records[3].before.offset).status().Is(Code::kUsage));
    CHECK(repair(hit.before.offset + 8).status().Is(Code::kNotARecordEnd));
    CHECK(repair(hit.before.offset - 8).status().Is(Code::kNotARecordEnd));
    const Result<RepairReport> done = repair(hit.before.offset);
    REQUIRE_OK(done);
    CHECK(done.value().dropped);
    CHECK_EQ(done.value().saved, "lost/" + io::LostName(1, 0, hit.before.seq + 1, store.end.seq));
    LostHeader header;
    std::vector<uint64_t> whole;
    size_t broken = 0;
    REQUIRE_OK(
        ReadLostFile(store.fs(), "/db/" + done.value().saved, &header, [&](const LostEntry& entry) {
          if (!entry.whole) ++broken;
          if (entry.whole) whole.push_back(entry.offset);
          return true;
        }));
    CHECK(header.from == hit.before);
    CHECK(header.to == store.end);
    CHECK_EQ(header.bytes, store.end.offset - hit.before.offset);
    CHECK_EQ(broken, 1u);
    REQUIRE_EQ(whole.size(), behind);
    for (size_t i = 0; i < behind; ++i) CHECK_EQ(whole[i], records[8 + i].before.offset);
    REQUIRE_OK(store.bench.Open());
    CHECK(store.bench.engine->progress().visible == hit.before);
    CHECK(SameDigest(DigestOf(store.bench.engine.get()),
                     DigestOfModel(store.at_seq[hit.before.seq])));
    REQUIRE_OK(store.bench.Sync1(Ops().Put("after", "repair")));
    CHECK(store.bench.engine->own_epoch() > (Epoch{1, 0}));
    REQUIRE_OK(store.bench.Close());
    CHECK(Verify(store.fs(), "/db", true).value().damage.empty());
  }
}

TEST("a repair goes over segments and saves those behind a missing one") {
  ClosedStore store(40, 4096, 300);
  const std::vector<FoundRecord> records = RecordsOf(store.fs());
  std::vector<uint64_t> starts;
  for (const std::string& path : store.fs()->ListAll()) {
    uint64_t start = 0;
    const std::string name = path.substr(path.rfind('/') + 1);
    if (io::ParseSegmentName(name, &start)) starts.push_back(start);
  }
  REQUIRE(starts.size() >= 4);
  CHECK_OK(store.fs()->Remove(Segment(starts[1])));
  CHECK_OK(store.fs()->SyncDirectory("/db/gen-000001/log"));
  CHECK(store.bench.Open().Is(Code::kCorrupt));
  const Result<RepairReport> done = Repair(store.fs(), &store.bench.clock, "/db", starts[1]);
  REQUIRE_OK(done);
  CHECK(done.value().dropped);
  const auto kept = std::count_if(records.begin(), records.end(), [&](const FoundRecord& record) {
    return record.before.offset >= starts[2];
  });
  CHECK_EQ(done.value().records, kept);
  REQUIRE_OK(store.bench.Open());
  CHECK_EQ(store.bench.engine->progress().visible.offset, starts[1]);
}

TEST("a log that was cut off from outside is repaired at its end, without a lost file") {
  ClosedStore store(9);
  const std::vector<FoundRecord> records = RecordsOf(store.fs());
  const FoundRecord& last = records.back();
  store.fs()->TruncateRaw(Segment(0), FilePositionOf(*store.fs(), Segment(0), last));
  CHECK(store.bench.Open().Is(Code::kCorrupt));
  const Result<RepairReport> done =
      Repair(store.fs(), &store.bench.clock, "/db", last.before.offset);
  REQUIRE_OK(done);
  CHECK(done.value().dropped);
  CHECK(done.value().saved.empty());
  CHECK_OK(store.bench.Open());
}

TEST("a whole store needs no repair, and what a cut cannot mend is refused") {
  ClosedStore store(9);
  const Result<RepairReport> whole = Repair(store.fs(), &store.bench.clock, "/db", std::nullopt);
  REQUIRE_OK(whole);
  CHECK(whole.value().damage.empty() && !whole.value().would_drop);
  CHECK(Repair(store.fs(), &store.bench.clock, "/db", 64).status().Is(Code::kNotARecordEnd));
  const Result<RepairReport> at_end =
      Repair(store.fs(), &store.bench.clock, "/db", store.end.offset);
  REQUIRE_OK(at_end);
  CHECK(!at_end.value().dropped);
  for (const char* file : {"/db/IDENTITY", "/db/CURRENT", "/db/gen-000001/MANIFEST-000001"}) {
    store.fs()->FlipBits(file, 20, 1);
    const Result<RepairReport> report = Repair(store.fs(), &store.bench.clock, "/db", std::nullopt);
    REQUIRE_OK(report);
    CHECK_EQ(report.value().damage.size(), 1u);
    CHECK(!report.value().would_drop);
    CHECK(Repair(store.fs(), &store.bench.clock, "/db", 0).status().Is(Code::kCorrupt));
    store.fs()->FlipBits(file, 20, 1);
  }
  store.fs()->FlipBits(Segment(0), 20, 1);  // the header of the only segment: nothing is left
  const Result<RepairReport> nothing = Repair(store.fs(), &store.bench.clock, "/db", std::nullopt);
  REQUIRE_OK(nothing);
  CHECK(!nothing.value().damage.empty() && !nothing.value().would_drop);
  CHECK(!Repair(store.fs(), &store.bench.clock, "/db", 0).ok());
}

TEST("a repair that crashes anywhere is refused or repaired, and the same command ends it") {
  ClosedStore store(30, 4096, 300);
  const std::vector<FoundRecord> records = RecordsOf(store.fs());
  const FoundRecord& hit = records[6];
  std::string path;
  for (const std::string& file : store.fs()->ListAll()) {
    uint64_t start = 0;
    if (io::ParseSegmentName(Slice(file.substr(file.rfind('/') + 1)), &start) &&
        start <= hit.before.offset) {
      path = file;
    }
  }
  store.fs()->FlipBits(path, FilePositionOf(*store.fs(), path, hit) + 60, 4);
  const std::unique_ptr<io::FaultFileSystem> damaged = store.fs()->Clone();
  for (uint64_t n = 0;; ++n) {
    const std::unique_ptr<io::FaultFileSystem> disk = damaged->Clone();
    disk->CrashAfter(disk->operations() + n);
    const bool through = Repair(disk.get(), &store.bench.clock, "/db", hit.before.offset).ok();
    const bool crashed = disk->crashed();
    for (uint64_t seed = 0; seed < 4; ++seed) {
      const std::unique_ptr<io::FaultFileSystem> image = disk->ImageOfSeed(n * 4 + seed);
      const Result<RepairReport> again =
          Repair(image.get(), &store.bench.clock, "/db", hit.before.offset);
      CHECK_OK(again);
      const Result<DigestReport> digest = Digest(image.get(), "/db", std::nullopt);
      CHECK_OK(digest);
      if (check::Failed()) return;
      CHECK(digest.value().position == hit.before);
      CHECK(SameDigest(digest.value().digest, DigestOfModel(store.at_seq[hit.before.seq])));
      const Result<std::vector<std::string>> lost = image->List("/db/lost");
      CHECK_OK(lost);
      size_t saved = 0;
      for (const std::string& name : lost.value()) {
        if (io::IsTemporaryName(name)) continue;
        LostHeader header;
        CHECK_OK(
            ReadLostFile(image.get(), "/db/lost/" + name, &header, [&](const LostEntry& entry) {
              saved = std::max<size_t>(saved, header.records);
              return entry.bytes.size() > 0;
            }));
      }
      CHECK_EQ(saved, records.size() - 6);
      if (check::Failed()) return;
    }
    if (through && !crashed) break;
    REQUIRE(n < 200);
  }
}

TEST("a restored directory holds the snapshot, with a node id of its own") {
  for (const bool new_cluster : {false, true}) {
    ClosedStore store(25);
    REQUIRE_OK(store.bench.Open());
    const Identity original = store.bench.engine->identity();
    const Position position = WriteSnapshotOf(store.bench.engine.get(), store.fs(), "/snap");
    const Model model = store.model;
    REQUIRE_OK(store.bench.Commit1(Ops().Put("later", "no")));
    REQUIRE_OK(store.bench.Close());
    RestoreOptions options;
    options.new_cluster = new_cluster;
    if (new_cluster) options.shards = 5;
    const Result<RestoreReport> report =
        Restore(store.fs(), &store.bench.clock, &store.bench.random, "/snap", "/a/b", options);
    REQUIRE_OK(report);
    CHECK(report.value().position == position);
    CHECK_EQ(report.value().keys, model.size());
    CHECK(Verify(store.fs(), "/a/b", true).value().damage.empty());
    Options open = store.bench.options;
    Result<std::shared_ptr<Engine>> opened = Engine::Open("/a/b", open);
    REQUIRE_OK(opened);
    Engine* const engine = opened.value().get();
    CHECK(engine->progress().visible == position);
    CHECK(Equals(engine, model));
    CHECK(engine->role() == Role::kPrimary);
    CHECK_EQ(engine->identity().shards, new_cluster ? 5u : 2u);
    CHECK(engine->identity().node != original.node);
    CHECK_EQ(engine->identity().cluster == original.cluster, !new_cluster);
    Client client;
    engine->AddClient(&client);
    REQUIRE_OK(SyncCommit(engine, &client, Ops().Put("more", "1")));
    engine->RemoveClient(&client);
    REQUIRE_OK(engine->Release());
    CHECK(Digest(store.fs(), "/a/b", std::nullopt).value().keys == model.size() + 1);
  }
}

TEST("a damaged snapshot or a target that holds something is refused without effect") {
  ClosedStore store(10);
  REQUIRE_OK(store.bench.Open());
  (void)WriteSnapshotOf(store.bench.engine.get(), store.fs(), "/snap");
  REQUIRE_OK(store.bench.Close());
  const auto restore = [&](const std::string& target) {
    return Restore(store.fs(), &store.bench.clock, &store.bench.random, "/snap", target, {})
        .status();
  };
  const auto before = ContentOf(*store.fs());
  CHECK(restore("/db").Is(Code::kExists));
  for (const char* file : {"/snap/SNAPSHOT", "/snap/flow-00000", "/snap/flow-00001"}) {
    store.fs()->FlipBits(file, 50, 2);
    CHECK(restore("/new").Is(Code::kCorrupt));
    store.fs()->FlipBits(file, 50, 2);
  }
  CHECK(ContentOf(*store.fs()) == before);
  store.fs()->PutRaw("/new.tmp/letter.txt", "dear");
  CHECK(restore("/new").Is(Code::kExists));
  CHECK_OK(store.fs()->Remove("/new.tmp/letter.txt"));
  CHECK_OK(store.fs()->CreateDirectory("/new"));
  CHECK_OK(restore("/new"));
  CHECK(restore("/new").Is(Code::kExists));
  CHECK(Verify(store.fs(), "/new", true).value().damage.empty());
}

TEST("a restore that crashes leaves no target or a whole one, and can be repeated") {
  ClosedStore store(10);
  REQUIRE_OK(store.bench.Open());
  (void)WriteSnapshotOf(store.bench.engine.get(), store.fs(), "/snap");
  REQUIRE_OK(store.bench.Close());
  const std::unique_ptr<io::FaultFileSystem> base = store.fs()->Clone();
  const auto restore = [&](io::FileSystem* fs) {
    return Restore(fs, &store.bench.clock, &store.bench.random, "/snap", "/new", {}).status();
  };
  size_t whole = 0;
  size_t none = 0;
  for (uint64_t n = 0;; ++n) {
    const std::unique_ptr<io::FaultFileSystem> disk = base->Clone();
    disk->CrashAfter(disk->operations() + n);
    const bool through = restore(disk.get()).ok();
    const bool crashed = disk->crashed();
    for (uint64_t seed = 0; seed < 4; ++seed) {
      const std::unique_ptr<io::FaultFileSystem> image = disk->ImageOfSeed(n * 4 + seed);
      const Result<bool> there = image->Exists("/new");
      CHECK_OK(there);
      if (!there.value()) {
        CHECK(!through);
        CHECK_OK(restore(image.get()));
        ++none;
      } else {
        ++whole;
      }
      const Result<DigestReport> digest = Digest(image.get(), "/new", std::nullopt);
      CHECK_OK(digest);
      if (check::Failed()) return;
      CHECK(SameDigest(digest.value().digest, DigestOfModel(store.model)));
      CHECK(Verify(image.get(), "/new", true).value().damage.empty());
    }
    if (through && !crashed) break;
    REQUIRE(n < 200);
  }
  CHECK_GT(none, 40u);
  CHECK_GT(whole, 2u);
}

TEST("a restore whose disk fails at any operation leaves nothing behind") {
  ClosedStore store(6);
  REQUIRE_OK(store.bench.Open());
  (void)WriteSnapshotOf(store.bench.engine.get(), store.fs(), "/snap");
  REQUIRE_OK(store.bench.Close());
  for (uint64_t n = 0; n < 200; ++n) {
    const std::unique_ptr<io::FaultFileSystem> disk = store.fs()->Clone();
    io::FaultRule rule;
    rule.skip = n;
    rule.sys_errno = 28;
    disk->AddRule(rule);
    const Status restored =
        Restore(disk.get(), &store.bench.clock, &store.bench.random, "/snap", "/new", {}).status();
    if (disk->FaultsStruck() == 0) {
      CHECK_OK(restored);
      return;
    }
    CHECK(!restored.ok());
    const Result<bool> building = disk->Exists("/new.tmp");
    CHECK(building.ok() && !building.value());
    if (check::Failed()) return;
  }
  CHECK(!"every operation was made to fail");
}

}  // namespace
}  // namespace gapless::engine::test

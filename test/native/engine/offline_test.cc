// Reading a closed store: verify, digest, log, stat. Nothing here changes a byte on disk.
#include <algorithm>

#include "engine/current.h"
#include "engine/identity.h"
#include "engine/state_file.h"
#include "offline_fixture.h"

namespace gapless::engine::test {
namespace {

// A replica whose state at the checkpoint lies in runs, closed.
struct SyncedStore {
  Bench primary;
  Bench replica;
  Model model;
  Position checkpoint;
  Position end;
  SyncedStore() {
    CHECK_OK(primary.Open());
    Fill(&primary, &model, "k", 8);
    const Transfer transfer =
        Capture(primary.engine.get(), [this] { Fill(&primary, &model, "later", 5); });
    checkpoint = transfer.token.meta.position;
    end = transfer.end;
    replica.options.as_replica = true;
    replica.options.segment_bytes = 8192;
    CHECK_OK(replica.Open());
    CHECK_OK(FullSync(replica.engine.get(), transfer));
    CHECK_OK(replica.Close());
  }
};

TEST("verify of a whole store names no damage and changes nothing") {
  SyncedStore store;
  const auto before = ContentOf(store.replica.fs);
  for (const bool deep : {false, true}) {
    const Result<VerifyReport> report = Verify(&store.replica.fs, "/db", deep);
    REQUIRE_OK(report);
    CHECK(report.value().damage.empty());
    CHECK(report.value().position == store.end);
    CHECK_EQ(report.value().files, 7u);  // identity, state, current, manifest, two runs, a segment
    CHECK_GT(report.value().bytes, 8192u);
  }
  CHECK(ContentOf(store.replica.fs) == before);
}

TEST("every changed byte of a small file is named with its file, or says provably the same") {
  SyncedStore store;
  std::vector<std::pair<std::string, std::string>> files;
  for (const std::string& path : store.replica.fs.ListAll()) {
    const std::string relative = path.substr(std::min<size_t>(path.size(), 4));
    if (path.find("IDENTITY") != std::string::npos) files.emplace_back(relative, "identity");
    if (path.find("STATE") != std::string::npos) files.emplace_back(relative, "state");
    if (path.find("CURRENT") != std::string::npos) files.emplace_back(relative, "current");
    if (path.find("MANIFEST") != std::string::npos) files.emplace_back(relative, "manifest");
    if (path.find("/run-") != std::string::npos) files.emplace_back(relative, "run");
  }
  REQUIRE_EQ(files.size(), 6u);
  for (const auto& [file, kind] : files) {
    const std::string path = "/db/" + file;
    const size_t size = store.replica.fs.ReadRaw(path).size();
    // STATE is mostly zeros under one checksum a slot: a sample of those is enough.
    const size_t step = kind == "state" ? 37 : 1;
    for (size_t at = 0; at < size; at += at < 256 ? 1 : step) {
      store.replica.fs.FlipBits(path, at, static_cast<uint8_t>(1 << (at % 8)));
      // The blocks of a run are read by a deep look only.
      const Result<VerifyReport> report = Verify(&store.replica.fs, "/db", kind == "run");
      REQUIRE_OK(report);
      const log::Damage* damage = FindDamage(report.value().damage, file);
      if (damage == nullptr || damage->kind != kind || damage->offset > size ||
          damage->what.empty() || report.value().damage.size() != 1) {
        check::Fail(__FILE__, __LINE__, file + " byte " + std::to_string(at) + " is not named");
        return;
      }
      store.replica.fs.FlipBits(path, at, static_cast<uint8_t>(1 << (at % 8)));
    }
  }
  CHECK(Verify(&store.replica.fs, "/db", true).value().damage.empty());
}

TEST("every changed byte below the durable end of the log is named with its place") {
  ClosedStore store(12);
  const std::string path = Segment(0);
  const size_t size = store.fs()->ReadRaw(path).size();
  size_t unnamed = 0;
  for (size_t at = 0; at < size; ++at) {
    store.fs()->FlipBits(path, at, 0x10);
    const Result<VerifyReport> report = Verify(store.fs(), "/db", false);
    REQUIRE_OK(report);
    if (report.value().damage.empty()) ++unnamed;
    for (const log::Damage& damage : report.value().damage) {
      CHECK_EQ(damage.kind, std::string("log"));
      CHECK_EQ(damage.file, path.substr(4));
      CHECK_LE(damage.offset, at);
    }
    CHECK_LE(report.value().damage.size(), 1u);
    store.fs()->FlipBits(path, at, 0x10);
    if (check::Failed()) return;
  }
  CHECK_EQ(unnamed, 0u);
}

TEST("damage in several files is told for each, the first place of each") {
  SyncedStore store;
  io::FaultFileSystem& fs = store.replica.fs;
  std::string run;
  std::string segment;
  for (const std::string& path : fs.ListAll()) {
    if (path.find("/run-") != std::string::npos) run = path;
    if (path.find(".log") != std::string::npos) segment = path;
  }
  fs.FlipBits("/db/CURRENT", 3, 1);
  fs.FlipBits("/db/STATE", 100, 1);
  fs.FlipBits(run, 200, 1);
  fs.FlipBits(segment, 300, 1);
  const Result<VerifyReport> report = Verify(&fs, "/db", true);
  REQUIRE_OK(report);
  const auto& damage = report.value().damage;
  CHECK_EQ(damage.size(), 4u);
  CHECK(FindDamage(damage, "CURRENT") != nullptr);
  CHECK(FindDamage(damage, "STATE") != nullptr);
  CHECK(FindDamage(damage, run.substr(4)) != nullptr);
  const log::Damage* log = FindDamage(damage, segment.substr(4));
  REQUIRE(log != nullptr);
  CHECK_EQ(log->kind, std::string("log"));
  CHECK_GE(log->log_offset, store.checkpoint.offset);
  CHECK_GT(log->seq, store.checkpoint.seq);
}

TEST("missing files are named, a directory that is none of ours is not touched") {
  for (const char* name : {"IDENTITY", "STATE", "CURRENT", "gen-000001/MANIFEST-000001"}) {
    ClosedStore store(3);
    CHECK_OK(store.fs()->Remove(std::string("/db/") + name));
    const Result<VerifyReport> report = Verify(store.fs(), "/db", true);
    REQUIRE_OK(report);
    const log::Damage* damage = FindDamage(report.value().damage, name);
    REQUIRE(damage != nullptr);
    CHECK_EQ(damage->what, std::string("missing"));
  }
  ClosedStore store(3);
  CHECK_OK(store.fs()->Remove(Segment(0)));
  CHECK(!Verify(store.fs(), "/db", false).value().damage.empty());
  io::FaultFileSystem other;
  other.PutRaw("/home/letter.txt", "dear");
  CHECK(Verify(&other, "/home", false).status().Is(Code::kNotAStore));
  CHECK(Verify(&other, "/nowhere", false).status().Is(Code::kNotAStore));
  CHECK_EQ(other.ListAll().size(), 2u);
}

TEST("a damaged index and a damaged local snapshot are told, and the rest is judged") {
  ClosedStore store(40, 4096, 300);
  REQUIRE_OK(store.bench.Open());
  REQUIRE_OK(store.fs()->CreateDirectory("/db/snapshots"));
  (void)WriteSnapshotOf(store.bench.engine.get(), store.fs(), "/db/snapshots/one");
  REQUIRE_OK(store.bench.Close());
  CHECK(Verify(store.fs(), "/db", true).value().damage.empty());
  std::string index;
  for (const std::string& path : store.fs()->ListAll()) {
    if (path.ends_with(".idx")) index = path;
  }
  REQUIRE(!index.empty());
  store.fs()->FlipBits(index, 20, 1);
  store.fs()->FlipBits("/db/snapshots/one/flow-00001", 140, 1);
  const Result<VerifyReport> report = Verify(store.fs(), "/db", true);
  REQUIRE_OK(report);
  CHECK_EQ(report.value().damage.size(), 2u);
  CHECK(FindDamage(report.value().damage, index.substr(4)) != nullptr);
  CHECK(FindDamage(report.value().damage, "snapshots/one/flow-00001") != nullptr);
  CHECK(report.value().position == store.end);
}

TEST("a live store is locked for every offline command, and two readers may be at work") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  CHECK(Verify(&bench.fs, "/db", false).status().Is(Code::kLocked));
  CHECK(Digest(&bench.fs, "/db", std::nullopt).status().Is(Code::kLocked));
  CHECK(Stat(&bench.fs, "/db").status().Is(Code::kLocked));
  CHECK(VisitLog(&bench.fs, "/db", 0, [](const auto&, const auto&, const auto&) {
          return true;
        }).Is(Code::kLocked));
  CHECK(Repair(&bench.fs, &bench.clock, "/db", std::nullopt).status().Is(Code::kLocked));
  REQUIRE_OK(bench.Close());
  const Status visited = VisitLog(&bench.fs, "/db", 0, [&](const auto&, const auto&, const auto&) {
    CHECK_OK(Digest(&bench.fs, "/db", std::nullopt));
    CHECK(Repair(&bench.fs, &bench.clock, "/db", 0).status().Is(Code::kLocked));
    return true;
  });
  CHECK_OK(visited);
}

TEST("the digest at every record end is the model's, and between record ends there is none") {
  ClosedStore store(30);
  const auto before = ContentOf(*store.fs());
  for (uint64_t seq = 0; seq <= store.end.seq; ++seq) {
    const Result<DigestReport> report = Digest(store.fs(), "/db", seq);
    const auto model = store.at_seq.find(seq);
    if (model == store.at_seq.end()) {
      CHECK(report.status().Is(Code::kNotARecordEnd));
      continue;
    }
    REQUIRE_OK(report);
    CHECK_EQ(report.value().position.seq, seq);
    CHECK(SameDigest(report.value().digest, DigestOfModel(model->second)));
    CHECK_EQ(report.value().keys, model->second.size());
    uint64_t bytes = 0;
    for (const auto& [key, value] : model->second) bytes += key.size() + value.size();
    CHECK_EQ(report.value().bytes, bytes);
  }
  CHECK(Digest(store.fs(), "/db", store.end.seq + 1).status().Is(Code::kPositionUnavailable));
  const Result<DigestReport> end = Digest(store.fs(), "/db", std::nullopt);
  REQUIRE_OK(end);
  CHECK(end.value().position == store.end);
  CHECK(SameDigest(end.value().digest, DigestOfModel(store.model)));
  CHECK(ContentOf(*store.fs()) == before);
}

TEST("a digest below the checkpoint is unavailable, at it and behind it is answered") {
  SyncedStore store;
  io::FileSystem* const fs = &store.replica.fs;
  CHECK(Digest(fs, "/db", store.checkpoint.seq - 1).status().Is(Code::kPositionUnavailable));
  CHECK(Digest(fs, "/db", store.checkpoint.seq).value().position == store.checkpoint);
  const Result<DigestReport> end = Digest(fs, "/db", std::nullopt);
  REQUIRE_OK(end);
  CHECK(SameDigest(end.value().digest, DigestOfModel(store.model)));
}

TEST("a torn tail is left out by every reader and stays on disk") {
  ClosedStore store(6);
  const std::string path = Segment(0);
  const size_t size = store.fs()->ReadRaw(path).size();
  store.fs()->WriteRaw(path, size, std::string(100, '\x5A'));
  const auto before = ContentOf(*store.fs());
  const Result<DigestReport> digest = Digest(store.fs(), "/db", std::nullopt);
  REQUIRE_OK(digest);
  CHECK(digest.value().position == store.end);
  Position last;
  REQUIRE_OK(VisitLog(store.fs(), "/db", 0, [&](const auto&, const auto&, const Position& after) {
    last = after;
    return true;
  }));
  CHECK(last == store.end);
  const Result<StatReport> stat = Stat(store.fs(), "/db");
  REQUIRE_OK(stat);
  REQUIRE(stat.value().cut.has_value());
  CHECK_EQ(stat.value().cut->bytes, 100u);
  CHECK(Verify(store.fs(), "/db", true).value().damage.empty());
  CHECK(ContentOf(*store.fs()) == before);
}

TEST("the log is visited from the record that holds a sequence on, until the visitor has enough") {
  ClosedStore store(30, 4096, 200);
  for (uint64_t from = 0; from <= store.end.seq; ++from) {
    std::vector<uint64_t> firsts;
    Position at;
    REQUIRE_OK(
        VisitLog(store.fs(), "/db", from,
                 [&](const log::RecordView& record, const Position& before, const Position& after) {
                   if (!firsts.empty()) CHECK(before == at);
                   at = after;
                   firsts.push_back(record.header.first_seq);
                   return firsts.size() < 5;
                 }));
    REQUIRE(!firsts.empty());
    const uint64_t wanted = from == 0 ? 1 : from;
    const auto holder = store.at_seq.lower_bound(wanted);
    CHECK_EQ(firsts.front(), std::prev(holder)->first + 1);
    CHECK_LE(firsts.size(), 5u);
  }
  size_t beyond = 0;
  CHECK_OK(
      VisitLog(store.fs(), "/db", store.end.seq + 1, [&](const auto&, const auto&, const auto&) {
        ++beyond;
        return true;
      }));
  CHECK_EQ(beyond, 0u);
}

TEST("a sequence below the log is evicted, and damage is told behind the last good record") {
  SyncedStore synced;
  const auto all = [](const auto&, const auto&, const auto&) { return true; };
  CHECK(VisitLog(&synced.replica.fs, "/db", 2, all).Is(Code::kEvicted));
  CHECK_OK(VisitLog(&synced.replica.fs, "/db", synced.checkpoint.seq + 1, all));
  ClosedStore store(10);
  store.fs()->FlipBits(Segment(0), store.fs()->ReadRaw(Segment(0)).size() / 2, 1);
  size_t seen = 0;
  const Status damaged = VisitLog(store.fs(), "/db", 0, [&](const auto&, const auto&, const auto&) {
    ++seen;
    return true;
  });
  CHECK(damaged.Is(Code::kCorrupt));
  CHECK_GT(seen, 2u);
  CHECK(Digest(store.fs(), "/db", std::nullopt).status().Is(Code::kCorrupt));
}

TEST("stat tells what stands in a directory and changes nothing") {
  SyncedStore store;
  store.replica.fs.PutRaw("/db/lost/1.0-3-4.log", "x");
  const auto before = ContentOf(store.replica.fs);
  const Result<StatReport> stat = Stat(&store.replica.fs, "/db");
  REQUIRE_OK(stat);
  const StatReport& report = stat.value();
  CHECK(report.role == Role::kReplica);
  CHECK_EQ(report.format, 1u);
  CHECK_EQ(report.shards, 2u);
  CHECK(report.position == store.end);
  CHECK(report.checkpoint == store.checkpoint);
  CHECK_EQ(report.epochs.size(), 1u);
  CHECK_EQ(report.log_floor, store.checkpoint.offset);
  CHECK_EQ(report.log_end, store.end.offset);
  CHECK_EQ(report.log_segments, 1u);
  CHECK_EQ(report.run_count, 2u);
  REQUIRE_EQ(report.levels.size(), 1u);
  CHECK_EQ(report.levels[0].level, 6u);
  CHECK_EQ(report.levels[0].runs, 2u);
  CHECK_EQ(report.levels[0].bytes, report.run_bytes);
  CHECK(!report.older_checkpoint.has_value());
  CHECK_EQ(report.keys, store.model.size());
  CHECK_GT(report.total_bytes, report.run_bytes);
  CHECK_GT(report.run_bytes, 0u);
  CHECK_EQ(report.lost, 1u);
  CHECK(report.padded.empty());
  CHECK(!report.cut.has_value());
  CHECK(!report.cluster.IsNone());
  CHECK(ContentOf(store.replica.fs) == before);
}

}  // namespace
}  // namespace gapless::engine::test

// A full sync's receiving side: what is built, what is refused, and that a crash at any step leaves
// the old generation or the new one.
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/thread.h"
#include "engine/manifest.h"
#include "engine/offline.h"
#include "full_sync.h"
#include "io/file_names.h"

namespace gapless::engine::test {
namespace {

// A primary with a snapshot and log behind it.
struct Source {
  io::FakeRandom random{99};
  Bench bench;
  Model at_pin;
  Model model;
  Transfer transfer;

  explicit Source(snapshot::Compression compression = snapshot::Compression::kNone) {
    bench.options.shards = 3;
    bench.options.random = &random;
    CHECK_OK(bench.Open());
    Fill(&bench, &model, "base", 40);
    at_pin = model;
    transfer = Capture(
        bench.engine.get(), [this] { Fill(&bench, &model, "later", 12); }, compression);
  }
};

void MakeReplica(Bench* bench) { bench->options.as_replica = true; }

bool StandsThere(io::FileSystem* fs, const std::string& path) {
  const Result<bool> exists = fs->Exists(path);
  return exists.ok() && exists.value();
}

std::vector<std::string> GenerationsOf(io::FileSystem* fs) {
  std::vector<std::string> generations;
  const Result<std::vector<std::string>> names = fs->List("/db");
  for (const std::string& name : names.value()) {
    uint64_t number = 0;
    if (io::ParseGenerationName(name, &number)) generations.push_back(name);
  }
  return generations;
}

// The housekeeper removes what was switched away from.
size_t GenerationsLeft(io::FileSystem* fs) {
  for (int i = 0; i < 500 && GenerationsOf(fs).size() > 1; ++i) usleep(10000);
  return GenerationsOf(fs).size();
}

TEST("an empty replica adopts the cluster and serves the snapshot with the log behind it") {
  for (const auto compression : {snapshot::Compression::kNone, snapshot::Compression::kLz4}) {
    Source source(compression);
    Bench replica;
    MakeReplica(&replica);
    REQUIRE_OK(replica.Open());
    CHECK(replica.engine->identity().cluster.IsNone());
    REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
    CHECK(replica.engine->identity().cluster == source.bench.engine->identity().cluster);
    CHECK(replica.engine->progress().visible == source.transfer.end);
    CHECK(replica.engine->progress().durable == source.transfer.end);
    CHECK(replica.engine->complete());
    CHECK(Equals(replica.engine.get(), source.model));
    CHECK(replica.engine->meta().epochs == source.bench.engine->meta().epochs);
    CHECK(!StandsThere(&replica.fs, "/db/incoming"));
    REQUIRE_OK(replica.Reopen());
    CHECK(replica.engine->progress().visible == source.transfer.end);
    CHECK(Equals(replica.engine.get(), source.model));
    CHECK_EQ(GenerationsLeft(&replica.fs), 1u);
  }
}

TEST("an installed generation goes on with the stream and can be promoted") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
  Fill(&source.bench, &source.model, "stream", 9);
  const Position end = source.bench.engine->progress().visible;
  REQUIRE_OK(source.bench.engine->SyncTo(end.offset, kLong));
  const Result<log::LogChunk> chunk =
      source.bench.engine->ReadLog(source.transfer.end.offset, 1 << 20);
  REQUIRE_OK(chunk);
  const Result<Engine::Received> received = replica.engine->AppendReplicated(chunk.value().bytes);
  REQUIRE_OK(received);
  replica.engine->ApplyTicket(received.value().ticket);
  REQUIRE_OK(replica.engine->SyncTo(end.offset, kLong));
  REQUIRE_OK(replica.engine->PublishTicket(received.value().ticket));
  CHECK(Equals(replica.engine.get(), source.model));
  const Result<Position> promoted = replica.engine->Promote(0);
  REQUIRE_OK(promoted);
  CHECK(promoted.value().epoch == (Epoch{2, 0}));
  REQUIRE_OK(replica.Sync1(Ops().Put("own", "1")));
  replica.options.as_replica = false;
  REQUIRE_OK(replica.Reopen());
  CHECK(replica.Get("own") == "1");
}

TEST("a second full sync replaces what a replica holds, and its open views stay on the old state") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
  const ViewInfo view = replica.engine->OpenView();
  const uint64_t generation = replica.engine->progress().generation;
  REQUIRE_OK(source.bench.Commit1(Ops().DelFrom("")));
  REQUIRE_OK(source.bench.Commit1(Ops().Put("only", "one")));
  const Transfer again = Capture(source.bench.engine.get(), nullptr);
  CHECK(again.log.empty());
  REQUIRE_OK(FullSync(replica.engine.get(), again));
  CHECK(Equals(replica.engine.get(), Model{{"only", "one"}}));
  CHECK_GT(replica.engine->progress().generation, generation);
  CHECK(ViewValue(replica.engine.get(), view.id, "base0").has_value());
  CHECK(!replica.Get("base0").has_value());
  replica.engine->ReleaseView(view.id);
  REQUIRE_OK(replica.Reopen());
  CHECK(Equals(replica.engine.get(), Model{{"only", "one"}}));
}

TEST("a replica of another number of shards installs the same state") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  replica.options.shards = 5;
  REQUIRE_OK(replica.Open());
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
  CHECK(Equals(replica.engine.get(), source.model));
}

TEST("records that come twice are dropped, and a gap or a changed byte is refused without effect") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  Result<std::unique_ptr<GenerationBuilder>> made = replica.engine->NewGeneration();
  REQUIRE_OK(made);
  GenerationBuilder* const builder = made.value().get();
  REQUIRE_OK(builder->Begin(source.transfer.token, source.transfer.Bytes()));
  std::vector<std::string> records;
  Slice rest = source.transfer.log;
  Position at = source.transfer.token.meta.position;
  while (!rest.empty()) {
    log::RecordHeader header;
    REQUIRE(log::CheckHeader(source.transfer.token.cluster, at.offset, rest.data(), &header) ==
            log::RecordCheck::kOk);
    records.push_back(rest.Sub(0, static_cast<size_t>(header.RecordBytes())).ToString());
    rest.RemovePrefix(records.back().size());
    at = header.After(at.offset);
  }
  REQUIRE(records.size() > 4);
  Position received;
  REQUIRE_OK(builder->AppendLog(records[0] + records[1], &received));
  CHECK_EQ(received.seq, source.transfer.token.meta.position.seq + 2);
  CHECK_OK(builder->AppendLog(records[0] + records[1], &received));
  CHECK_EQ(received.seq, source.transfer.token.meta.position.seq + 2);
  const Status gap = builder->AppendLog(records[3], &received);
  CHECK(gap.Is(Code::kProtocol));
  CHECK_EQ(DetailOf(gap, "reason"), std::string("gap"));
  std::string changed = records[2];
  changed[70] = static_cast<char>(changed[70] ^ 1);
  const Status bad = builder->AppendLog(changed, &received);
  CHECK(bad.Is(Code::kProtocol));
  CHECK_EQ(DetailOf(bad, "reason"), std::string("body_crc"));
  const Status cut = builder->AppendLog(Slice(records[2]).Sub(0, 30), &received);
  CHECK(cut.Is(Code::kProtocol));
  CHECK_EQ(received.seq, source.transfer.token.meta.position.seq + 2);
  REQUIRE_OK(builder->AppendLog(source.transfer.log, &received));
  CHECK(received == source.transfer.end);
  for (uint32_t flow = 0; flow < 3; ++flow) {
    REQUIRE_OK(builder->FeedFlow(flow, source.transfer.flows[flow]));
    REQUIRE_OK(builder->FinishFlow(flow, source.transfer.summaries[flow]));
  }
  REQUIRE_OK(builder->Install());
  CHECK(Equals(replica.engine.get(), source.model));
}

TEST("a replica with records refuses a snapshot of another cluster") {
  Source source;
  Source other;
  other.transfer.token.cluster.bytes[3] ^= 1;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
  const Status refused = FullSync(replica.engine.get(), other.transfer);
  CHECK(refused.Is(Code::kClusterMismatch));
  CHECK(Equals(replica.engine.get(), source.model));
  CHECK(replica.engine->complete());
}

TEST("a primary takes no full sync, and a store builds one generation at a time") {
  Source source;
  Bench primary;
  REQUIRE_OK(primary.Open());
  CHECK(FullSync(primary.engine.get(), source.transfer).Is(Code::kAlreadyPrimary));
  Result<std::unique_ptr<GenerationBuilder>> first = primary.engine->NewGeneration();
  REQUIRE_OK(first);
  CHECK(primary.engine->NewGeneration().status().Is(Code::kConflict));
  first.value().reset();
  CHECK_OK(primary.engine->NewGeneration());
}

TEST("a node that was promoted meanwhile keeps its own state") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
  const Transfer again = Capture(source.bench.engine.get(), nullptr);
  Result<std::unique_ptr<GenerationBuilder>> builder = replica.engine->NewGeneration();
  REQUIRE_OK(builder);
  REQUIRE_OK(Deliver(builder.value().get(), again));
  REQUIRE_OK(replica.engine->Promote(0));
  CHECK(builder.value()->Install().Is(Code::kAlreadyPrimary));
  builder.value().reset();
  CHECK_EQ(GenerationsLeft(&replica.fs), 1u);
  REQUIRE_OK(replica.Sync1(Ops().Put("own", "1")));
  CHECK(Equals(replica.engine.get(), [&] {
    Model model = source.model;
    model["own"] = "1";
    return model;
  }()));
}

TEST("a bad byte anywhere in a flow fails the sync and leaves the old state and no file") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
  const Position before = replica.engine->progress().visible;
  const std::string& flow = source.transfer.flows[1];
  for (size_t at = 0; at < flow.size(); at += 1 + flow.size() / 60) {
    Transfer damaged = source.transfer;
    damaged.flows[1][at] = static_cast<char>(damaged.flows[1][at] ^ 0x20);
    const Status status = FullSync(replica.engine.get(), damaged);
    CHECK(!status.ok());
    CHECK(status.Is(Code::kCorrupt) || status.Is(Code::kFormatUnsupported));
    CHECK(replica.engine->progress().visible == before);
    CHECK(!StandsThere(&replica.fs, "/db/incoming"));
    CHECK_EQ(GenerationsLeft(&replica.fs), 1u);
    if (check::Failed()) return;
  }
  CHECK(Equals(replica.engine.get(), source.model));
}

TEST("a flow that is cut, too long, unannounced, or not what its sender says is refused") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  Transfer cut = source.transfer;
  cut.flows[2].resize(cut.flows[2].size() - 8);
  CHECK(FullSync(replica.engine.get(), cut).Is(Code::kCorrupt));
  Transfer more = source.transfer;
  more.flows[0] += "x";
  CHECK(FullSync(replica.engine.get(), more).Is(Code::kCorrupt));
  Transfer lying = source.transfer;
  lying.summaries[0].entries += 1;
  CHECK(FullSync(replica.engine.get(), lying).Is(Code::kCorrupt));
  Transfer swapped = source.transfer;
  std::swap(swapped.flows[0], swapped.flows[1]);
  CHECK(!FullSync(replica.engine.get(), swapped).ok());
  Transfer unannounced = source.transfer;
  unannounced.flows.push_back(unannounced.flows[0]);
  CHECK(FullSync(replica.engine.get(), unannounced).Is(Code::kProtocol));
  CHECK(replica.engine->progress().visible.IsEmpty());
  CHECK(!replica.engine->complete());
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
  CHECK(replica.engine->complete());
}

TEST("a node that is promoted in the middle of its first sync has a complete history of its own") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  Transfer cut = source.transfer;
  cut.flows[2].resize(cut.flows[2].size() - 8);
  CHECK(FullSync(replica.engine.get(), cut).Is(Code::kCorrupt));
  CHECK(!replica.engine->complete());
  REQUIRE_OK(replica.engine->Promote(0));
  CHECK(replica.engine->complete());
  REQUIRE_OK(replica.Reopen());
  CHECK(replica.engine->complete());
}

TEST("install waits for every announced flow") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  Result<std::unique_ptr<GenerationBuilder>> builder = replica.engine->NewGeneration();
  REQUIRE_OK(builder);
  CHECK(builder.value()->Install().Is(Code::kUsage));
  REQUIRE_OK(builder.value()->Begin(source.transfer.token, source.transfer.Bytes()));
  REQUIRE_OK(builder.value()->FeedFlow(1, source.transfer.flows[1]));
  REQUIRE_OK(builder.value()->FinishFlow(1, source.transfer.summaries[1]));
  CHECK_EQ(builder.value()->finished().size(), 1u);
  CHECK_EQ(builder.value()->finished()[0], 1u);
  CHECK(builder.value()->Install().Is(Code::kNotReady));
  builder.value().reset();
  CHECK(!StandsThere(&replica.fs, "/db/incoming"));
}

TEST("flows may arrive on threads of their own") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  Result<std::unique_ptr<GenerationBuilder>> made = replica.engine->NewGeneration();
  REQUIRE_OK(made);
  GenerationBuilder* const builder = made.value().get();
  REQUIRE_OK(builder->Begin(source.transfer.token, source.transfer.Bytes()));
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Status> outcomes(3);
  for (uint32_t flow = 0; flow < 3; ++flow) {
    threads.push_back(std::make_unique<Thread>());
    REQUIRE_OK(threads.back()->Start("flow", [&, flow] {
      const Slice bytes = source.transfer.flows[flow];
      for (size_t at = 0; at < bytes.size() && outcomes[flow].ok(); at += 100) {
        outcomes[flow] =
            builder->FeedFlow(flow, bytes.Sub(at, std::min<size_t>(100, bytes.size() - at)));
      }
      if (outcomes[flow].ok()) {
        outcomes[flow] = builder->FinishFlow(flow, source.transfer.summaries[flow]);
      }
    }));
  }
  Position received;
  CHECK_OK(builder->AppendLog(source.transfer.log, &received));
  for (const auto& thread : threads) thread->Join();
  for (const Status& outcome : outcomes) CHECK_OK(outcome);
  REQUIRE_OK(builder->Install());
  CHECK(Equals(replica.engine.get(), source.model));
}

TEST(
    "a disk without room refuses the snapshot before its first byte, and one that fills up keeps "
    "the old state") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
  CHECK_EQ(GenerationsLeft(&replica.fs), 1u);
  const std::vector<std::string> before = replica.fs.ListAll();
  replica.fs.SetCapacity(replica.fs.UsedBytes() + 8192);
  CHECK(FullSync(replica.engine.get(), source.transfer).Is(Code::kNoSpace));
  CHECK(replica.fs.ListAll() == before);
  replica.fs.SetCapacity(io::kForever);
  io::FaultRule rule;
  rule.kinds = static_cast<uint32_t>(io::OperationKind::kWrite);
  rule.path_contains = "runs/flow";
  rule.sys_errno = 28;
  rule.skip = 1;
  replica.fs.AddRule(rule);
  CHECK(FullSync(replica.engine.get(), source.transfer).Is(Code::kNoSpace));
  CHECK_EQ(replica.fs.FaultsStruck(), 1u);
  CHECK(replica.fs.ListAll() == before);
  CHECK(Equals(replica.engine.get(), source.model));
  replica.fs.ClearRules();
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
}

// The same sync over a replica that holds an older state, on a disk that stops after n operations.
struct Crossing {
  Source source;
  Model old_model;
  std::unique_ptr<io::FaultFileSystem> disk;  // of the replica before the second sync
  Transfer next;

  Crossing() {
    Bench replica;
    MakeReplica(&replica);
    CHECK_OK(replica.Open());
    CHECK_OK(FullSync(replica.engine.get(), source.transfer));
    CHECK_OK(replica.Close());
    old_model = source.model;
    CHECK_OK(source.bench.Commit1(Ops().DelRange("base", "base3").Put("new", "value")));
    source.model.clear();
    for (const auto& [key, value] : old_model) {
      if (key >= "base" && key < "base3") continue;
      source.model[key] = value;
    }
    source.model["new"] = "value";
    next =
        Capture(source.bench.engine.get(), [this] { Fill(&source.bench, &source.model, "x", 6); });
    disk = replica.fs.Clone();
  }
};

// Nothing else stands in the directory of runs: no flow, no half of a run.
bool RunsAreThoseOfTheManifest(io::FaultFileSystem* disk) {
  const std::string generation = "/db/" + GenerationsOf(disk).front();
  const Result<Manifest> manifest = ReadManifest(disk, generation);
  if (!manifest.ok()) return false;
  std::vector<std::string> wanted;
  for (const table::RunInfo& run : manifest.value().runs) {
    wanted.push_back(io::RunName(run.number));
  }
  std::sort(wanted.begin(), wanted.end());
  return disk->List(generation + "/runs").value() == wanted;
}

// What a store that opens on `disk` holds: 0 the old state, 1 the new one, 2 neither.
int OutcomeOn(io::FaultFileSystem* disk, const Crossing& crossing, std::string* why) {
  io::FakeClock clock;
  io::FakeRandom random{3};
  Options options = SmallOptions(disk, &clock, &random);
  options.as_replica = true;
  Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", options);
  if (!opened.ok()) {
    *why = opened.status().ToString();
    return 2;
  }
  Engine* const engine = opened.value().get();
  int outcome = 2;
  if (Equals(engine, crossing.old_model)) outcome = 0;
  if (Equals(engine, crossing.source.model)) outcome = 1;
  const Position& end = outcome == 0 ? crossing.source.transfer.end : crossing.next.end;
  if (engine->progress().visible != end || !engine->complete()) outcome = 2;
  CHECK_OK(engine->Release());
  const Result<VerifyReport> verified = Verify(disk, "/db", true);
  if (!verified.ok() || !verified.value().damage.empty()) outcome = 2;
  if (!RunsAreThoseOfTheManifest(disk)) outcome = 2;
  if (StandsThere(disk, "/db/incoming") || GenerationsOf(disk).size() != 1) outcome = 2;
  *why = "opened at the wrong state, or with files left over";
  return outcome;
}

TEST(
    "an error of the disk at any step of a full sync is typed and leaves the old state or the "
    "new") {
  const Crossing crossing;
  size_t outcomes[2] = {0, 0};
  for (uint64_t n = 0; !check::Failed(); ++n) {
    std::unique_ptr<io::FaultFileSystem> disk = crossing.disk->Clone();
    Bench replica;
    MakeReplica(&replica);
    replica.options.fs = disk.get();
    REQUIRE_OK(replica.Open());
    io::FaultRule rule;
    rule.first_operation = disk->operations() + 1;
    rule.skip = n;
    rule.sys_errno = n % 2 == 0 ? ENOSPC : EIO;
    disk->AddRule(rule);
    const Status synced = FullSync(replica.engine.get(), crossing.next);
    const bool struck = disk->FaultsStruck() != 0;
    disk->ClearRules();
    if (!struck) {
      CHECK_OK(synced);
      break;
    }
    const bool is_new = Equals(replica.engine.get(), crossing.source.model);
    CHECK(is_new || Equals(replica.engine.get(), crossing.old_model));
    CHECK(!synced.ok() || is_new);
    CHECK(synced.ok() || synced.Is(Code::kIo) || synced.Is(Code::kNoSpace));
    (void)replica.Close();
    std::string why;
    const int outcome = OutcomeOn(disk.get(), crossing, &why);
    if (outcome == 2 || (is_new && outcome == 0)) {
      check::Fail(
          __FILE__, __LINE__,
          "operation " + std::to_string(n) + " failed with " + synced.ToString() + ": " + why);
      return;
    }
    ++outcomes[outcome];
  }
  CHECK_GT(outcomes[0], 30u);
  CHECK_GT(outcomes[1], 2u);
}

TEST("a crash at any step of a full sync leaves the old generation or the new one") {
  const Crossing crossing;
  size_t outcomes[2] = {0, 0};
  for (uint64_t n = 1;; ++n) {
    std::unique_ptr<io::FaultFileSystem> disk = crossing.disk->Clone();
    Bench replica;
    MakeReplica(&replica);
    replica.options.fs = disk.get();
    REQUIRE_OK(replica.Open());
    const uint64_t begin = disk->operations();
    disk->CrashAfter(begin + n);
    const Status synced = FullSync(replica.engine.get(), crossing.next);
    const bool through = synced.ok();
    const bool crashed = disk->crashed();
    disk->CrashNow();
    (void)replica.Close();
    for (uint64_t seed = 0; seed < 6; ++seed) {
      const std::unique_ptr<io::FaultFileSystem> image = seed == 0 ? disk->ImageAllLost()
                                                         : seed == 1
                                                             ? disk->ImageAllKept()
                                                             : disk->ImageOfSeed(n * 31 + seed);
      std::string why;
      const int outcome = OutcomeOn(image.get(), crossing, &why);
      if (outcome == 2 || (through && outcome != 1)) {
        check::Fail(
            __FILE__, __LINE__,
            "crash after " + std::to_string(n) + ", image " + std::to_string(seed) + ": " + why);
        return;
      }
      ++outcomes[outcome];
    }
    if (through && !crashed) break;
    REQUIRE(n < 400);
  }
  CHECK_GT(outcomes[0], 50u);
  CHECK_GT(outcomes[1], 5u);
}

TEST(
    "an operation of the disk that fails leaves the old state served or the new one, and the same "
    "on disk") {
  const Crossing crossing;
  size_t old_state = 0;
  size_t new_state = 0;
  for (uint64_t n = 1; n < 400; ++n) {
    std::unique_ptr<io::FaultFileSystem> disk = crossing.disk->Clone();
    Bench replica;
    MakeReplica(&replica);
    replica.options.fs = disk.get();
    REQUIRE_OK(replica.Open());
    io::FaultRule rule;
    rule.skip = n - 1;
    rule.sys_errno = n % 2 == 0 ? 28 : 5;
    disk->AddRule(rule);
    const Status synced = FullSync(replica.engine.get(), crossing.next);
    const bool struck = disk->FaultsStruck() != 0;
    disk->ClearRules();
    const bool is_new = Equals(replica.engine.get(), crossing.source.model);
    CHECK(is_new || Equals(replica.engine.get(), crossing.old_model));
    if (synced.ok()) CHECK(is_new);
    if (!struck) {
      CHECK(is_new);
      break;
    }
    ++(is_new ? new_state : old_state);
    (void)replica.Close();
    std::string why;
    const int outcome = OutcomeOn(disk.get(), crossing, &why);
    if (outcome != (is_new ? 1 : 0)) {
      check::Fail(__FILE__, __LINE__, "failure of operation " + std::to_string(n) + ": " + why);
      return;
    }
  }
  CHECK_GT(old_state, 15u);
  CHECK_GT(new_state, 0u);
}

TEST("a crash during the first full sync leaves an empty replica or a complete one") {
  Source source;
  for (uint64_t n = 1; n < 400; n += 3) {
    Bench replica;
    MakeReplica(&replica);
    REQUIRE_OK(replica.Open());
    const uint64_t begin = replica.fs.operations();
    replica.fs.CrashAfter(begin + n);
    const bool through = FullSync(replica.engine.get(), source.transfer).ok();
    const bool crashed = replica.fs.crashed();
    replica.fs.CrashNow();
    (void)replica.Close();
    for (uint64_t seed = 0; seed < 4; ++seed) {
      const std::unique_ptr<io::FaultFileSystem> image = replica.fs.ImageOfSeed(n * 7 + seed);
      Options options = SmallOptions(image.get(), &replica.clock, &replica.random);
      options.as_replica = true;
      Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", options);
      CHECK_OK(opened);
      if (!opened.ok()) return;
      Engine* const engine = opened.value().get();
      const bool whole = Equals(engine, source.model);
      CHECK(whole || engine->progress().visible.IsEmpty());
      CHECK(!through || whole);
      if (whole) CHECK(engine->complete() && engine->progress().visible == source.transfer.end);
      CHECK_OK(engine->Release());
    }
    if (through && !crashed) return;
  }
  CHECK(!"the sync never came through");
}

TEST("what a crash left in incoming is gone at the next open and at the next full sync") {
  Source source;
  Bench replica;
  MakeReplica(&replica);
  REQUIRE_OK(replica.Open());
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
  REQUIRE_OK(replica.Close());
  replica.fs.PutRaw("/db/incoming/gen-000009/runs/flow-00000", "stale");
  replica.fs.PutRaw("/db/gen-000009/MANIFEST-000001", "stale");
  REQUIRE_OK(replica.Open());
  CHECK(!StandsThere(&replica.fs, "/db/incoming"));
  CHECK_EQ(GenerationsLeft(&replica.fs), 1u);
  replica.fs.PutRaw("/db/incoming/gen-000003/runs/flow-00000", "stale");
  REQUIRE_OK(FullSync(replica.engine.get(), source.transfer));
  CHECK(Equals(replica.engine.get(), source.model));
}

}  // namespace
}  // namespace gapless::engine::test

// Opening and closing: locks, creation, damage of each file, read-only opens, the registry.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "engine/current.h"
#include "engine/identity.h"
#include "engine/manifest.h"
#include "engine/state_file.h"
#include "engine_fixture.h"
#include "io/file_names.h"

namespace gapless::engine::test {
namespace {

TEST("identity, state, current and manifest come back as they were written") {
  IdentityFile identity;
  identity.shards = 7;
  identity.cluster.bytes[3] = 9;
  identity.node.bytes[0] = 1;
  identity.secret[15] = 2;
  identity.created_ms = 12345;
  const Result<IdentityFile> read = DecodeIdentity(EncodeIdentity(identity), "f");
  REQUIRE_OK(read);
  CHECK(read.value() == identity);

  NodeState state;
  state.role = Role::kReplica;
  state.counter = 8;
  state.own_epoch = {3, 4};
  state.highest_term = 5;
  state.incomplete = true;
  state.durable_mark = 800;
  state.former_mark = 900;
  state.intent = Intent::kRewind;
  state.intent_common = Position{{1, 2}, 3, 8, 5};
  state.generation = 6;
  state.padded.push_back({Position{{1, 0}, 1, 8, 1}, Position{{1, 0}, 9, 80, 2}});
  const Result<NodeState> slot = DecodeStateSlot(EncodeStateSlot(state), "f", 0);
  REQUIRE_OK(slot);
  CHECK(slot.value() == state);

  const Result<uint64_t> current = DecodeCurrent(EncodeCurrent(42), "f");
  REQUIRE_OK(current);
  CHECK_EQ(current.value(), 42u);

  Manifest manifest;
  manifest.generation = 3;
  manifest.number = 2;
  manifest.cluster.bytes[1] = 1;
  manifest.kept = 1;
  manifest.next_run = 3;
  manifest.runs.push_back({2, 1, 0, 999, 10, 1, 0, 77, 1, 3, {"a", "b", false}, {}});
  manifest.meta.position = Position{{1, 0}, 3, 64, 5};
  manifest.meta.epochs.push_back({{1, 0}, {}, 5, {}, 1, 1});
  const Result<Manifest> decoded = DecodeManifest(EncodeManifest(manifest), "f");
  REQUIRE_OK(decoded);
  CHECK(decoded.value() == manifest);
}

TEST("the newer whole slot of STATE holds, and an update begins with the other one") {
  NodeState older;
  older.counter = 1;
  NodeState newer;
  newer.counter = 2;
  const std::string a = EncodeStateSlot(older);
  const std::string b = EncodeStateSlot(newer);
  std::string torn = b;
  torn[100] = 'x';
  uint32_t first = 9;
  CHECK_EQ(DecodeState(a + b, "f", &first).value().counter, 2u);
  CHECK_EQ(first, 0u);
  CHECK_EQ(DecodeState(b + a, "f", &first).value().counter, 2u);
  CHECK_EQ(first, 1u);
  CHECK_EQ(DecodeState(a + torn, "f", &first).value().counter, 1u);
  CHECK_EQ(first, 1u);
  CHECK_EQ(DecodeState(torn + a, "f", &first).value().counter, 1u);
  CHECK_EQ(first, 0u);
  CHECK_EQ(DecodeState(b.substr(0, 4096) + b.substr(0, 9), "f", &first).value().counter, 2u);
  CHECK_EQ(first, 1u);
  CHECK(DecodeState(torn + torn, "f", &first).status().Is(Code::kCorrupt));
}

TEST("a new store reports new, one with records no_snapshot, and a replay is counted") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  CHECK_EQ(bench.engine->recovery().outcome, "skipped");
  CHECK_EQ(bench.engine->recovery().reason, "new");
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(bench.Reopen());
  CHECK_EQ(bench.engine->recovery().reason, "no_snapshot");
  CHECK_EQ(bench.engine->recovery().gap, 0);
  CHECK_EQ(bench.engine->recovery().replayed_records, 2u);
  CHECK(!bench.engine->recovery().cut.has_value());
}

TEST("the directory of a store holds the documented names only") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  const std::vector<std::string> all = bench.fs.ListAll();
  const std::vector<std::string> wanted = {"/db/",
                                           "/db/CURRENT",
                                           "/db/IDENTITY",
                                           "/db/LOCK",
                                           "/db/STATE",
                                           "/db/gen-000001/",
                                           "/db/gen-000001/MANIFEST-000001",
                                           "/db/gen-000001/log/",
                                           "/db/gen-000001/log/00000000000000000000.log",
                                           "/db/gen-000001/runs/"};
  size_t found = 0;
  for (const std::string& name : wanted) {
    for (const std::string& is : all) found += is == name ? 1 : 0;
  }
  CHECK_EQ(found, wanted.size());
  const std::string lock = bench.fs.ReadRaw("/db/LOCK");
  CHECK(lock.find("\"pid\":" + std::to_string(getpid()) + ",") != std::string::npos);
  CHECK(lock.find("\"host\":\"") != std::string::npos);
  CHECK(lock.find("\"time\":" + std::to_string(bench.clock.WallMs())) != std::string::npos);
}

TEST("a second open of a path shares the engine and the last release closes it") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  Result<std::shared_ptr<Engine>> second = Engine::Open("/db", bench.options);
  REQUIRE_OK(second);
  CHECK(second.value() == bench.engine);
  REQUIRE_OK(bench.Commit1(Ops().Put("a", "1")));
  CHECK_OK(second.value()->Release());
  CHECK(bench.Get("a") == "1");
  CHECK(bench.engine->progress().acknowledging);
  const std::shared_ptr<Engine> kept = bench.engine;
  REQUIRE_OK(bench.Close());
  CHECK(kept->Release().Is(Code::kClosed));
  CHECK(!kept->progress().acknowledging);
  const Ops late = Ops().Put("b", "1");
  CHECK(kept->Submit(nullptr, late.Request(), true).status.Is(Code::kClosed));
}

TEST("another value of a store-wide option is OPTIONS_CONFLICT, an unnamed one is not") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  Options other = bench.options;
  other.durability = log::Durability::kMemory;
  const Result<std::shared_ptr<Engine>> refused = Engine::Open("/db", other);
  CHECK(refused.status().Is(Code::kOptionsConflict));
  CHECK_EQ(DetailOf(refused.status(), "option"), "durability");
  other.named = UINT32_MAX & ~kNamedDurability;
  Result<std::shared_ptr<Engine>> joined = Engine::Open("/db", other);
  REQUIRE_OK(joined);
  CHECK_OK(joined.value()->Release());
  other = bench.options;
  other.segment_bytes *= 2;
  CHECK_EQ(DetailOf(Engine::Open("/db", other).status(), "option"), "segmentBytes");
  other = bench.options;
  other.as_replica = true;
  CHECK(Engine::Open("/db", other).status().Is(Code::kOptionsConflict));
  other = bench.options;
  other.error_if_exists = true;
  CHECK(Engine::Open("/db", other).status().Is(Code::kExists));
}

TEST("a lock held elsewhere is LOCKED with pid and host, on the real file system too") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Close());
  {
    Result<std::unique_ptr<io::FileLock>> held =
        LockDirectory(&bench.fs, &bench.clock, "/db", io::LockMode::kExclusive);
    REQUIRE_OK(held);
    const Status refused = bench.Open();
    CHECK(refused.Is(Code::kLocked));
    CHECK_EQ(DetailOf(refused, "pid"), std::to_string(getpid()));
    CHECK_NE(DetailOf(refused, "host"), "");
  }
  CHECK_OK(bench.Open());

  check::TempDir dir;
  Options options;
  options.segment_bytes = 1 << 20;
  Result<std::shared_ptr<Engine>> engine = Engine::Open(dir / "db", options);
  REQUIRE_OK(engine);
  REQUIRE_OK(engine.value()->Release());
  const int fd = open((dir / "db/LOCK").c_str(), O_RDWR);
  REQUIRE(fd >= 0);
  REQUIRE(flock(fd, LOCK_EX | LOCK_NB) == 0);
  CHECK(Engine::Open(dir / "db", options).status().Is(Code::kLocked));
  close(fd);
  engine = Engine::Open(dir / "db", options);
  REQUIRE_OK(engine);
  CHECK_OK(engine.value()->Release());
}

TEST("a directory that is not ours is NOT_A_STORE and gets no LOCK") {
  Bench bench;
  bench.fs.PutRaw("/db/notes.txt", "x");
  CHECK(bench.Open().Is(Code::kNotAStore));
  CHECK_EQ(bench.fs.ListAll().size(), 2u);
  Bench missing;
  missing.options.create_if_missing = false;
  CHECK(missing.Open().Is(Code::kNotAStore));
  CHECK_EQ(missing.fs.ListAll().size(), 0u);
  Bench exists;
  REQUIRE_OK(exists.Open());
  REQUIRE_OK(exists.Close());
  exists.options.error_if_exists = true;
  CHECK(exists.Open().Is(Code::kExists));
}

TEST("a missing file of a store with records is CORRUPT and names it") {
  for (const char* name : {"IDENTITY", "STATE", "CURRENT", "gen-000001/MANIFEST-000001"}) {
    Bench bench;
    REQUIRE_OK(bench.Open());
    REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
    REQUIRE_OK(bench.Close());
    REQUIRE_OK(bench.fs.Remove(std::string("/db/") + name));
    const Status refused = bench.Open();
    CHECK(refused.Is(Code::kCorrupt));
    CHECK_EQ(refused.file(), std::string("/db/") + name);
    CHECK_EQ(refused.offset(), 0);
  }
}

TEST("a creation that did not reach CURRENT is made anew") {
  for (const bool with_identity : {false, true}) {
    Bench bench;
    REQUIRE_OK(bench.Open());
    REQUIRE_OK(bench.Close());
    const std::string identity = bench.fs.ReadRaw("/db/IDENTITY");
    REQUIRE_OK(bench.fs.Remove("/db/CURRENT"));
    if (!with_identity) REQUIRE_OK(bench.fs.Remove("/db/IDENTITY"));
    Bench fresh;
    REQUIRE_OK(bench.fs.Remove("/db/STATE"));
    REQUIRE_OK(bench.Open());
    CHECK_NE(bench.fs.ReadRaw("/db/IDENTITY"), identity);
    CHECK_OK(bench.Sync1(Ops().Put("a", "1")));
  }
}

// Flips each of `positions` bytes, and truncates, a file of a cleanly closed store: the open is
// refused with file and offset, or the content is the same.
void CheckDamage(const std::string& path, uint64_t step) {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1").Put("b", std::string(300, 'b'))));
  REQUIRE_OK(bench.Sync1(Ops().Del("a").Put("c", "3")));
  const DigestSum digest = DigestOf(bench.engine.get());
  const Position end = bench.engine->progress().visible;
  REQUIRE_OK(bench.Close());
  const std::string bytes = bench.fs.ReadRaw(path);
  REQUIRE(!bytes.empty());
  uint64_t refused = 0;
  const auto judge = [&](io::FaultFileSystem* disk, const std::string& what) {
    Options options = bench.options;
    options.fs = disk;
    Result<std::shared_ptr<Engine>> engine = Engine::Open("/db", options);
    if (!engine.ok()) {
      ++refused;
      const Status& status = engine.status();
      const bool typed = status.Is(Code::kCorrupt) || status.Is(Code::kFormatUnsupported);
      if (!typed || status.file().empty() || status.offset() < 0) {
        check::Fail(__FILE__, __LINE__, what + ": " + status.ToString());
      }
      if (status.Is(Code::kCorrupt) && status.message().find("gapless ") == std::string::npos) {
        check::Fail(__FILE__, __LINE__, what + " names no command: " + status.message());
      }
      return;
    }
    const bool same = engine.value()->progress().visible == end &&
                      SameDigest(DigestOf(engine.value().get()), digest);
    if (!same) check::Fail(__FILE__, __LINE__, what + " is served with another content");
    CHECK_OK(engine.value()->Release());
  };
  for (uint64_t at = 0; at < bytes.size(); at += step) {
    const auto disk = bench.fs.Clone();
    disk->FlipBits(path, at, static_cast<uint8_t>(1 << (at % 8)));
    judge(disk.get(), path + " flipped at " + std::to_string(at));
  }
  for (uint64_t size = 0; size < bytes.size(); size += step * 3 + 1) {
    const auto disk = bench.fs.Clone();
    disk->TruncateRaw(path, size);
    judge(disk.get(), path + " truncated to " + std::to_string(size));
  }
  CHECK_GT(refused, 0u);
}

TEST("a damaged IDENTITY is refused") { CheckDamage("/db/IDENTITY", 1); }
TEST("a damaged CURRENT is refused") { CheckDamage("/db/CURRENT", 1); }
TEST("a damaged MANIFEST is refused") { CheckDamage("/db/gen-000001/MANIFEST-000001", 1); }
TEST("a log damaged after a clean close is refused with file and offset") {
  CheckDamage("/db/gen-000001/log/00000000000000000000.log", 3);
}

TEST("damage of either slot of STATE leaves the same content, damage of both is refused") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(bench.Close());
  for (uint64_t at = 0; at < 8192; at += 7) {
    const auto disk = bench.fs.Clone();
    disk->FlipBits("/db/STATE", at, 4);
    Options options = bench.options;
    options.fs = disk.get();
    Result<std::shared_ptr<Engine>> engine = Engine::Open("/db", options);
    REQUIRE_OK(engine);
    CHECK(engine.value()->own_epoch() == (Epoch{1, 0}));
    // And the next update leaves two whole slots again.
    if (at % 1024 < 7) {
      REQUIRE_OK(engine.value()->SeeTerm(1));
      REQUIRE_OK(engine.value()->SeeTerm(2));
    }
    REQUIRE_OK(engine.value()->Release());
  }
  const auto disk = bench.fs.Clone();
  disk->FlipBits("/db/STATE", 100, 4);
  disk->FlipBits("/db/STATE", 4196, 4);
  Options options = bench.options;
  options.fs = disk.get();
  const Result<std::shared_ptr<Engine>> engine = Engine::Open("/db", options);
  CHECK(engine.status().Is(Code::kCorrupt));
  CHECK_EQ(engine.status().file(), "/db/STATE");
}

TEST("a refusal of the log names the repair command with directory and offset") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  const uint64_t cut = bench.engine->progress().visible.offset;
  REQUIRE_OK(bench.Sync1(Ops().Put("b", "2")));
  REQUIRE_OK(bench.Close());
  const std::string path = "/db/gen-000001/log/00000000000000000000.log";
  const std::string bytes = bench.fs.ReadRaw(path);
  const size_t at = bytes.rfind("b2");
  REQUIRE(at != std::string::npos);
  bench.fs.FlipBits(path, at, 1);
  const Status refused = bench.Open();
  REQUIRE(refused.Is(Code::kCorrupt));
  CHECK_EQ(refused.file(), path);
  CHECK(refused.offset() > 0 && static_cast<size_t>(refused.offset()) < at);
  CHECK(refused.message().find("gapless repair /db --truncate-at " + std::to_string(cut) +
                               " --yes") != std::string::npos);
}

TEST("a checkpoint beyond the log is STORE_AHEAD_OF_LOG") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(bench.Sync1(Ops().Put("b", "1")));
  log::MetaState meta = bench.engine->meta();
  REQUIRE_OK(bench.Close());
  const std::string directory = "/db/gen-000001";
  Manifest manifest = ReadManifest(&bench.fs, directory).value();
  meta.position.offset += 4096;
  meta.position.seq += 10;
  manifest.meta = meta;
  manifest.number = 2;
  REQUIRE_OK(PublishManifest(&bench.fs, directory, manifest));
  const Status refused = bench.Open();
  CHECK(refused.Is(Code::kStoreAheadOfLog));
  CHECK(!refused.file().empty());
}

TEST("a read-only open changes nothing on disk, not even a torn tail") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  const auto disk = bench.fs.Clone();
  REQUIRE_OK(bench.Close());
  const std::string path = "/db/gen-000001/log/00000000000000000000.log";
  const std::string bytes = disk->ReadRaw(path);
  size_t end = bytes.size();
  while (end > 0 && bytes[end - 1] == 0) --end;
  end = AlignUp8(end) + 64;
  disk->WriteRaw(path, end, "garbage behind the tail");
  const std::vector<std::string> before = disk->ListAll();
  const std::string log_before = disk->ReadRaw(path);
  const std::string state_before = disk->ReadRaw("/db/STATE");
  Options options = bench.options;
  options.fs = disk.get();
  options.read_only = true;
  const uint64_t operations = disk->operations();
  Result<std::shared_ptr<Engine>> engine = Engine::Open("/db", options);
  REQUIRE_OK(engine);
  CHECK(engine.value()->recovery().cut.has_value());
  CHECK(GetValue(engine.value().get(), "a") == "1");
  const Ops ops = Ops().Put("b", "1");
  CHECK(engine.value()->Submit(nullptr, ops.Request(), true).status.Is(Code::kReadOnly));
  CHECK(engine.value()->Promote(0).status().Is(Code::kAlreadyPrimary) ||
        engine.value()->Promote(7).status().Is(Code::kReadOnly));
  const Result<PinInfo> pin = engine.value()->Pin("snapshot");
  REQUIRE_OK(pin);
  CHECK_OK(engine.value()->CheckPin(pin.value().id));
  engine.value()->ReleasePin(pin.value().id);
  CHECK_OK(engine.value()->Release());
  CHECK_EQ(disk->operations(), operations);
  CHECK(disk->ReadRaw(path) == log_before);
  CHECK(disk->ReadRaw("/db/STATE") == state_before);
  CHECK(disk->ListAll() == before);
  // The ordinary open cuts it and says so.
  options.read_only = false;
  engine = Engine::Open("/db", options);
  REQUIRE_OK(engine);
  CHECK(engine.value()->recovery().cut.has_value());
  CHECK_OK(engine.value()->Release());
  CHECK(disk->ReadRaw(path).find("garbage") == std::string::npos);
}

TEST("a clean close stores the end of the log as the durable mark") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("a", "1")));
  const Position end = bench.engine->progress().visible;
  REQUIRE_OK(bench.Close());
  uint32_t first = 0;
  const Result<NodeState> state = DecodeState(bench.fs.ReadRaw("/db/STATE"), "STATE", &first);
  REQUIRE_OK(state);
  CHECK_EQ(state.value().durable_mark, end.offset);
  CHECK_EQ(state.value().generation, 1u);
  // Nothing that is synced is lost by a power cut behind the close.
  const auto disk = bench.fs.ImageAllLost();
  Options options = bench.options;
  options.fs = disk.get();
  Result<std::shared_ptr<Engine>> engine = Engine::Open("/db", options);
  REQUIRE_OK(engine);
  CHECK(engine.value()->progress().visible == end);
  CHECK_OK(engine.value()->Release());
}

TEST("a new node id keeps the cluster and the data") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  const Identity before = bench.engine->identity();
  REQUIRE_OK(bench.Close());
  bench.options.new_node_id = true;
  REQUIRE_OK(bench.Open());
  const Identity after = bench.engine->identity();
  CHECK(after.cluster == before.cluster);
  CHECK(after.node != before.node);
  CHECK(bench.Get("a") == "1");
}

}  // namespace
}  // namespace gapless::engine::test

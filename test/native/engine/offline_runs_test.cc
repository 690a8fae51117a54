// A closed store with runs and two kept checkpoints: what the offline commands and the next open
// say of it, and of each kind of damage to it.
#include "engine/manifest.h"
#include "offline_fixture.h"

namespace gapless::engine::test {
namespace {

constexpr char kGeneration[] = "/db/gen-000001";

// Batches, a checkpoint, batches, a checkpoint, batches. The first one is kept for a slot.
struct KeptStore {
  ClosedStore store;
  Position older;
  Position newer;

  explicit KeptStore(size_t value_bytes = 30, uint64_t segment_bytes = 64 * 1024)
      : store(0, segment_bytes) {
    CHECK_OK(store.bench.Open());
    Engine* const engine = store.bench.engine.get();
    for (size_t i = 0; i < 12; ++i) store.Write(i, value_bytes);
    older = engine->progress().visible;
    const Result<log::HoldId> hold =
        engine->AddHold(log::HoldKind::kSlot, "slot", older.offset, uint64_t{1} << 30);
    CHECK_OK(hold);
    CHECK_OK(engine->Checkpoint(kLong));
    for (size_t i = 12; i < 25; ++i) store.Write(i, value_bytes);
    newer = engine->progress().visible;
    CHECK_OK(engine->Checkpoint(kLong));
    for (size_t i = 25; i < 30; ++i) store.Write(i, value_bytes);
    store.end = engine->progress().visible;
    CHECK_OK(store.bench.Close());
  }
  io::FaultFileSystem* fs() { return store.fs(); }
  KeptManifests Manifests() { return ReadManifests(fs(), kGeneration).value(); }
  std::string Named(const Manifest& manifest) { return ManifestPath(kGeneration, manifest.number); }
  // Puts a manifest in the place of the one with its number.
  void Replace(const Manifest& manifest) {
    fs()->PutRaw(Named(manifest), EncodeManifest(manifest));
  }
  std::vector<log::Damage> Damage(bool deep) {
    const Result<VerifyReport> report = Verify(fs(), "/db", deep);
    CHECK_OK(report);
    return report.ok() ? report.value().damage : std::vector<log::Damage>();
  }
};

std::string RunFile(const table::RunInfo& run) {
  return std::string(kGeneration) + "/runs/" + io::RunName(run.number);
}

// `what` of the damage of `path`, with its kind; empty: none was told.
std::string Told(const std::vector<log::Damage>& damage, const std::string& path) {
  const log::Damage* found = FindDamage(damage, path.substr(4));
  return found == nullptr ? "" : found->kind + " " + found->what;
}

TEST("two checkpoints are kept, and an open replays behind the newest only") {
  KeptStore kept;
  const KeptManifests manifests = kept.Manifests();
  REQUIRE(manifests.older.has_value());
  CHECK(manifests.newest.meta.position == kept.newer);
  CHECK(manifests.older->meta.position == kept.older);
  CHECK_EQ(manifests.older->runs.size(), 2u);
  REQUIRE_OK(kept.store.bench.Open());
  CHECK_EQ(kept.store.bench.engine->recovery().replayed_records, 5u);
  CHECK(Equals(kept.store.bench.engine.get(), kept.store.model));
  CHECK(kept.store.bench.engine->progress().visible == kept.store.end);
}

TEST("the digest at every record end from the older checkpoint on is the model's") {
  KeptStore kept;
  const auto before = ContentOf(*kept.fs());
  for (uint64_t seq = 0; seq <= kept.store.end.seq; ++seq) {
    const Result<DigestReport> report = Digest(kept.fs(), "/db", seq);
    const auto model = kept.store.at_seq.find(seq);
    if (seq < kept.older.seq) {
      CHECK(report.status().Is(Code::kPositionUnavailable));
    } else if (model == kept.store.at_seq.end()) {
      CHECK(report.status().Is(Code::kNotARecordEnd));
    } else {
      REQUIRE_OK(report);
      CHECK_EQ(report.value().position.seq, seq);
      CHECK_EQ(report.value().keys, model->second.size());
      CHECK(SameDigest(report.value().digest, DigestOfModel(model->second)));
    }
  }
  CHECK(ContentOf(*kept.fs()) == before);
}

TEST("stat tells the levels and both checkpoints") {
  KeptStore kept;
  const Result<StatReport> stat = Stat(kept.fs(), "/db");
  REQUIRE_OK(stat);
  CHECK(stat.value().checkpoint == kept.newer);
  REQUIRE(stat.value().older_checkpoint.has_value());
  CHECK(*stat.value().older_checkpoint == kept.older);
  CHECK_EQ(stat.value().run_count, kept.Manifests().newest.runs.size());
  CHECK_EQ(stat.value().keys, kept.store.model.size());
  uint64_t bytes = 0;
  for (const auto& [key, value] : kept.store.model) bytes += key.size() + value.size();
  CHECK_EQ(stat.value().live_bytes, bytes);
  CHECK_GT(stat.value().total_bytes, stat.value().run_bytes);
}

TEST("every changed byte of a manifest or a run, and every cut of a run, is named with its file") {
  KeptStore kept;
  CHECK(kept.Damage(true).empty());
  const KeptManifests manifests = kept.Manifests();
  std::vector<std::pair<std::string, std::string>> files = {
      {kept.Named(manifests.newest), "manifest"}, {kept.Named(*manifests.older), "manifest"}};
  for (const table::RunInfo& run : manifests.newest.runs) files.emplace_back(RunFile(run), "run");
  REQUIRE(files.size() >= 5);
  for (size_t i = 0; i < files.size(); ++i) {
    const auto& [path, kind] = files[i];
    const std::string bytes = kept.fs()->ReadRaw(path);
    const auto named = [&] {
      const std::vector<log::Damage> damage = kept.Damage(kind == "run");
      const log::Damage* found = FindDamage(damage, path.substr(4));
      return found != nullptr && found->kind == kind && !found->what.empty() &&
             found->offset <= bytes.size() && damage.size() == 1;
    };
    for (size_t at = 0; at < bytes.size(); at += i < 3 ? 1 : 17) {
      kept.fs()->FlipBits(path, at, static_cast<uint8_t>(1 << (at % 8)));
      if (!named()) {
        check::Fail(__FILE__, __LINE__, path + " byte " + std::to_string(at) + " is not named");
        return;
      }
      kept.fs()->FlipBits(path, at, static_cast<uint8_t>(1 << (at % 8)));
    }
    for (size_t size = 0; size < bytes.size(); size += 13) {
      kept.fs()->PutRaw(path, Slice(bytes).Sub(0, size));
      if (named()) continue;
      check::Fail(__FILE__, __LINE__, path + " cut at " + std::to_string(size) + " is not named");
      return;
    }
    kept.fs()->PutRaw(path, bytes);
  }
  CHECK(kept.Damage(true).empty());
}

TEST("a shallow look opens each run, a deep one reads every block") {
  KeptStore kept(3000);
  const table::RunInfo run = kept.Manifests().newest.runs[0];
  const std::string path = RunFile(run);
  kept.fs()->FlipBits(path, 64 + 200, 1);  // a value
  CHECK(kept.Damage(false).empty());
  CHECK_EQ(Told(kept.Damage(true), path), std::string("run body_crc"));
  // A repair that is only asked tells all that is damaged.
  const Result<RepairReport> repair =
      Repair(kept.fs(), &kept.store.bench.clock, "/db", std::nullopt);
  REQUIRE_OK(repair);
  CHECK_EQ(Told(repair.value().damage, path), std::string("run body_crc"));
  kept.fs()->FlipBits(path, 64 + 200, 1);
  kept.fs()->FlipBits(path, 3, 1);
  CHECK_EQ(Told(kept.Damage(false), path), std::string("run magic"));
}

TEST("a manifest that says of its runs what is not so is named") {
  KeptStore kept;
  const KeptManifests manifests = kept.Manifests();
  Manifest changed = manifests.newest;
  changed.runs[0].cells += 1;
  kept.Replace(changed);
  CHECK(!Told(kept.Damage(false), RunFile(changed.runs[0])).empty());
  changed = manifests.newest;
  changed.runs[0].max_seq = kept.newer.seq + 1;
  kept.Replace(changed);
  CHECK_EQ(Told(kept.Damage(false), kept.Named(changed)), std::string("manifest order"));
  changed = manifests.newest;
  changed.runs[0].extent.lower = "zzz";
  kept.Replace(changed);
  CHECK(!kept.Damage(false).empty());
  kept.Replace(manifests.newest);
  CHECK(kept.Damage(true).empty());
}

TEST("a deep look sees a checkpoint whose runs are whole and not its state") {
  KeptStore kept;
  const KeptManifests manifests = kept.Manifests();
  Manifest changed = *manifests.older;
  changed.runs.pop_back();
  kept.Replace(changed);
  CHECK(kept.Damage(false).empty());
  CHECK_EQ(Told(kept.Damage(true), kept.Named(changed)), std::string("manifest digest"));
}

TEST("a log that no longer reaches the older checkpoint is named without a deep look") {
  KeptStore kept(300, 4096);
  CHECK(kept.Damage(false).empty());
  std::vector<uint64_t> starts;
  const auto names = kept.fs()->List(std::string(kGeneration) + "/log");
  REQUIRE_OK(names);
  for (const std::string& name : names.value()) {
    uint64_t start = 0;
    if (io::ParseSegmentName(name, &start)) starts.push_back(start);
  }
  uint64_t removed = 0;
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    if (starts[i] > kept.older.offset || starts[i + 1] > kept.newer.offset) break;
    CHECK_OK(kept.fs()->Remove(Segment(starts[i])));
    ++removed;
  }
  REQUIRE(removed > 0 && starts[removed] > kept.older.offset);
  bool named = false;
  for (const log::Damage& damage : kept.Damage(false)) {
    if (damage.kind == "log" && damage.what == "missing") named = true;
  }
  CHECK(named);
  REQUIRE_OK(kept.store.bench.Open());  // the newest checkpoint is enough
  CHECK(Equals(kept.store.bench.engine.get(), kept.store.model));
}

TEST("a run or a kept manifest that is missing is named, refused at open, and mended by no cut") {
  for (const char* which : {"run", "newest", "older"}) {
    KeptStore kept;
    const KeptManifests manifests = kept.Manifests();
    std::string path = RunFile(manifests.newest.runs[0]);
    if (which == std::string("newest")) path = kept.Named(manifests.newest);
    if (which == std::string("older")) path = kept.Named(*manifests.older);
    kept.fs()->FlipBits(path, 9, 1);
    const bool is_run = which == std::string("run");
    const std::string kind = is_run ? "run " : "manifest ";
    CHECK_EQ(Told(kept.Damage(false), path).substr(0, kind.size()), kind);
    const auto before = ContentOf(*kept.fs());
    const Status refused = kept.store.bench.Open();
    CHECK(refused.Is(Code::kCorrupt) || refused.Is(Code::kFormatUnsupported));
    CHECK_EQ(refused.file(), path);
    const Result<RepairReport> repair =
        Repair(kept.fs(), &kept.store.bench.clock, "/db", std::nullopt);
    REQUIRE_OK(repair);
    CHECK(!repair.value().would_drop);
    CHECK(repair.value().advice.find("restore") != std::string::npos);
    CHECK_EQ(repair.value().damage.size(), 1u);
    if (!is_run) {
      CHECK(!Repair(kept.fs(), &kept.store.bench.clock, "/db", kept.store.end.offset).ok());
    }
    std::map<std::string, std::string> after = ContentOf(*kept.fs());
    after["/db/LOCK"] = before.at("/db/LOCK");
    CHECK(after == before);
    if (which == std::string("newest")) continue;
    CHECK_OK(kept.fs()->Remove(path));
    CHECK_EQ(Told(kept.Damage(false), path), kind + "missing");
    CHECK(kept.store.bench.Open().Is(Code::kCorrupt) || is_run);
  }
}

TEST("files that no kept manifest names go at the next open for writing, their numbers stay used") {
  KeptStore kept;
  const std::string runs = std::string(kGeneration) + "/runs/";
  kept.fs()->PutRaw(runs + "run-000099", "half of a run");
  kept.fs()->PutRaw(std::string(kGeneration) + "/MANIFEST-000001", "former");
  kept.fs()->PutRaw(std::string(kGeneration) + "/MANIFEST-000077.tmp", "cut off");
  const auto before = kept.fs()->ListAll();
  kept.store.bench.options.read_only = true;
  REQUIRE_OK(kept.store.bench.Open());
  CHECK(Equals(kept.store.bench.engine.get(), kept.store.model));
  REQUIRE_OK(kept.store.bench.Close());
  CHECK(kept.fs()->ListAll() == before);
  CHECK(kept.Damage(true).empty());  // no damage either
  kept.store.bench.options.read_only = false;
  REQUIRE_OK(kept.store.bench.Reopen());
  for (const std::string& path : kept.fs()->ListAll()) {
    CHECK(path.find("run-000099") == std::string::npos);
    CHECK(path.find("MANIFEST-000001") == std::string::npos);
    CHECK(!path.ends_with(".tmp"));
  }
  CHECK_EQ(kept.Manifests().newest.next_run, 100u);
  REQUIRE(kept.Manifests().older.has_value());
  CHECK(Equals(kept.store.bench.engine.get(), kept.store.model));
  REQUIRE_OK(kept.store.bench.Sync1(Ops().Put("one", "more")));
  REQUIRE_OK(kept.store.bench.engine->Checkpoint(kLong));
  uint64_t highest = 0;
  for (const table::RunInfo& run : kept.Manifests().newest.runs) {
    highest = std::max(highest, run.number);
  }
  CHECK_GE(highest, 100u);
}

TEST("a store with a damaged block opens, tells it where it is read, and serves the rest") {
  KeptStore kept(3000);
  const table::RunInfo run = kept.Manifests().newest.runs[0];
  kept.fs()->FlipBits(RunFile(run), 64 + 200, 1);
  REQUIRE_OK(kept.store.bench.Open());
  uint64_t damaged = 0;
  const std::unique_ptr<ReadScope> scope = kept.store.bench.engine->Read();
  for (const auto& [key, value] : kept.store.model) {
    table::Entry entry;
    const Result<bool> found = scope->store().Get(key, scope->at(), &entry);
    if (found.ok()) {
      CHECK(found.value() && entry.value == Slice(value));
      continue;
    }
    ++damaged;
    CHECK(found.status().Is(Code::kCorrupt));
    CHECK_EQ(found.status().file(), RunFile(run));
    CHECK_GE(found.status().offset(), 0);
  }
  CHECK_LT(damaged, kept.store.model.size());
}

}  // namespace
}  // namespace gapless::engine::test

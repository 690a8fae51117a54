// Large values of a live store: merges refer to them, garbage goes by itself, views and the kept
// checkpoint hold what they need, and damage is told.
#include <set>

#include "base/random.h"
#include "engine/offline.h"
#include "io/file_names.h"
#include "upkeep_fixture.h"

namespace gapless::engine::test {
namespace {

constexpr uint64_t kKeys = 400;
constexpr size_t kLarge = 1500;

struct ValuesBench : UpkeepBench {
  ValuesBench() { options.value_file_bytes_min = 512; }

  std::set<std::string> Files() const {
    std::set<std::string> names;
    for (const std::string& path : fs.ListAll()) {
      const size_t at = path.find("/runs/");
      if (at != std::string::npos && path.back() != '/') names.insert(path.substr(at + 6));
    }
    return names;
  }
  uint64_t ValueFiles() const {
    uint64_t count = 0;
    uint64_t number = 0;
    for (const std::string& name : Files()) count += io::ParseValuesName(name, &number) ? 1 : 0;
    return count;
  }
  std::string FirstValueFile() const {
    uint64_t number = 0;
    for (const std::string& name : Files()) {
      if (io::ParseValuesName(name, &number)) return "/db/gen-000001/runs/" + name;
    }
    return "";
  }
};

TEST("overwritten large values take less than 1.6 times their space when merging is idle") {
  ValuesBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  SeededRandom random(3);
  REQUIRE_OK(WriteKeys(&bench, &model, 0, kKeys, 0, kLarge));
  for (uint64_t round = 1; round < 1500; ++round) {
    REQUIRE_OK(WriteKeys(&bench, &model, random.Below(kKeys), 1, round, kLarge));
  }
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  const auto live = static_cast<double>(kKeys * kLarge);
  CHECK(
      bench.Eventually([&] { return static_cast<double>(bench.Report().run_bytes) < 1.6 * live; }));
  CHECK(SameAsModel(bench.engine.get(), model));
  CHECK_GT(bench.Report().upkeep.merges, 2u);
  CHECK_EQ(bench.Report().upkeep.failures, 0u);
  REQUIRE_OK(bench.Reopen());
  CHECK(SameAsModel(bench.engine.get(), model));
  CHECK(bench.Get(KeyOf(7)) == model[KeyOf(7)]);
  CHECK_LT(static_cast<double>(bench.Report().run_bytes), 1.6 * live);
  uint64_t on_disk = 0;
  for (const std::string& name : bench.Files()) {
    on_disk += bench.fs.ReadRaw("/db/gen-000001/runs/" + name).size();
  }
  CHECK_EQ(on_disk, bench.Report().run_bytes);
}

TEST("merging does not rewrite large values that are not overwritten") {
  ValuesBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  for (uint64_t i = 0; i < 8; ++i) {
    REQUIRE_OK(WriteKeys(&bench, &model, i * 50, 50, 0, kLarge));
    REQUIRE_OK(bench.engine->Checkpoint(kLong));
  }
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  const StoreReport report = bench.Report();
  CHECK_GT(report.upkeep.merges, 0u);
  CHECK_LT(report.upkeep.merge_written_bytes, kKeys * kLarge / 4);
  CHECK_GT(report.run_bytes, kKeys * kLarge);
  CHECK(SameAsModel(bench.engine.get(), model));
}

TEST("a view reads large values that are overwritten and deleted, and then they go") {
  ValuesBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 100, 0, kLarge));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  const Model seen = model;
  const ViewInfo view = bench.engine->OpenView();
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 100, 1, kLarge));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  REQUIRE_OK(bench.Sync1(Ops().DelRange(KeyOf(0), KeyOf(90))));
  model.erase(model.lower_bound(KeyOf(0)), model.lower_bound(KeyOf(90)));
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  for (const auto& [key, value] : seen) {
    CHECK(ViewValue(bench.engine.get(), view.id, key) == value);
  }
  CHECK(SameAsModel(bench.engine.get(), model));
  bench.engine->ReleaseView(view.id);
  REQUIRE_OK(bench.engine->Compact(std::nullopt));
  CHECK(bench.Eventually([&] { return bench.Report().run_bytes < 2 * 10 * kLarge; }));
  CHECK(SameAsModel(bench.engine.get(), model));
}

TEST("value files that no manifest names go at the next open") {
  ValuesBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 20, 0, kLarge));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  REQUIRE_OK(bench.Close());
  const std::string stray = "/db/gen-000001/runs/" + io::ValuesName(900);
  bench.fs.PutRaw(stray, "whatever");
  REQUIRE_OK(bench.Open());
  CHECK(!bench.fs.Exists(stray).value());
  CHECK_GT(bench.ValueFiles(), 0u);
  CHECK(SameAsModel(bench.engine.get(), model));
  // Its number stays used.
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 20, 1, kLarge));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  uint64_t highest = 0;
  for (const std::string& name : bench.Files()) {
    uint64_t number = 0;
    if (io::ParseRunName(name, &number)) highest = std::max(highest, number);
  }
  CHECK_GT(highest, 900u);
}

TEST("damage in a value file is told with file and offset by reads, digest and verify") {
  ValuesBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 40, 0, kLarge));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  REQUIRE_OK(bench.Close());
  const std::string file = bench.FirstValueFile();
  REQUIRE(!file.empty());
  bench.fs.FlipBits(file, 64 + 700, 1);
  const Result<VerifyReport> shallow = Verify(&bench.fs, "/db", false);
  REQUIRE_OK(shallow);
  CHECK(shallow.value().damage.empty());
  const Result<VerifyReport> deep = Verify(&bench.fs, "/db", true);
  REQUIRE_OK(deep);
  REQUIRE_EQ(deep.value().damage.size(), 1);
  CHECK_EQ("/db/" + deep.value().damage[0].file, file);
  CHECK_EQ(deep.value().damage[0].what, "body_crc");
  CHECK_EQ(deep.value().damage[0].kind, "run");
  CHECK_EQ(deep.value().damage[0].offset, 64u);
  REQUIRE_OK(bench.Open());
  uint64_t damaged = 0;
  {
    const std::unique_ptr<ReadScope> scope = bench.engine->Read();
    for (const auto& [key, value] : model) {
      table::Entry entry;
      const Result<bool> found = scope->store().Get(key, scope->at(), &entry);
      REQUIRE(found.ok() && found.value());
      std::string held;
      Slice loaded;
      const Status status = table::LoadValue(entry, &held, &loaded);
      if (status.ok()) {
        CHECK(loaded == Slice(value));
        continue;
      }
      ++damaged;
      CHECK(status.Is(Code::kCorrupt));
      CHECK_EQ(status.file(), file);
    }
  }
  CHECK_EQ(damaged, 1u);
  REQUIRE_OK(bench.Close());
  REQUIRE_OK(bench.fs.Remove(file));
  CHECK(bench.Open().Is(Code::kIo));
  const Result<VerifyReport> missing = Verify(&bench.fs, "/db", false);
  REQUIRE_OK(missing);
  REQUIRE_EQ(missing.value().damage.size(), 1);
  CHECK_EQ(missing.value().damage[0].what, "missing");
}

TEST("a rotten value stops the merge that would rewrite it, and nothing else") {
  ValuesBench bench;
  REQUIRE_OK(bench.Open());
  Model model;
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 40, 0, kLarge));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  const std::string file = bench.FirstValueFile();
  const uint64_t size = bench.fs.ReadRaw(file).size();
  for (uint64_t at = 64; at < size; at += 700) bench.fs.FlipBits(file, at, 1);
  // All but a few are overwritten: the files of the first round are worn.
  REQUIRE_OK(WriteKeys(&bench, &model, 0, 34, 1, kLarge));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  CHECK(bench.Eventually([&] { return bench.Report().upkeep.damaged_runs > 0; }));
  CHECK(bench.Report().upkeep.last_error.Is(Code::kCorrupt));
  CHECK_EQ(bench.Report().upkeep.last_error.file(), file);
  CHECK(bench.Get(KeyOf(3)) == model[KeyOf(3)]);
  REQUIRE_OK(WriteKeys(&bench, &model, 100, 40, 1, kLarge));
  REQUIRE_OK(bench.engine->Checkpoint(kLong));
  CHECK(bench.Get(KeyOf(101)) == model[KeyOf(101)]);
}

}  // namespace
}  // namespace gapless::engine::test

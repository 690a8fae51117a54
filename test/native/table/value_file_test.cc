// Large values in files of their own: written, referred to by merges, rewritten when worn, and
// damaged.
#include "table/value_file.h"

#include "base/hash.h"
#include "run_model.h"
#include "table/block_data.h"
#include "table/merge.h"
#include "table/merge_picker.h"

namespace gapless::table {
namespace {

constexpr char kPath[] = "/values-000007";
constexpr uint64_t kNumber = 7;
constexpr uint32_t kShard = 1;

struct Place : RunPlace {
  explicit Place(io::FileSystem* fs) : RunPlace(fs, "/", 1 << 20) {
    options.value_file_bytes_min = 64;
  }
};

// Values on both sides of the bound, versions and deletions.
RunModel Mixed(uint64_t keys) {
  RunModel model;
  for (uint64_t i = 0; i < keys; ++i) {
    const std::string key = "key-" + std::to_string(100 + i);
    model.Put(key, 1000 + i, std::string(i % 3 == 0 ? 10 : 64 + i, static_cast<char>('a' + i % 7)));
    if (i % 4 == 0) model.Put(key, 500 + i, std::string(100, 'o'));
    if (i % 5 == 0) model.Delete(key, 100 + i);
  }
  return model;
}

uint64_t LargeBytes(const RunModel& model) {
  uint64_t bytes = 0;
  for (const auto& [key, version] : model.cells) {
    if (version.value.size() >= 64) bytes += version.value.size();
  }
  return bytes;
}

TEST("large values come back from a value file by every way of reading") {
  for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
    io::FaultFileSystem fs;
    Place place(&fs);
    place.options.compression = compression;
    RunModel model = Mixed(200);
    Random random(5);
    std::string noise(600 << 10, '\0');
    for (char& c : noise) c = static_cast<char>(random.Next());
    model.Put("noise", 3, noise);
    model.Put("text", 3, std::string(600 << 10, 't'));
    const Result<RunInfo> info = model.Write(place.options, kNumber, kShard);
    REQUIRE_OK(info);
    REQUIRE_EQ(info.value().values.size(), 1);
    const ValueUse& use = info.value().values[0];
    CHECK_EQ(use.file, kNumber);
    CHECK_EQ(use.file_bytes, kValuesHeaderBytes + use.bytes);
    if (compression == Compression::kNone) CHECK_EQ(use.bytes, LargeBytes(model));
    CHECK_EQ(fs.ReadRaw(kPath).size(), use.file_bytes);
    CHECK_LT(info.value().bytes, 64 << 10);
    const auto run = Run::Open(place.options, info.value(), &place.cache);
    REQUIRE_OK(run);
    CHECK_EQ(CompareRun(run.value(), model, {UINT64_MAX, 600, 150}), "");
    CHECK(run.value()->Verify().value().empty());
  }
}

TEST("runs without large values have no value file") {
  io::FaultFileSystem fs;
  Place place(&fs);
  RunModel model;
  model.Put("a", 1, std::string(63, 'x'));
  const Result<RunInfo> info = model.Write(place.options, kNumber, kShard);
  REQUIRE_OK(info);
  CHECK(info.value().values.empty());
  CHECK(!fs.Exists(kPath).value());
}

// What is read is right, or a typed error of the value file. Returns how many reads failed.
uint64_t Examine(const std::shared_ptr<const Run>& run, const RunModel& model) {
  uint64_t failed = 0;
  for (const auto& entry : model.cells) {
    Cell cell;
    const std::string& key = entry.first.first;
    const Result<Lookup> got = run->Get(HashKey(key), key, entry.first.second, &cell);
    CHECK(got.ok() && got.value() == Lookup::kFound);
    std::string held;
    Slice value;
    const Status loaded = LoadValue(cell, &held, &value);
    if (loaded.ok()) {
      CHECK(value == Slice(entry.second.value));
      continue;
    }
    CHECK(loaded.Is(Code::kCorrupt) && loaded.file() == kPath && loaded.offset() >= 0);
    ++failed;
  }
  return failed;
}

TEST("every flipped byte of a value file is found where it is read, and by Verify") {
  const RunModel model = Mixed(24);
  for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
    io::FaultFileSystem fs;
    Place place(&fs);
    place.options.compression = compression;
    const Result<RunInfo> info = model.Write(place.options, kNumber, kShard);
    REQUIRE_OK(info);
    const uint64_t size = info.value().values[0].file_bytes;
    for (uint64_t at = 0; at < size && !check::Failed(); ++at) {
      const auto whole = Run::Open(place.options, info.value(), &place.cache);
      REQUIRE_OK(whole);
      fs.FlipBits(kPath, at, static_cast<uint8_t>(1u << (at % 8)));
      const auto run = Run::Open(place.options, info.value(), &place.cache);
      if (at < kValuesHeaderBytes) {
        CHECK(run.status().Is(Code::kCorrupt) || run.status().Is(Code::kFormatUnsupported));
        CHECK_EQ(run.status().file(), kPath);
      } else {
        REQUIRE_OK(run);
        CHECK_EQ(Examine(run.value(), model), 1);
      }
      const auto damage = whole.value()->Verify();
      REQUIRE_OK(damage);
      REQUIRE_EQ(damage.value().size(), 1);
      CHECK_EQ(damage.value()[0].file, kPath);
      CHECK_LT(damage.value()[0].offset, size);
      fs.FlipBits(kPath, at, static_cast<uint8_t>(1u << (at % 8)));
    }
  }
}

TEST("a value file that is short, missing, or another one is refused when its run is opened") {
  const RunModel model = Mixed(24);
  io::FaultFileSystem fs;
  Place place(&fs);
  const Result<RunInfo> info = model.Write(place.options, kNumber, kShard);
  REQUIRE_OK(info);
  const std::string sound = fs.ReadRaw(kPath);
  const auto open = [&] { return Run::Open(place.options, info.value(), &place.cache).status(); };
  REQUIRE_OK(open());
  for (const size_t size : {size_t{0}, size_t{10}, sound.size() - 1}) {
    fs.PutRaw(kPath, Slice(sound).Sub(0, size));
    CHECK(open().Is(Code::kCorrupt));
    CHECK_EQ(open().file(), kPath);
  }
  fs.PutRaw(kPath, sound + "more");
  CHECK(open().Is(Code::kCorrupt));
  REQUIRE_OK(model.Write(place.options, 8, kShard));
  REQUIRE_OK(model.Write(place.options, 9, kShard + 1));
  place.options.cluster.fill(0xC8);
  REQUIRE_OK(model.Write(place.options, 10, kShard));
  place.options.cluster.fill(0xC7);
  for (const char* other : {"/values-000008", "/values-000009", "/values-000010"}) {
    fs.PutRaw(kPath, fs.ReadRaw(other));
    CHECK(open().Is(Code::kCorrupt));
  }
  REQUIRE_OK(fs.Remove(kPath));
  CHECK(open().Is(Code::kIo));
}

TEST("a reference that leads nowhere is damage of its block") {
  const ValueUses uses = {{3, 1000, 500}};
  const auto fault = [&uses](const ValueRef& ref, size_t size) {
    char bytes[kValueRefBytes + 1] = {};
    EncodeValueRef(ref, bytes);
    Cell cell;
    cell.key = "k";
    cell.seq = 5;
    cell.value = Slice(bytes, size);
    DataBlockBuilder builder;
    builder.Add(cell, HashKey("k"), false, true);
    std::string raw;
    builder.Finish(&raw);
    return DataBlock::Check(raw, uses).text != nullptr;
  };
  CHECK(!fault({3, 64, 936, 936, 0}, kValueRefBytes));
  CHECK(!fault({3, 999, 1, 7, 0}, kValueRefBytes));
  CHECK(fault({3, 64, 936, 936, 0}, kValueRefBytes - 1));
  CHECK(fault({3, 64, 936, 936, 0}, kValueRefBytes + 1));
  CHECK(fault({2, 64, 936, 936, 0}, kValueRefBytes));
  CHECK(fault({3, 63, 936, 936, 0}, kValueRefBytes));
  CHECK(fault({3, 64, 937, 937, 0}, kValueRefBytes));
  CHECK(fault({3, UINT64_MAX, 1, 1, 0}, kValueRefBytes));
  CHECK(fault({3, 64, 0, 0, 0}, kValueRefBytes));
  CHECK(fault({3, 64, 10, 9, 0}, kValueRefBytes));
  CHECK(fault({3, 64, 10, kRunValueBytesMax + 1, 0}, kValueRefBytes));
}

Result<std::vector<RunInfo>> MergeOne(const Place& place, const std::shared_ptr<const Run>& run,
                                      uint64_t number, std::vector<uint64_t> worn,
                                      MergeStats* stats) {
  MergeRequest request;
  request.inputs.push_back({Run::NewStream(run), run->ranges(), &run->info()});
  request.shard = kShard;
  request.level = 6;
  request.run_bytes = 1 << 20;
  request.worn_values = std::move(worn);
  request.next_number = [number] { return number; };
  return Merge(place.options, std::move(request), stats);
}

TEST("a merge copies references, and rewrites the values of worn files") {
  io::FaultFileSystem fs;
  Place place(&fs);
  const RunModel model = Mixed(100);
  const Result<RunInfo> info = model.Write(place.options, kNumber, kShard);
  REQUIRE_OK(info);
  const auto run = Run::Open(place.options, info.value(), &place.cache);
  REQUIRE_OK(run);
  MergeStats stats;
  const auto copied = MergeOne(place, run.value(), 8, {6}, &stats);
  REQUIRE_OK(copied);
  REQUIRE_EQ(copied.value().size(), 1);
  CHECK(copied.value()[0].values == info.value().values);
  CHECK(!fs.Exists("/values-000008").value());
  CHECK_LT(stats.written_bytes, LargeBytes(model) * 2 / 3);
  const auto same = Run::Open(place.options, copied.value()[0], &place.cache);
  REQUIRE_OK(same);
  CHECK_EQ(CompareRun(same.value(), model, {UINT64_MAX, 600}), "");
  CHECK(same.value()->Verify().value().empty());
  RemoveRunFiles(place.options, copied.value()[0]);
  CHECK(!fs.Exists("/run-000008").value());
  CHECK(fs.Exists(kPath).value());  // another run's
  const auto rewritten = MergeOne(place, run.value(), 9, {6, 7}, &stats);
  REQUIRE_OK(rewritten);
  REQUIRE_EQ(rewritten.value()[0].values.size(), 1);
  CHECK_EQ(rewritten.value()[0].values[0].file, 9);
  CHECK_EQ(rewritten.value()[0].values[0].bytes, LargeBytes(model));
  REQUIRE_OK(fs.Remove(kPath));
  const auto moved = Run::Open(place.options, rewritten.value()[0], &place.cache);
  REQUIRE_OK(moved);
  CHECK_EQ(CompareRun(moved.value(), model, {UINT64_MAX, 600}), "");
  CHECK(moved.value()->Verify().value().empty());
}

TEST("a writer that is given up, or fails, leaves neither file") {
  const RunModel model = Mixed(100);
  bool struck = true;
  for (uint64_t skip = 0; struck && skip < 20; ++skip) {
    io::FaultFileSystem fs;
    Place place(&fs);
    io::FaultRule rule;
    rule.kinds = io::kMutatingOperations;
    rule.skip = skip;
    rule.sys_errno = 28;
    fs.AddRule(rule);
    const Result<RunInfo> info = model.Write(place.options, kNumber, kShard);
    struck = fs.FaultsStruck() != 0;
    CHECK_EQ(info.ok(), !struck);
    if (!struck) break;
    CHECK(info.status().Is(Code::kNoSpace));
    CHECK(!fs.Exists("/run-000007").value());
    CHECK(!fs.Exists(kPath).value());
  }
  CHECK(!struck);
}

TEST("runs share the open value file, and a closed one is opened again") {
  io::FaultFileSystem fs;
  Place place(&fs);
  ValueFiles files;
  const RunModel model = Mixed(30);
  const Result<RunInfo> info = model.Write(place.options, kNumber, kShard);
  REQUIRE_OK(info);
  const ValueUse& use = info.value().values[0];
  auto first = files.Open(place.options, use, kShard);
  REQUIRE_OK(first);
  CHECK(files.Open(place.options, use, kShard).value() == first.value());
  first.value().reset();
  REQUIRE_OK(files.Open(place.options, use, kShard));
}

}  // namespace
}  // namespace gapless::table

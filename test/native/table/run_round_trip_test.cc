// What is written into a run is read from it, by every way of reading.
#include <algorithm>

#include "base/hash.h"
#include "run_model.h"

namespace gapless::table {
namespace {

std::vector<uint64_t> SeqsOf(const RunModel& model) {
  uint64_t highest = 0;
  for (const auto& entry : model.cells) highest = std::max(highest, entry.first.second);
  return {UINT64_MAX, highest, highest / 2, highest / 10, 1, 0};
}

void RoundTrip(const RunModel& model, const RunOptions& options, RunPlace* place, uint64_t number,
               uint64_t seek_every = 1) {
  const Result<RunInfo> info = model.Write(options, number);
  REQUIRE_OK(info);
  const auto run = Run::Open(options, info.value(), &place->cache);
  REQUIRE_OK(run);
  CHECK_EQ(CompareRun(run.value(), model, SeqsOf(model), seek_every), "");
}

TEST("random runs of several versions read as the map they were written from") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  uint64_t number = 0;
  for (const uint32_t block_bytes : {64u, 512u, 4096u}) {
    for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
      for (const uint64_t versions : {1, 2, 8}) {
        RunOptions options = place.options;
        options.block_bytes = block_bytes;
        options.compression = compression;
        ++number;
        const RunModel model = RandomRun(number, 1 + number * 37, versions);
        RoundTrip(model, options, &place, number, 1 + number);
        if (check::Failed()) return;
      }
    }
  }
}

TEST("a run larger than a window of reading ahead reads in both directions") {
  io::FaultFileSystem fs;
  for (const uint64_t cache_bytes : {uint64_t{0}, uint64_t{64} << 20}) {
    RunPlace place(&fs, "/", cache_bytes);
    place.options.block_bytes = 4096;
    RunModel model;
    Random random(3);
    for (uint64_t i = 0; i < 20000; ++i) {
      model.Put("key-" + std::to_string(random.Below(1000000)), i + 1, std::string(100, 'v'));
    }
    RoundTrip(model, place.options, &place, cache_bytes + 1, 997);
  }
}

TEST("versions of one key over many blocks are all found") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  RunModel model;
  for (uint64_t seq = 1; seq <= 9000; ++seq) {
    model.Put("hot", seq, "value-" + std::to_string(seq));
  }
  for (const char* key : {"a", "ho", "hot\0", "hou", "z"}) model.Put(key, 4500, key);
  const Result<RunInfo> info = model.Write(place.options, 1);
  REQUIRE_OK(info);
  const auto run = Run::Open(place.options, info.value(), &place.cache);
  REQUIRE_OK(run);
  std::vector<uint64_t> seqs = {UINT64_MAX, 0};
  for (uint64_t seq = 1; seq <= 9000; seq += 450) seqs.push_back(seq);
  CHECK_EQ(CompareRun(run.value(), model, seqs, 4000), "");
  for (uint64_t seq = 1; seq <= 9000; ++seq) {
    Cell cell;
    const Result<Lookup> got = run.value()->Get(HashKey("hot"), "hot", seq, &cell);
    REQUIRE(got.ok() && got.value() == Lookup::kFound);
    REQUIRE_EQ(cell.seq, seq);
  }
}

TEST("empty keys, empty values, expiries and deletions come back") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  RunModel model;
  model.Put("", 7, "");
  model.Put("", 5, "old", 1);
  model.Delete("", 3);
  model.Put(std::string(1, '\0'), 9, "zero", UINT64_MAX);
  model.Put(std::string(2, '\0'), UINT64_MAX, "");
  model.Delete("\xff\xff", 1);
  RoundTrip(model, place.options, &place, 1);
}

TEST("a single empty key makes a run") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  RunModel model;
  model.Put("", 1, "");
  RoundTrip(model, place.options, &place, 1);
}

TEST("keys of the greatest length and values of megabytes come back") {
  io::FaultFileSystem fs;
  for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
    RunPlace place(&fs, "/");
    place.options.compression = compression;
    RunModel model;
    const std::string stem(32 * 1024, 'k');
    for (char c = 'a'; c <= 'h'; ++c) model.Put(stem + c, 30, std::string(10, c));
    model.Put(stem, 3, "shorter");
    model.Put(stem.substr(1), 3, "shorter still");
    model.Put("large", 2, std::string(5 << 20, 'x'));
    std::string noise(3 << 20, 0);
    Random random(5);
    for (char& c : noise) c = static_cast<char>(random.Next());
    model.Put("large", 1, noise);
    model.Put("m", 1, noise);
    RoundTrip(model, place.options, &place, compression == Compression::kNone ? 1 : 2, 3);
  }
}

TEST("a key or value beyond its limit, or out of order, is refused and leaves no file") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  struct Case {
    std::string key;
    uint64_t seq;
    Code code;
  };
  const Case cases[] = {{"b", 5, Code::kCorrupt},
                        {"b", 6, Code::kCorrupt},
                        {"a", 1, Code::kCorrupt},
                        {std::string(32 * 1024 + 2, 'z'), 1, Code::kKeyTooLarge}};
  for (const Case& one : cases) {
    auto writer = RunWriter::Create(place.options, 1, 0, 0);
    REQUIRE_OK(writer);
    Cell cell;
    cell.key = "b";
    cell.seq = 5;
    CHECK_OK(writer.value()->Add(cell));
    cell.key = one.key;
    cell.seq = one.seq;
    CHECK(writer.value()->Add(cell).Is(one.code));
    CHECK(writer.value()->Finish().status().Is(one.code));
    writer.value().reset();
    CHECK_EQ(fs.ListAll().size(), 0);
  }
}

TEST("range deletes come back with their sequences, and make the extent wider") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  RunModel model = RandomRun(1, 100, 2);
  model.ranges = {
      {"", "a", false, {900, 4}}, {"a", "a\1", false, {7}}, {"zz", "", true, {8, 2, 1}}};
  const Result<RunInfo> info = model.Write(place.options, 3);
  REQUIRE_OK(info);
  CHECK_EQ(info.value().range_deletes, 3);
  CHECK_EQ(info.value().min_seq, 1);
  CHECK(info.value().extent.unbounded && info.value().extent.lower.empty());
  const auto run = Run::Open(place.options, info.value(), &place.cache);
  REQUIRE_OK(run);
  CHECK(run.value()->info() == info.value());
  REQUIRE(run.value()->ranges() != nullptr);
  const auto& fragments = run.value()->ranges()->fragments();
  REQUIRE_EQ(fragments.size(), 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK_EQ(fragments[i]->lower, model.ranges[i].lower);
    CHECK_EQ(fragments[i]->upper, model.ranges[i].upper);
    CHECK_EQ(fragments[i]->unbounded, model.ranges[i].unbounded);
    CHECK(fragments[i]->seqs == model.ranges[i].seqs);
  }
  CHECK_EQ(CompareRun(run.value(), model, SeqsOf(model)), "");
}

TEST("a run of range deletes alone has no cells") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  RunModel model;
  model.ranges = {{"b", "c", false, {4}}, {"c", "d", false, {5}}};
  const Result<RunInfo> info = model.Write(place.options, 3);
  REQUIRE_OK(info);
  CHECK_EQ(info.value().extent.lower, "b");
  CHECK_EQ(info.value().extent.upper, "d");
  CHECK(info.value().min_seq == 4 && info.value().max_seq == 5);
  const auto run = Run::Open(place.options, info.value(), &place.cache);
  REQUIRE_OK(run);
  CHECK_EQ(CompareRun(run.value(), model, {0, 10}), "");
  const auto it = run.value()->NewIterator(10);
  it->Seek("b");
  CHECK(!it->Valid() && it->status().ok());
  it->SeekForPrev("z");
  CHECK(!it->Valid() && it->status().ok());
  Cell cell;
  CHECK(run.value()->Get(HashKey("b"), "b", 9, &cell).value() == Lookup::kAbsent);
}

TEST("the extent holds every key and every range delete") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  RunModel model;
  model.Put("m", 1, "");
  model.Put("p", 2, "");
  struct Case {
    std::vector<RangeFragment> ranges;
    Extent extent;
  };
  const Case cases[] = {
      {{}, {"m", std::string("p\0", 2), false}},
      {{{"n", "o", false, {1}}}, {"m", std::string("p\0", 2), false}},
      {{{"a", "o", false, {1}}}, {"a", std::string("p\0", 2), false}},
      {{{"a", "b", false, {1}}, {"x", "y", false, {1}}}, {"a", "y", false}},
      {{{"n", "", true, {1}}}, {"m", "", true}},
  };
  uint64_t number = 1;
  for (const Case& one : cases) {
    model.ranges = one.ranges;
    const Result<RunInfo> info = model.Write(place.options, number++);
    REQUIRE_OK(info);
    CHECK(info.value().extent == one.extent);
    CHECK_OK(Run::Open(place.options, info.value(), &place.cache));
  }
}

TEST("range deletes that overlap or have no sequence are refused") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  const std::vector<RangeFragment> cases[] = {
      {{"b", "d", false, {1}}, {"c", "e", false, {1}}},
      {{"b", "", true, {1}}, {"c", "e", false, {1}}},
      {{"b", "b", false, {1}}},
      {{"b", "c", false, {}}},
      {{"b", "c", false, {1, 2}}},
  };
  for (const auto& ranges : cases) {
    RunModel model;
    model.ranges = ranges;
    CHECK(model.Write(place.options, 1).status().Is(Code::kCorrupt));
  }
}

TEST("a writer that is given up removes its file, one that finished leaves it synced") {
  io::FaultFileSystem fs;
  REQUIRE_OK(fs.CreateDirectory("/runs"));
  RunPlace place(&fs, "/runs");
  auto writer = RunWriter::Create(place.options, 12, 0, 0);
  REQUIRE_OK(writer);
  CHECK(writer.value()->empty());
  CHECK(writer.value()->Finish().status().Is(Code::kUsage));
  Cell cell;
  cell.seq = 1;
  CHECK_OK(writer.value()->Add(cell));
  CHECK(!writer.value()->empty());
  CHECK(fs.Exists("/runs/run-000012").value());
  writer.value().reset();
  CHECK(!fs.Exists("/runs/run-000012").value());
  const RunModel model = RandomRun(4, 400, 2);
  const Result<RunInfo> info = model.Write(place.options, 12);
  REQUIRE_OK(info);
  CHECK_OK(fs.SyncDirectory("/runs"));
  CHECK_OK(fs.SyncDirectory("/"));
  fs.CrashNow();
  const auto disk = fs.ImageOfSeed(1);
  RunPlace after(disk.get(), "/runs");
  const auto run = Run::Open(after.options, info.value(), &after.cache);
  REQUIRE_OK(run);
  CHECK_EQ(CompareRun(run.value(), model, {UINT64_MAX}), "");
}

TEST("an existing file is never written over") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  fs.PutRaw("/run-000001", "mine");
  CHECK(!RunWriter::Create(place.options, 1, 0, 0).ok());
  CHECK_EQ(fs.ReadRaw("/run-000001"), "mine");
}

TEST("writers count the bytes of their file, and what they wrote") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  auto writer = RunWriter::Create(place.options, 1, 6, 4);
  REQUIRE_OK(writer);
  RunModel model = RandomRun(2, 3000, 2);
  uint64_t raw = 0;
  uint64_t deletions = 0;
  uint64_t before = writer.value()->bytes();
  for (const auto& entry : model.cells) {
    CHECK_OK(writer.value()->Add(RunModel::CellOf(entry)));
    raw += entry.first.first.size() + entry.second.value.size();
    deletions += entry.second.deleted ? 1 : 0;
    CHECK_LE(before, writer.value()->bytes() + 2048);
    before = writer.value()->bytes();
  }
  const Result<RunInfo> info = writer.value()->Finish();
  REQUIRE_OK(info);
  CHECK_EQ(info.value().bytes, fs.FileSize("/run-000001").value());
  CHECK_EQ(info.value().cells, model.cells.size());
  CHECK_EQ(info.value().raw_bytes, raw);
  CHECK_EQ(info.value().deletions, deletions);
  CHECK(info.value().shard == 6 && info.value().level == 4);
  CHECK_LT(before, info.value().bytes + 1024);
  CHECK_LT(info.value().bytes, before * 11 / 10 + 4096);
}

TEST("lz4 makes a compressible run smaller and is not used where it saves little") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  place.options.block_bytes = 4096;
  RunModel same;
  RunModel noise;
  Random random(6);
  for (uint64_t i = 0; i < 2000; ++i) {
    const std::string key = std::to_string(1000000 + i);
    same.Put(key, 1, std::string(100, 'v'));
    std::string value(100, 0);
    for (char& c : value) c = static_cast<char>(random.Next());
    noise.Put(key, 1, value);
  }
  uint64_t bytes[4];
  for (uint64_t i = 0; i < 4; ++i) {
    place.options.compression = i % 2 == 0 ? Compression::kNone : Compression::kLz4;
    const Result<RunInfo> info = (i < 2 ? same : noise).Write(place.options, i + 1);
    REQUIRE_OK(info);
    bytes[i] = info.value().bytes;
  }
  CHECK_LT(bytes[1], bytes[0] / 4);
  CHECK_EQ(bytes[3], bytes[2]);
}

TEST("the hash of keys is the one that files were written with") {
  CHECK_EQ(HashKey(""), 0x14b7e6625fce8f28);
  CHECK_EQ(HashKey("user:1"), 0x48b439d119ec3115);
}

}  // namespace
}  // namespace gapless::table

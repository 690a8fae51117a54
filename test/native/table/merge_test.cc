// Merging against a naive model that tries every sequence, and what becomes of files when it fails.
#include "table/merge.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/random.h"
#include "check.h"
#include "io/fault_file_system.h"
#include "io/file_names.h"
#include "table/merge_rules.h"

namespace gapless::table {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kCases = 1500;
#else
constexpr uint64_t kCases = 15000;
#endif

constexpr size_t kPadding = 4096;

struct OwnedCell {
  std::string key;
  uint64_t seq = 0;
  bool deleted = false;
  std::string value;
  uint64_t expires = 0;
  bool operator<(const OwnedCell& other) const {
    return std::tie(key, other.seq) < std::tie(other.key, seq);
  }
  bool operator==(const OwnedCell& other) const = default;
};

struct OwnedRange {
  std::string lower;
  std::string upper;
  bool unbounded = false;
  uint64_t seq = 0;
  bool Covers(const std::string& key) const { return lower <= key && (unbounded || key < upper); }
};

// One table: its cells in any order, its range deletes.
struct Table {
  std::vector<OwnedCell> cells;
  std::vector<OwnedRange> ranges;
};

class VectorStream final : public CellStream {
 public:
  // `padded`: values come long enough for every cell to be measured.
  explicit VectorStream(std::vector<OwnedCell> cells, bool padded)
      : cells_(std::move(cells)), padded_(padded) {
    std::sort(cells_.begin(), cells_.end());
  }
  Result<bool> Next(Cell* cell) override {
    if (fail_at_ == at_) return Status::Corrupt("rot", "000007.run", 4096);
    if (at_ == cells_.size()) return false;
    const OwnedCell& next = cells_[at_++];
    // As of a file: bytes of before are gone.
    key_ = next.key;
    value_ = next.value;
    if (padded_ && !next.deleted) value_.append(kPadding, 'v');
    *cell = Cell{key_, value_, next.seq, next.expires, next.deleted, {}};
    return true;
  }
  void FailAt(size_t at) { fail_at_ = at; }

 private:
  std::vector<OwnedCell> cells_;
  const bool padded_;
  std::string key_;
  std::string value_;
  size_t at_ = 0;
  size_t fail_at_ = SIZE_MAX;
};

// A run in memory.
struct Output {
  std::vector<OwnedCell> cells;
  std::vector<RangeFragment> ranges;
};

class MemoryWriter final : public RunWriter {
 public:
  explicit MemoryWriter(std::vector<Output>* outputs) : outputs_(outputs) {}
  Status Add(const Cell& cell) override {
    CHECK(cell.deleted ? cell.value.empty() : cell.value.size() > kPadding);
    const size_t size = cell.deleted ? 0 : cell.value.size() - kPadding;
    output_.cells.push_back({cell.key.ToString(), cell.seq, cell.deleted,
                             cell.value.Sub(0, size).ToString(), cell.expires_at_ms});
    bytes_ += 2000;  // larger than what is written between two measurements
    return Status::Ok();
  }
  Status AddRange(const RangeFragment& fragment) override {
    output_.ranges.push_back(fragment);
    return Status::Ok();
  }
  uint64_t bytes() const override { return bytes_; }
  uint64_t value_bytes() const override { return 0; }
  bool empty() const override { return output_.cells.empty() && output_.ranges.empty(); }
  Result<RunInfo> Finish() override {
    CHECK(!empty());
    outputs_->push_back(output_);
    RunInfo info;
    info.bytes = bytes_;
    return info;
  }

 private:
  std::vector<Output>* const outputs_;
  Output output_;
  uint64_t bytes_ = 0;
};

using Ranges = std::unique_ptr<const RangeSet, void (*)(const RangeSet*)>;

Ranges RangeSetOf(std::vector<OwnedRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const OwnedRange& a, const OwnedRange& b) { return a.seq < b.seq; });
  const RangeSet* set = nullptr;
  for (const OwnedRange& range : ranges) {
    const RangeSet* const next =
        RangeSet::With(set, {{range.lower, range.upper, range.unbounded, range.seq}});
    if (set != nullptr) set->Unref();
    set = next;
  }
  return Ranges(set, [](const RangeSet* at) {
    if (at != nullptr) at->Unref();
  });
}

std::string ValueOf(uint64_t seq) { return std::to_string(seq); }

RunInfo InfoOf(const Table& table) {
  RunInfo info;
  info.min_seq = UINT64_MAX;
  bool any = false;
  const auto add = [&](const std::string& lower, const std::string& upper, bool unbounded,
                       uint64_t seq) {
    info.min_seq = std::min(info.min_seq, seq);
    info.max_seq = std::max(info.max_seq, seq);
    if (!any) info.extent = {lower, upper, unbounded};
    any = true;
    info.extent.lower = std::min(info.extent.lower, lower);
    info.extent.unbounded = info.extent.unbounded || unbounded;
    info.extent.upper = info.extent.unbounded ? "" : std::max(info.extent.upper, upper);
  };
  for (const OwnedCell& cell : table.cells) {
    add(cell.key, cell.key + std::string(1, '\0'), false, cell.seq);
  }
  for (const OwnedRange& range : table.ranges) {
    add(range.lower, range.upper, range.unbounded, range.seq);
  }
  return info;
}

std::vector<Output> MergeTables(const std::vector<Table>& tables, std::vector<uint64_t> points,
                                bool bottom, uint64_t run_cells, bool with_info, MergeStats* stats,
                                uint64_t expired_through_ms = 0) {
  MergeRequest request;
  request.expired_through_ms = expired_through_ms;
  std::vector<Ranges> ranges;
  std::vector<RunInfo> infos;
  infos.reserve(tables.size());
  for (const Table& table : tables) {
    MergeInput input;
    input.cells = std::make_unique<VectorStream>(table.cells, true);
    ranges.push_back(RangeSetOf(table.ranges));
    infos.push_back(InfoOf(table));
    input.ranges = ranges.back().get();
    input.info = with_info ? &infos.back() : nullptr;
    request.inputs.push_back(std::move(input));
  }
  request.protected_seqs = std::move(points);
  request.bottom = bottom;
  request.run_bytes = run_cells * 2000;
  std::vector<Output> outputs;
  std::vector<RunInfo> finished;
  CHECK_OK(MergeInto(
      std::move(request),
      [&outputs]() -> Result<std::unique_ptr<RunWriter>> {
        return std::unique_ptr<RunWriter>(std::make_unique<MemoryWriter>(&outputs));
      },
      &finished, stats));
  CHECK_EQ(finished.size(), outputs.size());
  return outputs;
}

// --- the model ---

Table Join(const std::vector<Table>& tables) {
  Table all;
  for (const Table& table : tables) {
    all.cells.insert(all.cells.end(), table.cells.begin(), table.cells.end());
    all.ranges.insert(all.ranges.end(), table.ranges.begin(), table.ranges.end());
  }
  return all;
}

Table Join(const std::vector<Output>& outputs) {
  Table all;
  for (const Output& output : outputs) {
    all.cells.insert(all.cells.end(), output.cells.begin(), output.cells.end());
    for (const RangeFragment& fragment : output.ranges) {
      for (const uint64_t seq : fragment.seqs) {
        all.ranges.push_back({fragment.lower, fragment.upper, fragment.unbounded, seq});
      }
    }
  }
  return all;
}

// The newest of the key's events at or below `at`: a cell, or null for a range delete or nothing.
const OwnedCell* NewestAt(const Table& table, const std::string& key, uint64_t at,
                          uint64_t* range_seq) {
  const OwnedCell* newest = nullptr;
  for (const OwnedCell& cell : table.cells) {
    if (cell.key != key || cell.seq > at) continue;
    if (newest == nullptr || cell.seq > newest->seq) newest = &cell;
  }
  *range_seq = 0;
  for (const OwnedRange& range : table.ranges) {
    if (range.seq <= at && range.Covers(key)) *range_seq = std::max(*range_seq, range.seq);
  }
  return newest != nullptr && newest->seq > *range_seq ? newest : nullptr;
}

// 0: absent; otherwise the sequence of the live version.
uint64_t ReadAt(const Table& table, const std::string& key, uint64_t at) {
  uint64_t range_seq = 0;
  const OwnedCell* const cell = NewestAt(table, key, at, &range_seq);
  return cell == nullptr || cell->deleted ? 0 : cell->seq;
}

struct Case {
  std::vector<Table> tables;
  Table below;  // older, deeper
  std::vector<uint64_t> points;
  uint64_t last_seq = 0;
  std::set<std::string> keys;

  bool Readable(uint64_t at) const {
    return at >= points[0] || std::find(points.begin(), points.end(), at) != points.end();
  }
};

// The cells that must stay, by trying every read point.
std::vector<OwnedCell> Expected(const Case& test, bool bottom) {
  const Table all = Join(test.tables);
  std::vector<OwnedCell> kept;
  for (const std::string& key : test.keys) {
    std::map<uint64_t, OwnedCell> needed;  // sequences rise
    for (uint64_t at = 0; at <= test.last_seq + 1; at++) {
      if (!test.Readable(at)) continue;
      uint64_t range_seq = 0;
      const OwnedCell* const cell = NewestAt(all, key, at, &range_seq);
      if (cell != nullptr) needed.emplace(cell->seq, *cell);
    }
    bool older = false;  // a version before stays
    for (const auto& [seq, cell] : needed) {
      if (bottom && cell.deleted && seq <= test.points[0] && !older) continue;
      older = true;
      kept.push_back(cell);
    }
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

std::string RandomKey(SeededRandom* random) {
  static const char* const kKeys[] = {"",  "a",       "aa",       "ab",       "b",       "bb",
                                      "c", "common1", "common10", "common11", "common2", "d",
                                      "e", "f",       "g",        "h"};
  return kKeys[random->Below(16)];
}

OwnedRange RandomRange(SeededRandom* random, uint64_t seq) {
  OwnedRange range{RandomKey(random), RandomKey(random), random->OneIn(5), seq};
  if (range.unbounded) range.upper.clear();
  if (!range.unbounded && range.upper < range.lower) std::swap(range.lower, range.upper);
  if (!range.unbounded && range.upper == range.lower) range.upper += "!";
  return range;
}

// Sequences 1 .. 60 at random over a table below and some to be merged. Tables of a store divide
// keys and sequences so that what is higher is newer; `interleaved` ones do not.
Case RandomCase(SeededRandom* random) {
  Case test;
  test.tables.resize(1 + random->Below(4));
  const uint64_t below_through = random->Below(20);
  test.last_seq = 20 + random->Below(40);
  const uint64_t range_rate = random->OneIn(3) ? 3 : 8;
  const bool few_keys = random->OneIn(2);
  for (uint64_t seq = 1; seq <= test.last_seq; seq++) {
    Table* const table =
        seq <= below_through ? &test.below : &test.tables[random->Below(test.tables.size())];
    if (random->OneIn(8)) continue;
    if (random->OneIn(range_rate)) {
      table->ranges.push_back(RandomRange(random, seq));
      continue;
    }
    const std::string key = few_keys && !random->OneIn(4) ? "common1" : RandomKey(random);
    const bool deleted = random->OneIn(3);
    table->cells.push_back({key, seq, deleted, deleted ? "" : ValueOf(seq)});
    test.keys.insert(key);
  }
  test.points.push_back(random->OneIn(4) ? test.last_seq : random->Below(test.last_seq + 1));
  for (uint64_t views = random->Below(4); views > 0; views--) {
    test.points.push_back(random->Below(test.last_seq + 1));
  }
  std::sort(test.points.begin() + 1, test.points.end());
  return test;
}

void CheckOrder(const std::vector<Output>& outputs, uint64_t run_cells) {
  std::string end;
  bool unbounded = false;
  for (size_t i = 0; i < outputs.size(); i++) {
    const Output& output = outputs[i];
    Table table = Join(std::vector<Output>{output});
    const Extent extent = InfoOf(table).extent;
    if (i > 0) CHECK(!unbounded && end <= extent.lower);
    end = extent.upper;
    unbounded = extent.unbounded;
    CHECK(std::is_sorted(output.cells.begin(), output.cells.end()));
    if (i + 1 < outputs.size()) CHECK_GE(output.cells.size(), run_cells);
    // The output is measured behind each cell with a value.
    std::set<std::string> keys;
    for (const OwnedCell& cell : output.cells) {
      if (!cell.deleted) keys.insert(cell.key);
    }
    CHECK_LE(keys.size(), run_cells);
    for (size_t k = 1; k < output.ranges.size(); k++) {
      CHECK(output.ranges[k - 1].EndsAtOrBefore(output.ranges[k].lower));
    }
  }
}

TEST("a merge reads like its inputs at every protected point and keeps nothing else") {
  for (uint64_t seed = 1; seed <= kCases && !check::Failed(); seed++) {
    SeededRandom random(seed);
    const Case test = RandomCase(&random);
    const bool bottom = random.OneIn(2);
    const uint64_t run_cells = random.OneIn(3) ? 1000 : 1 + random.Below(4);
    MergeStats stats;
    const std::vector<Output> outputs =
        MergeTables(test.tables, test.points, bottom, run_cells, random.OneIn(2), &stats);
    CheckOrder(outputs, run_cells);
    const Table after = Join(outputs);
    const Table before = Join(test.tables);
    const Table after_all = bottom ? after : Join({after, test.below});
    const Table before_all = bottom ? before : Join({before, test.below});
    for (uint64_t at = 0; at <= test.last_seq + 1; at++) {
      if (!test.Readable(at)) continue;
      for (const std::string& key : test.keys) {
        CHECK_EQ(ReadAt(after_all, key, at), ReadAt(before_all, key, at));
      }
    }
    const std::vector<OwnedCell> expected = Expected(test, bottom);
    CHECK_EQ(after.cells.size(), expected.size());
    CHECK(after.cells == expected);
    CHECK_EQ(stats.written_cells, expected.size());
    const uint64_t lowest = *std::min_element(test.points.begin(), test.points.end());
    for (const OwnedRange& range : after.ranges) {
      if (bottom) CHECK_GT(range.seq, lowest);
    }
    if (check::Failed()) check::Fail(__FILE__, __LINE__, "seed " + std::to_string(seed));
  }
}

TEST("of the deletes over one stretch those go that a newer one hides at every point") {
  SeededRandom random(5);
  for (uint64_t round = 0; round < kCases / 5 && !check::Failed(); round++) {
    std::vector<Table> tables(1 + random.Below(5));
    uint64_t last = 1 + random.Below(20);
    for (uint64_t seq = 1; seq <= last; seq++) {
      tables[random.Below(tables.size())].ranges.push_back(RandomRange(&random, seq));
    }
    const uint64_t floor = random.Below(last + 2);
    const std::vector<uint64_t> seqs = {floor, random.Below(last + 1), random.Below(last + 1)};
    std::vector<Ranges> ranges;
    std::vector<const RangeSet*> sets = {nullptr};
    for (const Table& table : tables) {
      ranges.push_back(RangeSetOf(table.ranges));
      sets.push_back(ranges.back().get());
    }
    const FragmentList united = UniteRanges(sets, ReadPoints(seqs));
    const Table all = Join(tables);
    for (const char* const key : {"", "a", "aa", "aaa", "b", "common1", "common11", "f", "z"}) {
      std::set<uint64_t> expected;
      for (uint64_t at = 1; at <= last + 2; at++) {
        if (at < floor && at != seqs[1] && at != seqs[2]) continue;
        uint64_t newest = 0;
        (void)NewestAt(all, key, at, &newest);
        if (newest > 0) expected.insert(newest);
      }
      std::set<uint64_t> found;
      for (const RangeFragment& fragment : united) {
        if (Slice(fragment.lower).Compare(key) > 0 || fragment.EndsAtOrBefore(key)) continue;
        found.insert(fragment.seqs.begin(), fragment.seqs.end());
      }
      CHECK(found == expected);
    }
    for (size_t i = 1; i < united.size(); i++) {
      CHECK(united[i - 1].EndsAtOrBefore(united[i].lower));
    }
  }
}

TEST("a range delete is cut where outputs are cut") {
  Table table;
  for (const char* key : {"b", "d", "f"}) table.cells.push_back({key, 9, false, ValueOf(9)});
  table.cells.push_back({"d", 8, false, ValueOf(8)});
  table.ranges.push_back({"a", "e", false, 5});
  MergeStats stats;
  const std::vector<Output> outputs = MergeTables({table}, {0}, false, 1, false, &stats);
  REQUIRE_EQ(outputs.size(), 3);
  REQUIRE_EQ(outputs[0].ranges.size(), 1);
  CHECK_EQ(outputs[0].ranges[0].lower, "a");
  CHECK_EQ(outputs[0].ranges[0].upper, "d");
  REQUIRE_EQ(outputs[1].ranges.size(), 1);
  CHECK_EQ(outputs[1].ranges[0].lower, "d");
  CHECK_EQ(outputs[1].ranges[0].upper, "e");
  CHECK_EQ(outputs[1].cells.size(), 2);
  CHECK(outputs[2].ranges.empty());
}

TEST("range deletes without any cell make an output, and none at the bottom") {
  Table table;
  table.ranges.push_back({"a", "", true, 5});
  MergeStats stats;
  const std::vector<Output> above = MergeTables({table}, {9}, false, 100, false, &stats);
  REQUIRE_EQ(above.size(), 1);
  CHECK(above[0].ranges[0].unbounded);
  CHECK(MergeTables({table}, {9}, true, 100, false, &stats).empty());
  CHECK_EQ(MergeTables({table}, {9, 4}, true, 100, false, &stats).size(), 1);
}

TEST("what has expired for every reader stands for a deletion") {
  Table table;
  const OwnedCell older{"a", 3, false, "older"};
  const OwnedCell lives{"b", 6, false, "lives", 101};
  table.cells = {{"a", 5, false, "expired", 100}, older, lives};
  const OwnedCell deletion{"a", 5, true, ""};
  MergeStats stats;
  const auto merged = [&](std::vector<uint64_t> points, bool bottom) {
    return MergeTables({table}, std::move(points), bottom, 100, false, &stats, 100).at(0).cells;
  };
  CHECK(merged({9}, true) == std::vector<OwnedCell>{lives});
  CHECK(merged({9}, false) == (std::vector<OwnedCell>{deletion, lives}));
  CHECK(merged({9, 4}, true) == (std::vector<OwnedCell>{deletion, older, lives}));
}

TEST("many range deletes fill outputs as cells do") {
  constexpr size_t kRanges = 1000;
  Table table;
  for (size_t i = 0; i < kRanges; i++) {
    const std::string lower = "k" + std::to_string(10000 + i);
    table.ranges.push_back({lower, lower + "5", false, 10 + i});
    if (i % 400 == 0) table.cells.push_back({lower + "7", 5, false, "v"});
  }
  MergeStats stats;
  const std::vector<Output> outputs = MergeTables({table}, {0}, false, 2, false, &stats);
  CHECK_GE(outputs.size(), kRanges * 21 / 4000);
  size_t ranges = 0;
  size_t cells = 0;
  std::string end;
  for (const Output& output : outputs) {
    CHECK_LE(output.ranges.size(), 4000 / 21 + 2);
    ranges += output.ranges.size();
    cells += output.cells.size();
    for (const RangeFragment& fragment : output.ranges) {
      CHECK(end <= fragment.lower);
      end = fragment.upper;
    }
  }
  CHECK_EQ(ranges, kRanges);
  CHECK_EQ(cells, 3);
  CHECK_EQ(MergeTables({table}, {2000}, true, 10, false, &stats).size(), 1);
}

TEST("a run that is hidden as a whole is not read") {
  Table old;
  for (uint64_t i = 0; i < 100; i++) {
    old.cells.push_back({"k" + std::to_string(i), 100 + i, false, "v"});
  }
  Table deletes;
  deletes.ranges.push_back({"k", "k5", false, 300});
  deletes.ranges.push_back({"k5", "l", false, 301});
  MergeStats stats;
  CHECK(MergeTables({old, deletes}, {400}, true, 100, true, &stats).empty());
  CHECK_EQ(stats.read_cells, 0);
  // A view in between, a floor before the deletes, a gap, a newer cell: all need it read.
  CHECK_EQ(MergeTables({old, deletes}, {400, 250}, true, 1000, true, &stats).size(), 1);
  CHECK_EQ(stats.written_cells, 100);
  CHECK_EQ(MergeTables({old, deletes}, {250}, true, 1000, true, &stats).size(), 1);
  CHECK_EQ(stats.written_cells, 200);
  deletes.ranges[1].lower = "k6";
  CHECK_EQ(MergeTables({old, deletes}, {400}, true, 1000, true, &stats).size(), 1);
  CHECK_EQ(stats.written_cells, 211);
  deletes.ranges[1].lower = "k5";
  old.cells[7].seq = 302;
  CHECK_EQ(MergeTables({old, deletes}, {400}, true, 1000, true, &stats).size(), 1);
  CHECK_EQ(stats.written_cells, 212);
}

// --- files ---

class Files {
 public:
  explicit Files(io::FileSystem* fs) {
    options_.fs = fs;
    options_.directory = "/runs";
  }
  MergeRequest Request(uint64_t cells, std::vector<uint64_t> protected_seqs) {
    MergeRequest request;
    for (uint64_t i = 0; i < 2; i++) {
      std::vector<OwnedCell> list;
      for (uint64_t k = i; k < cells; k += 2) {
        list.push_back({"key" + std::to_string(100000 + k), k + 1, false, std::string(200, 'v')});
      }
      auto stream = std::make_unique<VectorStream>(std::move(list), false);
      if (i == 1) last_stream_ = stream.get();
      MergeInput input;
      input.cells = std::move(stream);
      request.inputs.push_back(std::move(input));
    }
    request.protected_seqs = std::move(protected_seqs);
    request.run_bytes = 100000;
    request.next_number = [this] { return ++number_; };
    return request;
  }
  const RunOptions& options() const { return options_; }
  VectorStream* last_stream() { return last_stream_; }
  size_t count() { return options_.fs->List("/runs").value().size(); }

 private:
  RunOptions options_;
  uint64_t number_ = 0;
  VectorStream* last_stream_ = nullptr;
};

TEST("a merge writes runs of the wanted size and paces them") {
  io::FaultFileSystem fs;
  REQUIRE_OK(fs.CreateDirectory("/runs"));
  Files files(&fs);
  MergeRequest request = files.Request(5000, {10000});
  uint64_t paced = 0;
  uint64_t calls = 0;
  request.pace = [&](uint64_t bytes) {
    paced += bytes;
    calls++;
    return Status::Ok();
  };
  MergeStats stats;
  const Result<std::vector<RunInfo>> runs = Merge(files.options(), std::move(request), &stats);
  REQUIRE_OK(runs);
  uint64_t bytes = 0;
  uint64_t cells = 0;
  for (const RunInfo& info : runs.value()) {
    bytes += info.bytes;
    cells += info.cells;
    CHECK_LE(info.bytes, 120000);
  }
  CHECK_EQ(cells, 5000);
  CHECK_EQ(stats.read_cells, 5000);
  CHECK_EQ(stats.written_bytes, bytes);
  CHECK_GE(runs.value().size(), 10);
  CHECK_EQ(files.count(), runs.value().size());
  CHECK_GE(calls, 3);
  CHECK_LE(paced, bytes);
  CHECK_GE(paced + 400000, bytes);
}

TEST("a merge that is told to end, or whose input is damaged, leaves no file") {
  io::FaultFileSystem fs;
  REQUIRE_OK(fs.CreateDirectory("/runs"));
  Files files(&fs);
  MergeStats stats;
  MergeRequest request = files.Request(5000, {10000});
  uint64_t calls = 0;
  size_t seen = 0;
  request.pace = [&](uint64_t) {
    seen = files.count();
    return ++calls == 3 ? Status::Error(Code::kClosed, "closing") : Status::Ok();
  };
  CHECK(Merge(files.options(), std::move(request), &stats).status().Is(Code::kClosed));
  CHECK_GE(seen, 2);
  CHECK_EQ(files.count(), 0);

  request = files.Request(5000, {10000});
  files.last_stream()->FailAt(2000);
  const Status damaged = Merge(files.options(), std::move(request), &stats).status();
  CHECK(damaged.Is(Code::kCorrupt));
  CHECK_EQ(damaged.file(), "000007.run");
  CHECK_EQ(files.count(), 0);
}

TEST("whichever call of the file system fails, the error is typed and no file is left") {
  uint64_t operations = 0;
  for (uint64_t n = 0; n == 0 || n <= operations; n++) {
    io::FaultFileSystem fs;
    REQUIRE_OK(fs.CreateDirectory("/runs"));
    io::FaultRule rule;
    rule.kinds = io::kMutatingOperations & ~static_cast<uint32_t>(io::OperationKind::kRemove);
    rule.skip = n - 1;
    if (n > 0) fs.AddRule(rule);
    Files files(&fs);
    MergeStats stats;
    const Result<std::vector<RunInfo>> runs =
        Merge(files.options(), files.Request(1500, {10000}), &stats);
    if (n == 0) {
      CHECK_OK(runs);
      operations = fs.operations() - 1;
      continue;
    }
    CHECK_EQ(fs.FaultsStruck(), 1);
    CHECK(runs.status().Is(Code::kIo));
    CHECK_EQ(files.count(), 0);
  }
  CHECK_GE(operations, 9);
}

TEST("a full disk ends a merge with NO_SPACE and nothing is left on it") {
  io::FaultFileSystem fs;
  REQUIRE_OK(fs.CreateDirectory("/runs"));
  fs.SetCapacity(300000);
  Files files(&fs);
  MergeStats stats;
  CHECK(Merge(files.options(), files.Request(5000, {10000}), &stats).status().Is(Code::kNoSpace));
  CHECK_EQ(files.count(), 0);
  CHECK_EQ(fs.UsedBytes(), 0);
}

}  // namespace
}  // namespace gapless::table

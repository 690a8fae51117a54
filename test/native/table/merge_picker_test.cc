// Which runs are merged next, and a simulation of a store that is filled and overwritten.
#include "table/merge_picker.h"

#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "check.h"
#include "fake_run.h"

namespace gapless::table {
namespace {

using Tree = std::shared_ptr<const RunTree>;

constexpr uint64_t kMiB = 1 << 20;

Tree TreeOf(const std::vector<RunInfo>& infos) {
  RunList runs;
  for (const RunInfo& info : infos) runs.push_back(MakeFake(info));
  return RunTree(1).With({}, runs);
}

std::string Numbers(const RunList& runs) {
  std::vector<uint64_t> numbers;
  for (const auto& run : runs) numbers.push_back(run->info().number);
  std::sort(numbers.begin(), numbers.end());
  std::string text;
  for (const uint64_t number : numbers) text += std::to_string(number) + " ";
  return text;
}

RunInfo WithDeletions(RunInfo info, uint64_t deletions, uint64_t range_deletes) {
  info.deletions = deletions;
  info.range_deletes = range_deletes;
  return info;
}

RunInfo WithValues(RunInfo info, ValueUses uses) {
  info.values = std::move(uses);
  return info;
}

TEST("level 0 goes down when it refers to an eighth of the shard") {
  constexpr uint64_t kHead = kValuesHeaderBytes;
  for (const bool due : {false, true}) {
    const uint64_t bytes = due ? 2 * kMiB : kMiB / 2;
    const Tree tree =
        TreeOf({WithValues(FakeInfo(9, 0, "a", "c", 100), {{9, bytes + kHead, bytes}}),
                WithValues(FakeInfo(2, 6, "a", "z", 100), {{2, 8 * kMiB + kHead, 8 * kMiB}})});
    const auto plan = PickMerge(*tree, {}, {});
    CHECK_EQ(plan.has_value(), due);
    if (!due) continue;
    CHECK_EQ(Numbers(plan->inputs), "2 9 ");
    CHECK_EQ(plan->to_level, 6);
    CHECK(plan->worn_values.empty());
  }
}

TEST("a run that refers to a worn value file is merged with itself, the worst one first") {
  constexpr uint64_t kHead = kValuesHeaderBytes;
  const auto tree = [](uint64_t first, uint64_t second, uint64_t third) {
    return TreeOf({WithValues(FakeInfo(11, 6, "a", "c", 100), {{3, 100 + kHead, first}}),
                   WithValues(FakeInfo(12, 6, "c", "e", 100),
                              {{4, 100 + kHead, second}, {5, 1000 + kHead, third}})});
  };
  // Below a half, or below three quarters where all are.
  CHECK(!PickMerge(*tree(50, 60, 1000), {}, {}).has_value());
  CHECK(!PickMerge(*tree(100, 100, 750), {}, {}).has_value());
  const auto few = PickMerge(*tree(49, 60, 1000), {}, {});
  REQUIRE(few.has_value());
  CHECK_EQ(Numbers(few->inputs), "11 ");
  CHECK_EQ(few->from_level, 6);
  CHECK_EQ(few->to_level, 6);
  CHECK(!few->move && few->bottom);
  CHECK_EQ(std::string(few->reason), "values");
  CHECK(few->worn_values == std::vector<uint64_t>({3}));
  const auto many = PickMerge(*tree(74, 100, 700), {}, {});
  REQUIRE(many.has_value());
  CHECK_EQ(Numbers(many->inputs), "12 ");
  CHECK(many->worn_values == std::vector<uint64_t>({3, 5}));
  // Where the worst cannot be helped, the next one is.
  const auto other = PickMerge(*tree(74, 100, 700), {}, {12});
  REQUIRE(other.has_value());
  CHECK_EQ(Numbers(other->inputs), "11 ");
  CHECK(!PickMerge(*tree(100, 100, 700), {}, {12}).has_value());
}

TEST("level 0 with references to a worn value file goes down to be rewritten") {
  const Tree tree =
      TreeOf({WithValues(FakeInfo(11, 0, "a", "c", kMiB), {{11, 1000 + kValuesHeaderBytes, 10}})});
  const auto plan = PickMerge(*tree, {}, {});
  REQUIRE(plan.has_value());
  CHECK_EQ(Numbers(plan->inputs), "11 ");
  CHECK_EQ(plan->to_level, 6);
  CHECK(!plan->move);
  CHECK(plan->worn_values == std::vector<uint64_t>({11}));
}

TEST("nothing is due in an empty tree and below the trigger") {
  CHECK(!PickMerge(RunTree(4), {}, {}).has_value());
  const Tree tree = TreeOf({FakeInfo(1, 0, "a", "z", kMiB), FakeInfo(2, 0, "a", "z", kMiB),
                            FakeInfo(3, 0, "a", "z", kMiB), FakeInfo(4, 6, "a", "z", kMiB)});
  CHECK(!PickMerge(*tree, {}, {}).has_value());
  CHECK_EQ(MergeDebt(*tree, {}), 0);
}

TEST("level 0 is merged into the deepest level while that is small") {
  const Tree tree = TreeOf({FakeInfo(5, 0, "a", "k", kMiB), FakeInfo(6, 0, "a", "z", kMiB),
                            FakeInfo(7, 0, "b", "c", kMiB), FakeInfo(8, 0, "a", "c", kMiB),
                            FakeInfo(1, 6, "", "c", kMiB), FakeInfo(2, 6, "y", "zz", kMiB),
                            FakeInfo(3, 6, "zz", "", kMiB)});
  const auto plan = PickMerge(*tree, {}, {});
  REQUIRE(plan.has_value());
  CHECK_EQ(plan->from_level, 0);
  CHECK_EQ(plan->to_level, 6);
  CHECK_EQ(Numbers(plan->inputs), "1 2 5 6 7 8 ");
  CHECK(plan->bottom);
  CHECK(!plan->move);
  CHECK_EQ(std::string(plan->reason), "level0");
  CHECK_GT(plan->score, 1.0);
  CHECK_GE(MergeDebt(*tree, {}), 6 * kMiB);
}

TEST("nothing is picked that overlaps a busy run") {
  const Tree tree = TreeOf({FakeInfo(5, 0, "a", "k", kMiB), FakeInfo(6, 0, "a", "z", kMiB),
                            FakeInfo(7, 0, "b", "c", kMiB), FakeInfo(8, 0, "a", "c", kMiB),
                            FakeInfo(1, 6, "", "c", kMiB), FakeInfo(3, 6, "zz", "", kMiB)});
  CHECK(!PickMerge(*tree, {}, {1}).has_value());
  CHECK(!PickMerge(*tree, {}, {5}).has_value());
  CHECK(PickMerge(*tree, {}, {3}).has_value());
}

TEST("a large deepest level gets a level of a tenth above it") {
  std::vector<RunInfo> infos = {FakeInfo(1, 6, "a", "m", 500 * kMiB),
                                FakeInfo(2, 6, "m", "z", 500 * kMiB)};
  for (uint64_t i = 3; i < 7; i++) infos.push_back(FakeInfo(i, 0, "a", "z", 5 * kMiB));
  const auto plan = PickMerge(*TreeOf(infos), {}, {});
  REQUIRE(plan.has_value());
  CHECK_EQ(plan->to_level, 5);
  CHECK(!plan->bottom);
  CHECK_EQ(Numbers(plan->inputs), "3 4 5 6 ");
}

TEST("level 0 goes to a level above the base while that holds runs") {
  std::vector<RunInfo> infos = {FakeInfo(1, 6, "a", "z", 10 * kMiB),
                                FakeInfo(2, 4, "c", "d", 10 * kMiB)};
  const auto up = PickMerge(*TreeOf(infos), {}, {});
  REQUIRE(up.has_value());
  CHECK_EQ(up->from_level, 4);
  CHECK_EQ(up->to_level, 6);
  for (uint64_t i = 3; i < 9; i++) infos.push_back(FakeInfo(i, 0, "a", "z", kMiB));
  const auto plan = PickMerge(*TreeOf(infos), {}, {});
  REQUIRE(plan.has_value());
  CHECK_EQ(plan->from_level, 0);
  CHECK_EQ(plan->to_level, 4);
  CHECK_EQ(Numbers(plan->inputs), "2 3 4 5 6 7 8 ");
}

TEST("of a level that is too large the run goes that rewrites the least for its size") {
  const Tree tree =
      TreeOf({FakeInfo(1, 6, "a", "h", 300 * kMiB), FakeInfo(2, 6, "h", "p", 200 * kMiB),
              FakeInfo(3, 6, "p", "z", 300 * kMiB), FakeInfo(4, 5, "a", "b", 40 * kMiB),
              FakeInfo(5, 5, "i", "k", 40 * kMiB), FakeInfo(6, 5, "q", "r", 40 * kMiB)});
  const auto plan = PickMerge(*tree, {}, {});
  REQUIRE(plan.has_value());
  CHECK_EQ(Numbers(plan->inputs), "2 5 ");
  CHECK_EQ(std::string(plan->reason), "size");
  CHECK(plan->bottom);
  const auto second = PickMerge(*tree, {}, {2, 5});
  CHECK(!second.has_value());  // 80 of 80 MiB are left
}

TEST("what overlaps nothing below is moved, unless it is small or brings deletions to the bottom") {
  const RunInfo below = FakeInfo(1, 6, "a", "h", 10 * kMiB);
  const auto alone = PickMerge(*TreeOf({below, FakeInfo(2, 5, "h", "i", 20 * kMiB)}), {}, {});
  REQUIRE(alone.has_value());
  CHECK(alone->move);
  const auto small = PickMerge(*TreeOf({below, FakeInfo(2, 5, "h", "i", kMiB / 2)}), {}, {});
  REQUIRE(small.has_value());
  CHECK(!small->move);
  const auto dead =
      PickMerge(*TreeOf({below, WithDeletions(FakeInfo(2, 5, "h", "i", 20 * kMiB), 1, 0)}), {}, {});
  REQUIRE(dead.has_value());
  CHECK(!dead->move);
  const auto touching = PickMerge(*TreeOf({below, FakeInfo(2, 5, "g", "i", 20 * kMiB)}), {}, {});
  REQUIRE(touching.has_value());
  CHECK(!touching->move);
}

TEST("runs with many deletions or any range delete are merged down when sizes are in order") {
  const RunInfo below = FakeInfo(1, 6, "a", "z", 1000 * kMiB);
  const RunInfo few = FakeInfo(2, 5, "a", "f", 10 * kMiB);
  const uint64_t quarter = few.cells / 4;
  CHECK(!PickMerge(*TreeOf({below, WithDeletions(few, quarter, 0)}), {}, {}).has_value());
  const auto many = PickMerge(*TreeOf({below, WithDeletions(few, quarter + 1, 0)}), {}, {});
  REQUIRE(many.has_value());
  CHECK_EQ(std::string(many->reason), "deletions");
  CHECK_EQ(Numbers(many->inputs), "1 2 ");
  const auto range = PickMerge(*TreeOf({below, WithDeletions(few, 0, 1)}), {}, {});
  REQUIRE(range.has_value());
  CHECK_EQ(std::string(range->reason), "range");
  const Tree flushed = TreeOf({below, WithDeletions(FakeInfo(2, 0, "a", "f", kMiB), 0, 1)});
  REQUIRE(PickMerge(*flushed, {}, {}).has_value());
  CHECK_EQ(PickMerge(*flushed, {}, {})->from_level, 0);
  PickerOptions busy_times;
  busy_times.settle = false;
  CHECK(!PickMerge(*flushed, busy_times, {}).has_value());
}

TEST("a deepest run is cleaned of deletions only once nothing protects them") {
  const Tree tree = TreeOf({WithDeletions(FakeInfo(7, 6, "a", "z", 10 * kMiB), 9 * kMiB, 0)});
  PickerOptions options;
  CHECK(!PickMerge(*tree, options, {}).has_value());
  options.oldest_seq = 798;
  CHECK(!PickMerge(*tree, options, {}).has_value());
  options.oldest_seq = 799;
  const auto plan = PickMerge(*tree, options, {});
  REQUIRE(plan.has_value());
  CHECK_EQ(plan->from_level, 6);
  CHECK_EQ(plan->to_level, 6);
  CHECK(plan->bottom);
  CHECK(!plan->move);
}

TEST("compacting a range takes what overlaps it to the deepest level, each run once") {
  Tree tree = TreeOf({FakeInfo(1, 6, "a", "h", kMiB), FakeInfo(2, 6, "h", "p", kMiB),
                      WithDeletions(FakeInfo(3, 6, "p", "z", kMiB), 5, 0),
                      FakeInfo(4, 5, "b", "c", kMiB), FakeInfo(5, 5, "i", "k", kMiB),
                      FakeInfo(6, 0, "b", "d", kMiB), FakeInfo(7, 0, "x", "y", kMiB)});
  const Extent range{"b", "c", false};
  auto plan = PickCompaction(*tree, {}, range, 7, {});
  REQUIRE(plan.has_value());
  CHECK_EQ(Numbers(plan->inputs), "1 4 6 ");
  CHECK_EQ(plan->to_level, 6);
  CHECK(plan->bottom);
  CHECK_EQ(std::string(plan->reason), "request");
  CHECK(!PickCompaction(*tree, {}, range, 7, {4}).has_value());
  tree = tree->With(plan->inputs, {MakeFake(FakeInfo(8, 6, "a", "h", kMiB))});
  CHECK(!PickCompaction(*tree, {}, range, 7, {}).has_value());
  const Extent all{"", "", true};
  std::vector<std::string> steps;
  for (uint64_t number = 9; number < 20; number++) {
    plan = PickCompaction(*tree, {}, all, 8, {});
    if (!plan.has_value()) break;
    steps.push_back(Numbers(plan->inputs));
    RunInfo out = FakeInfo(number, 6, "", "", kMiB);
    out.extent = plan->inputs[0]->info().extent;
    for (const auto& run : plan->inputs) out.extent = Hull(out.extent, run->info().extent);
    tree = tree->With(plan->inputs, {MakeFake(out)});
  }
  CHECK_EQ(steps.size(), 2);
  CHECK(steps == (std::vector<std::string>{"3 7 ", "2 5 "}));
}

// --- several merges at once ---

// Small runs of real keys with sequences, and merges that are under way while others are picked.
class Concurrent {
 public:
  explicit Concurrent(uint64_t seed) : random_(seed) {
    options_.base_bytes = 24;
    options_.run_bytes = 16;
    options_.level0_runs = 3;
  }

  void Flush() {
    Cells cells;
    const uint64_t from = random_.Below(200);
    for (uint64_t i = 0; i < 12; i++) {
      const uint64_t key = random_.OneIn(3) ? random_.Below(250) : from + random_.Below(40);
      cells[static_cast<uint8_t>(key)] = ++seq_;
      newest_[static_cast<uint8_t>(key)] = seq_;
    }
    tree_ = tree_->With({}, {NewRun(0, cells)});
  }
  bool Begin(std::optional<MergePlan> plan) {
    if (!plan.has_value()) return false;
    CHECK(!plan->inputs.empty());
    for (const auto& run : plan->inputs) CHECK(busy_.insert(run->info().number).second);
    running_.push_back(*plan);
    return true;
  }
  bool BeginMerge() { return Begin(PickMerge(*tree_, options_, Busy())); }
  bool BeginCompaction(uint64_t done_through, const Extent& range = {"", "", true}) {
    return Begin(PickCompaction(*tree_, options_, range, done_through, Busy()));
  }
  Extent RandomRange() {
    const auto from = static_cast<uint8_t>(random_.Below(200));
    return {KeyOf(from), KeyOf(static_cast<uint8_t>(from + 5)), false};
  }
  void FinishOne() {
    const size_t index = random_.Below(running_.size());
    const MergePlan plan = running_[index];
    running_.erase(running_.begin() + static_cast<ptrdiff_t>(index));
    Cells merged;
    RunList added;
    for (const auto& run : plan.inputs) {
      busy_.erase(run->info().number);
      for (const auto& [key, seq] : contents_[run->info().number]) {
        merged[key] = std::max(merged[key], seq);
      }
      if (!plan.move) continue;
      RunInfo info = run->info();
      info.level = plan.to_level;
      added.push_back(MakeFake(info));
    }
    Cells part;
    for (const auto& [key, seq] : merged) {
      if (plan.move) break;
      part[key] = seq;
      if (part.size() < plan.run_bytes && key != merged.rbegin()->first) continue;
      added.push_back(NewRun(plan.to_level, part));
      part.clear();
    }
    tree_ = tree_->With(plan.inputs, added);
    if (plan.bottom) CheckNothingBelow(added);
  }
  void CheckReads() {
    for (const auto& [key, seq] : newest_) CHECK_EQ(Read(key), seq);
  }
  size_t running() const { return running_.size(); }
  uint64_t newest_number() const { return next_number_ - 1; }
  const RunTree& tree() const { return *tree_; }
  SeededRandom& random() { return random_; }

 private:
  using Cells = std::map<uint8_t, uint64_t>;

  static std::string KeyOf(uint8_t key) { return std::string(1, static_cast<char>(key)); }
  std::shared_ptr<const Run> NewRun(uint32_t level, const Cells& cells) {
    RunInfo info = FakeInfo(next_number_++, level, KeyOf(cells.begin()->first),
                            KeyOf(cells.rbegin()->first) + std::string(1, '\0'), cells.size());
    info.max_seq = 0;
    for (const auto& [key, seq] : cells) info.max_seq = std::max(info.max_seq, seq);
    info.deletions = random_.OneIn(4) ? cells.size() / 2 : 0;
    info.range_deletes = random_.OneIn(8) ? 1 : 0;
    contents_[info.number] = cells;
    return MakeFake(info);
  }
  std::vector<uint64_t> Busy() const { return {busy_.begin(), busy_.end()}; }
  uint64_t Read(uint8_t key) {
    for (const RunList& level : tree_->shard(0).levels) {
      for (const auto& run : level) {
        const Cells& cells = contents_[run->info().number];
        const auto found = cells.find(key);
        if (found != cells.end()) return found->second;
      }
    }
    return 0;
  }
  void CheckNothingBelow(const RunList& added) {
    for (const auto& run : added) {
      for (uint32_t level = run->info().level + 1; level < kLevelsMax; level++) {
        for (const auto& below : tree_->shard(0).levels[level]) {
          CHECK(!Overlap(run->info().extent, below->info().extent));
        }
      }
    }
  }

  SeededRandom random_;
  PickerOptions options_;
  Tree tree_ = std::make_shared<RunTree>(1);
  std::unordered_map<uint64_t, Cells> contents_;
  std::map<uint8_t, uint64_t> newest_;
  std::set<uint64_t> busy_;
  std::vector<MergePlan> running_;
  uint64_t seq_ = 0;
  uint64_t next_number_ = 1;
};

TEST("merges that run at once keep the newest above, and come to an end") {
  for (uint64_t seed = 1; seed <= 60 && !check::Failed(); seed++) {
    Concurrent store(seed);
    uint64_t done_through = 0;
    for (uint64_t step = 0; step < 400 && !check::Failed(); step++) {
      const uint64_t what = store.random().Below(8);
      if (what < 3) store.Flush();
      if (what >= 3 && what < 6) (void)store.BeginMerge();
      if (what == 6) {
        const Extent range = store.RandomRange();
        if (!store.BeginCompaction(done_through, range)) done_through = store.newest_number();
      }
      if (what == 7 && store.running() > 0) store.FinishOne();
      if (store.running() > 3) store.FinishOne();
      store.CheckReads();
    }
    while (store.running() > 0) store.FinishOne();
    uint64_t steps = 0;
    while (store.BeginMerge() && steps++ < 500) store.FinishOne();
    CHECK_LT(steps, 500);
    store.CheckReads();
    done_through = store.newest_number();
    for (steps = 0; store.BeginCompaction(done_through) && steps < 500; steps++) store.FinishOne();
    CHECK_LT(steps, 500);
    store.CheckReads();
    for (uint32_t level = 0; level < 6; level++) CHECK(store.tree().shard(0).levels[level].empty());
    // A deletion that a fake bottom merge leaves is no reason to merge for ever.
    CHECK(!store.BeginMerge());
  }
}

// --- simulation ---

// A store of fixed keys without files: runs are sorted lists of key numbers, a cell has 116 bytes.
class Simulation {
 public:
  static constexpr uint32_t kShards = 4;
  static constexpr uint64_t kCellBytes = 116;

  Simulation(uint64_t keys, const PickerOptions& options)
      : keys_of_shard_(keys / kShards), options_(options) {}

  // Writes the keys that `next` gives into one shard's memtable and flushes it.
  void Flush(uint32_t shard, std::vector<uint32_t> keys) {
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    AddRun(shard, 0, std::move(keys), {});
    MergeAll();
  }
  void MergeAll() {
    for (uint64_t steps = 0;; steps++) {
      const auto plan = PickMerge(*tree_, options_, {});
      if (!plan.has_value()) return;
      Carry(*plan);
      if (steps > 10000) {
        check::Fail(__FILE__, __LINE__, "merging does not end");
        return;
      }
    }
  }
  void CompactAll() {
    const uint64_t done_through = next_number_ - 1;
    for (;;) {
      const auto plan = PickCompaction(*tree_, options_, {"", "", true}, done_through, {});
      if (!plan.has_value()) return;
      Carry(*plan);
    }
  }

  uint64_t keys_of_shard() const { return keys_of_shard_; }
  uint64_t written() const { return written_; }
  const RunTree& tree() const { return *tree_; }
  double space() const {
    return static_cast<double>(tree_->bytes()) /
           static_cast<double>(keys_of_shard_ * kShards * kCellBytes);
  }

 private:
  static std::string KeyOf(uint64_t number) {
    std::string key(4, '\0');
    for (size_t i = 0; i < 4; i++) key[i] = static_cast<char>(number >> (24 - 8 * i));
    return key;
  }
  std::shared_ptr<const Run> NewRun(uint32_t shard, uint32_t level, std::vector<uint32_t> keys) {
    RunInfo info = FakeInfo(next_number_++, level, KeyOf(keys.front()), KeyOf(keys.back() + 1),
                            keys.size() * kCellBytes);
    info.shard = shard;
    info.cells = keys.size();
    written_ += info.bytes;
    contents_[info.number] = std::move(keys);
    return MakeFake(info);
  }
  void AddRun(uint32_t shard, uint32_t level, std::vector<uint32_t> keys, const RunList& removed) {
    tree_ = tree_->With(removed, {NewRun(shard, level, std::move(keys))});
  }
  void Carry(const MergePlan& plan) {
    RunList added;
    if (plan.move) {
      for (const auto& run : plan.inputs) {
        RunInfo info = run->info();
        info.level = plan.to_level;
        added.push_back(MakeFake(info));
      }
      tree_ = tree_->With(plan.inputs, added);
      return;
    }
    // Runs of one level deeper than 0 follow each other.
    std::map<uint64_t, std::vector<uint32_t>> streams;
    for (const auto& run : plan.inputs) {
      const std::vector<uint32_t>& keys = contents_[run->info().number];
      const uint32_t level = run->info().level;
      std::vector<uint32_t>& stream = streams[level == 0 ? 100 + added.size() : level];
      if (level == 0) added.push_back(nullptr);
      stream.insert(stream.end(), keys.begin(), keys.end());
    }
    added.clear();
    std::vector<uint32_t> merged;
    for (auto at = streams.rbegin(); at != streams.rend(); ++at) {
      std::vector<uint32_t> both;
      both.reserve(merged.size() + at->second.size());
      std::set_union(merged.begin(), merged.end(), at->second.begin(), at->second.end(),
                     std::back_inserter(both));
      merged.swap(both);
    }
    const uint64_t cells = std::max<uint64_t>(1, plan.run_bytes / kCellBytes);
    for (uint64_t from = 0; from < merged.size(); from += cells) {
      const uint64_t to = std::min(from + cells, merged.size());
      added.push_back(NewRun(plan.shard, plan.to_level,
                             {merged.begin() + static_cast<ptrdiff_t>(from),
                              merged.begin() + static_cast<ptrdiff_t>(to)}));
    }
    tree_ = tree_->With(plan.inputs, added);  // asserts that levels do not overlap
    for (const auto& run : plan.inputs) contents_.erase(run->info().number);
  }

  const uint64_t keys_of_shard_;
  const PickerOptions options_;
  Tree tree_ = std::make_shared<RunTree>(kShards);
  std::unordered_map<uint64_t, std::vector<uint32_t>> contents_;
  uint64_t next_number_ = 1;
  uint64_t written_ = 0;
};

// GAPLESS_PICKER_SCALE=1: 20 M keys and flushes of 16 MiB. Everything is smaller by the scale: the
// picker knows no other sizes than those in its options.
uint64_t Scale() {
  const char* const text = getenv("GAPLESS_PICKER_SCALE");
  if (text != nullptr) return strtoull(text, nullptr, 10);
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  return 100;
#else
  return 20;
#endif
}

TEST("filling and overwriting at random keeps write and space amplification small") {
  const uint64_t scale = Scale();
  const uint64_t keys = 20000000 / scale;
  PickerOptions options;
  options.base_bytes /= scale;
  options.run_bytes /= scale;
  Simulation sim(keys, options);
  const uint64_t flush_cells = 16 * kMiB / scale / Simulation::kShards / Simulation::kCellBytes;
  const uint64_t of_shard = sim.keys_of_shard();
  SeededRandom random(1);
  uint64_t user_bytes = 0;
  for (uint32_t round = 0; round < 4; round++) {
    const uint64_t before = sim.written();
    for (uint64_t i = 0; i < of_shard; i += flush_cells) {
      const uint64_t count = std::min(flush_cells, of_shard - i);
      for (uint32_t shard = 0; shard < Simulation::kShards; shard++) {
        std::vector<uint32_t> batch;
        for (uint64_t k = i; k < i + count; k++) {
          const uint64_t key = round == 0 ? k * 2654435761 % of_shard : random.Below(of_shard);
          batch.push_back(static_cast<uint32_t>(key));
        }
        user_bytes += count * Simulation::kCellBytes;
        sim.Flush(shard, std::move(batch));
      }
    }
    const double amplification = static_cast<double>(sim.written() - before) /
                                 static_cast<double>(of_shard * 4 * Simulation::kCellBytes);
    std::printf("  round %u: write amplification %.1f, space %.2f, %llu runs\n", round,
                amplification, sim.space(), static_cast<unsigned long long>(sim.tree().count()));
  }
  const double total = static_cast<double>(sim.written()) / static_cast<double>(user_bytes);
  std::printf("  total: write amplification %.1f, space %.2f\n", total, sim.space());
  CHECK_LE(total, 12.0);
  CHECK_LT(sim.space(), 1.3);
  for (uint32_t shard = 0; shard < Simulation::kShards; shard++) {
    CHECK_LT(sim.tree().shard(shard).levels[0].size(), 8);
  }
  sim.CompactAll();
  CHECK_LT(sim.space(), 1.0001);
}

TEST("filling in key order writes everything about twice") {
  const uint64_t scale = Scale();
  PickerOptions options;
  options.base_bytes /= scale;
  options.run_bytes /= scale;
  Simulation sim(20000000 / scale, options);
  const uint64_t flush_cells = 16 * kMiB / scale / Simulation::kShards / Simulation::kCellBytes;
  for (uint64_t i = 0; i < sim.keys_of_shard(); i += flush_cells) {
    for (uint32_t shard = 0; shard < Simulation::kShards; shard++) {
      std::vector<uint32_t> batch;
      const uint64_t to = std::min(i + flush_cells, sim.keys_of_shard());
      for (uint64_t k = i; k < to; k++) batch.push_back(static_cast<uint32_t>(k));
      sim.Flush(shard, std::move(batch));
    }
  }
  CHECK_LT(static_cast<double>(sim.written()), 2.3 * static_cast<double>(sim.tree().bytes()));
  CHECK_LT(sim.tree().count(), 4 * 150);
}

}  // namespace
}  // namespace gapless::table

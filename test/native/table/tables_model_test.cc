// Random operations, views, sealing, flushing and merging, compared with the model at every read
// point that is alive: the visible one, each view, and each guard that is held across swaps.
//
// GAPLESS_TABLES_SEED=<n> runs that one trial of each kind; GAPLESS_TABLES_TRIALS=<n> so many.
#include <cstdlib>

#include "tables.h"

namespace gapless::table {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kTrials = 60;
#else
constexpr uint64_t kTrials = 300;
#endif

struct View {
  uint64_t id;
  ReadPoint at;
};

// A read that began under an earlier set and goes on.
struct Held {
  std::unique_ptr<ReadGuard> guard;
  ReadPoint at;
  ModelState state;
  std::unique_ptr<Iterator> iterator;
  size_t place = 0;  // state.size(): not valid
};

class Trial {
 public:
  Trial(uint64_t seed, uint32_t shards, uint64_t keys, int shape)
      : keeper_({.shards = shards, .cache_bytes = seed % 3 == 0 ? 0 : uint64_t{1} << 20}),
        store_(keeper_.store()),
        random_(seed),
        keys_(keys),
        shape_(shape) {}

  // Returns how many comparisons were made.
  uint64_t Run(int rounds) {
    for (int round = 0; round < rounds && !check::Failed(); round++) {
      Write();
      Change();
      Compare();
    }
    for (const View& view : views_) CompareState(view.at);
    for (Held& held : held_) Continue(&held, 20);
    Settle();
    return comparisons_;
  }

 private:
  bool Chance(uint64_t one_in) { return random_.Below(one_in) == 0; }
  std::string PickKey() { return KeyOf(random_.Below(keys_), shape_); }

  void Do(const Mutation& mutation) {
    model_.Apply(mutation);
    store_.Apply(mutation);
  }

  void Write() {
    const uint64_t size = random_.Below(24);
    for (uint64_t i = 0; i < size; i++) {
      const uint64_t kind = random_.Below(100);
      const std::string key = PickKey();
      seq_++;
      if (kind < 60) {
        const std::string value = std::to_string(seq_) + std::string(random_.Below(50), 'v');
        Do(PutOf(key, value, seq_, Chance(5) ? 1 + random_.Below(1000) : 0));
      } else if (kind < 92) {
        Do(DelOf(key, seq_));
      } else {
        Do(DelRangeOf(key, Chance(3) ? PickKey() : key + "\x7f", seq_, Chance(30)));
      }
    }
    if (!Chance(4)) store_.Publish(seq_);
  }

  void Change() {
    if (Chance(4)) ChangeViews();
    if (Chance(5)) ChangeHeld();
    if (Chance(6)) {
      store_.Publish(seq_);
      store_.Seal();
    }
    if (Chance(6)) (void)keeper_.Flush();
    if (Chance(4)) (void)keeper_.Merge(PickKey(), PickKey(), Chance(4));
    if (Chance(4)) store_.Reclaim();
    if (Chance(10)) store_.Purge(static_cast<uint32_t>(random_.Below(store_.shards())), 20);
  }

  void ChangeViews() {
    if (views_.size() < 5 && Chance(2)) {
      const bool of_view = !views_.empty() && Chance(2);
      const uint64_t seq =
          of_view ? views_[random_.Below(views_.size())].at.seq : store_.visible_seq();
      views_.push_back({store_.AddView(seq), {seq, random_.Below(1000)}});
    } else if (!views_.empty()) {
      const auto at = static_cast<ptrdiff_t>(random_.Below(views_.size()));
      store_.ReleaseView(views_[static_cast<size_t>(at)].id);
      views_.erase(views_.begin() + at);
    }
  }

  void ChangeHeld() {
    if (held_.size() < 3 && Chance(2)) {
      Held held;
      held.guard = std::make_unique<ReadGuard>(&store_);
      held.at = {held.guard->visible_seq(), random_.Below(1000)};
      held.state = model_.Scan(held.at);
      held.iterator = store_.NewIterator(held.at);
      held.place = held.state.size();
      held_.push_back(std::move(held));
    } else if (!held_.empty()) {
      held_.erase(held_.begin() + static_cast<ptrdiff_t>(random_.Below(held_.size())));
    }
  }

  void Compare() {
    const ReadGuard guard(&store_);
    const ReadPoint now{guard.visible_seq(), random_.Below(1000)};
    CompareGets(now);
    for (const View& view : views_) CompareGets(view.at);
    for (Held& held : held_) {
      CompareGets(held.at);
      Continue(&held, 6);
    }
    if (Chance(8)) CompareState(now);
    if (Chance(8) && !views_.empty()) CompareState(views_[random_.Below(views_.size())].at);
    if (Chance(4)) {
      Held walk;
      walk.at = Chance(2) && !views_.empty() ? views_[random_.Below(views_.size())].at : now;
      walk.state = model_.Scan(walk.at);
      walk.iterator = store_.NewIterator(walk.at);
      walk.place = walk.state.size();
      Continue(&walk, 40);
    }
  }

  void CompareGets(const ReadPoint& at) {
    for (int i = 0; i < 6; i++) {
      const std::string key = PickKey() + (Chance(10) ? "x" : "");
      Entry entry;
      const bool found = Found(store_, key, at, &entry);
      const auto wanted = model_.Get(key, at);
      CHECK_EQ(found, wanted.has_value());
      if (found && wanted) CHECK(SameEntry(entry, {key, *wanted}));
    }
    comparisons_++;
  }

  void CompareState(const ReadPoint& at) {
    const ReadGuard guard(&store_);
    const ModelState state = model_.Scan(at);
    CHECK_EQ(CompareScan(store_.NewIterator(at).get(), state), "");
    for (uint32_t shard = 0; shard < store_.shards(); shard++) {
      ModelState part;
      for (const auto& entry : state) {
        if (store_.ShardOf(entry.first) == shard) part.push_back(entry);
      }
      CHECK_EQ(CompareScan(store_.NewShardIterator(shard, at).get(), part), "");
    }
    comparisons_++;
  }

  // Seeks and steps in changing directions.
  void Continue(Held* held, int steps) {
    const ModelState& state = held->state;
    const auto less = [](const auto& entry, const std::string& key) { return entry.first < key; };
    for (int step = 0; step < steps && !check::Failed(); step++) {
      const uint64_t move = held->place == state.size() ? random_.Below(4) : random_.Below(20);
      const std::string key = PickKey() + (Chance(2) ? "" : "x");
      const auto found = std::lower_bound(state.begin(), state.end(), key, less);
      const auto from = static_cast<size_t>(found - state.begin());
      if (move == 0) {
        held->iterator->Seek(key);
        held->place = from;
      } else if (move == 1) {
        held->iterator->SeekForPrev(key);
        const bool equal = from < state.size() && state[from].first == key;
        held->place = equal ? from : (from == 0 ? state.size() : from - 1);
      } else if (move == 2) {
        held->iterator->SeekToFirst();
        held->place = 0;
      } else if (move == 3) {
        held->iterator->SeekToLast();
        held->place = state.empty() ? 0 : state.size() - 1;
      } else if (move < 12) {
        held->iterator->Next();
        held->place++;
      } else {
        held->iterator->Prev();
        held->place = held->place == 0 ? state.size() : held->place - 1;
      }
      CHECK_OK(held->iterator->status());
      CHECK_EQ(held->iterator->Valid(), held->place < state.size());
      if (check::Failed() || !held->iterator->Valid()) continue;
      CHECK(SameEntry(held->iterator->entry(), state[held->place]));
    }
    comparisons_++;
  }

  // Everything in runs, and merged as far as it goes: what is left is what lives.
  void Settle() {
    held_.clear();
    while (!views_.empty()) {
      store_.ReleaseView(views_.back().id);
      views_.pop_back();
    }
    store_.Publish(seq_);
    store_.Seal();
    while (keeper_.Flush()) {
    }
    CompareState({seq_, 0});
    for (int step = 0; keeper_.Merge("", "", true); step++) {
      REQUIRE(step < 500);
    }
    CompareState({seq_, 0});
    const StoreStats stats = store_.stats();
    CHECK_EQ(stats.range_tombstones, 0);
    CHECK_EQ(stats.keys_estimate, model_.Scan({seq_, 0}).size());
    CHECK_EQ(stats.sealed_bytes, 0);
  }

  Keeper keeper_;
  Store& store_;
  Model model_;
  Random random_;
  const uint64_t keys_;
  const int shape_;
  uint64_t seq_ = 0;
  uint64_t comparisons_ = 0;
  std::vector<View> views_;
  std::vector<Held> held_;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

uint64_t RunTrials(uint64_t first_seed, uint32_t shards, uint64_t keys, int rounds) {
  const uint64_t only = FromEnvironment("GAPLESS_TABLES_SEED", 0);
  const uint64_t from = only != 0 ? only : first_seed;
  const uint64_t count = only != 0 ? 1 : FromEnvironment("GAPLESS_TABLES_TRIALS", kTrials);
  uint64_t comparisons = 0;
  for (uint64_t seed = from; seed < from + count; seed++) {
    comparisons += Trial(seed, shards, keys, static_cast<int>(seed % 4)).Run(rounds);
    if (check::Failed()) {
      check::Fail(__FILE__, __LINE__, "with GAPLESS_TABLES_SEED=" + std::to_string(seed));
      break;
    }
  }
  return comparisons;
}

TEST("across flushes and merges every live read point gives what the model gives: few keys") {
  const uint64_t comparisons = RunTrials(1, 1, 12, 60);
  CHECK_GE(comparisons, kTrials > 100 ? 10000 : 1000);
}

TEST("across flushes and merges every live read point gives what the model gives: many keys") {
  const uint64_t comparisons = RunTrials(100001, 3, 300, 60);
  CHECK_GE(comparisons, kTrials > 100 ? 10000 : 1000);
}

}  // namespace
}  // namespace gapless::table

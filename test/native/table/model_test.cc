// Random operations on the store and on the model, compared at the visible sequence and at views.
#include "model.h"

#include <algorithm>

namespace gapless::table {
namespace {

struct OpenView {
  uint64_t id;
  ReadPoint at;
};

class Trial {
 public:
  Trial(uint32_t shards, uint64_t seed, uint64_t keys, int shape)
      : store_({.shards = shards}), random_(seed), keys_(keys), shape_(shape) {}

  void Run(int rounds) {
    for (int round = 0; round < rounds && !check::Failed(); round++) {
      Batch();
      if (random_.Below(3) == 0) ChangeViews();
      if (random_.Below(16) == 0) store_.Purge(PickShard(), 20);
      if (random_.Below(8) == 0) ComparePoints();
      if (random_.Below(rounds < 400 ? 10 : 60) == 0) CompareAll();
    }
    CompareAll();
    ending_ = true;
    while (!views_.empty()) ChangeViews();
    store_.Publish(seq_);
    PurgeAll(&store_);
    CompareAll();
    CHECK_EQ(store_.stats().range_tombstones, 0);
    CHECK_EQ(store_.stats().keys_estimate, model_.Scan({store_.visible_seq(), 0}).size());
  }

 private:
  uint32_t PickShard() { return static_cast<uint32_t>(random_.Below(store_.shards())); }
  std::string PickKey() { return KeyOf(random_.Below(keys_), shape_); }

  void Write(const Mutation& mutation) {
    model_.Apply(mutation);
    store_.Apply(mutation);
  }

  // Published at its end only, and now and then not at all until the next one.
  void Batch() {
    const uint64_t size = 1 + random_.Below(30);
    for (uint64_t i = 0; i < size; i++) {
      const uint64_t kind = random_.Below(100);
      const std::string key = PickKey();
      seq_++;
      if (kind < 60) {
        const std::string value = std::to_string(seq_) + std::string(random_.Below(60), 'v');
        Write(PutOf(key, value, seq_, random_.Below(5) == 0 ? 1 + random_.Below(1000) : 0));
      } else if (kind < 97) {
        Write(DelOf(key, seq_));
      } else {
        std::string upper = PickKey();
        if (random_.Below(4) != 0) {  // mostly narrow
          upper = key + std::string(1, '\x7f');
        }
        Write(DelRangeOf(key, upper, seq_, random_.Below(30) == 0));
      }
    }
    if (random_.Below(4) != 0) store_.Publish(seq_);
  }

  void ChangeViews() {
    if (views_.size() < 6 && random_.Below(2) == 0 && !ending_) {
      const uint64_t now = store_.visible_seq();
      const bool of_view = !views_.empty() && random_.Below(2) == 0;
      const uint64_t seq = of_view ? views_[random_.Below(views_.size())].at.seq : now;
      views_.push_back({store_.AddView(seq), {seq, random_.Below(1000)}});
    } else if (!views_.empty()) {
      const auto at = static_cast<ptrdiff_t>(random_.Below(views_.size()));
      store_.ReleaseView(views_[static_cast<size_t>(at)].id);
      views_.erase(views_.begin() + at);
    }
  }

  void CompareGet(const ReadPoint& at) {
    const std::string key = PickKey();
    Entry entry;
    const bool found = Found(store_, key, at, &entry);
    const auto wanted = model_.Get(key, at);
    CHECK_EQ(found, wanted.has_value());
    if (found && wanted) CHECK(SameEntry(entry, {key, *wanted}));
  }

  void ComparePoints() {
    const ReadGuard guard(&store_);
    const ReadPoint now{guard.visible_seq(), random_.Below(1000)};
    for (int i = 0; i < 20; i++) CompareGet(now);
    for (const OpenView& view : views_) {
      for (int i = 0; i < 20; i++) CompareGet(view.at);
    }
    Walk(now);
    if (!views_.empty()) Walk(views_[random_.Below(views_.size())].at);
  }

  // Seeks and steps in changing directions.
  void Walk(const ReadPoint& at) {
    const ModelState state = model_.Scan(at);
    const auto iterator = store_.NewIterator(at);
    const auto less = [](const auto& entry, const std::string& key) { return entry.first < key; };
    size_t place = state.size();
    for (int step = 0; step < 60; step++) {
      const uint64_t move = place == state.size() ? random_.Below(2) : random_.Below(12);
      const std::string key = PickKey() + (random_.Below(2) == 0 ? "" : "x");
      const auto found = std::lower_bound(state.begin(), state.end(), key, less);
      const auto from = static_cast<size_t>(found - state.begin());
      if (move == 0) {
        iterator->Seek(key);
        place = from;
      } else if (move == 1) {
        iterator->SeekForPrev(key);
        const bool equal = from < state.size() && state[from].first == key;
        place = equal ? from : (from == 0 ? state.size() : from - 1);
      } else if (move < 7) {
        iterator->Next();
        place++;
      } else {
        iterator->Prev();
        place = place == 0 ? state.size() : place - 1;
      }
      CHECK_EQ(iterator->Valid(), place < state.size());
      if (check::Failed()) return;
      if (iterator->Valid()) CHECK(SameEntry(iterator->entry(), state[place]));
    }
  }

  void CompareAll() {
    const ReadGuard guard(&store_);
    CompareState({guard.visible_seq(), 0});
    for (const OpenView& view : views_) CompareState(view.at);
  }

  void CompareState(const ReadPoint& at) {
    const ModelState state = model_.Scan(at);
    CHECK_EQ(CompareScan(store_.NewIterator(at).get(), state), "");
    ModelState in_shards;
    for (uint32_t shard = 0; shard < store_.shards(); shard++) {
      ModelState part;
      for (const auto& entry : state) {
        if (store_.ShardOf(entry.first) == shard) part.push_back(entry);
      }
      CHECK_EQ(CompareScan(store_.NewShardIterator(shard, at).get(), part), "");
    }
  }

  Store store_;
  Model model_;
  Random random_;
  const uint64_t keys_;
  const int shape_;
  uint64_t seq_ = 0;
  bool ending_ = false;
  std::vector<OpenView> views_;
};

TEST("random operations give what the model gives, at every shard count and shape of keys") {
  uint64_t seed = 1;
  for (const uint32_t shards : {1u, 2u, 5u, 16u}) {
    for (int shape = 0; shape < 4; shape++) {
      Trial(shards, seed++, 300, shape).Run(300);
    }
  }
}

TEST("random operations over many keys give what the model gives") {
  uint64_t seed = 100;
  for (int shape = 0; shape < 4; shape++) Trial(2, seed++, 6000, shape).Run(1200);
}

TEST("random operations on few keys give what the model gives") {
  for (uint64_t seed = 0; seed < 20; seed++) Trial(1, 200 + seed, 6, 1).Run(200);
}

}  // namespace
}  // namespace gapless::table

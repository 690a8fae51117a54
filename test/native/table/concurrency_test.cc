// One publisher, parallel appliers that run ahead of it, and readers that must always see whole
// batches: 64 accounts whose sum never changes.
#include <sched.h>

#include <atomic>
#include <cstdlib>

#include "base/thread.h"
#include "model.h"

namespace gapless::table {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kBatches = 4000;
#else
constexpr uint64_t kBatches = 40000;
#endif
constexpr uint64_t kAccounts = 64;
constexpr uint64_t kSum = kAccounts * 1000;
constexpr uint64_t kAhead = 200;  // batches that appliers may run before the publisher
constexpr uint32_t kShards = 4;
constexpr uint32_t kAppliers = 2;

struct Owned {
  Mutation mutation;
  std::string key;
  std::string value;
};
struct Batch {
  std::vector<Owned> operations;
  uint64_t end_seq = 0;
};

class Bank {
 public:
  Bank() : store_({.shards = kShards}) {
    for (uint64_t i = 0; i < kAccounts; i++) balances_[i] = 1000;
    batches_.resize(kBatches);
    for (uint64_t i = 0; i < kBatches; i++) Fill(&batches_[i], i);
  }

  void Run() {
    std::vector<Thread> threads(kAppliers + 3);
    for (uint32_t i = 0; i < kAppliers; i++) {
      REQUIRE_OK(threads[i].Start("applier", [this, i] { Applier(i); }));
    }
    REQUIRE_OK(threads[kAppliers].Start("gets", [this] { ReadByGet(); }));
    REQUIRE_OK(threads[kAppliers + 1].Start("scans", [this] { ReadByScan(); }));
    REQUIRE_OK(threads[kAppliers + 2].Start("views", [this] { ReadByView(); }));
    Publisher();
    for (Thread& thread : threads) thread.Join();
    CHECK_GT(reads_.load(), 10);
    PurgeAll(&store_);
    CHECK_EQ(store_.stats().range_tombstones, 0);
    const ReadGuard guard(&store_);
    const auto iterator = store_.NewIterator({guard.visible_seq(), 0});
    uint64_t keys = 0;
    for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) keys++;
    CHECK_EQ(store_.stats().keys_estimate, keys);
  }

 private:
  void Add(Batch* batch, Mutation mutation, std::string key, std::string value) {
    mutation.seq = ++seq_;
    batch->operations.push_back({mutation, std::move(key), std::move(value)});
  }
  static std::string Account(uint64_t i) { return "account" + std::to_string(100 + i); }

  // Moves money, now and then deletes the account first, and churns other keys around.
  void Fill(Batch* batch, uint64_t number) {
    const uint64_t from = random_.Below(kAccounts);
    const uint64_t to = (from + 1 + random_.Below(kAccounts - 1)) % kAccounts;
    const uint64_t amount = random_.Below(balances_[from] + 1);
    balances_[from] -= amount;
    balances_[to] += amount;
    for (uint64_t i = 0; number == 0 && i < kAccounts; i++) {
      Add(batch, PutOf("", "", 0), Account(i), std::to_string(balances_[i]));
    }
    for (const uint64_t i : {from, to}) {
      if (random_.Below(5) == 0) Add(batch, DelOf("", 0), Account(i), "");
      Add(batch, PutOf("", "", 0), Account(i), std::to_string(balances_[i]));
    }
    const std::string other = random_.Below(2) == 0 ? "a" : "z";
    Add(batch, PutOf("", "", 0), other + std::to_string(random_.Below(3000)), "churn");
    Add(batch, DelOf("", 0), other + std::to_string(random_.Below(3000)), "");
    if (random_.Below(200) == 0) Add(batch, DelRangeOf("", "", 0), "z", "zz");
    if (random_.Below(50) == 0) Add(batch, DelRangeOf("", "", 0), "a1", "a2");
    batch->end_seq = seq_;
  }

  void Applier(uint32_t index) {
    for (uint64_t i = 0; i < kBatches; i++) {
      while (i >= published_.load(std::memory_order_acquire) + kAhead) sched_yield();
      for (const Owned& owned : batches_[i].operations) {
        Mutation mutation = owned.mutation;
        mutation.key = owned.key;
        mutation.value = owned.value;
        for (uint32_t shard = index; shard < kShards; shard += kAppliers) {
          store_.ApplyToShard(shard, mutation);
        }
      }
      applied_[index].store(i + 1, std::memory_order_release);
    }
  }

  void Publisher() {
    for (uint64_t i = 0; i < kBatches; i++) {
      for (const auto& applied : applied_) {
        while (applied.load(std::memory_order_acquire) <= i) sched_yield();
      }
      store_.Publish(batches_[i].end_seq);
      published_.store(i + 1, std::memory_order_release);
    }
    done_.store(true, std::memory_order_release);
  }

  bool GoOn() {
    reads_.fetch_add(1);
    return !done_.load(std::memory_order_acquire) && !check::Failed();
  }
  static uint64_t Number(Slice text) { return std::strtoull(text.ToString().c_str(), nullptr, 10); }

  void CheckByGet(uint64_t seq) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < kAccounts; i++) {
      Entry entry;
      const bool found = Found(store_, Account(i), {seq, 0}, &entry);
      CHECK(found);
      if (found) sum += Number(entry.value);
    }
    CHECK_EQ(sum, kSum);
  }

  void CheckByScan(uint64_t seq, bool forward) {
    const auto iterator = store_.NewIterator({seq, 0});
    uint64_t sum = 0;
    uint64_t count = 0;
    std::string last;
    forward ? iterator->Seek("account") : iterator->SeekForPrev("accounu");
    while (iterator->Valid() && iterator->entry().key.StartsWith("account")) {
      const std::string key = iterator->entry().key.ToString();
      CHECK(last.empty() || (forward ? last < key : key < last));
      last = key;
      sum += Number(iterator->entry().value);
      count++;
      forward ? iterator->Next() : iterator->Prev();
    }
    CHECK_EQ(count, kAccounts);
    CHECK_EQ(sum, kSum);
  }

  void ReadByGet() {
    while (GoOn()) {
      const ReadGuard guard(&store_);
      if (guard.visible_seq() != 0) CheckByGet(guard.visible_seq());
    }
  }

  void ReadByScan() {
    for (bool forward = true; GoOn(); forward = !forward) {
      const ReadGuard guard(&store_);
      if (guard.visible_seq() == 0) continue;
      CheckByScan(guard.visible_seq(), forward);
      const auto whole = store_.NewIterator({guard.visible_seq(), 0});
      uint64_t accounts = 0;
      for (whole->SeekToFirst(); whole->Valid(); whole->Next()) {
        accounts += whole->entry().key.StartsWith("account") ? 1 : 0;
      }
      CHECK_EQ(accounts, kAccounts);
    }
  }

  // The guard protects the sequence until the view does; later guards read under the view.
  void ReadByView() {
    while (GoOn()) {
      uint64_t seq = 0;
      uint64_t view = 0;
      {
        const ReadGuard guard(&store_);
        seq = guard.visible_seq();
        view = store_.AddView(seq);
      }
      for (int i = 0; seq != 0 && i < 10; i++) {
        const ReadGuard guard(&store_);
        CheckByGet(seq);
        CheckByScan(seq, i % 2 == 0);
        sched_yield();  // lets the writers overwrite what the view pins
      }
      if (seq != 0) {
        const auto first = store_.DigestShard(0, {seq, 0});
        const auto second = store_.DigestShard(0, {seq, 0});
        CHECK_EQ(first.value().sum.low, second.value().sum.low);
        CHECK_EQ(first.value().keys, second.value().keys);
      }
      store_.ReleaseView(view);
    }
  }

  Store store_;
  Random random_{42};
  uint64_t seq_ = 0;
  uint64_t balances_[kAccounts];
  std::vector<Batch> batches_;
  std::atomic<uint64_t> applied_[kAppliers] = {};
  std::atomic<uint64_t> published_{0};
  std::atomic<uint64_t> reads_{0};
  std::atomic<bool> done_{false};
};

TEST("readers see whole batches while shards run ahead and versions are pruned") { Bank().Run(); }

TEST("guards of many threads at once share the slots") {
  Store store({.shards = 1});
  store.Apply(PutOf("k", "v", 1));
  store.Publish(1);
  std::vector<Thread> threads(8);
  for (Thread& thread : threads) {
    REQUIRE_OK(thread.Start("guards", [&store] {
      for (int i = 0; i < 2000; i++) {
        const ReadGuard outer(&store);
        const ReadGuard inner(&store);
        CHECK_EQ(inner.visible_seq(), 1);
        CHECK_EQ(GetValue(store, "k"), "v");
      }
    }));
  }
  for (Thread& thread : threads) thread.Join();
}

}  // namespace
}  // namespace gapless::table

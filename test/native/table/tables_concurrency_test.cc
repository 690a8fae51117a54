// Four readers and one writer while another thread flushes and merges: readers must always see
// whole batches, in which money moves between accounts whose sum never changes.
#include <sched.h>

#include <cstdlib>

#include "base/thread.h"
#include "tables.h"

namespace gapless::table {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kBatches = 1500;
#else
constexpr uint64_t kBatches = 8000;
#endif
constexpr uint64_t kAccounts = 48;
constexpr uint64_t kSum = kAccounts * 1000;
constexpr uint64_t kBatchesPerSeal = 40;

class Bank {
 public:
  Bank() : keeper_({.shards = 3, .cache_bytes = 20000}), store_(keeper_.store()) {}

  void Run() {
    for (uint64_t i = 0; i < kAccounts; i++) Put(Account(i), balances_[i] = 1000);
    store_.Publish(seq_);
    Thread keeper;
    Thread readers[4];
    REQUIRE_OK(keeper.Start("keeper", [this] { Keep(); }));
    REQUIRE_OK(readers[0].Start("gets", [this] { ReadByGet(); }));
    REQUIRE_OK(readers[1].Start("scans", [this] { ReadByScan(); }));
    REQUIRE_OK(readers[2].Start("views", [this] { ReadByView(); }));
    REQUIRE_OK(readers[3].Start("holder", [this] { ReadByHeldIterator(); }));
    for (uint64_t i = 0; i < kBatches && !check::Failed(); i++) WriteBatch(i);
    done_.store(true, std::memory_order_release);
    for (Thread& reader : readers) reader.Join();
    keeper.Join();
    for (const auto& count : reads_) CHECK_GT(count.load(), 5);
    CHECK_GT(flushes_.load(), 5);
    CHECK_GT(merges_.load(), 5);
    const ReadGuard guard(&store_);
    CheckByGet(guard.visible_seq());
    CheckByScan(guard.visible_seq(), true);
  }

 private:
  static std::string Account(uint64_t i) { return "account" + std::to_string(100 + i); }
  void Put(const std::string& key, uint64_t number) {
    const std::string value = std::to_string(number) + std::string(number % 40, ' ');
    store_.Apply(PutOf(key, value, ++seq_));
  }

  void WriteBatch(uint64_t number) {
    const uint64_t from = random_.Below(kAccounts);
    const uint64_t to = (from + 1 + random_.Below(kAccounts - 1)) % kAccounts;
    const uint64_t amount = random_.Below(balances_[from] + 1);
    balances_[from] -= amount;
    balances_[to] += amount;
    for (const uint64_t i : {from, to}) {
      const std::string key = Account(i);
      if (random_.Below(4) == 0) store_.Apply(DelOf(key, ++seq_));
      if (random_.Below(8) == 0) store_.Apply(DelRangeOf(key, key + "x", ++seq_));
      Put(key, balances_[i]);
    }
    const std::string other = random_.Below(2) == 0 ? "a" : "z";
    Put(other + std::to_string(random_.Below(2000)), number);
    store_.Apply(DelOf(other + std::to_string(random_.Below(2000)), ++seq_));
    if (random_.Below(100) == 0) store_.Apply(DelRangeOf("z", "zz", ++seq_));
    if (random_.Below(20) == 0) store_.Apply(DelRangeOf("a1", "a2", ++seq_));
    store_.Publish(seq_);
    if (number % kBatchesPerSeal != 0) return;
    store_.Seal();
    seals_.fetch_add(1);
    while (seals_ > flushes_ + 3 && !check::Failed()) sched_yield();
    CHECK_EQ(store_.active_bytes(), 0);
  }

  void Keep() {
    while (!done_.load(std::memory_order_acquire) && !check::Failed()) {
      bool worked = keeper_.Flush();
      if (worked) flushes_.fetch_add(1);
      if (keeper_.Merge("", "", true)) {
        merges_.fetch_add(1);
        worked = true;
      }
      store_.Reclaim();
      if (!worked) sched_yield();
    }
  }

  bool GoOn(int reader) {
    reads_[reader].fetch_add(1);
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
    forward ? iterator->Seek("account") : iterator->SeekForPrev("accounu");
    SumUp(iterator.get(), forward);
  }

  // The accounts from where the iterator stands, which is the first of them in its direction.
  void SumUp(Iterator* iterator, bool forward) {
    uint64_t sum = 0;
    uint64_t count = 0;
    std::string last;
    while (iterator->Valid() && iterator->entry().key.StartsWith("account")) {
      const std::string key = iterator->entry().key.ToString();
      CHECK(last.empty() || (forward ? last < key : key < last));
      last = key;
      sum += Number(iterator->entry().value);
      count++;
      forward ? iterator->Next() : iterator->Prev();
    }
    CHECK_OK(iterator->status());
    CHECK_EQ(count, kAccounts);
    CHECK_EQ(sum, kSum);
  }

  void ReadByGet() {
    while (GoOn(0)) {
      const ReadGuard guard(&store_);
      CheckByGet(guard.visible_seq());
    }
  }

  void ReadByScan() {
    for (bool forward = true; GoOn(1); forward = !forward) {
      const ReadGuard guard(&store_);
      CheckByScan(guard.visible_seq(), forward);
      const auto whole = store_.NewIterator({guard.visible_seq(), 0});
      uint64_t accounts = 0;
      for (whole->SeekToFirst(); whole->Valid(); whole->Next()) {
        accounts += whole->entry().key.StartsWith("account") ? 1 : 0;
      }
      CHECK_EQ(accounts, kAccounts);
    }
  }

  // The view outlives many swaps; each guard reads the set of its own time.
  void ReadByView() {
    while (GoOn(2)) {
      uint64_t seq = 0;
      uint64_t view = 0;
      {
        const ReadGuard guard(&store_);
        seq = guard.visible_seq();
        view = store_.AddView(seq);
      }
      const auto first = store_.DigestShard(0, {seq, 0});
      const uint64_t until = seals_.load() + 4;
      while (seals_ < until && !done_.load(std::memory_order_acquire) && !check::Failed()) {
        const ReadGuard guard(&store_);
        CheckByGet(seq);
        CheckByScan(seq, true);
      }
      const auto second = store_.DigestShard(0, {seq, 0});
      CHECK_OK(first);
      CHECK_OK(second);
      if (check::Failed()) return;
      CHECK_EQ(first.value().sum.low, second.value().sum.low);
      CHECK_EQ(first.value().keys, second.value().keys);
      store_.ReleaseView(view);
    }
  }

  // One guard and one iterator over several swaps, used all the time.
  void ReadByHeldIterator() {
    while (GoOn(3)) {
      const ReadGuard guard(&store_);
      const auto iterator = store_.NewIterator({guard.visible_seq(), 0});
      const uint64_t until = seals_.load() + 3;
      bool forward = true;
      while (seals_ < until && !done_.load(std::memory_order_acquire) && !check::Failed()) {
        forward ? iterator->Seek("account") : iterator->SeekForPrev("accounu");
        SumUp(iterator.get(), forward);
        forward = !forward;
      }
      CheckByGet(guard.visible_seq());
    }
  }

  Keeper keeper_;
  Store& store_;
  Random random_{42};
  uint64_t seq_ = 0;
  uint64_t balances_[kAccounts] = {};
  std::atomic<uint64_t> seals_{0};
  std::atomic<uint64_t> flushes_{0};
  std::atomic<uint64_t> merges_{0};
  std::atomic<uint64_t> reads_[4] = {};
  std::atomic<bool> done_{false};
};

TEST("four readers see whole batches while memtables are sealed, flushed and merged") {
  Bank().Run();
}

}  // namespace
}  // namespace gapless::table

// What stays in memory: pruning, views, freed memory, range deletes written into their keys.
#include "model.h"

namespace gapless::table {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kScale = 10;
#else
constexpr uint64_t kScale = 1;
#endif

// Puts `count` times into the keys k0 .. k(among - 1), publishing every 100.
uint64_t Overwrite(Store* store, uint64_t count, uint64_t among, uint64_t seq) {
  const std::string value(100, 'v');
  for (uint64_t i = 0; i < count; i++) {
    store->Apply(PutOf("k" + std::to_string(i % among), value, ++seq));
    if (i % 100 == 99) store->Publish(seq);
  }
  store->Publish(seq);
  return seq;
}

TEST("overwriting keys keeps memory flat and takes nothing from the system") {
  for (const uint64_t among : {1u, 1000u}) {
    Store store({.shards = 2});
    uint64_t seq = Overwrite(&store, 100000 / kScale, among, 0);
    const StoreStats before = store.stats();
    seq = Overwrite(&store, 2000000 / kScale, among, seq);
    const StoreStats after = store.stats();
    CHECK_EQ(after.arena_allocations, before.arena_allocations);
    CHECK_LE(after.memtable_bytes, before.memtable_bytes + 200000);
    CHECK_LE(after.memtable_bytes, among * 250 + 300000);
    CHECK_EQ(after.keys_estimate, among);
  }
}

TEST("overwriting large values keeps few of them") {
  Store store({.shards = 1});
  const std::string value(1 << 20, 'v');
  for (uint64_t seq = 1; seq <= 100; seq++) {
    store.Apply(PutOf("k" + std::to_string(seq % 4), value, seq));
    store.Publish(seq);
  }
  CHECK_LE(store.stats().memtable_bytes, uint64_t{16} << 20);
}

TEST("putting and deleting ever new keys keeps memory flat") {
  Store store({.shards = 1});
  uint64_t seq = 0;
  const auto churn = [&](uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
      store.Apply(PutOf("key" + std::to_string(i * 2654435761 % 10000000000), "value", ++seq));
      if (i >= 2000) {
        store.Apply(DelOf("key" + std::to_string((i - 2000) * 2654435761 % 10000000000), ++seq));
      }
      if (i % 50 == 0) store.Publish(seq);
    }
    store.Publish(seq);
  };
  churn(0, 50000);
  const StoreStats before = store.stats();
  churn(50000, 500000 / kScale + 50000);
  const StoreStats after = store.stats();
  CHECK_LE(after.memtable_bytes, before.memtable_bytes * 3 / 2);
  CHECK_LE(after.arena_allocations, before.arena_allocations + 2);
  CHECK_EQ(after.keys_estimate, 2000);
}

TEST("deleting every key leaves nearly nothing") {
  Store store({.shards = 2});
  uint64_t seq = 0;
  for (int i = 0; i < 20000; i++) store.Apply(PutOf("key" + std::to_string(i), "v", ++seq));
  store.Publish(seq);
  const uint64_t full = store.stats().memtable_bytes;
  for (int i = 0; i < 20000; i++) store.Apply(DelOf("key" + std::to_string(i), ++seq));
  store.Publish(seq);
  PurgeAll(&store);
  CHECK_EQ(store.stats().keys_estimate, 0);
  // What is left are the tables of the hash index.
  CHECK_LE(store.stats().memtable_bytes, full / 2);
  const ReadGuard guard(&store);
  const auto iterator = store.NewIterator({seq, 0});
  iterator->SeekToFirst();
  CHECK(!iterator->Valid());
}

TEST("a view pins one version a key, however often the key is overwritten") {
  Store store({.shards = 1});
  uint64_t seq = Overwrite(&store, 1000, 1000, 0);
  const ReadPoint at{seq, 0};
  const uint64_t view = store.AddView(seq);
  seq = Overwrite(&store, 100000, 1000, seq);
  PurgeAll(&store);
  const uint64_t pinned = store.stats().memtable_bytes;
  for (int i = 0; i < 1000; i++) {
    const ReadGuard guard(&store);
    Entry entry;
    REQUIRE(Found(store, "k" + std::to_string(i), at, &entry));
    CHECK_EQ(entry.seq, static_cast<uint64_t>(i) + 1);
  }
  store.ReleaseView(view);
  PurgeAll(&store);
  const uint64_t released = store.stats().memtable_bytes;
  CHECK_GE(pinned, released + 1000 * 128);
  CHECK_LE(pinned, released + 1000 * 128 + 20000);
}

TEST("each view pins its own version and nothing between") {
  Store store({.shards = 1});
  std::vector<uint64_t> views;
  for (uint64_t seq = 1; seq <= 100; seq++) {
    store.Apply(PutOf("k", std::string(1000, 'v'), seq));
    store.Publish(seq);
    if (seq % 10 == 0) views.push_back(store.AddView(seq));
  }
  PurgeAll(&store);
  const uint64_t all = store.stats().memtable_bytes;
  for (uint64_t seq = 10; seq <= 100; seq += 10) {
    const ReadGuard guard(&store);
    Entry entry;
    REQUIRE(Found(store, "k", {seq, 0}, &entry));
    CHECK_EQ(entry.seq, seq);
  }
  for (const uint64_t view : views) store.ReleaseView(view);
  PurgeAll(&store);
  const uint64_t freed = all - store.stats().memtable_bytes;
  CHECK_GE(freed, 9 * 1024);
  CHECK_LE(freed, 9 * 1300);
}

TEST("versions above the visible sequence stay until they are published") {
  Store store({.shards = 1});
  store.Apply(PutOf("k", "0", 1));
  store.Publish(1);
  for (uint64_t seq = 2; seq <= 1000; seq++) store.Apply(PutOf("k", std::to_string(seq), seq));
  PurgeAll(&store);
  CHECK_EQ(GetValue(store, "k"), "0");
  for (uint64_t seq = 2; seq <= 1000; seq += 99) {
    store.Publish(seq);
    PurgeAll(&store);
    CHECK_EQ(GetValue(store, "k"), std::to_string(seq));
  }
}

TEST("many unpublished versions of one key cost no more than few") {
  Store store({.shards = 1});
  const uint64_t count = 1000000 / kScale;
  for (uint64_t seq = 1; seq <= count; seq++) store.Apply(PutOf("k", "v", seq));
  const uint64_t full = store.stats().memtable_bytes;
  store.Publish(count);
  PurgeAll(&store);
  CHECK_LE(store.stats().memtable_bytes, full / 10);
}

TEST("memory that a running reader may hold is not reused") {
  Store store({.shards = 1});
  const std::string first(100, '1');
  store.Apply(PutOf("k", first, 1));
  store.Publish(1);
  uint64_t seq = 1;
  {
    const ReadGuard guard(&store);
    Entry entry;
    REQUIRE(Found(store, "k", {1, 0}, &entry));
    seq = Overwrite(&store, 20000, 3, seq);
    for (int i = 0; i < 20000; i++) {
      store.Apply(PutOf("k", std::string(100, '2'), ++seq));
      store.Publish(seq);
    }
    store.Apply(DelOf("k", ++seq));
    store.Publish(seq);
    PurgeAll(&store);
    CHECK_EQ(entry.value.ToString(), first);
    Entry again;
    CHECK(Found(store, "k", {1, 0}, &again));
  }
  const uint64_t held = store.stats().memtable_bytes;
  PurgeAll(&store);
  CHECK_LE(store.stats().memtable_bytes, held / 10);
}

TEST("large values go back to the system") {
  Store store({.shards = 1});
  for (uint64_t seq = 1; seq <= 200; seq++) {
    store.Apply(PutOf("k", std::string(1 << 20, 'x'), seq));
    store.Publish(seq);
    while (store.Purge(0, 10)) {
    }
  }
  PurgeAll(&store);
  CHECK_LE(store.stats().memtable_bytes, 2 << 20);
}

TEST("clearing many keys is done in small steps by the writes that follow") {
  Store store({.shards = 2});
  const uint64_t count = 200000 / kScale;
  uint64_t seq = 0;
  for (uint64_t i = 0; i < count; i++) store.Apply(PutOf("key" + std::to_string(i), "v", ++seq));
  store.Publish(seq);
  const uint64_t full = store.stats().memtable_bytes;
  store.Apply(DelRangeOf("", "", ++seq, true));
  store.Publish(seq);
  CHECK_EQ(store.stats().range_tombstones, 2);
  CHECK_EQ(GetValue(store, "key5"), "(absent)");
  CHECK_GE(store.stats().memtable_bytes, full);  // nothing was done at once
  for (uint64_t i = 0; i < count; i++) {
    store.Apply(PutOf("new" + std::to_string(i % 100), "v", ++seq));
    if (i % 100 == 0) store.Publish(seq);
  }
  CHECK_EQ(store.stats().range_tombstones, 0);
  CHECK_EQ(store.stats().keys_estimate, 100);
  store.Publish(seq);
  PurgeAll(&store);
  CHECK_LE(store.stats().memtable_bytes, full / 2);
  CHECK_EQ(GetValue(store, "key5"), "(absent)");
  CHECK_EQ(GetValue(store, "new5"), "v");
}

TEST("thousands of range deletes, small or wide, unpublished or not, are soon gone") {
  for (const bool wide : {false, true}) {
    Store store({.shards = 2});
    uint64_t seq = 0;
    for (int i = 0; i < 20000; i++) store.Apply(PutOf("key" + std::to_string(i), "v", ++seq));
    store.Publish(seq);
    for (int i = 0; i < 3000; i++) {
      const std::string lower = "key" + std::to_string(1000 + i);
      store.Apply(DelRangeOf(lower, wide ? "key9" : lower + "5", ++seq));
      store.Apply(PutOf(lower + "3", "again", ++seq));
    }
    CHECK_EQ(GetValue(store, "key10003"), "v");
    store.Publish(seq);
    CHECK_EQ(GetValue(store, "key39993"), "again");
    PurgeAll(&store);
    CHECK_EQ(store.stats().range_tombstones, 0);
    CHECK_EQ(GetValue(store, "key39993"), "again");
    CHECK_EQ(GetValue(store, "key10003"), "again");
  }
}

}  // namespace
}  // namespace gapless::table

// Measures the store by hand: GAPLESS_TABLE_BENCH=<keys> in the environment of the room's
// executable registers it, with --filter bench to run nothing else. Not a test.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "tables.h"

namespace gapless::table {
namespace {

double Clock(clockid_t id) {
  timespec time{};
  clock_gettime(id, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}
// Time of this thread alone, so that a busy machine does not count.
double Now() { return Clock(CLOCK_THREAD_CPUTIME_ID); }

struct Keys {
  std::vector<char> bytes;
  Slice At(uint64_t i) const { return Slice(bytes.data() + i * 16, 16); }
};

Keys MakeKeys(uint64_t count, bool decimal) {
  Keys keys;
  keys.bytes.resize(count * 16 + 1);
  Random random(7);
  for (uint64_t i = 0; i < count; i++) {
    char* const to = keys.bytes.data() + i * 16;
    const uint64_t a = random.Next();
    const uint64_t b = random.Next();
    if (decimal) {
      std::snprintf(to, 17, "%016llu", static_cast<unsigned long long>(a % 10000000000));
    } else {
      std::memcpy(to, &a, 8);
      std::memcpy(to + 8, &b, 8);
    }
  }
  return keys;
}

uint64_t Fill(Store* store, const Keys& keys, uint64_t count, uint64_t seq, const char* what) {
  const std::string value(100, 'v');
  double worst = 0;
  const double start = Now();
  for (uint64_t i = 0; i < count; i++) {
    const double one = i % 16 == 0 ? Now() : 0;
    store->Apply(PutOf(keys.At(i), value, ++seq));
    if (one != 0) worst = std::max(worst, Now() - one);
    if (i % 1000 == 999) store->Publish(seq);
  }
  store->Publish(seq);
  std::printf("%-28s %7.0f ns each, worst %.0f us, %llu MiB\n", what,
              (Now() - start) / static_cast<double>(count), worst / 1000,
              static_cast<unsigned long long>(store->stats().memtable_bytes >> 20));
  return seq;
}

void Gets(const Store& store, const Keys& keys, uint64_t count, uint64_t among, const char* what) {
  Random random(9);
  uint64_t found = 0;
  char into[100];
  const double start = Now();
  for (uint64_t i = 0; i < count; i++) {
    const ReadGuard guard(&store);
    Entry entry;
    const Slice key = keys.At(random.Below(among));
    if (!store.Get(key, ReadPoint{guard.visible_seq(), 0}, &entry).value()) continue;
    std::memcpy(into, entry.value.data(), 100);
    found += into[5] == 'v' ? 1 : 0;
  }
  std::printf("%-28s %7.0f ns each (found %llu)\n", what,
              (Now() - start) / static_cast<double>(count), static_cast<unsigned long long>(found));
}

void Scan(const Store& store, bool merged, bool forward, const char* what) {
  const ReadGuard guard(&store);
  uint64_t entries = 0;
  uint64_t bytes = 0;
  const double start = Now();
  for (uint32_t shard = 0; shard < (merged ? 1 : store.shards()); shard++) {
    const ReadPoint at{guard.visible_seq(), 0};
    const auto it = merged ? store.NewIterator(at) : store.NewShardIterator(shard, at);
    forward ? it->SeekToFirst() : it->SeekToLast();
    for (; it->Valid(); forward ? it->Next() : it->Prev()) {
      entries++;
      bytes += it->entry().value.size() + static_cast<uint8_t>(it->entry().value[50]);
    }
  }
  const double spent = Now() - start;
  std::printf("%-28s %7.1f M entries/s (%llu)\n", what, static_cast<double>(entries) / spent * 1000,
              static_cast<unsigned long long>(bytes + entries));
}

void Run(uint64_t count, uint32_t shards, bool decimal) {
  std::printf("--- %llu keys, %u shards, %s\n", static_cast<unsigned long long>(count), shards,
              decimal ? "decimal" : "random bytes");
  const Keys keys = MakeKeys(count, decimal);
  Store store({.shards = shards});
  uint64_t seq = Fill(&store, keys, count, 0, "put new");
  Gets(store, keys, 2000000, count, "get, all keys");
  Gets(store, keys, 2000000, std::min<uint64_t>(count, 10000), "get, 10 k hot keys");
  Scan(store, false, true, "scan shards forward");
  Scan(store, false, false, "scan shards backward");
  Scan(store, true, true, "scan merged forward");
  seq = Fill(&store, keys, count, seq, "put over");
  seq = Fill(&store, keys, count, seq, "put over again");
  Gets(store, keys, 2000000, count, "get, all keys");
  Scan(store, true, true, "scan merged forward");
  double start = Now();
  store.Apply(DelRangeOf("", "", ++seq, true));
  store.Publish(seq);
  std::printf("%-28s %7.0f us\n", "clear", (Now() - start) / 1000);
  seq = Fill(&store, keys, count / 2, seq, "put half after clear");
  start = Now();
  for (uint32_t i = 0; i < shards; i++) {
    while (store.Purge(i, 1000)) {
    }
  }
  std::printf("%-28s %7.0f us, %llu MiB\n", "purge", (Now() - start) / 1000,
              static_cast<unsigned long long>(store.stats().memtable_bytes >> 20));
}

// The same through runs: what a store costs that is no more one memtable a shard.
void RunLayered(uint64_t count) {
  std::printf("--- runs, 4 shards, random bytes, every block cached\n");
  const Keys keys = MakeKeys(count, false);
  Keeper keeper({.shards = 4, .cache_bytes = uint64_t{4} << 30}, 4096, uint64_t{8} << 20);
  Store& store = keeper.store();
  uint64_t seq = Fill(&store, keys, count, 0, "put new");
  store.Seal();
  Gets(store, keys, 2000000, count, "get, sealed");
  Scan(store, true, true, "scan merged, sealed");
  (void)keeper.Flush();
  while (keeper.Merge("", "", false)) {
  }
  for (int round = 0; round < 2; round++) Gets(store, keys, 2000000, count, "get, runs");
  for (int round = 0; round < 2; round++) Scan(store, true, true, "scan merged, runs");
  Scan(store, false, false, "scan shards backward, runs");
  seq = Fill(&store, keys, count / 10, seq, "put over a tenth");
  store.Seal();
  (void)keeper.Flush();
  seq = Fill(&store, keys, count / 100, seq, "put over a hundredth");
  Gets(store, keys, 2000000, count, "get, memtable and runs");
  Scan(store, true, true, "scan, memtable and runs");
  store.Reclaim();
}

void RunAscending(uint64_t count) {
  Keys keys;
  keys.bytes.resize(count * 16 + 1);
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t number = i % 10000000000;
    std::snprintf(keys.bytes.data() + i * 16, 17, "%016llu",
                  static_cast<unsigned long long>(number));
  }
  Store store({.shards = 4});
  std::printf("--- ascending\n");
  (void)Fill(&store, keys, count, 0, "put ascending");
  Scan(store, true, true, "scan merged forward");
}

void RunAll() {
  const uint64_t count = std::strtoull(std::getenv("GAPLESS_TABLE_BENCH"), nullptr, 10);
  Run(count, 1, false);
  Run(count, 4, false);
  Run(count, 4, true);
  RunAscending(count);
  RunLayered(count);
}

// Registered only when asked for: it checks nothing.
const bool kRegistered = [] {
  if (std::getenv("GAPLESS_TABLE_BENCH") == nullptr) return false;
  static const check::Registration bench("bench", __FILE__, __LINE__, RunAll);
  return true;
}();

}  // namespace
}  // namespace gapless::table

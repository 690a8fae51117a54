// Reading across memtables, sealed ones and runs; swapping sets and letting go of them.
#include "tables.h"

#include "table/table_set.h"

namespace gapless::table {
namespace {

std::string Keys(const Store& store, const ReadPoint& at, bool forward = true) {
  const ReadGuard guard(&store);
  const auto iterator = store.NewIterator(at);
  std::string keys;
  forward ? iterator->SeekToFirst() : iterator->SeekToLast();
  for (; iterator->Valid(); forward ? iterator->Next() : iterator->Prev()) {
    keys += iterator->entry().key.ToString() + "=" + iterator->entry().value.ToString() + " ";
  }
  CHECK_OK(iterator->status());
  return keys;
}
std::string Keys(const Store& store) { return Keys(store, {store.visible_seq(), 0}); }

class Writer {
 public:
  explicit Writer(Store* store) : store_(store) {}
  void Put(Slice key, Slice value, uint64_t expires = 0) {
    store_->Apply(PutOf(key, value, ++seq, expires));
    store_->Publish(seq);
  }
  void Del(Slice key) {
    store_->Apply(DelOf(key, ++seq));
    store_->Publish(seq);
  }
  void DelRange(Slice lower, Slice upper, bool unbounded = false) {
    store_->Apply(DelRangeOf(lower, upper, ++seq, unbounded));
    store_->Publish(seq);
  }
  uint64_t seq = 0;

 private:
  Store* const store_;
};

TEST("a key is read from the newest table that has a version of it") {
  TableLog log;
  Store store({.shards = 1});
  store.LoadRuns({MakeRun(&log, 1, 1, {{"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"}, {"e", "1"}}),
                  MakeRun(&log, 2, 0, {{"b", "", 2, 0, true}, {"c", "2", 2}, {"e", "2", 2}})});
  Writer writer(&store);
  writer.seq = 2;
  writer.Put("c", "3");
  writer.Del("d");
  store.Seal();
  writer.Put("d", "5");
  writer.Del("e");
  CHECK_EQ(Keys(store), "a=1 c=3 d=5 ");
  CHECK_EQ(Keys(store, {writer.seq, 0}, false), "d=5 c=3 a=1 ");
  CHECK_EQ(Keys(store, {4, 0}), "a=1 c=3 e=2 ");
  CHECK_EQ(Keys(store, {2, 0}), "a=1 c=2 d=1 e=2 ");
  CHECK_EQ(Keys(store, {1, 0}), "a=1 b=1 c=1 d=1 e=1 ");
  const std::pair<const char*, const char*> wanted[] = {
      {"a", "1"}, {"b", "(absent)"}, {"c", "3"}, {"d", "5"}, {"e", "(absent)"}, {"f", "(absent)"}};
  for (const auto& [key, value] : wanted) CHECK_EQ(GetValue(store, key), value);
  CHECK_EQ(GetValue(store, "d", {4, 0}), "(absent)");
  CHECK_EQ(GetValue(store, "d", {3, 0}), "1");
  const int before = log.gets;
  CHECK_EQ(GetValue(store, "c"), "3");
  CHECK_EQ(log.gets.load(), before);  // the runs were not asked
}

TEST("a range delete hides older versions of its own table and of those below") {
  TableLog log;
  Store store({.shards = 2});
  std::vector<OwnedCell> parts[2];
  for (const char* const key : {"a", "b", "c", "d", "e", "f"}) {
    parts[store.ShardOf(key)].push_back({key, "1", 1});
  }
  RunList runs;
  for (uint32_t shard = 0; shard < 2; shard++) {
    const auto run = MakeRun(&log, shard + 1, 1, parts[shard], {{"e", "f", false, {2}}});
    RunInfo info = run->info();
    info.shard = shard;
    runs.push_back(std::make_shared<MemoryRun>(
        info, parts[shard], std::vector<RangeFragment>{{"e", "f", false, {2}}}, &log));
  }
  store.LoadRuns(runs);
  Writer writer(&store);
  writer.seq = 2;
  store.Publish(2);
  CHECK_EQ(Keys(store), "a=1 b=1 c=1 d=1 f=1 ");
  CHECK_EQ(Keys(store, {1, 0}), "a=1 b=1 c=1 d=1 e=1 f=1 ");
  writer.Put("c", "3");
  writer.DelRange("b", "d");
  writer.Put("bb", "5");
  CHECK_EQ(Keys(store), "a=1 bb=5 d=1 f=1 ");
  CHECK_EQ(GetValue(store, "b"), "(absent)");
  CHECK_EQ(GetValue(store, "c"), "(absent)");
  CHECK_EQ(GetValue(store, "c", {3, 0}), "3");
  CHECK_EQ(GetValue(store, "bb"), "5");
  store.Seal();
  CHECK_EQ(Keys(store), "a=1 bb=5 d=1 f=1 ");
  writer.Put("c", "6");
  writer.Put("e", "7");
  CHECK_EQ(Keys(store), "a=1 bb=5 c=6 d=1 e=7 f=1 ");
  writer.DelRange("", "", true);
  CHECK_EQ(Keys(store), "");
  CHECK_EQ(Keys(store, {7, 0}), "a=1 bb=5 c=6 d=1 e=7 f=1 ");
  CHECK_EQ(GetValue(store, "a"), "(absent)");
}

TEST("an expired version hides what lies below it") {
  Store store({.shards = 1});
  Writer writer(&store);
  writer.Put("k", "old");
  store.Seal();
  writer.Put("k", "new", 1000);
  CHECK_EQ(GetValue(store, "k", {2, 999}), "new");
  CHECK_EQ(GetValue(store, "k", {2, 1000}), "(absent)");
  CHECK_EQ(Keys(store, {2, 999}), "k=new ");
  CHECK_EQ(Keys(store, {2, 1000}), "");
}

// A walk that begins forward and turns at each entry, over keys that several tables have.
TEST("an iterator turns around anywhere, with versions of its key in every table") {
  Keeper keeper({.shards = 2});
  Store& store = keeper.store();
  Writer writer(&store);
  for (int layer = 0; layer < 4; layer++) {
    for (int i = layer; i < 40; i += layer + 1) {
      writer.Put("key" + std::to_string(100 + i), std::to_string(layer));
    }
    if (layer < 3) store.Seal();
    if (layer < 2) REQUIRE(keeper.Flush());
  }
  const ReadGuard guard(&store);
  const auto iterator = store.NewIterator({writer.seq, 0});
  int at = 0;
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next(), at++) {
    const std::string key = iterator->entry().key.ToString();
    const std::string value = iterator->entry().value.ToString();
    CHECK_EQ(key, "key" + std::to_string(100 + at));
    for (const bool forward_first : {false, true}) {
      const bool at_edge = forward_first ? at == 39 : at == 0;
      if (at_edge) continue;
      forward_first ? iterator->Next() : iterator->Prev();
      REQUIRE(iterator->Valid());
      CHECK_EQ(iterator->entry().key.ToString(),
               "key" + std::to_string(100 + at + (forward_first ? 1 : -1)));
      forward_first ? iterator->Prev() : iterator->Next();
      REQUIRE(iterator->Valid());
      CHECK_EQ(iterator->entry().key.ToString(), key);
      CHECK_EQ(iterator->entry().value.ToString(), value);
    }
  }
  CHECK_EQ(at, 40);
}

TEST("an error of a run is the answer of Get, and ends a walk at once") {
  TableLog log;
  Store store({.shards = 1});
  store.LoadRuns({MakeRun(&log, 1, 1, {{"a", "1", 1}, {"c", "1", 1}})});
  Writer writer(&store);
  writer.seq = 1;
  writer.Put("b", "2");
  writer.Put("d", "2");
  const ReadGuard guard(&store);
  const ReadPoint at{writer.seq, 0};
  const auto iterator = store.NewIterator(at);
  iterator->SeekToFirst();
  REQUIRE(iterator->Valid());
  log.fails = true;
  Entry entry;
  const Result<bool> failed = store.Get("c", at, &entry);
  REQUIRE(!failed.ok());
  CHECK(failed.status().Is(Code::kCorrupt));
  CHECK_EQ(failed.status().file(), "/runs/1");
  CHECK_EQ(failed.status().offset(), 4096);
  CHECK_EQ(GetValue(store, "b"), "2");  // found above the damage
  iterator->Next();
  CHECK(!iterator->Valid());
  CHECK(iterator->status().Is(Code::kCorrupt));
  for (int way = 0; way < 4; way++) {
    if (way == 0) iterator->Seek("b");
    if (way == 1) iterator->SeekForPrev("d");
    if (way == 2) iterator->SeekToFirst();
    if (way == 3) iterator->SeekToLast();
    CHECK(!iterator->Valid());
    CHECK(iterator->status().Is(Code::kCorrupt));
  }
  CHECK(store.DigestShard(0, at).status().Is(Code::kCorrupt));
  log.fails = false;
  iterator->SeekForPrev("c");
  CHECK_OK(iterator->status());
  REQUIRE(iterator->Valid());
  CHECK_EQ(iterator->entry().key.ToString(), "c");
  log.fails = true;
  iterator->Next();  // a turn, which has to seek
  CHECK(!iterator->Valid());
  CHECK(iterator->status().Is(Code::kCorrupt));
}

TEST("a walk does not pass over a damaged run into the next one") {
  TableLog sound;
  TableLog damaged;
  Store store({.shards = 1});
  store.LoadRuns({MakeRun(&sound, 1, 1, {{"a", "1", 1}}, {}, Extent{"a", "b", false}),
                  MakeRun(&damaged, 2, 1, {{"b", "1", 1}}, {}, Extent{"b", "c", false}),
                  MakeRun(&sound, 3, 1, {{"c", "1", 1}}, {}, Extent{"c", "d", false})});
  store.Publish(1);
  damaged.fails = true;
  const ReadGuard guard(&store);
  const auto iterator = store.NewIterator({1, 0});
  for (const bool forward : {true, false}) {
    forward ? iterator->SeekToFirst() : iterator->SeekToLast();
    CHECK_OK(iterator->status());
    REQUIRE(iterator->Valid());
    CHECK_EQ(iterator->entry().key.ToString(), forward ? "a" : "c");
    forward ? iterator->Next() : iterator->Prev();
    CHECK(!iterator->Valid());
    CHECK(iterator->status().Is(Code::kCorrupt));
  }
}

TEST("what a set holds lives until the last guard of before the swap is left") {
  TableLog log;
  Store store({.shards = 1});
  store.LoadRuns({MakeRun(&log, 1, 1, {{"a", "old", 1}})});
  Writer writer(&store);
  writer.seq = 1;
  store.Publish(1);
  Entry entry;
  {
    const ReadGuard guard(&store);
    REQUIRE(Found(store, "a", {1, 0}, &entry));
    store.InstallRuns(store.runs()->All(), {MakeRun(&log, 2, 1, {{"a", "new", 1}})});
    store.Reclaim();
    CHECK_EQ(log.destroyed.load(), 0);
    CHECK_EQ(entry.value.ToString(), "old");
    CHECK_EQ(GetValue(store, "a"), "new");
    const ReadGuard later(&store);
    store.Reclaim();
    CHECK_EQ(log.destroyed.load(), 0);
  }
  {
    const ReadGuard guard(&store);  // of after the swap: holds up nothing
    store.Reclaim();
    CHECK_EQ(log.destroyed.load(), 1);
  }
  CHECK_EQ(store.runs()->count(), 1);
}

TEST("everything is let go with the store, replaced or not") {
  TableLog log;
  {
    Store store({.shards = 1});
    store.LoadRuns({MakeRun(&log, 1, 1, {{"a", "1", 1}})});
    Writer writer(&store);
    writer.seq = 1;
    writer.Put("b", std::string(1 << 20, 'v'));
    store.Seal();
    writer.Put("c", "3");
    store.InstallRuns(store.runs()->All(), {MakeRun(&log, 2, 1, {{"a", "1", 1}})});
  }
  CHECK_EQ(log.destroyed.load(), 2);
}

TEST("sealing empty memtables does nothing, and an empty memtable stays at the bottom") {
  Store store({.shards = 4});
  store.Seal();
  CHECK(store.OldestSealed() == nullptr);
  Writer writer(&store);
  writer.Put("k", "v");
  writer.Del("k");
  PurgeAll(&store);
  store.Seal();  // the deletion is gone: nothing to keep
  CHECK(store.OldestSealed() == nullptr);
  writer.Put("k", "v");
  CHECK_GT(store.active_bytes(), 0);
  store.Seal();
  REQUIRE(store.OldestSealed() != nullptr);
  CHECK_EQ(store.active_bytes(), 0);
  const uint32_t used = store.ShardOf("k");
  std::string other = "x";
  while (store.ShardOf(other) == used) other += "x";
  writer.Del(other);
  writer.Del("k");
  PurgeAll(&store);
  // The one must hide what lies below, the other has nothing below.
  store.Seal();
  CHECK_EQ(store.stats().sealed_bytes, store.stats().memtable_bytes);
  uint32_t cells[4] = {};
  for (const auto& sealed = store.OldestSealed(); true;) {
    store.InstallFlush(sealed, {});
    break;
  }
  const auto newest = store.OldestSealed();
  REQUIRE(newest != nullptr);
  for (uint32_t shard = 0; shard < 4; shard++) {
    const auto stream = newest->NewStream(shard);
    Cell cell;
    while (stream->Next(&cell).value()) cells[shard]++;
  }
  CHECK_EQ(cells[used], 1);
  CHECK_EQ(cells[store.ShardOf(other)], 0);
}

TEST("the stream of a sealed memtable has every version, and its ranges beside") {
  Store store({.shards = 1});
  Writer writer(&store);
  writer.Put("base", "0");
  store.Seal();
  writer.Put("b", "2");
  const uint64_t view = store.AddView(writer.seq);
  writer.Put("a", "3", 77);
  writer.Put("b", "4");
  writer.Del("b");
  writer.Del("zz");
  writer.DelRange("a", "b");
  store.Seal();
  store.InstallFlush(store.OldestSealed(), {});
  const auto sealed = store.OldestSealed();
  const auto stream = sealed->NewStream(0);
  std::string text;
  Cell cell;
  while (stream->Next(&cell).value()) {
    text += cell.key.ToString() + "@" + std::to_string(cell.seq) + (cell.deleted ? "-" : "+");
    text += cell.value.ToString() + (cell.expires_at_ms == 77 ? "!" : "") + " ";
  }
  // Version 4 of b was never at a read point that is protected, unless upkeep did not come to it.
  CHECK(text == "a@3+3! b@5- b@4+4 b@2+2 zz@6- " || text == "a@3+3! b@5- b@2+2 zz@6- ");
  REQUIRE(sealed->ranges(0) != nullptr);
  CHECK_EQ(sealed->ranges(0)->fragments().size(), 1);
  CHECK_EQ(sealed->ranges(0)->CoverAt("a", writer.seq), 7);
  store.ReleaseView(view);
}

TEST("keys are counted exactly without runs, and with runs what was not merged counts") {
  Keeper keeper({.shards = 2});
  Store& store = keeper.store();
  Writer writer(&store);
  for (int i = 0; i < 100; i++) writer.Put("k" + std::to_string(i), "v");
  for (int i = 0; i < 100; i += 2) writer.Del("k" + std::to_string(i));
  CHECK_EQ(store.stats().keys_estimate, 50);
  store.Seal();
  CHECK_EQ(store.stats().keys_estimate, 50);
  REQUIRE(keeper.Flush());
  CHECK_EQ(store.stats().keys_estimate, 50);
  CHECK_EQ(store.stats().sealed_bytes, 0);
  for (int i = 0; i < 100; i += 4) writer.Put("k" + std::to_string(i), "new");
  CHECK_EQ(store.stats().keys_estimate, 75);
  store.Seal();
  REQUIRE(keeper.Flush());
  const auto merge_all = [&keeper] {
    while (keeper.Merge("", "", true)) {
    }
  };
  merge_all();
  CHECK_EQ(store.stats().keys_estimate, 75);
  writer.Del("k1");
  store.Seal();
  REQUIRE(keeper.Flush());
  CHECK_EQ(store.stats().keys_estimate, 75);  // the deletion counts for nothing
  merge_all();
  CHECK_EQ(store.stats().keys_estimate, 74);
}

TEST("many range deletes above other tables ask for sealing, and equal ones are one") {
  Store store({.shards = 2});
  Writer writer(&store);
  writer.Put("k", "v");
  store.Seal();
  for (int i = 0; i < 1000; i++) writer.DelRange("a", "b");
  CHECK_LE(store.stats().range_tombstones, 2);
  CHECK_LE(store.active_bytes(), 1 << 20);
  for (int i = 0; i < 4096; i++) {
    const std::string lower = "r" + std::to_string(100000 + i);
    writer.DelRange(lower, lower + "x");
  }
  CHECK_GE(store.active_bytes(), uint64_t{64} << 20);
  CHECK_EQ(GetValue(store, "r100000"), "(absent)");
  store.Seal();
  CHECK_EQ(store.active_bytes(), 0);
}

TEST("a batch of many range deletes is laid once, however they lie") {
  constexpr uint64_t kDeletes = 20000;
  for (const bool nested : {false, true}) {
    TableLog log;
    Store store({.shards = 1});
    store.LoadRuns({MakeRun(&log, 1, 1, {{"00010000x", "1", 1}})});
    std::vector<std::string> keys(2 * kDeletes);
    for (uint64_t i = 0; i < keys.size(); i++) {
      keys[i] = std::to_string(100000000 + i).substr(1);
    }
    const uint64_t laid = RangeSet::FragmentsLaid();
    for (uint64_t i = 0; i < kDeletes; i++) {
      const size_t lower = nested ? i : 2 * i;
      const size_t upper = nested ? keys.size() - 1 - i : 2 * i + 1;
      Mutation mutation = DelRangeOf(keys[lower], keys[upper], i + 2);
      mutation.last = i + 1 == kDeletes;
      store.Apply(mutation);
    }
    store.Publish(kDeletes + 1);
    CHECK_LE(RangeSet::FragmentsLaid() - laid, 2 * kDeletes);
    CHECK_EQ(GetValue(store, "00010000x"), "(absent)");
    CHECK_EQ(GetValue(store, "00010000x", {1, 0}), "1");
  }
}

TEST("range deletes count as memory of the memtables, with their keys") {
  for (const bool bottom : {false, true}) {
    TableLog log;
    Store store({.shards = 1});
    if (!bottom) store.LoadRuns({MakeRun(&log, 1, 1, {{"a", "1", 1}})});
    uint64_t seq = 1;
    // At the bottom a small range is deleted key by key.
    for (int i = 0; i < 200; i++) store.Apply(PutOf("k" + std::to_string(i), "v", ++seq));
    const uint64_t before = store.stats().memtable_bytes;
    const std::string lower = "k" + std::string(30000, '0');
    for (int i = 0; i < 100; i++) {
      store.Apply(DelRangeOf(lower + std::to_string(i + 100), "l" + std::to_string(i), ++seq));
    }
    CHECK_GE(store.stats().memtable_bytes, before + 100 * 30000);
    CHECK_GE(store.active_bytes(), before + 100 * 30000);
  }
}

TEST("a range delete above others keeps what a view can tell apart") {
  TableLog log;
  Store store({.shards = 1});
  store.LoadRuns({MakeRun(&log, 1, 1, {{"a", "1", 1}, {"b", "1", 1}})});
  Writer writer(&store);
  writer.seq = 1;
  store.Publish(1);
  const uint64_t first = store.AddView(1);
  writer.DelRange("a", "b");
  const uint64_t view = store.AddView(writer.seq);
  for (int i = 0; i < 200; i++) writer.DelRange("a", "b");
  CHECK_EQ(Keys(store, {1, 0}), "a=1 b=1 ");
  CHECK_EQ(Keys(store, {2, 0}), "b=1 ");
  CHECK_EQ(GetValue(store, "a", {2, 0}), "(absent)");
  store.ReleaseView(first);
  store.ReleaseView(view);
}

TEST("a level is searched by extent, whatever its bounds share") {
  TableLog log;
  Random random(11);
  for (const char* const shared : {"", "user:", "a-prefix-of-more-than-eight-bytes:"}) {
    RunList runs;
    std::vector<std::string> bounds;
    for (int i = 0; i < 40; i++) {
      bounds.push_back(shared + std::string(random.Below(3), '\0') +
                       std::to_string(random.Below(5000)));
    }
    std::sort(bounds.begin(), bounds.end());
    bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
    for (size_t i = 0; i + 1 < bounds.size(); i += random.Below(2) + 1) {
      const Extent extent{bounds[i], bounds[i + 1], false};
      runs.push_back(MakeRun(&log, i + 1, 1, {{bounds[i], "v", 1}}, {}, extent));
    }
    const LevelIndex level(runs);
    for (int i = 0; i < 3000; i++) {
      std::string key = shared + std::to_string(random.Below(5000));
      if (i < 200) key = bounds[random.Below(bounds.size())];
      if (i % 7 == 0) key.resize(random.Below(key.size() + 1));
      if (i % 11 == 0) key += '\0';
      const Run* holding = nullptr;
      size_t behind = runs.size();
      size_t from = runs.size();
      for (size_t at = 0; at < runs.size(); at++) {
        const Extent& extent = runs[at]->info().extent;
        if (extent.lower <= key) from = at;
        if (key < extent.upper && behind == runs.size()) behind = at;
        if (extent.lower <= key && key < extent.upper) holding = runs[at].get();
      }
      CHECK_EQ(level.FirstBehind(key), behind);
      CHECK_EQ(level.LastFrom(key), from);
      CHECK(level.Holding(key) == holding);
    }
  }
}

TEST("the runs of a level are opened one at a time, as a walk gets there") {
  TableLog log;
  Store store({.shards = 1});
  RunList runs;
  for (int i = 0; i < 10; i++) {
    const std::string lower(1, static_cast<char>('a' + i));
    const std::string upper(1, static_cast<char>('b' + i));
    std::vector<OwnedCell> cells;
    if (i != 5) cells = {{lower, "1", 1}, {lower + "5", "1", 1}};
    std::vector<RangeFragment> ranges;
    if (i == 5) ranges = {{lower, upper, false, {1}}};  // nothing but a range delete
    runs.push_back(
        MakeRun(&log, static_cast<uint64_t>(i) + 1, 1, cells, ranges, Extent{lower, upper, false}));
  }
  store.LoadRuns(runs);
  store.Publish(1);
  const ReadGuard guard(&store);
  const auto iterator = store.NewIterator({1, 0});
  CHECK_EQ(log.iterators.load(), 0);
  iterator->Seek("d2");
  CHECK_EQ(log.iterators.load(), 1);
  CHECK_EQ(iterator->entry().key.ToString(), "d5");
  iterator->Next();
  CHECK_EQ(log.iterators.load(), 2);
  iterator->Next();
  iterator->Next();  // over the run without cells
  CHECK_EQ(iterator->entry().key.ToString(), "g");
  CHECK_EQ(log.iterators.load(), 4);
  iterator->Prev();
  CHECK_EQ(iterator->entry().key.ToString(), "e5");
  iterator->Seek("k");
  CHECK(!iterator->Valid());
  iterator->SeekForPrev("A");
  CHECK(!iterator->Valid());
  iterator->SeekForPrev("z");
  CHECK_EQ(iterator->entry().key.ToString(), "j5");
  const int before = log.iterators;
  CHECK_EQ(GetValue(store, "j5"), "1");
  CHECK_EQ(log.iterators.load(), before);
}

// A wide range delete over many cells must not be walked cell by cell.
TEST("a walk seeks behind what a range delete hides in the tables below") {
  TableLog log;
  Store store({.shards = 1});
  std::vector<OwnedCell> cells;
  for (int i = 10000; i < 30000; i++) cells.push_back({"k" + std::to_string(i), "v", 1});
  store.LoadRuns({MakeRun(&log, 1, 1, cells)});
  Writer writer(&store);
  writer.seq = 1;
  writer.DelRange("k10005", "k29990");
  writer.Put("k20000", "again");
  std::string wanted;
  for (int i = 10000; i < 10005; i++) wanted += "k" + std::to_string(i) + "=v ";
  wanted += "k20000=again ";
  const int gets = log.gets;
  CHECK_EQ(GetValue(store, "k15000"), "(absent)");
  CHECK_EQ(log.gets.load(), gets);  // what lies below is older
  for (int i = 29990; i < 30000; i++) wanted += "k" + std::to_string(i) + "=v ";
  CHECK_EQ(Keys(store), wanted);
  CHECK_EQ(Keys(store, {writer.seq, 0}, false).size(), wanted.size());
  writer.DelRange("k", "", true);
  CHECK_EQ(Keys(store), "");
  CHECK_EQ(Keys(store, {writer.seq, 0}, false), "");
  CHECK_LE(log.moves.load(), 200);
  const ReadGuard guard(&store);
  const auto iterator = store.NewIterator({writer.seq - 1, 0});
  iterator->Seek("k10004");
  iterator->Next();
  CHECK_EQ(iterator->entry().key.ToString(), "k20000");
  iterator->Prev();
  CHECK_EQ(iterator->entry().key.ToString(), "k10004");
  iterator->Next();
  iterator->Next();
  CHECK_EQ(iterator->entry().key.ToString(), "k29990");
}

TEST("protected sequences are the floor and the views") {
  Store store({.shards = 1});
  Writer writer(&store);
  for (int i = 0; i < 10; i++) writer.Put("k", "v");
  const uint64_t first = store.AddView(10);
  for (int i = 0; i < 10; i++) writer.Put("k", "v");
  const uint64_t second = store.AddView(20);
  const uint64_t third = store.AddView(10);
  writer.Put("k", "v");
  CHECK(store.ProtectedSeqs() == (std::vector<uint64_t>{21, 10, 20}));
  {
    const ReadGuard guard(&store);
    writer.Put("k", "v");
    CHECK(store.ProtectedSeqs() == (std::vector<uint64_t>{21, 10, 20}));
  }
  store.ReleaseView(first);
  CHECK(store.ProtectedSeqs() == (std::vector<uint64_t>{22, 10, 20}));
  store.ReleaseView(second);
  store.ReleaseView(third);
  CHECK(store.ProtectedSeqs() == (std::vector<uint64_t>{22}));
}

}  // namespace
}  // namespace gapless::table

// What a reader sees: order inside a batch, visibility, expiry, views, digests.
#include "base/hex.h"
#include "model.h"

namespace gapless::table {
namespace {

std::string DigestOf(const Store& store, const ReadPoint& at, uint64_t* keys, uint64_t* bytes) {
  DigestSum sum;
  *keys = 0;
  *bytes = 0;
  for (uint32_t shard = 0; shard < store.shards(); shard++) {
    const auto part = store.DigestShard(shard, at);
    CHECK_OK(part);
    sum.Add(part.value().sum);
    *keys += part.value().keys;
    *bytes += part.value().bytes;
  }
  return HexU128(sum.high, sum.low);
}

std::string DigestOf(const Store& store) {
  uint64_t keys = 0;
  uint64_t bytes = 0;
  return DigestOf(store, {store.visible_seq(), 0}, &keys, &bytes);
}

TEST("a guard tells the newest visible sequence") {
  Store store({.shards = 2});
  store.Apply(PutOf("a", "1", 7));
  store.Publish(7);
  const ReadGuard first(&store);
  CHECK_EQ(first.visible_seq(), 7);
  store.Publish(9);
  const ReadGuard second(&store);
  CHECK_EQ(first.visible_seq(), 7);
  CHECK_EQ(second.visible_seq(), 9);
}

TEST("what is not published is not seen") {
  Store store({.shards = 4});
  store.Apply(PutOf("a", "1", 1));
  CHECK_EQ(GetValue(store, "a"), "(absent)");
  store.Publish(1);
  CHECK_EQ(GetValue(store, "a"), "1");
  store.Apply(PutOf("a", "2", 2));
  store.Apply(DelOf("a", 3));
  store.Apply(PutOf("b", "3", 4));
  CHECK_EQ(GetValue(store, "a"), "1");
  CHECK_EQ(GetValue(store, "b"), "(absent)");
  store.Publish(2);
  CHECK_EQ(GetValue(store, "a"), "2");
  store.Publish(4);
  CHECK_EQ(GetValue(store, "a"), "(absent)");
  CHECK_EQ(GetValue(store, "b"), "3");
}

TEST("a delRange covers earlier puts of its own batch and not later ones") {
  for (const uint64_t keys : {3u, 1000u}) {  // written into the keys at once, and later
    Store store({.shards = 2});
    uint64_t seq = 0;
    for (uint64_t i = 0; i < keys; i++) store.Apply(PutOf("k" + std::to_string(i), "old", ++seq));
    store.Publish(seq);
    store.Apply(PutOf("k1", "before", ++seq));
    store.Apply(DelRangeOf("k", "l", ++seq));
    store.Apply(PutOf("k2", "after", ++seq));
    CHECK_EQ(GetValue(store, "k1"), "old");
    store.Publish(seq);
    CHECK_EQ(GetValue(store, "k0"), "(absent)");
    CHECK_EQ(GetValue(store, "k1"), "(absent)");
    CHECK_EQ(GetValue(store, "k2"), "after");
    PurgeAll(&store);
    CHECK_EQ(GetValue(store, "k1"), "(absent)");
    CHECK_EQ(GetValue(store, "k2"), "after");
    CHECK_EQ(store.stats().keys_estimate, 1);
    CHECK_EQ(store.stats().range_tombstones, 0);
  }
}

TEST("the lower bound of a delRange is inside it, the upper bound is not") {
  Store store({.shards = 3});
  uint64_t seq = 0;
  for (const char* key : {"", "a", "b", "ba", "c", "d"}) store.Apply(PutOf(key, "1", ++seq));
  store.Apply(DelRangeOf("b", "c", ++seq));
  store.Apply(DelRangeOf("d", "a", ++seq));  // an empty range
  store.Publish(seq);
  for (const char* key : {"", "a", "c", "d"}) CHECK_EQ(GetValue(store, key), "1");
  for (const char* key : {"b", "ba"}) CHECK_EQ(GetValue(store, key), "(absent)");
  store.Apply(DelRangeOf("", "", ++seq, true));
  store.Publish(seq);
  for (const char* key : {"", "a", "c", "d"}) CHECK_EQ(GetValue(store, key), "(absent)");
}

TEST("ApplyToShard writes only what belongs to the shard") {
  Store whole({.shards = 4});
  Store parts({.shards = 4});
  for (uint64_t seq = 1; seq <= 500; seq++) {
    const std::string key = "key" + std::to_string(seq);
    const Mutation mutation = seq == 400 ? DelRangeOf("key1", "key2", seq) : PutOf(key, "v", seq);
    whole.Apply(mutation);
    for (uint32_t shard = 0; shard < 4; shard++) parts.ApplyToShard(shard, mutation);
  }
  whole.Publish(500);
  parts.Publish(500);
  CHECK_EQ(DigestOf(whole), DigestOf(parts));
  CHECK_EQ(whole.stats().keys_estimate, parts.stats().keys_estimate);
}

TEST("an entry is dead at and after its expiry") {
  Store store({.shards = 1});
  store.Apply(PutOf("k", "v", 1, 1000));
  store.Publish(1);
  CHECK_EQ(GetValue(store, "k", {1, 0}), "v");
  CHECK_EQ(GetValue(store, "k", {1, 999}), "v");
  CHECK_EQ(GetValue(store, "k", {1, 1000}), "(absent)");
  const ReadGuard guard(&store);
  CHECK(!store.NewIterator({1, 999}).get()->Valid());
  const auto before = store.NewIterator({1, 999});
  before->SeekToFirst();
  REQUIRE(before->Valid());
  CHECK_EQ(before->entry().expires_at_ms, 1000);
  const auto after = store.NewIterator({1, 1000});
  after->SeekToFirst();
  CHECK(!after->Valid());
  uint64_t keys = 0;
  uint64_t bytes = 0;
  CHECK_EQ(DigestOf(store, {1, 1000}, &keys, &bytes), std::string(32, '0'));
  CHECK_EQ(keys, 0);
  (void)DigestOf(store, {1, 999}, &keys, &bytes);
  CHECK_EQ(keys, 1);
}

TEST("a view shows its sequence whatever is written and pruned behind it") {
  Store store({.shards = 2});
  uint64_t seq = 0;
  for (int i = 0; i < 500; i++) store.Apply(PutOf("k" + std::to_string(i), "first", ++seq));
  store.Publish(seq);
  const ReadPoint at{seq, 0};
  const uint64_t view = store.AddView(seq);
  CHECK_EQ(store.oldest_view_seq(), seq);
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < 500; i++) store.Apply(PutOf("k" + std::to_string(i), "later", ++seq));
    store.Publish(seq);
  }
  store.Apply(DelRangeOf("", "", ++seq, true));
  store.Publish(seq);
  PurgeAll(&store);
  for (int i = 0; i < 500; i++) CHECK_EQ(GetValue(store, "k" + std::to_string(i), at), "first");
  CHECK_EQ(GetValue(store, "k7"), "(absent)");
  uint64_t keys = 0;
  uint64_t bytes = 0;
  (void)DigestOf(store, at, &keys, &bytes);
  CHECK_EQ(keys, 500);
  store.ReleaseView(view);
  CHECK_EQ(store.oldest_view_seq(), UINT64_MAX);
}

TEST("the digest has the published vectors") {
  CHECK_EQ(DigestOf(Store({.shards = 2})), "00000000000000000000000000000000");
  const auto of = [](std::vector<std::pair<const char*, const char*>> entries) {
    Store store({.shards = 2});
    uint64_t seq = 0;
    for (const auto& [key, value] : entries) store.Apply(PutOf(key, value, ++seq));
    store.Publish(seq);
    return DigestOf(store);
  };
  const char* const fox = "The quick brown fox jumps over the lazy dog";
  CHECK_EQ(of({{"a", "1"}}), "d79e105ea63f8a35a3a5326c4c77b623");
  CHECK_EQ(of({{"user:1", fox}}), "c1d2a960f0391c8deae2717eec913f7f");
  CHECK_EQ(of({{"", ""}}), "589623161cf526f1cfa0f7ddd84c76bc");
  CHECK_EQ(of({{"a", "1"}, {"user:1", fox}, {"", ""}}), "f206dcd5b36dcdb55e289bc911556c5e");
}

TEST("the digest is the same at every shard count, over many chunks") {
  std::string digests[3];
  uint64_t keys[3];
  uint64_t bytes[3];
  int at = 0;
  for (const uint32_t shards : {1u, 2u, 8u}) {
    Store store({.shards = shards});
    uint64_t seq = 0;
    for (uint64_t i = 0; i < 20000; i++) {
      const std::string value((i * 37) % 300, static_cast<char>('a' + i % 26));
      store.Apply(PutOf("key" + std::to_string(i * 7919 % 15000), value, ++seq));
    }
    store.Apply(PutOf("large", std::string(3 << 20, 'L'), ++seq));
    store.Apply(DelRangeOf("key3", "key5", ++seq));
    store.Publish(seq);
    digests[at] = DigestOf(store, {seq, 0}, &keys[at], &bytes[at]);
    at++;
  }
  CHECK_NE(digests[0], std::string(32, '0'));
  CHECK_GT(keys[0], 5000);
  for (int i = 1; i < 3; i++) {
    CHECK_EQ(digests[i], digests[0]);
    CHECK_EQ(keys[i], keys[0]);
    CHECK_EQ(bytes[i], bytes[0]);
  }
}

TEST("a put keeps sequence and expiry, in whatever order sequences come before any is visible") {
  Store store({.shards = 4});
  for (uint64_t i = 0; i < 3000; i++) {
    const std::string key = "key" + std::to_string(100000 + i);
    store.Apply(PutOf(key, "v", 10000 - i, i % 2 == 0 ? 0 : 5000 + i));  // as from a base
  }
  store.Publish(10000);
  const ReadGuard guard(&store);
  const auto iterator = store.NewIterator({10000, 0});
  uint64_t i = 0;
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next(), i++) {
    CHECK_EQ(iterator->entry().seq, 10000 - i);
    CHECK_EQ(iterator->entry().expires_at_ms, i % 2 == 0 ? 0 : 5000 + i);
  }
  CHECK_EQ(i, 3000);
}

}  // namespace
}  // namespace gapless::table

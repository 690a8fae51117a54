// The parts below the shard: ordered index, hash index, range lists, arena and queue by themselves.
#include <algorithm>
#include <cstdio>
#include <new>

#include "base/hash.h"
#include "model.h"
#include "table/chunk_queue.h"
#include "table/hash_index.h"
#include "table/ordered_index.h"
#include "table/range_set.h"

namespace gapless::table {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kNodes = 30000;
#else
constexpr uint64_t kNodes = 300000;
#endif

struct Indexes {
  ReadGate gate;
  Arena arena;
  RetireList retired{&arena, &gate};
  HashIndex hash{&arena, &retired};
  OrderedIndex ordered{&arena, &retired};

  Node* MakeNode(const std::string& key) {
    auto* const node = static_cast<Node*>(arena.Allocate(Node::Bytes(key.size())));
    new (&node->head) std::atomic<Version*>(nullptr);
    node->hash = HashKey(key);
    node->key_size = static_cast<uint32_t>(key.size());
    node->queued = 0;
    std::memcpy(static_cast<void*>(node + 1), key.data(), key.size());
    return node;
  }
  void Reclaim() {
    retired.Seal();
    retired.Reclaim(gate.Scan().oldest_era);
  }
};

// "" when the tree holds exactly the sorted nodes.
std::string CompareTree(const OrderedIndex& tree, const std::vector<Node*>& sorted) {
  OrderedIndex::Cursor cursor(&tree);
  size_t at = 0;
  for (cursor.SeekToFirst(); cursor.Valid(); cursor.Next(), at++) {
    if (at == sorted.size() || cursor.node() != sorted[at]) return "forward, " + std::to_string(at);
  }
  if (at != sorted.size()) return "forward ends early, " + std::to_string(at);
  for (cursor.SeekToLast(); cursor.Valid(); cursor.Prev()) {
    if (at == 0 || cursor.node() != sorted[--at]) return "backward, " + std::to_string(at);
  }
  return at == 0 ? "" : "backward ends early, " + std::to_string(at);
}

void GrowAndShrink(std::vector<std::string> keys, uint64_t seed) {
  Indexes indexes;
  std::vector<Node*> nodes;
  for (const std::string& key : keys) {
    nodes.push_back(indexes.MakeNode(key));
    indexes.ordered.Insert(nodes.back());
    indexes.hash.Insert(nodes.back());
    if (nodes.size() % 64 == 0) indexes.Reclaim();
  }
  const auto by_key = [](const Node* a, const Node* b) { return a->key() < b->key(); };
  std::sort(nodes.begin(), nodes.end(), by_key);
  CHECK_EQ(CompareTree(indexes.ordered, nodes), "");
  Random random(seed);
  while (!nodes.empty() && !check::Failed()) {
    std::vector<Node*> kept;
    for (Node* const node : nodes) {
      CHECK(indexes.hash.Find(node->hash, node->key()) == node);
      if (random.Below(3) == 0) {
        kept.push_back(node);
        continue;
      }
      indexes.ordered.Remove(node);
      indexes.hash.Erase(node);
      CHECK(indexes.hash.Find(node->hash, node->key()) == nullptr);
      indexes.Reclaim();
    }
    nodes = kept;
    CHECK_EQ(CompareTree(indexes.ordered, nodes), "");
  }
}

TEST("the indexes hold keys that come ascending, descending and mixed, and let them go") {
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < kNodes; i++) {
    char text[32];
    std::snprintf(text, sizeof text, "%010llu", static_cast<unsigned long long>(i));
    keys.push_back(text);
  }
  GrowAndShrink(keys, 1);
  std::reverse(keys.begin(), keys.end());
  GrowAndShrink(keys, 2);
  Random random(3);
  for (size_t i = keys.size(); i > 1; i--) std::swap(keys[i - 1], keys[random.Below(i)]);
  GrowAndShrink(keys, 4);
}

TEST("the indexes hold keys that share long and short beginnings") {
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < 30000; i++) {
    std::string key(i % 7 * 30, 'p');
    key += std::to_string(i * 7919 % 100003);
    if (i % 3 == 0) key += std::string(i % 5, '\0');
    keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  Random random(5);
  for (size_t i = keys.size(); i > 1; i--) std::swap(keys[i - 1], keys[random.Below(i)]);
  GrowAndShrink(keys, 6);
}

TEST("the range deletes of a batch, laid at once, answer like one after the other") {
  for (uint64_t seed = 1; seed <= 200; seed++) {
    Random random(seed);
    const RangeSet* one_by_one = nullptr;
    const RangeSet* by_batches = nullptr;
    std::vector<uint64_t> ends = {0};
    for (uint64_t seq = 0; ends.size() < 6;) {
      std::vector<std::pair<std::string, std::string>> bounds(1 + random.Below(12));
      std::vector<RangeDelete> batch;
      for (auto& [lower, upper] : bounds) {
        lower = std::string(1, static_cast<char>('a' + random.Below(26)));
        upper = lower + static_cast<char>('a' + random.Below(26));
        upper[0] = static_cast<char>(upper[0] + random.Below(6));
        batch.push_back({lower, upper, random.Below(20) == 0, ++seq});
        const RangeSet* const next = RangeSet::With(one_by_one, {batch.back()});
        if (one_by_one != nullptr) one_by_one->Unref();
        one_by_one = next;
      }
      const RangeSet* const next = RangeSet::With(by_batches, batch);
      if (by_batches != nullptr) by_batches->Unref();
      by_batches = next;
      ends.push_back(seq);
      for (int i = 0; i < 100; i++) {
        const std::string key(1 + random.Below(2), static_cast<char>('a' + random.Below(30)));
        const uint64_t at = ends[random.Below(ends.size())];
        CHECK_EQ(by_batches->CoverAt(key, at), one_by_one->CoverAt(key, at));
      }
      const auto& fragments = by_batches->fragments();
      for (size_t k = 1; k < fragments.size(); k++) {
        CHECK(fragments[k - 1]->EndsAtOrBefore(fragments[k]->lower));
      }
    }
    one_by_one->Unref();
    by_batches->Unref();
  }
}

TEST("a list of range deletes answers like the deletes themselves") {
  for (uint64_t seed = 1; seed <= 30; seed++) {
    Random random(seed);
    const RangeSet* set = nullptr;
    std::vector<std::pair<Mutation, std::pair<std::string, std::string>>> all;
    for (uint64_t seq = 1; seq <= 40; seq++) {
      const std::string lower(1, static_cast<char>('a' + random.Below(26)));
      const std::string upper(1, static_cast<char>('a' + random.Below(26)));
      const bool unbounded = random.Below(10) == 0;
      if (!unbounded && lower >= upper) continue;
      const RangeSet* const next = RangeSet::With(set, {{lower, upper, unbounded, seq}});
      if (set != nullptr) set->Unref();
      set = next;
      all.push_back({DelRangeOf("", "", seq, unbounded), {lower, upper}});
      if (random.Below(8) == 0) {
        const uint64_t up_to = random.Below(seq + 1);
        const RangeSet* const rest = RangeSet::WithoutUpTo(set, up_to);
        set->Unref();
        set = rest;
        std::erase_if(all, [up_to](const auto& one) { return one.first.seq <= up_to; });
      }
      for (int i = 0; set != nullptr && i < 30; i++) {
        const std::string key(1 + random.Below(2), static_cast<char>('a' + random.Below(26)));
        const uint64_t at = random.Below(seq + 2);
        uint64_t wanted = 0;
        for (const auto& [one, bounds] : all) {
          const bool inside = key >= bounds.first && (one.unbounded || key < bounds.second);
          if (inside && one.seq <= at) wanted = std::max(wanted, one.seq);
        }
        CHECK_EQ(set->CoverAt(key, at), wanted);
      }
      CHECK_EQ(set == nullptr, all.empty());
      for (size_t i = 1; set != nullptr && i < set->fragments().size(); i++) {
        CHECK(set->fragments()[i - 1]->EndsAtOrBefore(set->fragments()[i]->lower));
      }
    }
    if (set != nullptr) set->Unref();
  }
}

TEST("the arena gives memory of every size that does not overlap, and reuses what is freed") {
  Arena arena;
  Random random(11);
  struct Piece {
    char* memory;
    size_t size;
    char fill;
  };
  std::vector<Piece> pieces;
  for (int i = 0; i < 20000; i++) {
    if (pieces.size() < 200 || random.Below(2) == 0) {
      const size_t size = random.Below(100) == 0 ? random.Below(200000) : random.Below(3000);
      auto* const memory = static_cast<char*>(arena.Allocate(size));
      const auto fill = static_cast<char>(random.Below(256));
      std::memset(memory, fill, size);
      CHECK_EQ(reinterpret_cast<uint64_t>(memory) % 16, 0);
      pieces.push_back({memory, size, fill});
      continue;
    }
    const size_t at = random.Below(pieces.size());
    const Piece piece = pieces[at];
    CHECK(std::all_of(piece.memory, piece.memory + piece.size,
                      [piece](char byte) { return byte == piece.fill; }));
    arena.Free(piece.memory, piece.size);
    pieces[at] = pieces.back();
    pieces.pop_back();
  }
  for (const Piece& piece : pieces) arena.Free(piece.memory, piece.size);
  CHECK_EQ(arena.used_bytes(), 0);
}

TEST("a queue gives back what was put in, in order") {
  ChunkQueue<uint64_t> queue;
  Random random(12);
  uint64_t in = 0;
  uint64_t out = 0;
  for (int i = 0; i < 200000; i++) {
    if (queue.empty() || random.Below(i < 100000 ? 3 : 7) < (i < 100000 ? 2u : 3u)) {
      queue.Push(in++);
    } else {
      CHECK_EQ(queue.front(), out);
      const uint64_t* const ahead = queue.Peek(3);
      if (ahead != nullptr) CHECK_EQ(*ahead, out + 3);
      CHECK_EQ(queue.Pop(), out++);
    }
    CHECK_EQ(queue.size(), in - out);
  }
}

}  // namespace
}  // namespace gapless::table

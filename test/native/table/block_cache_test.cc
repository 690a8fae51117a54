// The block cache: finding, the bound, replacement, and blocks that readers hold.
#include "table/block_cache.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "base/random.h"
#include "base/thread.h"
#include "check.h"

namespace gapless::table {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kRounds = 20000;
#else
constexpr uint64_t kRounds = 200000;
#endif

class Guard {
 public:
  explicit Guard(ReadGate* gate) : gate_(gate) {
    uint64_t visible = 0;
    slot_ = gate_->Enter(&visible);
  }
  ~Guard() { gate_->Leave(slot_); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  ReadGate* const gate_;
  uint32_t slot_ = 0;
};

// Bytes that only (run, position, size) decide, with their sum in front.
std::unique_ptr<Block> BlockFor(uint64_t run, uint64_t position, size_t size) {
  std::unique_ptr<Block> block = Block::Make(size);
  SeededRandom random(run * 1000003 + position);
  for (size_t i = 8; i < size; i++) block->bytes()[i] = static_cast<char>(random.Next());
  const uint64_t first = random.Next();
  std::memcpy(block->bytes(), &first, 8);
  return block;
}

bool IsBlockFor(const Block* block, uint64_t run, uint64_t position, size_t size) {
  const std::unique_ptr<Block> expected = BlockFor(run, position, size);
  return block->raw() == expected->raw();
}

void InsertOne(ReadGate* gate, BlockCache* cache, uint64_t position, size_t size) {
  const Guard guard(gate);
  (void)cache->Insert(1, position, Block::Make(size));
}

TEST("a block is found under its run and position only") {
  ReadGate gate;
  BlockCache cache(&gate, 1 << 20);
  const Guard guard(&gate);
  CHECK(cache.Find(7, 4096) == nullptr);
  const Block* const block = cache.Insert(7, 4096, BlockFor(7, 4096, 4096));
  CHECK(cache.Find(7, 4096) == block);
  CHECK(IsBlockFor(block, 7, 4096, 4096));
  CHECK(cache.Find(7, 8192) == nullptr);
  CHECK(cache.Find(8, 4096) == nullptr);
  const CacheStats stats = cache.stats();
  CHECK_EQ(stats.hits, 1);
  CHECK_EQ(stats.misses, 3);
  CHECK_EQ(stats.used_bytes, block->charge());
  CHECK_EQ(stats.capacity_bytes, 1 << 20);
}

TEST("the block that came first is kept") {
  ReadGate gate;
  BlockCache cache(&gate, 1 << 20);
  const Guard guard(&gate);
  const Block* const first = cache.Insert(1, 0, BlockFor(1, 0, 100));
  CHECK(cache.Insert(1, 0, BlockFor(1, 0, 100)) == first);
  CHECK_EQ(cache.stats().used_bytes, first->charge());
}

TEST("used bytes stay within the capacity and one block a part, for small and large blocks") {
  struct Case {
    uint64_t capacity;
    size_t block;
    uint64_t parts;
    double least;  // filled at least so far
  };
  const Case cases[] = {{1 << 20, 4096, 1, 0.9},       {8 << 20, 4096, 2, 0.9},
                        {64 << 20, 4200, 16, 0.9},     {16 << 20, 200 << 10, 4, 0.9},
                        {256 << 20, 3 << 20, 16, 0.7}, {4 << 20, 2100, 1, 0.75}};
  for (const Case& item : cases) {
    ReadGate gate;
    BlockCache cache(&gate, item.capacity);
    uint64_t most = 0;
    const uint64_t count = 4 * item.capacity / item.block;
    for (uint64_t i = 0; i < count; i++) {
      InsertOne(&gate, &cache, i * 4096, item.block);
      if (i % 64 == 0 || i + 100 > count) most = std::max(most, cache.stats().used_bytes);
    }
    CHECK_LE(most, item.capacity + item.parts * (item.block + sizeof(Block)));
    CHECK_GE(cache.stats().used_bytes,
             static_cast<uint64_t>(static_cast<double>(item.capacity) * item.least));
    CHECK_GE(cache.stats().evictions, count / 2);
  }
}

TEST("blocks of all sizes together stay within the capacity") {
  ReadGate gate;
  const uint64_t capacity = 32 << 20;
  BlockCache cache(&gate, capacity);
  SeededRandom random(3);
  uint64_t most = 0;
  for (uint64_t i = 0; i < 20000; i++) {
    InsertOne(&gate, &cache, i, size_t{16} << random.Below(16));
    most = std::max(most, cache.stats().used_bytes);
  }
  CHECK_LE(most, capacity + (8 << 20));
}

TEST("a block too large for the cache is retired at once and readable under the guard") {
  for (const uint64_t capacity : {uint64_t{0}, uint64_t{1} << 20}) {
    ReadGate gate;
    BlockCache cache(&gate, capacity);
    const size_t size = 300 << 10;
    {
      const Guard guard(&gate);
      const Block* const block = cache.Insert(1, 5, BlockFor(1, 5, size));
      CHECK(cache.Find(1, 5) == nullptr);
      cache.Reclaim();
      CHECK_EQ(cache.stats().used_bytes, block->charge());
      CHECK(IsBlockFor(block, 1, 5, size));
    }
    cache.Reclaim();
    CHECK_EQ(cache.stats().used_bytes, 0);
  }
}

TEST("a cache without capacity does not grow") {
  ReadGate gate;
  BlockCache cache(&gate, 0);
  for (uint64_t i = 0; i < 1000; i++) InsertOne(&gate, &cache, i, 4096);
  CHECK_LE(cache.stats().used_bytes, 4 * 4200);
}

TEST("a block that is found again and again outlives many that are not") {
  ReadGate gate;
  BlockCache cache(&gate, 1 << 20);
  for (uint64_t i = 0; i < 50; i++) InsertOne(&gate, &cache, i, 4096);
  uint64_t lost = 0;
  for (uint64_t i = 50; i < 5000; i++) {
    InsertOne(&gate, &cache, i, 4096);
    const Guard guard(&gate);
    for (uint64_t hot = 0; hot < 50; hot++) lost += cache.Find(1, hot) == nullptr ? 1 : 0;
    if (lost > 0) break;
  }
  // One may go when its bucket is full.
  CHECK_EQ(lost, 0);
}

TEST("an evicted block lives as long as a guard of before") {
  ReadGate gate;
  BlockCache cache(&gate, 1 << 20);
  {
    const Guard guard(&gate);
    const Block* const held = cache.Insert(9, 9, BlockFor(9, 9, 4096));
    for (uint64_t i = 0; i < 2000; i++) InsertOne(&gate, &cache, i, 4096);
    CHECK(cache.Find(9, 9) == nullptr);
    cache.Reclaim();
    CHECK(IsBlockFor(held, 9, 9, 4096));
    CHECK_GE(cache.stats().used_bytes, 2000 * 4096);
  }
  cache.Reclaim();
  CHECK_LE(cache.stats().used_bytes, 1 << 20);
}

TEST("a long guard does not empty the cache") {
  ReadGate gate;
  BlockCache cache(&gate, 4 << 20);
  for (uint64_t i = 0; i < 2000; i++) InsertOne(&gate, &cache, i, 4096);
  const Guard guard(&gate);
  for (uint64_t i = 2000; i < 2500; i++) InsertOne(&gate, &cache, i, 4096);
  uint64_t found = 0;
  for (uint64_t i = 0; i < 2500; i++) found += cache.Find(1, i) != nullptr ? 1 : 0;
  CHECK_GE(found, 900);
}

// One reader: finds blocks, inserts what is missing, and holds several under one guard.
void ReadBlocks(ReadGate* gate, BlockCache* cache, uint64_t seed, std::atomic<uint64_t>* bad) {
  SeededRandom random(seed);
  for (uint64_t round = 0; round < kRounds / 8; round++) {
    const Guard guard(gate);
    struct Held {
      const Block* block;
      uint64_t position;
    };
    Held held[8];
    for (Held& item : held) {
      item.position = random.Below(random.OneIn(2) ? 50 : 1000);
      item.block = cache->Find(1, item.position);
      if (item.block == nullptr) {
        const size_t size = 64 + item.position % 500;
        item.block = cache->Insert(1, item.position, BlockFor(1, item.position, size));
      }
    }
    for (const Held& item : held) {
      if (!IsBlockFor(item.block, 1, item.position, 64 + item.position % 500)) bad->fetch_add(1);
    }
  }
}

TEST("readers find whole blocks while others evict them") {
  ReadGate gate;
  BlockCache cache(&gate, 64 << 10);
  std::atomic<uint64_t> bad{0};
  std::atomic<bool> stop{false};
  Thread readers[3];
  for (uint64_t i = 0; i < 3; i++) {
    CHECK_OK(readers[i].Start("reader", [&, i] { ReadBlocks(&gate, &cache, i, &bad); }));
  }
  Thread reclaimer;
  CHECK_OK(reclaimer.Start("reclaimer", [&] {
    while (!stop.load()) cache.Reclaim();
  }));
  for (Thread& reader : readers) reader.Join();
  stop.store(true);
  reclaimer.Join();
  CHECK_EQ(bad.load(), 0);
  cache.Reclaim();
  const CacheStats stats = cache.stats();
  CHECK_LE(stats.used_bytes, 64 << 10);
  CHECK_EQ(stats.hits + stats.misses, 3 * (kRounds / 8) * 8);
  CHECK_GE(stats.evictions, 1000);
}

// A page with four children, linked from an owner as a run has it.
struct Linked {
  explicit Linked(BlockCache* cache) {
    page = cache->Insert(1, 1000, Block::Make(100, 4));
    cache->Link(nullptr, &root, page);
    for (uint32_t i = 0; i < 4; i++) {
      children[i] = cache->Insert(1, i, BlockFor(1, i, 100));
      cache->Link(page, page->link(i), children[i]);
    }
  }
  BlockLink root;
  const Block* page = nullptr;
  const Block* children[4] = {};
};

void EvictEverything(ReadGate* gate, BlockCache* cache) {
  for (uint64_t i = 0; i < 5000; i++) InsertOne(gate, cache, 5000 + i, 4096);
}

TEST("links lead to blocks while they are cached") {
  ReadGate gate;
  BlockCache cache(&gate, 1 << 20);
  const Guard guard(&gate);
  Linked linked(&cache);
  CHECK(cache.Follow(linked.root) == linked.page);
  for (uint32_t i = 0; i < 4; i++) {
    CHECK(cache.Follow(*linked.page->link(i)) == linked.children[i]);
  }
  CHECK_EQ(cache.stats().hits, 5);
  EvictEverything(&gate, &cache);
  CHECK(cache.Find(1, 1000) == nullptr);
  CHECK(cache.Follow(linked.root) == nullptr);
  for (uint32_t i = 0; i < 4; i++) CHECK(cache.Follow(*linked.page->link(i)) == nullptr);
}

TEST("neither an evicted block nor an evicted owner is linked") {
  ReadGate gate;
  BlockCache cache(&gate, 1 << 20);
  const Guard guard(&gate);
  Linked linked(&cache);
  EvictEverything(&gate, &cache);
  cache.Link(nullptr, &linked.root, linked.page);
  CHECK(cache.Follow(linked.root) == nullptr);
  const Block* const child = cache.Insert(1, 0, BlockFor(1, 0, 100));
  cache.Link(linked.page, linked.page->link(0), child);
  CHECK(cache.Follow(*linked.page->link(0)) == nullptr);
}

TEST("a child that outlives its page is linked from the page's next block") {
  ReadGate gate;
  BlockCache cache(&gate, 1 << 20);
  const Guard guard(&gate);
  const Linked linked(&cache);
  const Block* const child = linked.children[2];
  for (uint64_t i = 0; i < 2000; i++) {
    InsertOne(&gate, &cache, 5000 + i, 4096);
    CHECK(cache.Find(1, 2) == child);  // keeps it
  }
  CHECK(cache.Find(1, 1000) == nullptr);
  const Block* const page = cache.Insert(1, 1000, Block::Make(100, 4));
  cache.Link(page, page->link(2), child);
  CHECK(cache.Follow(*page->link(2)) == child);
}

TEST("links that end are forgotten") {
  ReadGate gate;
  BlockCache cache(&gate, 1 << 20);
  const Guard guard(&gate);
  auto links = std::make_unique<BlockLink[]>(2);
  const Block* const block = cache.Insert(1, 7, BlockFor(1, 7, 100));
  cache.Link(nullptr, &links[1], block);
  cache.Unlink(links.get(), 2);
  links.reset();
  EvictEverything(&gate, &cache);  // would write to the link
  BlockLink other;
  const Block* const again = cache.Insert(1, 7, BlockFor(1, 7, 100));
  cache.Link(nullptr, &other, again);
  CHECK(cache.Follow(other) == again);
}

constexpr uint64_t kPages = 20;
constexpr uint32_t kChildren = 16;

const Block* Reached(BlockCache* cache, const Block* owner, BlockLink* link, uint64_t position,
                     uint32_t links) {
  const Block* block = cache->Follow(*link);
  if (block != nullptr) return block;
  block = cache->Find(1, position);
  if (block == nullptr) {
    std::unique_ptr<Block> made = Block::Make(links == 0 ? 64 : 8, links);
    std::memset(made->bytes(), static_cast<int>(position % 251), made->raw().size());
    block = cache->Insert(1, position, std::move(made));
  }
  cache->Link(owner, link, block);
  return block;
}

bool IsFilledFor(const Block* block, uint64_t position) {
  const Slice raw = block->raw();
  return raw[0] == static_cast<char>(position % 251) && raw[raw.size() - 1] == raw[0];
}

// One reader: goes from the roots to random children.
void FollowLinks(ReadGate* gate, BlockCache* cache, BlockLink* roots, uint64_t seed,
                 std::atomic<uint64_t>* bad) {
  SeededRandom random(seed);
  for (uint64_t round = 0; round < kRounds; round++) {
    const Guard guard(gate);
    const uint64_t number = random.Below(kPages);
    const auto child = static_cast<uint32_t>(random.Below(kChildren));
    const uint64_t page_at = number * 1000;
    const Block* const page = Reached(cache, nullptr, &roots[number], page_at, kChildren);
    const Block* const block = Reached(cache, page, page->link(child), page_at + 1 + child, 0);
    if (!IsFilledFor(page, page_at) || !IsFilledFor(block, page_at + 1 + child)) bad->fetch_add(1);
  }
}

TEST("readers follow links while others evict what they lead to") {
  ReadGate gate;
  BlockCache cache(&gate, 16 << 10);
  auto roots = std::make_unique<BlockLink[]>(kPages);
  std::atomic<uint64_t> bad{0};
  Thread readers[3];
  for (uint64_t i = 0; i < 3; i++) {
    CHECK_OK(
        readers[i].Start("reader", [&, i] { FollowLinks(&gate, &cache, roots.get(), i, &bad); }));
  }
  for (Thread& reader : readers) reader.Join();
  CHECK_EQ(bad.load(), 0);
  CHECK_GE(cache.stats().evictions, 1000);
  CHECK_GE(cache.stats().hits, 1000);
  cache.Unlink(roots.get(), kPages);
}

}  // namespace
}  // namespace gapless::table

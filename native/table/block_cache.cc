// The table of blocks: parts with a lock each for inserting, buckets of one cache line for finding.
//
// A bucket holds eight ways, each a tag of 16 bits of the key's hash above a pointer of 48 bits, 0
// when free. Only the holder of the part's lock stores into ways. There are twice as many ways as
// the capacity has blocks of 4 KiB, so few buckets overflow; one that does evicts one of its own.
// The hand of CLOCK walks over the ways themselves: with large blocks most are free, and passing
// them costs 1/256 of the bytes that an eviction gives.
//
// Freeing follows ReadGate: unlink, AdvanceEra gives the tag, a later Scan says which tags are
// behind all readers. SafeEra takes a tag of its own first, so that what others retire while it
// scans is not judged by that scan.
#include "table/block_cache.h"

#include <algorithm>
#include <deque>
#include <vector>

#include "base/assert.h"
#include "base/mutex.h"

namespace gapless::table {
namespace {

constexpr uint32_t kWays = 8;
constexpr uint32_t kPartsMax = 16;
constexpr uint64_t kPartBytesMin = 4 << 20;
constexpr uint64_t kBytesPerWay = 2048;
constexpr uint32_t kCounters = 32;
constexpr uint64_t kRetiredShare = 64;  // of a part: so much retired is worth a scan

constexpr int kTagShift = 48;
constexpr uint64_t kPointerMask = (uint64_t{1} << kTagShift) - 1;

uint64_t HashOf(uint64_t run, uint64_t position) {
  uint64_t hash = (run * 0x9e3779b97f4a7c15) ^ position;
  hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93;
  hash = (hash ^ (hash >> 29)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 32);
}

// The high bits choose the bucket, the low ones the part and the tag.
uint64_t TagOf(uint64_t hash) { return (hash >> 4) << kTagShift; }

uint64_t BucketOf(uint64_t hash, uint64_t buckets) { return ((hash >> 32) * buckets) >> 32; }

const Block* BlockOf(uint64_t way) { return reinterpret_cast<const Block*>(way & kPointerMask); }

struct alignas(64) Bucket {
  std::atomic<uint64_t> ways[kWays] = {};
};

// Alone on its cache line. Threads beyond kCounters share one and may lose counts: an addition that
// locks would cost a hit a tenth of its time.
struct alignas(64) Counter {
  std::atomic<uint64_t> hits{0};
  std::atomic<uint64_t> misses{0};
};

void Count(std::atomic<uint64_t>* counter) {
  counter->store(counter->load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// Marked blocks are the hot ones: their line stays shared between the readers.
void Mark(std::atomic<bool>* marked) {
  if (!marked->load(std::memory_order_relaxed)) marked->store(true, std::memory_order_relaxed);
}

uint32_t CounterHint() {
  static std::atomic<uint32_t> threads{0};
  thread_local const uint32_t hint = threads.fetch_add(1, std::memory_order_relaxed) % kCounters;
  return hint;
}

struct Retired {
  std::unique_ptr<const Block> block;
  uint64_t era = 0;
};

struct alignas(64) Part {
  std::unique_ptr<Bucket[]> buckets;  // the pointer is constant, ways are atomics
  mutable Mutex mutex;
  uint64_t hand GUARDED_BY(mutex) = 0;  // a way
  uint64_t live_bytes GUARDED_BY(mutex) = 0;
  uint64_t retired_bytes GUARDED_BY(mutex) = 0;
  uint64_t evictions GUARDED_BY(mutex) = 0;
  std::deque<Retired> retired GUARDED_BY(mutex);  // eras rise
};

using Garbage = std::vector<std::unique_ptr<const Block>>;

}  // namespace

class BlockCache::Impl {
 public:
  Impl(ReadGate* gate, uint64_t capacity_bytes);
  ~Impl();

  const Block* Find(uint64_t run, uint64_t position);
  const Block* Follow(const BlockLink& link);
  void Link(const Block* owner, BlockLink* link, const Block* block) EXCLUDES(links_mutex_);
  void Unlink(BlockLink* links, uint32_t count) EXCLUDES(links_mutex_);
  const Block* Insert(uint64_t run, uint64_t position, std::unique_ptr<Block> block);
  void Reclaim();
  CacheStats stats() const;

 private:
  Part& PartOf(uint64_t hash) { return parts_[hash & (part_count_ - 1)]; }
  static const Block* Search(const Bucket& bucket, uint64_t hash, uint64_t run, uint64_t position);
  uint64_t SafeEra();
  void MakeRoom(Part* part, uint64_t bytes, Garbage* garbage) REQUIRES(part->mutex);
  bool EvictOne(Part* part) REQUIRES(part->mutex);
  std::atomic<uint64_t>* FreeWay(Part* part, Bucket* bucket) REQUIRES(part->mutex);
  void Evict(Part* part, std::atomic<uint64_t>* way) REQUIRES(part->mutex);
  void Unhook(const Block* block) EXCLUDES(links_mutex_);
  void ClearLinks(BlockLink* links, uint32_t count) REQUIRES(links_mutex_);
  void Retire(Part* part, const Block* block) REQUIRES(part->mutex);
  void TakeFree(Part* part, uint64_t safe_era, Garbage* garbage) REQUIRES(part->mutex);

  ReadGate* const gate_;
  const uint64_t capacity_;
  uint32_t part_count_ = 1;  // a power of two
  uint64_t part_bytes_ = 0;
  uint64_t bucket_count_ = 0;  // of each part
  std::unique_ptr<Part[]> parts_;
  std::atomic<uint64_t> retired_blocks_{0};
  Mutex links_mutex_;  // behind that of a part
  Counter counters_[kCounters];
};

BlockCache::Impl::Impl(ReadGate* gate, uint64_t capacity_bytes)
    : gate_(gate), capacity_(capacity_bytes) {
  while (part_count_ < kPartsMax && capacity_ / (part_count_ * 2) >= kPartBytesMin) {
    part_count_ *= 2;
  }
  part_bytes_ = capacity_ / part_count_;
  bucket_count_ = std::min(part_bytes_ / (kBytesPerWay * kWays) + 1, uint64_t{1} << 31);
  parts_ = std::make_unique<Part[]>(part_count_);
  for (uint32_t i = 0; i < part_count_; i++) {
    parts_[i].buckets = std::make_unique<Bucket[]>(bucket_count_);
  }
}

// Nobody reads any more.
BlockCache::Impl::~Impl() {
  for (uint32_t i = 0; i < part_count_; i++) {
    for (uint64_t b = 0; b < bucket_count_; b++) {
      for (const auto& way : parts_[i].buckets[b].ways) {
        delete BlockOf(way.load(std::memory_order_relaxed));
      }
    }
  }
}

const Block* BlockCache::Impl::Search(const Bucket& bucket, uint64_t hash, uint64_t run,
                                      uint64_t position) {
  const uint64_t tag = TagOf(hash);
  for (const auto& way : bucket.ways) {
    const uint64_t word = way.load(std::memory_order_acquire);
    if (word == 0 || (word & ~kPointerMask) != tag) continue;
    const Block* const block = BlockOf(word);
    if (block->run_ != run || block->position_ != position) continue;
    Mark(&block->marked_);
    return block;
  }
  return nullptr;
}

const Block* BlockCache::Impl::Find(uint64_t run, uint64_t position) {
  const uint64_t hash = HashOf(run, position);
  const Bucket& bucket = PartOf(hash).buckets[BucketOf(hash, bucket_count_)];
  const Block* const block = Search(bucket, hash, run, position);
  Counter& counter = counters_[CounterHint()];
  Count(block != nullptr ? &counter.hits : &counter.misses);
  return block;
}

const Block* BlockCache::Impl::Follow(const BlockLink& link) {
  const Block* const block = link.block_.load(std::memory_order_acquire);
  if (block == nullptr) return nullptr;
  Mark(&block->marked_);
  Count(&counters_[CounterHint()].hits);
  return block;
}

void BlockCache::Impl::Link(const Block* owner, BlockLink* link, const Block* block) {
  const MutexLock lock(&links_mutex_);
  // An owner that is evicted, or a block: nobody would clear the link.
  if (!block->cached_ || (owner != nullptr && !owner->cached_) || block->home_ != nullptr) return;
  block->home_ = link;
  link->block_.store(block, std::memory_order_release);
}

void BlockCache::Impl::Unlink(BlockLink* links, uint32_t count) {
  const MutexLock lock(&links_mutex_);
  ClearLinks(links, count);
}

void BlockCache::Impl::ClearLinks(BlockLink* links, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    const Block* const child = links[i].block_.load(std::memory_order_relaxed);
    if (child == nullptr) continue;
    child->home_ = nullptr;  // it is still cached, or the link would be clear
    links[i].block_.store(nullptr, std::memory_order_relaxed);  // ordered by AdvanceEra
  }
}

// What leads to an evicted block, and from it.
void BlockCache::Impl::Unhook(const Block* block) {
  const MutexLock lock(&links_mutex_);
  block->cached_ = false;
  if (block->home_ != nullptr) block->home_->block_.store(nullptr, std::memory_order_relaxed);
  block->home_ = nullptr;
  ClearLinks(block->links(), block->link_count_);
}

const Block* BlockCache::Impl::Insert(uint64_t run, uint64_t position,
                                      std::unique_ptr<Block> block) {
  const uint64_t hash = HashOf(run, position);
  const uint64_t bytes = block->charge();
  Part& part = PartOf(hash);
  Bucket& bucket = part.buckets[BucketOf(hash, bucket_count_)];
  block->run_ = run;
  block->position_ = position;
  Garbage garbage;  // destroyed behind the lock
  const MutexLock lock(&part.mutex);
  const Block* const present = Search(bucket, hash, run, position);
  if (present != nullptr) {
    garbage.push_back(std::move(block));
    return present;
  }
  MakeRoom(&part, bytes, &garbage);
  const Block* const kept = block.release();
  if (bytes > part_bytes_ / 4) {
    Retire(&part, kept);
    return kept;
  }
  const auto pointer = reinterpret_cast<uint64_t>(kept);
  GAPLESS_ASSERT((pointer & ~kPointerMask) == 0);
  kept->cached_ = true;  // no other thread knows it yet
  FreeWay(&part, &bucket)->store(TagOf(hash) | pointer, std::memory_order_release);
  part.live_bytes += bytes;
  return kept;
}

// Evicts until `bytes` more fit. A share of the part is left for what is retired and not yet free.
// More of that, which only held guards cause, evicts nothing: it would empty the cache for nothing.
void BlockCache::Impl::MakeRoom(Part* part, uint64_t bytes, Garbage* garbage) {
  const uint64_t spare = part_bytes_ / kRetiredShare;
  if (part->retired_bytes >= spare) TakeFree(part, SafeEra(), garbage);
  if (bytes > part_bytes_ / 4) return;
  while (part->live_bytes + bytes > part_bytes_ - spare && EvictOne(part)) {
  }
}

bool BlockCache::Impl::EvictOne(Part* part) {
  const uint64_t ways = bucket_count_ * kWays;
  // Twice around passes every mark. A third time allows for readers that mark meanwhile.
  for (uint64_t step = 0; step < 3 * ways; step++) {
    const uint64_t at = part->hand;
    part->hand = at + 1 == ways ? 0 : at + 1;
    std::atomic<uint64_t>* const way = &part->buckets[at / kWays].ways[at % kWays];
    const uint64_t word = way->load(std::memory_order_relaxed);
    if (word == 0) continue;
    const Block* const block = BlockOf(word);
    if (step < 2 * ways && block->marked_.load(std::memory_order_relaxed)) {
      block->marked_.store(false, std::memory_order_relaxed);
      continue;
    }
    Evict(part, way);
    return true;
  }
  return false;
}

// A free way of the bucket; evicts when there is none.
std::atomic<uint64_t>* BlockCache::Impl::FreeWay(Part* part, Bucket* bucket) {
  std::atomic<uint64_t>* victim = nullptr;
  for (auto& way : bucket->ways) {
    const uint64_t word = way.load(std::memory_order_relaxed);
    if (word == 0) return &way;
    if (victim == nullptr && !BlockOf(word)->marked_.load(std::memory_order_relaxed)) {
      victim = &way;
    }
  }
  if (victim == nullptr) {
    for (auto& way : bucket->ways) {
      BlockOf(way.load(std::memory_order_relaxed))->marked_.store(false, std::memory_order_relaxed);
    }
    victim = &bucket->ways[part->hand % kWays];
  }
  Evict(part, victim);
  return victim;
}

void BlockCache::Impl::Evict(Part* part, std::atomic<uint64_t>* way) {
  const Block* const block = BlockOf(way->load(std::memory_order_relaxed));
  way->store(0, std::memory_order_relaxed);  // ordered by AdvanceEra
  Unhook(block);
  part->live_bytes -= block->charge();
  part->evictions++;
  Retire(part, block);
}

void BlockCache::Impl::Retire(Part* part, const Block* block) {
  part->retired_bytes += block->charge();
  part->retired.push_back({std::unique_ptr<const Block>(block), gate_->AdvanceEra()});
  retired_blocks_.fetch_add(1, std::memory_order_relaxed);
}

// Whatever was retired with a smaller era is free.
uint64_t BlockCache::Impl::SafeEra() {
  const uint64_t era = gate_->AdvanceEra();
  return std::min(era, gate_->Scan().oldest_era);
}

void BlockCache::Impl::TakeFree(Part* part, uint64_t safe_era, Garbage* garbage) {
  while (!part->retired.empty() && part->retired.front().era < safe_era) {
    part->retired_bytes -= part->retired.front().block->charge();
    garbage->push_back(std::move(part->retired.front().block));
    part->retired.pop_front();
    retired_blocks_.fetch_sub(1, std::memory_order_relaxed);
  }
}

void BlockCache::Impl::Reclaim() {
  if (retired_blocks_.load(std::memory_order_relaxed) == 0) return;
  const uint64_t safe_era = SafeEra();
  for (uint32_t i = 0; i < part_count_; i++) {
    Garbage garbage;
    const MutexLock lock(&parts_[i].mutex);
    TakeFree(&parts_[i], safe_era, &garbage);
  }
}

CacheStats BlockCache::Impl::stats() const {
  CacheStats stats;
  stats.capacity_bytes = capacity_;
  for (uint32_t i = 0; i < part_count_; i++) {
    const Part& part = parts_[i];
    const MutexLock lock(&part.mutex);
    stats.used_bytes += part.live_bytes + part.retired_bytes;
    stats.evictions += part.evictions;
  }
  for (const Counter& counter : counters_) {
    stats.hits += counter.hits.load(std::memory_order_relaxed);
    stats.misses += counter.misses.load(std::memory_order_relaxed);
  }
  return stats;
}

BlockCache::BlockCache(ReadGate* gate, uint64_t capacity_bytes)
    : impl_(std::make_unique<Impl>(gate, capacity_bytes)) {}
BlockCache::~BlockCache() = default;

const Block* BlockCache::Find(uint64_t run, uint64_t position) {
  return impl_->Find(run, position);
}
const Block* BlockCache::Insert(uint64_t run, uint64_t position, std::unique_ptr<Block> block) {
  return impl_->Insert(run, position, std::move(block));
}
const Block* BlockCache::Follow(const BlockLink& link) { return impl_->Follow(link); }
void BlockCache::Link(const Block* owner, BlockLink* link, const Block* block) {
  impl_->Link(owner, link, block);
}
void BlockCache::Unlink(BlockLink* links, uint32_t count) { impl_->Unlink(links, count); }
void BlockCache::Reclaim() { impl_->Reclaim(); }
CacheStats BlockCache::stats() const { return impl_->stats(); }

}  // namespace gapless::table

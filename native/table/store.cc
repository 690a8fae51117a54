// The store: routes keys to shards and ties table sets, reader slots and views together. See the
// header for threads.
#include "table/store.h"

#include <algorithm>
#include <deque>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "table/iterator.h"
#include "table/merged_iterator.h"
#include "table/read_gate.h"
#include "table/shard_of.h"
#include "table/table_set.h"
#include "table/value_file.h"

namespace gapless::table {
namespace {

constexpr uint32_t kShardsMax = 64;
// A digest holds a guard for at most so much at a time.
constexpr uint64_t kDigestChunkEntries = 512;
constexpr uint64_t kDigestChunkBytes = uint64_t{1} << 20;

}  // namespace

class Store::Impl {
 public:
  explicit Impl(const StoreOptions& options)
      : cache(&gate, options.cache_bytes), writable(options.shards) {
    GAPLESS_ASSERT(options.shards >= 1 && options.shards <= kShardsMax);
    TableSet::Active active;
    for (uint32_t i = 0; i < options.shards; i++) {
      active.push_back(std::make_shared<Memtable>(&gate, true));
      writable[i].store(active.back().get(), std::memory_order_relaxed);
    }
    auto runs = std::make_shared<const RunTree>(options.shards);
    current = std::make_unique<const TableSet>(std::move(active), TableSet::Sealed(), runs);
    set.store(current.get(), std::memory_order_release);
  }

  uint32_t ShardOfHash(uint64_t hash) const {
    return table::ShardOfHash(hash, static_cast<uint32_t>(writable.size()));
  }

  // The writer's way to its memtable, which no swap but its own Seal replaces.
  Memtable& Writable(uint32_t shard) const {
    return *writable[shard].load(std::memory_order_acquire);
  }

  void Write(uint32_t shard, uint64_t hash, const Mutation& mutation) {
    Memtable& memtable = Writable(shard);
    switch (mutation.kind) {
      case MutationKind::kPut:
        memtable.Put(hash, mutation.key, mutation.value, mutation.expires_at_ms, mutation.seq);
        return;
      case MutationKind::kDel:
        memtable.Del(hash, mutation.key, mutation.seq);
        return;
      case MutationKind::kDelRange:
        memtable.DelRange(mutation.key, mutation.value, mutation.unbounded, mutation.seq);
        return;
    }
  }

  // Requires: a ReadGuard. Acquire: the set is complete.
  const TableSet& Set() const { return *set.load(std::memory_order_acquire); }

  void Swap(TableSet::Active active, TableSet::Sealed sealed, std::shared_ptr<const RunTree> runs)
      REQUIRES(mutex) {
    auto next = std::make_unique<const TableSet>(std::move(active), std::move(sealed), runs);
    set.store(next.get(), std::memory_order_seq_cst);
    std::swap(current, next);
    retired.push_back({gate.AdvanceEra(), std::move(next)});  // the tag comes behind the swap
  }

  struct Retired {
    uint64_t era;
    std::unique_ptr<const TableSet> tables;
  };

  ReadGate gate;
  BlockCache cache;  // behind the gate and before the runs, which use it
  ValueFiles value_files;
  std::vector<std::atomic<Memtable*>> writable;
  std::atomic<const TableSet*> set{nullptr};  // what `current` owns, for readers

  Mutex mutex;
  std::unique_ptr<const TableSet> current GUARDED_BY(mutex);
  std::deque<Retired> retired GUARDED_BY(mutex);  // oldest first
  uint64_t sealed_allocations GUARDED_BY(mutex) = 0;
};

ReadGuard::ReadGuard(const Store* store) : store_(store) {
  slot_ = store_->impl_->gate.Enter(&visible_seq_);
}

ReadGuard::~ReadGuard() { store_->impl_->gate.Leave(slot_); }

Store::Store(const StoreOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Store::~Store() = default;

uint32_t Store::shards() const { return static_cast<uint32_t>(impl_->writable.size()); }
uint32_t Store::ShardOf(Slice key) const { return impl_->ShardOfHash(HashKey(key)); }

void Store::Apply(const Mutation& mutation) {
  if (mutation.kind == MutationKind::kDelRange) {
    for (uint32_t i = 0; i < shards(); i++) impl_->Write(i, 0, mutation);
  } else {
    const uint64_t hash = HashKey(mutation.key);
    impl_->Write(impl_->ShardOfHash(hash), hash, mutation);
  }
  if (!mutation.last) return;
  for (uint32_t i = 0; i < shards(); i++) impl_->Writable(i).FinishBatch();
}

void Store::ApplyToShard(uint32_t shard, const Mutation& mutation) {
  GAPLESS_ASSERT(shard < shards());
  const bool is_range = mutation.kind == MutationKind::kDelRange;
  const uint64_t hash = is_range ? 0 : HashKey(mutation.key);
  if (is_range || impl_->ShardOfHash(hash) == shard) impl_->Write(shard, hash, mutation);
  if (mutation.last) impl_->Writable(shard).FinishBatch();
}

void Store::Prefetch(Slice key) const {
  const uint64_t hash = HashKey(key);
  impl_->Writable(impl_->ShardOfHash(hash)).Prefetch(hash);
}

void Store::Publish(uint64_t seq) { impl_->gate.Publish(seq); }
uint64_t Store::visible_seq() const { return impl_->gate.visible_seq(); }

bool Store::Purge(uint32_t shard, uint32_t steps) {
  GAPLESS_ASSERT(shard < shards());
  return impl_->Writable(shard).Purge(steps);
}

Result<bool> Store::Get(Slice key, const ReadPoint& at, Entry* entry) const {
  const uint64_t hash = HashKey(key);
  const ShardTables& tables = impl_->Set().shard(impl_->ShardOfHash(hash));
  if (tables.plain) return tables.active->Get(hash, key, at, entry);
  return tables.Get(hash, key, at, entry);
}

std::unique_ptr<Iterator> Store::NewIterator(const ReadPoint& at) const {
  const TableSet& set = impl_->Set();
  if (!set.plain()) return std::make_unique<MergedIterator>(set, 0, set.shards(), at);
  if (set.shards() == 1) return NewShardIterator(0, at);
  return std::make_unique<PlainIterator>(set, at);
}

std::unique_ptr<Iterator> Store::NewShardIterator(uint32_t shard, const ReadPoint& at) const {
  GAPLESS_ASSERT(shard < shards());
  const TableSet& set = impl_->Set();
  const ShardTables& tables = set.shard(shard);
  if (!tables.plain) return std::make_unique<MergedIterator>(set, shard, shard + 1, at);
  return std::make_unique<PlainShardIterator>(tables.active, at);
}

uint64_t Store::AddView(uint64_t seq) { return impl_->gate.AddView(seq); }
void Store::ReleaseView(uint64_t view) { impl_->gate.ReleaseView(view); }
uint64_t Store::oldest_view_seq() const { return impl_->gate.oldest_view_seq(); }

void Store::LoadRuns(const RunList& runs) {
  const MutexLock lock(&impl_->mutex);
  const TableSet& set = *impl_->current;
  auto tree = set.runs()->With({}, runs);
  for (const auto& run : runs) {
    Memtable& memtable = *set.active()[run->info().shard];
    if (memtable.bottom()) memtable.LeaveBottom();
  }
  impl_->Swap(set.active(), set.sealed(), std::move(tree));
}

void Store::Seal() {
  const MutexLock lock(&impl_->mutex);
  const TableSet& set = *impl_->current;
  const auto empty = [](const auto& memtable) { return memtable->empty(); };
  if (std::all_of(set.active().begin(), set.active().end(), empty)) return;
  TableSet::Active active;
  std::vector<std::shared_ptr<const Memtable>> full;
  for (const auto& memtable : set.active()) {
    const bool bottom = memtable->bottom() && memtable->empty();
    active.push_back(std::make_shared<Memtable>(&impl_->gate, bottom));
    full.push_back(memtable);
    impl_->sealed_allocations += memtable->allocations();
  }
  TableSet::Sealed sealed = set.sealed();
  sealed.insert(sealed.begin(), std::make_shared<const SealedMemtables>(std::move(full)));
  for (uint32_t i = 0; i < shards(); i++) {
    impl_->writable[i].store(active[i].get(), std::memory_order_release);
  }
  impl_->Swap(std::move(active), std::move(sealed), set.runs());
}

uint64_t Store::active_bytes() const {
  const ReadGuard guard(this);
  uint64_t bytes = 0;
  uint64_t range_cost = 0;
  for (uint32_t i = 0; i < shards(); i++) {
    const Memtable& memtable = impl_->Writable(i);
    bytes += memtable.bytes();
    range_cost = std::max(range_cost, memtable.range_cost());  // each shard has all of them
  }
  return bytes + range_cost;
}

std::shared_ptr<const SealedTables> Store::OldestSealed() const {
  const MutexLock lock(&impl_->mutex);
  const TableSet::Sealed& sealed = impl_->current->sealed();
  return sealed.empty() ? nullptr : sealed.back();
}

void Store::InstallFlush(const std::shared_ptr<const SealedTables>& flushed, const RunList& added) {
  const MutexLock lock(&impl_->mutex);
  const TableSet& set = *impl_->current;
  TableSet::Sealed sealed = set.sealed();
  GAPLESS_ASSERT(!sealed.empty() && sealed.back() == flushed);
  sealed.pop_back();
  impl_->Swap(set.active(), std::move(sealed), set.runs()->With({}, added));
}

void Store::InstallRuns(const RunList& removed, const RunList& added) {
  const MutexLock lock(&impl_->mutex);
  const TableSet& set = *impl_->current;
  impl_->Swap(set.active(), set.sealed(), set.runs()->With(removed, added));
}

std::shared_ptr<const RunTree> Store::runs() const {
  const MutexLock lock(&impl_->mutex);
  return impl_->current->runs();
}

// The floor comes first: a view is made before what protected its sequence until then ends.
std::vector<uint64_t> Store::ProtectedSeqs() const {
  std::vector<uint64_t> seqs = {impl_->gate.Scan().floor};
  uint64_t version = UINT64_MAX;
  std::vector<uint64_t> views;
  (void)impl_->gate.CopyViews(&version, &views);
  seqs.insert(seqs.end(), views.begin(), views.end());
  return seqs;
}

BlockCache* Store::cache() const { return &impl_->cache; }
ValueFiles* Store::value_files() const { return &impl_->value_files; }

void Store::Reclaim() {
  std::vector<Impl::Retired> free;
  {
    const MutexLock lock(&impl_->mutex);
    const uint64_t oldest_era = impl_->retired.empty() ? 0 : impl_->gate.Scan().oldest_era;
#if defined(GAPLESS_BUG_SETS_FREED_UNDER_READERS)
    const uint64_t behind = oldest_era + 1;
#else
    const uint64_t behind = oldest_era;
#endif
    while (!impl_->retired.empty() && impl_->retired.front().era < behind) {
      free.push_back(std::move(impl_->retired.front()));
      impl_->retired.pop_front();
    }
  }
  free.clear();  // outside of the lock: it may unmap much memory and remove files
  impl_->cache.Reclaim();
}

Result<Store::DigestPart> Store::DigestShard(uint32_t shard, const ReadPoint& at) const {
  GAPLESS_ASSERT(shard < shards());
  DigestPart part;
  std::string next;  // the smallest key that is not counted yet
  std::string held;
  for (bool more = true; more;) {
    const ReadGuard guard(this);
    const std::unique_ptr<Iterator> iterator = NewShardIterator(shard, at);
    const uint64_t keys_max = part.keys + kDigestChunkEntries;
    const uint64_t bytes_max = part.bytes + kDigestChunkBytes;
    iterator->Seek(next);
    for (; iterator->Valid(); iterator->Next()) {
      const Entry& entry = iterator->entry();
      if (part.keys == keys_max || part.bytes >= bytes_max) {
        next.assign(entry.key.data(), entry.key.size());
        break;
      }
      Slice value;
      RETURN_IF_ERROR(LoadValue(entry, &held, &value));
      part.sum.Add(DigestEntry(entry.key, value));
      part.keys++;
      part.bytes += entry.key.size() + value.size();
    }
    RETURN_IF_ERROR(iterator->status());
    more = iterator->Valid();
  }
  return part;
}

StoreStats Store::stats() const {
  StoreStats stats;
  const MutexLock lock(&impl_->mutex);
  const TableSet& set = *impl_->current;
  const auto add = [&stats](const Memtable& memtable) {
    stats.keys_estimate += memtable.keys();
    stats.memtable_bytes += memtable.bytes();
    stats.range_tombstones += memtable.range_tombstones();
  };
  stats.arena_allocations = impl_->sealed_allocations;
  for (const auto& memtable : set.active()) {
    add(*memtable);
    stats.arena_allocations += memtable->allocations();
  }
  for (const auto& sealed : set.sealed()) {
    for (uint32_t i = 0; i < shards(); i++) add(*sealed->memtable(i));
    stats.sealed_bytes += sealed->bytes();
  }
  for (const auto& run : set.runs()->All()) {
    const RunInfo& info = run->info();
    stats.keys_estimate += info.cells - std::min(info.cells, info.deletions);
    stats.range_tombstones += info.range_deletes;
  }
  stats.cache = impl_->cache.stats();
  stats.open_views = impl_->gate.open_views();
  return stats;
}

}  // namespace gapless::table

// The store: routes keys to shards and ties shards, reader slots and views together. See the header
// for threads.
#include "table/store.h"

#include <string>

#include "table/iterator.h"
#include "table/read_gate.h"
#include "table/shard.h"

namespace gapless::table {
namespace {

constexpr uint32_t kShardsMax = 64;
// A digest holds a guard for at most so much at a time.
constexpr uint64_t kDigestChunkEntries = 512;
constexpr uint64_t kDigestChunkBytes = uint64_t{1} << 20;

}  // namespace

class Store::Impl {
 public:
  explicit Impl(uint32_t count) {
    GAPLESS_ASSERT(count >= 1 && count <= kShardsMax);
    for (uint32_t i = 0; i < count; i++) shards.push_back(std::make_unique<Shard>(&gate));
  }

  // Other bits of the hash than those that the hash index of a shard uses first.
  uint32_t ShardOfHash(uint64_t hash) const {
    return static_cast<uint32_t>(((hash >> 24 & 0xffffff) * shards.size()) >> 24);
  }

  void Write(uint32_t index, uint64_t hash, const Mutation& mutation) {
    Shard& shard = *shards[index];
    switch (mutation.kind) {
      case MutationKind::kPut:
        shard.Put(hash, mutation.key, mutation.value, mutation.expires_at_ms, mutation.seq);
        return;
      case MutationKind::kDel:
        shard.Del(hash, mutation.key, mutation.seq);
        return;
      case MutationKind::kDelRange:
        shard.DelRange(mutation.key, mutation.value, mutation.unbounded, mutation.seq);
        return;
    }
  }

  ReadGate gate;
  std::vector<std::unique_ptr<Shard>> shards;
};

ReadGuard::ReadGuard(const Store* store) : store_(store) {
  slot_ = store_->impl_->gate.Enter(&visible_seq_);
}

ReadGuard::~ReadGuard() { store_->impl_->gate.Leave(slot_); }

Store::Store(uint32_t shards) : impl_(std::make_unique<Impl>(shards)) {}
Store::~Store() = default;

uint32_t Store::shards() const { return static_cast<uint32_t>(impl_->shards.size()); }
uint32_t Store::ShardOf(Slice key) const { return impl_->ShardOfHash(HashKey(key)); }

void Store::Apply(const Mutation& mutation) {
  if (mutation.kind == MutationKind::kDelRange) {
    for (uint32_t i = 0; i < shards(); i++) impl_->Write(i, 0, mutation);
    return;
  }
  const uint64_t hash = HashKey(mutation.key);
  impl_->Write(impl_->ShardOfHash(hash), hash, mutation);
}

void Store::ApplyToShard(uint32_t shard, const Mutation& mutation) {
  GAPLESS_ASSERT(shard < shards());
  const bool is_range = mutation.kind == MutationKind::kDelRange;
  const uint64_t hash = is_range ? 0 : HashKey(mutation.key);
  if (is_range || impl_->ShardOfHash(hash) == shard) impl_->Write(shard, hash, mutation);
}

void Store::Prefetch(Slice key) const {
  const uint64_t hash = HashKey(key);
  impl_->shards[impl_->ShardOfHash(hash)]->Prefetch(hash);
}

void Store::Load(const Entry& entry) {
  const uint64_t hash = HashKey(entry.key);
  impl_->shards[impl_->ShardOfHash(hash)]->Put(hash, entry.key, entry.value, entry.expires_at_ms,
                                               entry.seq);
}

void Store::Publish(uint64_t seq) { impl_->gate.Publish(seq); }
uint64_t Store::visible_seq() const { return impl_->gate.visible_seq(); }

bool Store::Purge(uint32_t shard, uint32_t steps) {
  GAPLESS_ASSERT(shard < shards());
  return impl_->shards[shard]->Purge(steps);
}

bool Store::Get(Slice key, const ReadPoint& at, Entry* entry) const {
  const uint64_t hash = HashKey(key);
  return impl_->shards[impl_->ShardOfHash(hash)]->Get(hash, key, at, entry);
}

std::unique_ptr<Iterator> Store::NewIterator(const ReadPoint& at) const {
  if (shards() == 1) return NewShardIterator(0, at);
  return std::make_unique<MergedIterator>(impl_->shards, at);
}

std::unique_ptr<Iterator> Store::NewShardIterator(uint32_t shard, const ReadPoint& at) const {
  GAPLESS_ASSERT(shard < shards());
  return std::make_unique<ShardIterator>(impl_->shards[shard].get(), at);
}

uint64_t Store::AddView(uint64_t seq) { return impl_->gate.AddView(seq); }
void Store::ReleaseView(uint64_t view) { impl_->gate.ReleaseView(view); }
uint64_t Store::oldest_view_seq() const { return impl_->gate.oldest_view_seq(); }

Result<Store::DigestPart> Store::DigestShard(uint32_t shard, const ReadPoint& at) const {
  GAPLESS_ASSERT(shard < shards());
  DigestPart part;
  std::string next;  // the smallest key that is not counted yet
  for (bool more = true; more;) {
    const ReadGuard guard(this);
    ShardIterator iterator(impl_->shards[shard].get(), at);
    const uint64_t keys_max = part.keys + kDigestChunkEntries;
    const uint64_t bytes_max = part.bytes + kDigestChunkBytes;
    iterator.Seek(next);
    for (; iterator.Valid(); iterator.Next()) {
      const Entry& entry = iterator.entry();
      if (part.keys == keys_max || part.bytes >= bytes_max) {
        next.assign(entry.key.data(), entry.key.size());
        break;
      }
      part.sum.Add(DigestEntry(entry.key, entry.value));
      part.keys++;
      part.bytes += entry.key.size() + entry.value.size();
    }
    RETURN_IF_ERROR(iterator.status());
    more = iterator.Valid();
  }
  return part;
}

StoreStats Store::stats() const {
  StoreStats stats;
  for (const auto& shard : impl_->shards) {
    stats.keys_estimate += shard->keys();
    stats.memtable_bytes += shard->bytes();
    stats.range_tombstones += shard->range_tombstones();
    stats.arena_allocations += shard->allocations();
  }
  stats.open_views = impl_->gate.open_views();
  return stats;
}

}  // namespace gapless::table

// Writing into a memtable and reading single keys. Upkeep is in memtable_upkeep.cc.
#include "table/memtable.h"

#include <new>
#include <utility>

#include "base/assert.h"

namespace gapless::table {
namespace {

// At the bottom a range with at most this many keys is deleted key by key.
constexpr size_t kSmallRange = 128;
// So that 4096 range deletes weigh as much as 64 MiB: each one copies the list of those before.
constexpr uint64_t kRangeCostFactor = 4;

bool RangeHides(const RangeSet* ranges, Slice key, uint64_t version_seq, uint64_t at_seq) {
  return ranges != nullptr && version_seq < ranges->CoverAt(key, at_seq);
}

}  // namespace

Memtable::Memtable(ReadGate* gate, bool bottom)
    : gate_(gate),
      bottom_(bottom),
      retired_(&arena_, gate),
      hash_(&arena_, &retired_),
      ordered_(&arena_, &retired_) {}

// Nodes and versions need no destructor; their memory goes with the arena.
Memtable::~Memtable() {
  if (sweep_.ranges != nullptr) sweep_.ranges->Unref();
  const RangeSet* const ranges = ranges_.load(std::memory_order_relaxed);
  if (ranges != nullptr) ranges->Unref();
}

Node* Memtable::NewNode(uint64_t hash, Slice key) {
  auto* const node = static_cast<Node*>(arena_.Allocate(Node::Bytes(key.size())));
  new (&node->head) std::atomic<Version*>(nullptr);
  node->hash = hash;
  node->key_size = static_cast<uint32_t>(key.size());
  node->queued = 0;
  if (!key.empty()) std::memcpy(static_cast<void*>(node + 1), key.data(), key.size());
  return node;
}

Version* Memtable::NewVersion(Slice value, uint32_t flags, uint64_t expires_at_ms, uint64_t seq) {
  if (expires_at_ms != 0) flags |= Version::kExpires;
  const auto size = static_cast<uint32_t>(value.size());
  auto* const version = static_cast<Version*>(arena_.Allocate(Version::Bytes(size, flags)));
  new (&version->next) std::atomic<Version*>(nullptr);
  version->seq = seq;
  version->value_size = size;
  version->flags = flags;
  char* to = version->payload();
  if (expires_at_ms != 0) {
    std::memcpy(to, &expires_at_ms, sizeof(expires_at_ms));
    to += sizeof(expires_at_ms);
  }
  if (size != 0) std::memcpy(to, value.data(), size);
  return version;
}

void Memtable::Put(uint64_t hash, Slice key, Slice value, uint64_t expires_at_ms, uint64_t seq) {
  Upkeep(value.size());
  Node* const node = hash_.Find(hash, key);
  if (node != nullptr) {
    if (node->head.load(std::memory_order_relaxed)->deleted()) AddKeys(1);
    PushVersion(node, NewVersion(value, 0, expires_at_ms, seq));
    return;
  }
  InsertNode(hash, key, value, 0, expires_at_ms, seq);
  AddKeys(1);
}

void Memtable::InsertNode(uint64_t hash, Slice key, Slice value, uint32_t flags,
                          uint64_t expires_at_ms, uint64_t seq) {
  // The node first: its version then lies right behind it in fresh memory.
  Node* const fresh = NewNode(hash, key);
  fresh->head.store(NewVersion(value, flags, expires_at_ms, seq), std::memory_order_relaxed);
  hash_.Insert(fresh);
  ordered_.Insert(fresh);
  nodes_++;
}

void Memtable::Del(uint64_t hash, Slice key, uint64_t seq) {
  Upkeep(0);
  Node* const node = hash_.Find(hash, key);
  if (node != nullptr) {
    PushDeletion(node, seq);
    return;
  }
#if !defined(GAPLESS_BUG_DELETION_OF_ABSENT_KEY_LOST)
  if (!bottom_) InsertNode(hash, key, Slice(), Version::kDeleted, 0, seq);
#endif
}

// A key that is deleted already stays so: nothing to write then.
void Memtable::PushDeletion(Node* node, uint64_t seq) {
  if (node->head.load(std::memory_order_relaxed)->deleted()) return;
  AddKeys(uint64_t{0} - 1);
  PushVersion(node, NewVersion(Slice(), Version::kDeleted, 0, seq));
}

void Memtable::PushVersion(Node* node, Version* version) {
  Version* const older = node->head.load(std::memory_order_relaxed);
  GAPLESS_ASSERT(older->seq < version->seq);
  version->next.store(older, std::memory_order_relaxed);
  // Release: readers that reach the version see its content.
  node->head.store(version, std::memory_order_release);
  // `older` is the newest at or below the floor then, and what lies behind it may go.
  if (older->seq <= floor_) PruneBehind(older);
  Enqueue(node, version->seq);
}

void Memtable::Enqueue(Node* node, uint64_t ready_seq) {
  if ((node->queued & Node::kInPrune) != 0) return;
  node->queued |= Node::kInPrune;
  prune_.Push({node, ready_seq});
}

void Memtable::DelRange(Slice lower, Slice upper, bool unbounded, uint64_t seq) {
  if (!unbounded && lower.Compare(upper) >= 0) return;
  Upkeep(0);
  if (bottom_ && PushSmallRange(lower, upper, unbounded, seq)) return;
  batch_ranges_.push_back({lower, upper, unbounded, seq});
}

void Memtable::LayBatch() {
  const RangeSet* const before = ranges_.load(std::memory_order_relaxed);
  // At the bottom each delete stays until a walk has written it into the keys.
  const ReadLimits limits = bottom_ ? ReadLimits() : ReadLimits{floor_, &views_};
  SetRanges(RangeSet::With(before, std::exchange(batch_ranges_, {}), limits));
}

bool Memtable::PushSmallRange(Slice lower, Slice upper, bool unbounded, uint64_t seq) {
  batch_.clear();
  OrderedIndex::Cursor cursor(&ordered_);
  for (cursor.Seek(lower); cursor.Valid(); cursor.Next()) {
    if (!unbounded && cursor.node()->key().Compare(upper) >= 0) break;
    if (batch_.size() == kSmallRange) return false;
    batch_.push_back(const_cast<Node*>(cursor.node()));
  }
  for (Node* const node : batch_) PushDeletion(node, seq);
  return true;
}

// Release: the list is complete, and the keys carry what is not in it any more.
void Memtable::SetRanges(const RangeSet* ranges) {
  const RangeSet* const before = ranges_.load(std::memory_order_relaxed);
  ranges_.store(ranges, std::memory_order_release);
  if (before != nullptr) retired_.RetireRanges(before);
  const uint64_t count = ranges == nullptr ? 0 : ranges->fragments().size();
  range_count_.store(count, std::memory_order_relaxed);
  range_weight_.store(ranges == nullptr ? 0 : ranges->weight(), std::memory_order_relaxed);
  range_bytes_.store(ranges == nullptr ? 0 : ranges->bytes(), std::memory_order_relaxed);
}

void Memtable::LeaveBottom() {
  GAPLESS_ASSERT(empty() && writes_ == 0);
  bottom_ = false;
}

uint64_t Memtable::range_cost() const {
  if (bottom_) return 0;
  const uint64_t weight = range_weight_.load(std::memory_order_relaxed);
  return weight * weight * kRangeCostFactor;
}

void Memtable::AddKeys(uint64_t count) {
  keys_.store(keys_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
}

bool Memtable::Get(uint64_t hash, Slice key, const ReadPoint& at, Entry* entry) const {
  const RangeSet* const ranges_now = ranges();
  const Node* const node = hash_.Find(hash, key);
  return node != nullptr && ReadNode(node, ranges_now, at, entry);
}

const Version* Memtable::Find(uint64_t hash, Slice key, uint64_t seq, const Node** node) const {
  *node = hash_.Find(hash, key);
  return *node == nullptr ? nullptr : (*node)->At(seq);
}

bool Memtable::ReadNode(const Node* node, const RangeSet* ranges, const ReadPoint& at,
                        Entry* entry) {
  const Version* const version = node->At(at.seq);
  if (version == nullptr || version->deleted()) return false;
  const uint64_t expires = version->expires_at_ms();
  if (expires != 0 && expires <= at.as_of_ms) return false;
  if (RangeHides(ranges, node->key(), version->seq, at.seq)) return false;
  entry->key = node->key();
  entry->value = version->value();
  entry->seq = version->seq;
  entry->expires_at_ms = expires;
  entry->stored.file = nullptr;
  return true;
}

}  // namespace gapless::table

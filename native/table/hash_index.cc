// Probing, growing and erasing of the hash index. See the header for threads and memory orders.
#include "table/hash_index.h"

#include <cstring>
#include <new>

#include "base/assert.h"

namespace gapless::table {

uint64_t HashIndex::SlotOf(const Node* node) {
  const auto address = reinterpret_cast<uint64_t>(node);
  GAPLESS_ASSERT((address & ~kAddressMask) == 0);
  return address | (node->hash >> 48 << 48);
}

Node* HashIndex::Find(uint64_t hash, Slice key) const {
  const uint64_t table = tables_[TableOf(hash)].load(std::memory_order_acquire);
  if (table == 0) return nullptr;
  const Slot* const slots = SlotsOf(table);
  const uint64_t mask = MaskOf(table);
  for (uint64_t at = HomeOf(hash) & mask;; at = (at + 1) & mask) {
    const uint64_t slot = slots[at].load(std::memory_order_acquire);
    if (slot == 0) return nullptr;
    if ((slot ^ hash) >> 48 != 0 || slot == kRemoved) continue;
    Node* const node = NodeOf(slot);
    // A node that was never overwritten has its version right behind it.
    __builtin_prefetch(reinterpret_cast<const char*>(node) + 64);
    __builtin_prefetch(reinterpret_cast<const char*>(node) + 128);
    if (node->hash == hash && node->key() == key) return node;
  }
}

void HashIndex::Insert(Node* node) {
  const uint64_t index = TableOf(node->hash);
  MakeRoom(index);
  const uint64_t table = tables_[index].load(std::memory_order_relaxed);
  Slot* const slots = SlotsOf(table);
  const uint64_t mask = MaskOf(table);
  uint64_t at = HomeOf(node->hash) & mask;
  uint64_t slot = slots[at].load(std::memory_order_relaxed);
  while (slot > kRemoved) {
    at = (at + 1) & mask;
    slot = slots[at].load(std::memory_order_relaxed);
  }
  if (slot == 0) used_[index]++;
  live_[index]++;
  slots[at].store(SlotOf(node), std::memory_order_release);
}

// Leaves at least one slot in four empty once one more is taken: probing ends soon.
void HashIndex::MakeRoom(uint64_t index) {
  const uint64_t old = tables_[index].load(std::memory_order_relaxed);
  const uint64_t old_capacity = old == 0 ? 0 : MaskOf(old) + 1;
  if ((uint64_t{used_[index]} + 1) * 4 <= old_capacity * 3) return;
  uint64_t log2 = kCapacityMinLog2;
  while ((uint64_t{live_[index]} + 1) * 2 > uint64_t{1} << log2) log2++;
  const uint64_t mask = (uint64_t{1} << log2) - 1;
  auto* const slots = static_cast<Slot*>(arena_->Allocate((mask + 1) * sizeof(Slot)));
  for (uint64_t i = 0; i <= mask; i++) new (&slots[i]) Slot(0);
  constexpr uint64_t kAhead = 8;
  for (uint64_t i = 0; i < old_capacity; i++) {
    const Slot* const from = SlotsOf(old);
    if (i + kAhead < old_capacity) {
      __builtin_prefetch(NodeOf(from[i + kAhead].load(std::memory_order_relaxed)));
    }
    const uint64_t slot = from[i].load(std::memory_order_relaxed);
    if (slot <= kRemoved) continue;
    uint64_t at = HomeOf(NodeOf(slot)->hash) & mask;
    while (slots[at].load(std::memory_order_relaxed) != 0) at = (at + 1) & mask;
    slots[at].store(slot, std::memory_order_relaxed);
  }
  const auto address = reinterpret_cast<uint64_t>(slots);
  GAPLESS_ASSERT((address & ~kAddressMask) == 0);
  tables_[index].store(address | log2 << 48, std::memory_order_release);
  used_[index] = live_[index];
  if (old != 0) retired_->Retire(SlotsOf(old), old_capacity * sizeof(Slot));
}

void HashIndex::Erase(const Node* node) {
  const uint64_t index = TableOf(node->hash);
  const uint64_t table = tables_[index].load(std::memory_order_relaxed);
  Slot* const slots = SlotsOf(table);
  const uint64_t mask = MaskOf(table);
  const uint64_t wanted = SlotOf(node);
  uint64_t at = HomeOf(node->hash) & mask;
  while (slots[at].load(std::memory_order_relaxed) != wanted) {
    GAPLESS_ASSERT(slots[at].load(std::memory_order_relaxed) != 0);
    at = (at + 1) & mask;
  }
  live_[index]--;
  slots[at].store(kRemoved, std::memory_order_release);
  // Behind an empty slot no probe goes on, so removed ones before it may become empty.
  if (slots[(at + 1) & mask].load(std::memory_order_relaxed) != 0) return;
  while (slots[at].load(std::memory_order_relaxed) == kRemoved) {
    slots[at].store(0, std::memory_order_release);
    used_[index]--;
    at = (at - 1) & mask;
  }
}

}  // namespace gapless::table

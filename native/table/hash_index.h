// Finds the node of a key: 1024 small open-addressing tables, so that no growth takes long.
//
// One writer; readers probe without locks, under a guard. A slot is a node's address with sixteen
// bits of its hash above it, 0 when empty, kRemoved when its node is gone. The word of a table
// holds its address and, above, the binary logarithm of its capacity. Slots and words are stored
// with release and loaded with acquire, so that what they point to is complete.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/slice.h"
#include "table/arena.h"
#include "table/node.h"
#include "table/retire_list.h"

namespace gapless::table {

class HashIndex {
 public:
  HashIndex(Arena* arena, RetireList* retired) : arena_(arena), retired_(retired) {}
  HashIndex(const HashIndex&) = delete;
  HashIndex& operator=(const HashIndex&) = delete;

  // Any thread under a guard; the writer without.
  Node* Find(uint64_t hash, Slice key) const;
  // Asks for the memory that Find will look at first. The writer, or any thread under a guard.
  void Prefetch(uint64_t hash) const {
    const uint64_t table = tables_[TableOf(hash)].load(std::memory_order_acquire);
    if (table != 0) __builtin_prefetch(SlotsOf(table) + (HomeOf(hash) & MaskOf(table)));
  }
  // Requires: the key is absent.
  void Insert(Node* node);
  // Requires: the node is present. It stays readable to those who found it before.
  void Erase(const Node* node);

 private:
  using Slot = std::atomic<uint64_t>;
  static constexpr uint32_t kTables = 1024;
  static constexpr uint32_t kTableBits = 10;
  static constexpr uint64_t kRemoved = 1;
  static constexpr uint64_t kAddressMask = (uint64_t{1} << 48) - 1;
  static constexpr uint32_t kCapacityMinLog2 = 3;

  static Slot* SlotsOf(uint64_t table) { return reinterpret_cast<Slot*>(table & kAddressMask); }
  static uint64_t MaskOf(uint64_t table) { return (uint64_t{1} << (table >> 48)) - 1; }
  static Node* NodeOf(uint64_t slot) { return reinterpret_cast<Node*>(slot & kAddressMask); }
  static uint64_t SlotOf(const Node* node);
  static uint64_t TableOf(uint64_t hash) { return hash & (kTables - 1); }
  static uint64_t HomeOf(uint64_t hash) { return hash >> kTableBits; }

  void MakeRoom(uint64_t index);

  std::atomic<uint64_t> tables_[kTables] = {};
  uint32_t used_[kTables] = {};  // slots that are not empty; writer only
  uint32_t live_[kTables] = {};  // slots with a node; writer only
  Arena* const arena_;
  RetireList* const retired_;
};

}  // namespace gapless::table

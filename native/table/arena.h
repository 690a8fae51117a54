// Memory of one shard: blocks from the system, carved in order, with free lists by size.
//
// Called by the shard's one writer only; readers merely read what lies inside. Freed memory is
// reused at once, so the caller frees only what no reader can reach any more (retire_list.h). Sizes
// up to kLargeBytes are rounded to a class and stay with the arena; larger ones are allocations of
// their own and go back to the system when freed. Alignment is 16 bytes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gapless::table {

class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void* Allocate(size_t size);
  // `size` is the size that was asked for.
  void Free(void* memory, size_t size);

  // Any thread. Bytes handed out and not freed yet, rounded to classes.
  uint64_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }
  // Any thread. Allocations from the system since creation.
  uint64_t allocations() const { return allocations_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kStep = 16;
  static constexpr size_t kFineBytes = 1024;    // classes in steps of kStep up to here
  static constexpr size_t kLargeBytes = 65536;  // four classes for each doubling up to here
  static constexpr uint32_t kClasses = 89;

  struct FreeCell {
    FreeCell* next;
  };
  struct LargeHeader {
    LargeHeader* previous;
    LargeHeader* next;
  };
  struct Block {
    void* memory;
    size_t bytes;
  };
  struct SizeClass {
    uint32_t index;
    uint32_t bytes;
  };

  static SizeClass ClassOf(size_t size);
  void* Carve(size_t bytes);
  void AddBlock();
  void PushFree(void* memory, SizeClass size_class);
  void* AllocateLarge(size_t size);
  void FreeLarge(void* memory, size_t size);
  void AddUsed(uint64_t bytes);
  void CountAllocation();

  char* at_ = nullptr;
  char* end_ = nullptr;
  FreeCell* free_[kClasses] = {};
  LargeHeader* large_ = nullptr;
  std::vector<Block> blocks_;
  // Written by the writer alone (no read-modify-write needed), read by anyone.
  std::atomic<uint64_t> used_bytes_{0};
  std::atomic<uint64_t> allocations_{0};
};

}  // namespace gapless::table

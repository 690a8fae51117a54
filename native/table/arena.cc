// Blocks, size classes and free lists of one shard; writer's thread only.
//
// Under AddressSanitizer freed cells are poisoned behind their link, so that a reader of reclaimed
// memory is caught although the memory never left the arena.
#include "table/arena.h"

#include <bit>
#include <cstdlib>

#include "base/assert.h"
#include "base/pages.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define GAPLESS_POISON(memory, size) ASAN_POISON_MEMORY_REGION(memory, size)
#define GAPLESS_UNPOISON(memory, size) ASAN_UNPOISON_MEMORY_REGION(memory, size)
#else
#define GAPLESS_POISON(memory, size) ((void)0)
#define GAPLESS_UNPOISON(memory, size) ((void)0)
#endif

namespace gapless::table {
namespace {

constexpr size_t kFirstBlockBytes = size_t{256} << 10;
constexpr size_t kBlockBytes = size_t{1} << 20;
// A shard with this many blocks takes larger ones that the kernel can back with huge pages: random
// access over some hundred megabytes spends much of its time in address translation otherwise.
constexpr size_t kSmallBlocks = 8;
constexpr size_t kHugeBlockBytes = size_t{4} << 20;
constexpr size_t kHugePageBytes = size_t{2} << 20;

}  // namespace

Arena::~Arena() {
  while (large_ != nullptr) {
    LargeHeader* const next = large_->next;
    std::free(large_);
    large_ = next;
  }
  for (const Block& block : blocks_) {
    GAPLESS_UNPOISON(block.memory, block.bytes);  // the next to be mapped here must not find it
    UnmapPages(block.memory, block.bytes);
  }
}

Arena::SizeClass Arena::ClassOf(size_t size) {
  if (size <= kFineBytes) {
    const size_t index = size == 0 ? 1 : (size + kStep - 1) / kStep;
    return {static_cast<uint32_t>(index), static_cast<uint32_t>(index * kStep)};
  }
  const auto exponent = static_cast<uint32_t>(std::bit_width(size - 1) - 1);  // 10 to 15
  const size_t base = size_t{1} << exponent;
  const size_t step = base / 4;
  const size_t steps = (size - base + step - 1) / step;  // 1 to 4
  const size_t index = kFineBytes / kStep + (exponent - 10) * 4 + steps;
  return {static_cast<uint32_t>(index), static_cast<uint32_t>(base + steps * step)};
}

void* Arena::Allocate(size_t size) {
  if (size > kLargeBytes) return AllocateLarge(size);
  const SizeClass size_class = ClassOf(size);
  AddUsed(size_class.bytes);
  FreeCell* const cell = free_[size_class.index];
  if (cell == nullptr) return Carve(size_class.bytes);
  GAPLESS_UNPOISON(cell, size_class.bytes);
  free_[size_class.index] = cell->next;
  return cell;
}

void Arena::Free(void* memory, size_t size) {
  if (size > kLargeBytes) return FreeLarge(memory, size);
  const SizeClass size_class = ClassOf(size);
  AddUsed(uint64_t{0} - size_class.bytes);
  PushFree(memory, size_class);
}

void Arena::PushFree(void* memory, SizeClass size_class) {
  auto* const cell = static_cast<FreeCell*>(memory);
  cell->next = free_[size_class.index];
  free_[size_class.index] = cell;
  GAPLESS_POISON(cell + 1, size_class.bytes - sizeof(FreeCell));
}

void* Arena::Carve(size_t bytes) {
  if (static_cast<size_t>(end_ - at_) < bytes) AddBlock();
  void* const memory = at_;
  at_ += bytes;
  return memory;
}

void Arena::AddBlock() {
  // What is left of the old block serves smaller requests.
  while (end_ - at_ >= static_cast<ptrdiff_t>(kStep)) {
    const size_t left = static_cast<size_t>(end_ - at_);
    const size_t bytes = left < kFineBytes ? left / kStep * kStep : kFineBytes;
    PushFree(at_, ClassOf(bytes));
    at_ += bytes;
  }
  size_t bytes = blocks_.empty() ? kFirstBlockBytes : kBlockBytes;
  void* block = nullptr;
  if (blocks_.size() < kSmallBlocks) {
    block = MapPages(bytes, 4096);
  } else {
    bytes = kHugeBlockBytes;
    block = MapPages(bytes, kHugePageBytes);
#if defined(__linux__)
    (void)madvise(block, bytes, MADV_HUGEPAGE);  // advice only: nothing to do when refused
#endif
  }
  blocks_.push_back({block, bytes});
  CountAllocation();
  at_ = static_cast<char*>(block);
  end_ = at_ + bytes;
}

void* Arena::AllocateLarge(size_t size) {
  auto* const header = static_cast<LargeHeader*>(std::malloc(sizeof(LargeHeader) + size));
  GAPLESS_ASSERT(header != nullptr);
  header->previous = nullptr;
  header->next = large_;
  if (large_ != nullptr) large_->previous = header;
  large_ = header;
  AddUsed(size);
  CountAllocation();
  return header + 1;
}

void Arena::FreeLarge(void* memory, size_t size) {
  auto* const header = static_cast<LargeHeader*>(memory) - 1;
  if (header->previous != nullptr) header->previous->next = header->next;
  if (header->next != nullptr) header->next->previous = header->previous;
  if (large_ == header) large_ = header->next;
  AddUsed(uint64_t{0} - size);
  std::free(header);
}

void Arena::AddUsed(uint64_t bytes) {
  used_bytes_.store(used_bytes_.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

void Arena::CountAllocation() {
  allocations_.store(allocations_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace gapless::table

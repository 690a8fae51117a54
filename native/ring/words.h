// Shared words: every access to ring memory, native side, goes through here. All are atomic, since
// other threads (JavaScript ones included) read and write the same words at any moment.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/coding.h"

namespace gapless::ring {

// `at` is a multiple of the word's size; the memory is 8-aligned.
inline std::atomic_ref<uint64_t> Word(void* memory, size_t at) {
  return std::atomic_ref<uint64_t>(
      *reinterpret_cast<uint64_t*>(static_cast<unsigned char*>(memory) + at));
}
inline uint64_t LoadWord(const void* memory, size_t at, std::memory_order order) {
  return Word(const_cast<void*>(memory), at).load(order);  // atomic_ref knows no const before C++26
}

// Copies `bytes` (a multiple of 8) out of the data area, relaxed, around its end. `to` needs no
// alignment. Requires: offset is a multiple of 8; capacity is a power of two; bytes <= capacity.
inline void CopyOut(const void* memory, uint64_t capacity, uint64_t offset, size_t bytes,
                    size_t data_at, void* to) {
  auto* target = static_cast<unsigned char*>(to);
  for (size_t i = 0; i < bytes; i += 8) {
    const size_t at = data_at + static_cast<size_t>((offset + i) & (capacity - 1));
    StoreU64(target + i, LoadWord(memory, at, std::memory_order_relaxed));
  }
}

// Copies `bytes` in, relaxed, around the end; a last part of less than a word is padded with zeros.
inline void CopyIn(void* memory, uint64_t capacity, uint64_t offset, const void* from, size_t bytes,
                   size_t data_at) {
  const auto* source = static_cast<const unsigned char*>(from);
  for (size_t i = 0; i < bytes; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, source + i, bytes - i < 8 ? bytes - i : 8);
    const size_t at = data_at + static_cast<size_t>((offset + i) & (capacity - 1));
    Word(memory, at).store(word, std::memory_order_relaxed);
  }
}

}  // namespace gapless::ring

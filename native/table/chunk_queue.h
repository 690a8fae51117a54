// A queue in chunks: no copying when it grows, no allocation while its length is steady.
//
// One thread. T is trivially copyable.
#pragma once

#include <cstddef>
#include <type_traits>

namespace gapless::table {

template <typename T>
class ChunkQueue {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  ChunkQueue() = default;
  ChunkQueue(const ChunkQueue&) = delete;
  ChunkQueue& operator=(const ChunkQueue&) = delete;
  ~ChunkQueue() {
    DeleteFrom(first_);
    delete spare_;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // Requires: not empty.
  const T& front() const { return first_->items[head_]; }
  T& front() { return first_->items[head_]; }

  void Push(const T& item) {
    if (last_ == nullptr || tail_ == kChunk) AddChunk();
    last_->items[tail_++] = item;
    size_++;
  }

  // Requires: not empty.
  T Pop() {
    const T item = first_->items[head_++];
    size_--;
    if (head_ == kChunk) DropChunk();
    return item;
  }

  // The item `distance` behind the front if it lies in the same chunk, else null: for prefetching.
  const T* Peek(size_t distance) const {
    const size_t at = head_ + distance;
    return distance < size_ && at < kChunk ? &first_->items[at] : nullptr;
  }

 private:
  static constexpr size_t kChunk = 510;
  struct Chunk {
    Chunk* next = nullptr;
    T items[kChunk];
  };

  void AddChunk() {
    Chunk* const chunk = spare_ != nullptr ? spare_ : new Chunk;
    spare_ = nullptr;
    chunk->next = nullptr;
    (last_ == nullptr ? first_ : last_->next) = chunk;
    last_ = chunk;
    tail_ = 0;
  }

  void DropChunk() {
    Chunk* const done = first_;
    first_ = done->next;
    if (first_ == nullptr) last_ = nullptr;
    head_ = 0;
    delete spare_;
    spare_ = done;
  }

  static void DeleteFrom(Chunk* chunk) {
    while (chunk != nullptr) {
      Chunk* const next = chunk->next;
      delete chunk;
      chunk = next;
    }
  }

  Chunk* first_ = nullptr;
  Chunk* last_ = nullptr;
  Chunk* spare_ = nullptr;
  size_t head_ = 0;
  size_t tail_ = 0;
  size_t size_ = 0;
};

}  // namespace gapless::table

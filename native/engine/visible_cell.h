// The visible position and its timestamp for readers that take no lock: a sequence lock of atomic
// words. Written under the commit mutex, read by any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "log/position.h"

namespace gapless::engine {

struct Visible {
  Position position;
  uint64_t clock = 0;
  uint64_t generation = 0;  // id of the generation that it speaks of
};

class VisibleCell {
 public:
  void Store(const Visible& visible) {
    const uint64_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);
    const Position& position = visible.position;
    words_[0].store(uint64_t{position.epoch.term} << 32 | position.epoch.run,
                    std::memory_order_release);
    words_[1].store(position.seq, std::memory_order_release);
    words_[2].store(position.offset, std::memory_order_release);
    words_[3].store(position.chain, std::memory_order_release);
    words_[4].store(visible.clock, std::memory_order_release);
    words_[5].store(visible.generation, std::memory_order_release);
    version_.store(version + 2, std::memory_order_release);
  }

  Visible Load() const {
    uint64_t words[kWords];
    uint64_t before = 0;
    do {
      before = version_.load(std::memory_order_acquire);
      // Acquire: a word that is newer than `before` makes the second look at the version newer too.
      for (size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_acquire);
    } while ((before & 1) != 0 || version_.load(std::memory_order_relaxed) != before);
    Visible visible;
    visible.position.epoch.term = static_cast<uint32_t>(words[0] >> 32);
    visible.position.epoch.run = static_cast<uint32_t>(words[0]);
    visible.position.seq = words[1];
    visible.position.offset = words[2];
    visible.position.chain = words[3];
    visible.clock = words[4];
    visible.generation = words[5];
    return visible;
  }

 private:
  static constexpr size_t kWords = 6;
  std::atomic<uint64_t> version_{0};
  std::atomic<uint64_t> words_[kWords] = {};
};

}  // namespace gapless::engine
